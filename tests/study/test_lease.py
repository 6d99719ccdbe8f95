"""A lease as processes meet it: killed, suspended, many at once, on other machines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from waiting import PATIENCE, wait_until

from cpt.study.state.lease import TAKEN, Lease, LeaseTakenError, file_system_now, holder

HOLD = """
import sys, time, logging
from pathlib import Path
from cpt.study.state.lease import Lease
logging.basicConfig()
folder, owner, renew, stale = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
with Lease(folder, owner, renew=renew, stale=stale):
    print("held", flush=True)
    time.sleep(600)
"""
CONTEND = """
import sys, time
from pathlib import Path
from cpt.study.state.lease import Lease, LeaseTakenError
folder, number, at = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
time.sleep(max(at - time.time(), 0))
try:
    with Lease(folder, f"contender {number}"):
        (folder / f"winner-{number}").touch()
        while len([*folder.glob("winner-*"), *folder.glob("loser-*")]) < 12:
            time.sleep(0.02)
except LeaseTakenError:
    (folder / f"loser-{number}").touch()
"""
TURNS = """
import sys
from pathlib import Path
from cpt.study.state.lease import Lease
folder = Path(sys.argv[1])
for _ in range(8):
    with Lease(folder, "one of many", wait=60):
        (folder / "inside").touch(exist_ok=False)
        count = folder / "count"
        count.write_text(str(int(count.read_text()) + 1))
        (folder / "inside").unlink()
