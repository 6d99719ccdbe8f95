"""The evaluation alone, for any untouched model: a stand-in, a folder, a hub id.

python evaluate.py model.path=FOLDER model.name=mine model.label=Mine langcat=alt evals=[sib200,bpb]
"""

from cpt.study.warm import warm_up

if __name__ == "__main__":
    warm_up()
    from cpt.study.command import command
    from cpt.study.worker import carry_out_folder

    command(carry_out_folder, config="evaluate")
