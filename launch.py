"""Compose a study, plan it, and hand it over to the launcher:

python launch.py -m model=l3,l2,v7 data=mono,bi code=true,false langcat=alt,sel,stag
"""

import sys

from cpt.study.execute.warm_up import warm_up

if __name__ == "__main__":
    elsewhere = any(word.startswith("hardware=") and word != "hardware=local" for word in sys.argv)
    if not elsewhere and not {"dry_run=true", "--help", "-h", "--cfg", "-c", "--info"} & set(sys.argv):
        warm_up()  # whoever carries runs out here makes sure of it once more
    from cpt.study.compose.command_line import command
    from cpt.study.execute.worker import carry_out_folder

    command(carry_out_folder)