"""


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def holding(folder: Path, owner: str, renew: float = 10, stale: float = 60) -> subprocess.Popen[str]:
    process = start(HOLD, folder, owner, renew, stale)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def elsewhere(folder: Path, age: float, **facts: object) -> None:
    """Make the lease one of another machine, renewed so many seconds ago."""
    path = folder / "lease.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "host": "other", "place": "other boot", **facts}))
    renewed = file_system_now(folder) - age
    os.utime(path, (renewed, renewed))


def owner_of(folder: Path) -> str:
    found = holder(folder)
    return found.owner if found else ""


def left_behind(folder: Path, owner: str, age: float) -> None:
    end(holding(folder, owner))
    elsewhere(folder, age)


def test_one_holds_it_and_says_who(tmp_path: Path) -> None:
    with Lease(tmp_path, "job 12_3", "second"):
        held = holder(tmp_path)
        assert held is not None
        assert (held.owner, held.pid, held.attempt, held.alive) == ("job 12_3", os.getpid(), "second", True)
        with pytest.raises(LeaseTakenError, match=rf"job 12_3 works on it, on .* \(process {os.getpid()}\) since 20"):
            Lease(tmp_path, "pid 1 on x").__enter__()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_of_this_machine_is_known_to_be_dead_at_once(tmp_path: Path) -> None:
    process = holding(tmp_path, "pid 1 on here")
    process.kill()  # and not waited for: as a zombie it still has its number
    wait_until(lambda: (found := holder(tmp_path)) is None or not found.alive)
    found = holder(tmp_path)
    assert found is not None
    assert not found.alive
    assert found.age < 20
    with Lease(tmp_path, "pid 2 on here"):
        assert owner_of(tmp_path) == "pid 2 on here"
    process.communicate()
    assert list(tmp_path.iterdir()) == []


def test_another_process_with_the_number_of_a_dead_one_is_not_it(tmp_path: Path) -> None:
    end(holding(tmp_path, "pid 1 on here"))
    path = tmp_path / "lease.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "pid": os.getpid()}))
    found = holder(tmp_path)
    assert found is not None
    assert not found.alive


def test_a_silent_process_that_can_be_seen_keeps_its_lease(tmp_path: Path) -> None:
    process = holding(tmp_path, "pid 1 on here", renew=0.1, stale=0.3)
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    found = holder(tmp_path, stale=0.3)
    assert found is not None
    assert found.age > 0.3
    assert found.alive
    end(process)


@pytest.mark.parametrize(("age", "owner", "taken"), [(5, "job 7", False), (5, "job 8", True), (100, "job 7", True)])
def test_elsewhere_age_decides_and_a_job_started_again_takes_its_own(
    tmp_path: Path, age: float, owner: str, taken: bool
) -> None:
    left_behind(tmp_path, "job 8", age)
    lease = Lease(tmp_path, owner, renew=0.1)
    if taken:
        with lease:
            assert owner_of(tmp_path) == owner
    else:
        with pytest.raises(LeaseTakenError, match=r"job 8 works on it, on other"):
            lease.__enter__()


def test_a_job_started_again_leaves_its_earlier_process_time_to_notice(tmp_path: Path) -> None:
    left_behind(tmp_path, "job 8", 5)
    begin = time.monotonic()
    with Lease(tmp_path, "job 8", renew=0.4):
        assert time.monotonic() - begin >= 0.6


def test_waiting_ends_when_the_other_falls_silent(tmp_path: Path) -> None:
    left_behind(tmp_path, "job 7", 0)
    with Lease(tmp_path, "job 8", wait=30, stale=0.5):
        assert owner_of(tmp_path) == "job 8"


@pytest.mark.parametrize("orphan", [False, True], ids=["lease", "lease and a right to it"])
def test_of_many_contenders_for_an_abandoned_lease_one_wins(tmp_path: Path, orphan: bool) -> None:
    """With an orphan, one that was taking it over has been killed in the middle."""
    end(holding(tmp_path, "pid 1 on here"))
    if orphan:
        lease = (tmp_path / "lease.json").read_text()
        claim = json.dumps({**json.loads(lease), "token": "0" * 16})
        (tmp_path / f".lease-{json.loads(lease)['token']}.next").write_text(claim)
    at = time.time() + 1.5
    contenders = [start(CONTEND, tmp_path, number, at) for number in range(12)]
    for process in contenders:
        assert process.communicate(timeout=PATIENCE)[1] == ""
    assert len(list(tmp_path.glob("winner-*"))) == 1
    assert [path.name for path in tmp_path.iterdir() if "lease" in path.name] == []


def test_many_in_turn_are_never_two_at_once(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("0")
    processes = [start(TURNS, tmp_path) for _ in range(4)]
    for process in processes:
        assert process.communicate(timeout=PATIENCE)[1] == ""
    assert (tmp_path / "count").read_text() == "32"


def test_a_holder_that_lost_its_lease_ends_itself_and_leaves_the_others_alone(tmp_path: Path) -> None:
    process = holding(tmp_path, "job 8", renew=0.1, stale=0.3)
    process.send_signal(signal.SIGSTOP)
    elsewhere(tmp_path, 100)  # as another machine would see it
    with Lease(tmp_path, "job 9", renew=0.1):
        process.send_signal(signal.SIGCONT)
        said = process.communicate(timeout=PATIENCE)[1]
        assert process.returncode == TAKEN
        assert "lost the lease (job 9 on" in said
        time.sleep(0.3)
        assert owner_of(tmp_path) == "job 9"


def test_a_lease_is_renewed(tmp_path: Path) -> None:
    with Lease(tmp_path, "pid 1 on here", renew=0.1):
        elsewhere(tmp_path, 50)
        time.sleep(0.5)
        found = holder(tmp_path)
        assert found is not None
        assert found.age < 10


@pytest.mark.parametrize("text", ["", "{", "null", '{"token": "x", "more": 1}'])
def test_a_damaged_lease_keeps_others_off_only_while_it_is_fresh(tmp_path: Path, text: str) -> None:
    (tmp_path / "lease.json").write_text(text)
    with pytest.raises(LeaseTakenError, match="a process that did not say who it is"):
        Lease(tmp_path, "pid 1 on here").__enter__()
    os.utime(tmp_path / "lease.json", (0, 0))
    with Lease(tmp_path, "pid 1 on here"):
        assert owner_of(tmp_path) == "pid 1 on here"
