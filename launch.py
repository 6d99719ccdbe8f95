"""Compose a study, plan it, and hand it over to the launcher:

python launch.py -m model=l3,l2,v7 data=mono,bi code=true,false langcat=alt,sel,stag
"""

import sys

from cpt.study.execute.warm_up import warm_up_for

if __name__ == "__main__":
    warm_up_for(sys.argv[1:])
    from cpt.study.compose.command_line import command
    from cpt.study.execute.run_worker import execute_folder

    command(execute_folder)
