"""What `cpt sync` sends to W&B, with wandb itself sending, and a server that keeps what arrives: nothing twice."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from study_folder import row, write_rows, write_run
from test_tracking import RUN, UNTOLD, telling, train
from waiting import wait_until
from wandb_reader import read_ended
from wandb_server import KEY, Arrived, Server, no_account, serving

from cpt.cli import main
from cpt.config import StudyConfig
from cpt.results.tracking.comparison_run import FOLDER
from cpt.results.tracking.mirror import Tracker, open_tracker
from cpt.results.tracking.sent_record import RecordedSink
from cpt.results.tracking.wandb import Wandb
from cpt.study.compare.mirror_identity import identity_of
from cpt.study.state.lease import Lease
from cpt.study.state.run import Run

ROOT = Path(__file__).parents[2]
RUN_THERE = RUN.replace("+", "_")
BASE = "L3-Base-9f8e7d6c"
OTHER = "L3-Mono-Stag-5e6f7a8b"
Sync = Callable[..., tuple[int, list[str]]]


@pytest.fixture(autouse=True)
def server(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with no_account(tmp_path_factory.mktemp("home"), monkeypatch), serving() as running:
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("WANDB_BASE_URL", running.url)
        yield running


@pytest.fixture(scope="module")
def composed() -> dict[str, StudyConfig]:
    """What has been composed once."""
    return {}


@pytest.fixture
def study(tmp_path: Path, composed: dict[str, StudyConfig], request: pytest.FixtureRequest) -> Path:
    """A study of two runs and a base model, planned."""
    if not composed:
        [config] = request.getfixturevalue("compose")("study=little", "langcat=stag", "code=true", "data=bi")
        composed["Bi+Code"] = config
        composed["Mono"] = replace(config, code=False, data_mix=replace(config.data_mix, name="mono", label="Mono"))
    folder = tmp_path / "runs" / "little"
    for run_id, name in ((RUN, "Bi+Code"), (OTHER, "Mono"), (BASE, "Mono")):
        path = write_run(folder, run_id)
        (path / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.structured(composed[name])))
    (folder / BASE / "categories.json").write_text('[["stag", [["zul_Latn", "train"]]]]')
    (folder / ".lock").touch()
    return folder


@pytest.fixture
def sync(study: Path, capsys: pytest.CaptureFixture[str]) -> Sync:
    """`cpt sync …`: its exit code and the lines it said."""

    def called(*arguments: str) -> tuple[int, list[str]]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["--runs", str(study.parent), "sync", *arguments])
        said = capsys.readouterr()
        return int(ended.value.code or 0), [*said.out.splitlines(), *said.err.splitlines()]

    return called


def mirror(study: Path, run_id: str, mode: str) -> Tracker:
    folder = study / run_id
    return open_tracker(mode, folder, identity_of(Run.from_folder(folder), run_id))


def finish(study: Path, run_id: str, value: float = 0.5) -> None:
    rows = [
        row(run_id, "zul_Latn", value, langcat="stag"),
        row(run_id, "eng_Latn", 0.75, role="english", langcat="stag"),
    ]
    write_rows(study / run_id, rows)
    (study / run_id / "evaluate.done").touch()


def arrived(server: Server, run_id: str = RUN) -> Arrived:
    return server.runs[run_id.replace("+", "_")]


def test_a_run_that_was_offline_is_sent_whole_and_once(study: Path, sync: Sync, server: Server) -> None:
    with mirror(study, RUN, "offline") as live:
        train(study / RUN, live, 0, 50)
        finish(study, RUN)
        live.scored()
    offline = read_ended(study / RUN)
    code, said = sync("little", RUN)
    assert (code, said[0]) == (0, f"{RUN}: 51 steps, 4 scores and totals")
    run = arrived(server)
    assert run.steps == list(range(51)) == offline.steps
    for sent, told in zip(run.history, offline.history, strict=True):
        assert {k: v for k, v in sent.items() if k[0] != "_"} == pytest.approx(
            {k: v for k, v in told.items() if k[0] != "_"}
        )
    assert run.exits == [0]
    assert run.facts["groupName"] == offline.group == "little"
    assert run.facts["tags"] == offline.tags == ["l3", "bi", "stag", "seed-1", "code", "toy"]
    assert run.facts["notes"].startswith("TOY")
    assert run.facts["jobType"] == "train"
    assert run.config["train"] == offline.config["train"]
    assert "paths" not in run.config
    assert not {"account", "container", "venv"} & run.config["hardware"].keys()
    for name in ("sib200/sound/zul_Latn/accuracy", "mean/sib200/sound/train/accuracy"):
        assert run.summary[name] == offline.summary[name] == 0.5
    asked = len(server.requests)
    code, said = sync("little", RUN)
    assert (code, said) == (0, [f"{RUN}: nothing new", "Nothing new for W&B online in 1 run."])
    assert len(server.requests) == asked, "the server was asked though nothing was new"
    assert server.unknown == []


@pytest.mark.parametrize("remembered", ["", '{"W&B onl', "[]"])
def test_what_the_server_has_counts_when_nothing_is_remembered(
    remembered: str, study: Path, sync: Sync, server: Server
) -> None:
    train(study / RUN, UNTOLD, 0, 30)
    assert sync("little", RUN)[0] == 0
    (study / RUN / "mirrored.json").write_text(remembered)
    train(study / RUN, UNTOLD, 30, 40)
    code, said = sync("little", RUN)
    assert (code, said[0]) == (0, f"{RUN}: 10 steps")
    assert arrived(server).steps == list(range(41))


def test_live_killed_resumed_and_synced_is_one_run(study: Path, sync: Sync, server: Server) -> None:
    folder = study / RUN
    train(folder, UNTOLD, 0, 20)
    with telling(folder, "online", identity_of(Run.from_folder(folder), RUN)) as child:
        wait_until(lambda: RUN_THERE in server.runs, child)
    assert arrived(server).steps == []  # wandb sends every 15 s: what the process had told is lost with it
    with mirror(study, RUN, "online") as resumed:
        train(folder, resumed, 15, 30)
    assert arrived(server).steps == list(range(31))
    assert arrived(server).exits == [0]
    with mirror(study, RUN, "offline") as away:
        train(folder, away, 25, 40)
    finish(study, RUN)
    assert sync("little", RUN)[1][0] == f"{RUN}: 10 steps, 4 scores and totals"
    with mirror(study, RUN, "online") as again:
        train(folder, again, 35, 50)
        again.scored()
    assert arrived(server).steps == list(range(51))
    assert [row["loss"] for row in arrived(server).history[1:]] == pytest.approx([4 / step for step in range(1, 51)])
    assert sync("little", RUN)[1][0] == f"{RUN}: nothing new"


def test_a_run_under_way_is_sent_as_far_as_it_is(study: Path, sync: Sync, server: Server) -> None:
    folder = study / RUN
    with Lease(folder, "process 1"):
        train(folder, UNTOLD, 0, 10, curve_every=5)
        with (folder / "curve.jsonl").open("a") as file:
            file.write('{"step": 11, "bits_per_byte": {"zul_Latn": 1.0}, "mean": {"train": 1.0}}\n')
        with (folder / "metrics.jsonl").open("a") as file:
            file.write('{"step": 11, "lo')  # being written
        assert sync("little", RUN)[1][0] == f"{RUN}: 11 steps"
        assert arrived(server).steps == list(range(11))
        train(folder, UNTOLD, 10, 20, curve_every=5)
    assert sync("little", RUN)[1][0] == f"{RUN}: 10 steps"
    assert arrived(server).steps == list(range(21))
    assert arrived(server).history[15]["bits_per_byte/train"] == pytest.approx(1.85)


def test_a_run_that_is_told_live_is_left_to_its_process(study: Path, sync: Sync, server: Server) -> None:
    folder = study / RUN
    train(folder, UNTOLD, 0, 10)
    with Lease(folder, "process 1"):
        live = RecordedSink(folder, identity_of(Run.from_folder(folder), RUN), Wandb("online"), folder)
        assert sync("little", RUN)[1][0] == f"{RUN}: skipped, its own process is sending it"
        live.close(failed=False)
    assert sync("little", RUN)[1][0] == f"{RUN}: 11 steps"


def test_a_failed_run_ends_as_failed_and_then_does_not(study: Path, sync: Sync, server: Server) -> None:
    shutil.rmtree(study / OTHER)
    config = (study / RUN / "config.yaml").read_text()
    folder = write_run(study, OTHER, state="failed", error="out of memory")
    (folder / "config.yaml").write_text(config)
    train(folder, UNTOLD, 0, 3)
    sync("little", OTHER)
    assert arrived(server, OTHER).exits == [1]
    status = (folder / "status.json").read_text().replace('"failed"', '"finished"')
    (folder / "status.json").write_text(status)
    assert sync("little", OTHER)[1][0] == f"{OTHER}: how it ended"
    assert arrived(server, OTHER).exits == [1, 0]
    assert arrived(server, OTHER).steps == [0, 1, 2, 3]


def test_what_a_mirror_did_not_take_is_not_remembered_as_there(study: Path, sync: Sync, server: Server) -> None:
    folder = study / RUN
    train(folder, UNTOLD, 0, 5)
    live = RecordedSink(folder, identity_of(Run.from_folder(folder), RUN), Wandb("online"), folder)
    live.log({"loss": 4.0}, 0)
    with pytest.raises(TypeError):
        live.log(5, 1)  # type: ignore[arg-type]
    live.close(failed=True)
    assert sync("little", RUN)[1][0] == f"{RUN}: 5 steps"
    assert arrived(server).steps == list(range(6))


def test_a_dry_run_sends_nothing_and_says_what_would_be(study: Path, sync: Sync, server: Server) -> None:
    train(study / RUN, UNTOLD, 0, 5)
    code, said = sync("--dry-run")
    assert (code, server.requests) == (0, [])
    assert f"{RUN}: 6 steps" in said
    assert said[-1] == "Would send to W&B online: 6 steps, something new of 1."


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("WANDB_BASE_URL", "http://127.0.0.1:9", "127.0.0.1:9 cannot be reached"),
        ("WANDB_API_KEY", "", "no API key was found (set WANDB_API_KEY or run `wandb login`)"),
    ],
)
def test_no_way_to_a_server_is_said_in_a_line(
    name: str, value: str, reason: str, study: Path, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    code, [said] = sync()
    assert code == 1
    assert said.startswith(f"Nothing was sent to W&B online: {reason}")


def test_a_server_that_refuses_leaves_everything_to_be_sent(study: Path, sync: Sync, server: Server) -> None:
    train(study / RUN, UNTOLD, 0, 5)
    server.refuse = True
    code, said = sync("little", RUN)
    assert code == 1
    assert said[0].startswith(f"{RUN}: not sent (")
    assert KEY not in " ".join(said)
    server.refuse = False
    assert sync("little", RUN)[1][0] == f"{RUN}: 6 steps"
    assert arrived(server).steps == list(range(6))
    kept = b"".join(path.read_bytes() for path in study.rglob("*") if path.is_file())
    assert KEY.encode() not in kept


def test_a_base_model_is_sent_with_its_scores(study: Path, sync: Sync, server: Server) -> None:
    finish(study, BASE, 0.25)
    assert sync("little", BASE)[1][0] == f"{BASE}: 4 scores and totals"
    run = arrived(server, BASE)
    assert (run.facts["jobType"], run.facts["tags"]) == ("base", ["l3", "base", "toy"])
    assert run.summary["sib200/sound/zul_Latn/accuracy"] == 0.25
    assert not (study / FOLDER).exists()


def test_trackio_is_a_second_destination(study: Path, sync: Sync) -> None:
    train(study / RUN, UNTOLD, 0, 5)
    assert sync("little", RUN, "--to", "trackio")[1][0] == f"{RUN}: 6 steps"
    assert sync("little", RUN, "--to", "trackio")[1][0] == f"{RUN}: nothing new"
