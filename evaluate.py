"""The evaluation alone, for any untouched model: a stand-in, a folder, a hub id.

python evaluate.py model.path=FOLDER model.name=mine model.label=Mine langcat=alt evals=[sib200,bpb]
"""

from cpt.study.command import command
from cpt.study.worker import carry_out_folder

if __name__ == "__main__":
    command(carry_out_folder, config="evaluate")
