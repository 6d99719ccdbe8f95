"""Real probes of two processes each, over gloo, some of which go wrong: `doctor_processes.py <folder>`.

Forked from one process that has imported torch; prints the exit codes of each probe's ranks.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from cpt.doctor import probe, probe_record
from cpt.doctor.measurements import Values
from cpt.doctor.probe import Probing, run_probe

LIMITS = {"well": 60.0, "dies": 60.0, "fails": 60.0, "apart": 3.0}


def _die(_: Probing) -> Values:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def _fail(_: Probing) -> Values:
    raise RuntimeError(f"denied to {os.environ['HF_TOKEN']}")


def stay_apart(_: Probing) -> Values:
    """Does not take part in what the others do together."""
    time.sleep(600)
    return {}


WRONG: dict[str, tuple[str, Callable[[Probing], Values]]] = {
    "dies": (probe_record.DEFAULT, _die),
    "fails": (probe_record.LEAVE, _fail),
    "apart": (probe_record.SECOND, stay_apart),
}
"""What rank 1 does instead, in which step."""


def _rank(folder: Path, rank: int) -> int:
    log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if rank and folder.name in WRONG:
        step, instead = WRONG[folder.name]
        probe.STEPS[step] = instead
    if folder.name == "apart":  # only the step that hangs is short
        probe.PATIENCE.update({name: 20 for name in probe.STEPS if name != probe_record.SECOND})
    try:
        run_probe(rank, 2, rank, folder, LIMITS[folder.name], {"runs": folder}, f"file://{folder}/store")
    except Exception as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def main() -> None:
    import cpt.study.execute.local
    import cpt.train.distributed  # noqa: F401  # these two, with torch, once for all

    pids: dict[tuple[str, int], int] = {}
    for name in LIMITS:
        folder = Path(sys.argv[1]) / name
        folder.mkdir()
        for rank in range(2):
            if (pid := os.fork()) == 0:
                os._exit(_rank(folder, rank))
            pids[name, rank] = pid
    codes: dict[str, list[int]] = {name: [] for name in LIMITS}
    for (name, _), pid in pids.items():
        codes[name].append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    json.dump(codes, sys.stdout)


if __name__ == "__main__":
    main()
