"""`torchrun … -m cpt.study.worker <run folder>` trains and evaluates a run that a launch has saved."""

from cpt.study.execute.run_worker import main

if __name__ == "__main__":
    main()
