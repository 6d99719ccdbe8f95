"""The record of a study's jobs: several launches that write at once, arrays, and damage."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from waiting import PATIENCE

from cpt.errors import UserError
from cpt.study.cluster.job_record import SubmittedJob, job_of, jobs_file, known_jobs, record_jobs

ARRAY = SubmittedJob("train", "train", "12", ["a-1", "b-2"], True, "slurm", "2026-01-01T00:00:00+00:00", "ann", "c0de")
RECORD = """
import sys
from dataclasses import replace
from pathlib import Path
from cpt.study.cluster.job_record import SubmittedJob, record_jobs
for number in range(5):
    job = SubmittedJob("train", "train", f"{sys.argv[2]}{number}", ["a-1"], False, "slurm", "", "ann")
    record_jobs(Path(sys.argv[1]), [job])
"""


def test_the_last_job_of_a_runs_stage_is_found(tmp_path: Path) -> None:
    assert known_jobs(tmp_path) == []
    record_jobs(tmp_path, [ARRAY, replace(ARRAY, name="compare", stage="compare", job="14", elements=[], array=False)])
    record_jobs(tmp_path, [replace(ARRAY, job="20", elements=["b-2"], array=False)])
    assert job_of(tmp_path, "a-1", "train") == "12_0"
    assert job_of(tmp_path, "b-2", "train") == "20"
    assert job_of(tmp_path, "a-1", "evaluate") is None
    assert job_of(tmp_path, "compare", "compare") == "14"
    assert known_jobs(tmp_path)[0] == ARRAY


def test_launches_at_once_lose_none_of_their_jobs(tmp_path: Path) -> None:
    started = [subprocess.Popen([sys.executable, "-c", RECORD, tmp_path, str(number)]) for number in range(1, 5)]
    assert [process.wait(timeout=PATIENCE) for process in started] == [0] * 4
    assert sorted(job.job for job in known_jobs(tmp_path)) == sorted(f"{a}{b}" for a in range(1, 5) for b in range(5))


@pytest.mark.parametrize("text", ["", "{", "{}", "[1]", '[{"name": "train"}]'])
def test_damage_is_told_with_what_to_do(tmp_path: Path, text: str) -> None:
    jobs_file(tmp_path).parent.mkdir(parents=True)
    jobs_file(tmp_path).write_text(text)
    for ask in (lambda: known_jobs(tmp_path), lambda: record_jobs(tmp_path, [ARRAY])):
        with pytest.raises(UserError, match=r"jobs\.json is damaged .* delete the file, and launch again"):
            ask()
    assert jobs_file(tmp_path).read_text() == text
