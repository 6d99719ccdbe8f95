"""The evaluation alone, for any model: a folder, a hub id, a run or a whole study, or the study's base models.

python evaluate.py checkpoint=FOLDER langcat=alt evals=[sib200,flores200] protocol=[paper,sound] paths.sib200=DIR …
"""

import sys

from cpt.study.execute.warm_up import warm_up_for

if __name__ == "__main__":
    warm_up_for(sys.argv[1:])
    from cpt.study.compose.command_line import command
    from cpt.study.execute.run_worker import execute_folder

    command(execute_folder, config="evaluate")
