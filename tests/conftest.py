"""Shared by all tests: a home of their own, an offline hub, a small toy world, and the command line in this process."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
from hydra.types import RunMode
from launching import SERVER_IMPORTS
from own_home import HOME, IS_WORKER

from cpt.config import StudyConfig
from cpt.corpora.toy.world import ToyWorld, WorldSize
from cpt.processes import usable_cores

gc.disable()  # until tests begin: nothing that is imported to collect them is ever garbage
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or each process that a test starts compiles our modules anew
os.environ["CPT_PLOTS"] = "svg"  # drawing a plot as PDF and PNG, too, takes three times as long
multiprocessing.set_forkserver_preload(SERVER_IMPORTS)  # for the processes of all tests of this session
hypothesis.settings.register_profile("same", derandomize=True, deadline=None)
hypothesis.settings.load_profile("same")

ROOT = Path(__file__).resolve().parents[1]
USER_FOLDERS = ("runs", ".cache", "wandb", "conf/local")
BEFORE = pytest.StashKey[set[tuple[str, int]]]()
MARKED_FILES = {
    "slurm": ["test_slurm"],
    "browser": ["test_report_in_browser", "test_dashboard_in_browser"],
    "study": ["test_end_to_end", "test_end_to_end_killed", "test_data_end_to_end", "test_local_jobs"],
    "slow": [
        *("test_mistakes", "test_shards", "test_preparing", "test_keys", "test_push", "test_simulated_studies"),
        *(
            "test_configurations",
            "test_compose",
            "test_engines",
            "test_benchmarks",
            "test_run_ids",
            "test_sbatch_texts",
        ),
        *("test_hardware_files", "test_doctor", "test_best", "test_paper_protocol", "test_places", "test_trackio"),
    ],
}
"""Tests that start SLURM, a browser or whole studies, or take more than ten seconds together."""
LONGEST = [
    *("test_end_to_end", "test_mistakes", "test_shards"),  # one at first: several would wait for the same base model
    *("test_end_to_end_killed", "test_slurm", "test_data_end_to_end", "test_preparing", "test_push", "test_keys"),
    *("test_report_in_browser", "test_engines", "test_configurations", "test_local_jobs", "test_dashboard_in_browser"),
]
"""Files in the order in which they begin; then the others, each shorter than these."""
AXES = ["model=l3,l2,v7", "data=mono,bi", "code=true,false", "langcat=alt,sel,stag"]


def pytest_sessionstart(session: pytest.Session) -> None:
    """Tests must not depend on what the user has in the checkout, or change it."""
    if site := list((ROOT / "conf/local").glob("*.yaml")):
        pytest.exit(f"{site[0]}: tests would read these defaults; run them in a checkout without it", returncode=2)
    if not IS_WORKER:
        session.config.stash[BEFORE] = user_files()


def pytest_sessionfinish(session: pytest.Session) -> None:
    if IS_WORKER:
        return
    os.chdir(ROOT)
    shutil.rmtree(HOME, ignore_errors=True)
    if changed_files(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if changed := changed_files(config):
        terminalreporter.section("The tests changed files of the user")
        terminalreporter.write_line(", ".join(changed[:10]))


def changed_files(config: pytest.Config) -> list[str]:
    before = config.stash.get(BEFORE, None)
    return [] if before is None else sorted({name for name, _ in user_files() ^ before})


def user_files() -> set[tuple[str, int]]:
    """The files that a user's studies have in the checkout, with the times of their last change."""
    paths = [path for name in USER_FOLDERS for path in [ROOT / name, *(ROOT / name).rglob("*")]]
    return {(str(path.relative_to(ROOT)), path.lstat().st_mtime_ns) for path in paths if path.exists()}


@pytest.fixture(autouse=True)
def own_working_directory(tmp_path: Path) -> Iterator[None]:
    """Each test works in an empty folder, so that none finds the runs or the cache of a user or of another test."""
    os.chdir(tmp_path)
    yield
    os.chdir(HOME)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `make test-fast` leaves out, and begin with what takes longest, so that no worker ends alone."""
    for item in items:
        file = item.path.stem
        for mark, files in MARKED_FILES.items():
            if file in files:
                item.add_marker(mark)
    order = {file: index for index, file in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: a third of the time tests wait, for processes to end and for SLURM."""
    return usable_cores() + 1


def pytest_collection_finish() -> None:
    """From here on the collector of cycles passes over what is imported, a million objects at every look."""
    gc.freeze()
    gc.enable()
    os.chdir(HOME)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all processes that run tests together: what is costly to make is made there once, under its locks."""
    mine = tmp_path_factory.getbasetemp()
    return mine.parent if IS_WORKER else mine


@pytest.fixture(scope="session")
def world(shared: Path) -> ToyWorld:
    size = WorldSize(
        english_words=3_000,
        words=1_500,
        pair_words=1_500,
        topic_words=1_500,
        code_snippets=60,
        heldout_docs=4,
        sib_train=21,
        sib_test=14,
        flores_dev=8,
        flores_devtest=8,
    )
    return ToyWorld(shared / "small-world", size=size)


@pytest.fixture(scope="session")
def cache(shared: Path) -> Path:
    """The cache of studies that are launched as a user launches them: base models are made once for all tests."""
    return shared / "cache"


@pytest.fixture
def compose(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[StudyConfig]]:
    """The configurations that `launch.py` with these arguments would launch, composed in this process."""

    def composed(*arguments: str) -> list[StudyConfig]:
        found: list[list[StudyConfig]] = []
        monkeypatch.setattr(
            "cpt.study.launch.launch_study.launch_study", lambda configs, executor: found.append(configs)
        )
        run_command(monkeypatch, "-m", *arguments)
        return found[0]

    return composed


@pytest.fixture
def mistake(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., str]:
    """What `launch.py` with these arguments tells the user; it must end with exit code 2 and start nothing."""

    def told(*arguments: str, folder: Path = tmp_path) -> str:
        monkeypatch.chdir(folder)
        before = _statuses(folder)
        monkeypatch.setattr("cpt.study.execute.local.LocalExecutor.execute", _must_not_start)
        with pytest.raises(SystemExit) as ended:
            run_command(monkeypatch, *arguments)
        assert ended.value.code == 2
        assert _statuses(folder) == before, "a run was started before all were checked"
        message = capsys.readouterr().err.strip()
        assert "Traceback" not in message
        return message

    return told


def _statuses(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.glob("runs/*/*/status.json")}


def _must_not_start(*_: object) -> None:
    raise AssertionError("a run was started")


def run_command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    from cpt.study.compose.command_line import command
    from cpt.study.execute.run_worker import execute_folder

    monkeypatch.setattr(sys, "argv", [str(ROOT / "launch.py"), *arguments])
    monkeypatch.syspath_prepend(str(ROOT))
    # Hydra composes once more only to read hydra.mode, which conf/config.yaml sets.
    monkeypatch.setattr("hydra._internal.hydra.Hydra.get_mode", lambda *_, **__: RunMode.MULTIRUN)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        command(execute_folder)
    finally:  # Hydra has logging write to this test's screen, which is closed when another one logs
        for handler in root.handlers[:]:
            if handler not in handlers:
                root.removeHandler(handler)
                handler.close()
        for handler in handlers:
            root.addHandler(handler)
        root.setLevel(level)
