"""Compose a study, plan it, and hand it over to the launcher:

python launch.py -m model=l3,l2,v7 data=mono,bi code=true,false langcat=alt,sel,stag
"""

from cpt.study.command import command
from cpt.study.worker import carry_out_folder

if __name__ == "__main__":
    command(carry_out_folder)
