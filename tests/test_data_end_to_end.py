"""Data as a user meets it: prepared alone, looked at, damaged, removed, made again; every way to mix it trained on."""

from __future__ import annotations

import csv
import os
import random
import signal
import time
from pathlib import Path

import pytest
from launching import LEAST, finish, fork, start

from cpt.cli import main as cpt
from cpt.files import read_json

PREPARING = [*LEAST, "evals=[bpb]", "langcat=sel"]


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def prepared(own_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Two runs whose data was prepared and that were not trained, and what the launch printed."""
    folder = tmp_path_factory.mktemp("prepared")
    return folder, finish(start(folder, own_cache, "-m", "data=mono,bi", *PREPARING, "prepare_only=true"))


def data(cache: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        cpt(["data", *arguments, "--cache", str(cache)])
    return int(ended.value.code or 0), capsys.readouterr().out


def test_preparing_alone_trains_nothing_and_says_what_there_is(prepared: tuple[Path, str]) -> None:
    folder, output = prepared
    assert "Everything is prepared; nothing was trained (prepare_only=true)." in output
    assert "times as much" in output
    assert "Data: what an epoch takes" in output
    assert "sel: mono and bi (" in output
    assert not list(folder.glob("runs/*/*/train.done"))
    with (folder / "runs/toy/data.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["source"] for row in rows} > {"mono/deu_Latn", "bi/deu_Latn-mri_Latn"}
    for run in {row["run"] for row in rows}:
        assert sum(float(row["share_tokens"]) for row in rows if row["run"] == run) == pytest.approx(1, abs=1e-4)


def test_data_is_listed_verified_and_removed(
    prepared: tuple[Path, str], own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder, _), cache = prepared, own_cache
    code, told = data(cache, capsys)
    assert code == 0
    assert "mono/deu_Latn" in told
    assert data(cache, capsys, "verify") == (0, "14 verified, 0 damaged pieces\n")
    markers = cache.glob("shards/*/marker.json")
    [shard] = [path.parent for path in markers if read_json(path)["source"] == "mono/deu_Latn"]
    before = (shard / "tokens.bin").read_bytes()
    (shard / "tokens.bin").write_bytes(bytes([before[0] ^ 1]) + before[1:])
    code, told = data(cache, capsys, "verify")
    assert code == 1
    assert f"mono/deu_Latn: {shard / 'tokens.bin'}: damaged between bytes 0 and" in told
    with pytest.raises(SystemExit) as ended:
        cpt(["--runs", str(folder / "runs"), "data", "remove", "mono/bel_Cyrl", "--cache", str(cache)])
    assert ended.value.code == 1
    assert "still to be trained on it; --force removes it" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        cpt(["data", "remove", "mono/deu_Lat", "--cache", str(cache)])
    assert ended.value.code == 2
    assert "did you mean 'mono/deu_Latn'?" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:  # what is damaged is of no use to anybody
        cpt(["--runs", str(folder / "runs"), "data", "remove", "mono/deu_Latn", "--cache", str(cache)])
    assert ended.value.code == 0
    assert not shard.exists()
    finish(fork(folder, cache, "-m", "data=mono,bi", *PREPARING, "prepare_only=true"))
    assert (shard / "tokens.bin").read_bytes() == before


def test_preparing_killed_at_random_moments_ends_in_the_same_bytes(
    prepared: tuple[Path, str], own_cache: Path, tmp_path: Path
) -> None:
    """The launcher with all its processes, twice, then two launches of other studies at once."""
    fresh, rng = tmp_path / "cache", random.Random(7)
    arguments = ["-m", "data=mono,bi", *PREPARING, "prepare_only=true"]
    for _ in range(2):
        process = start(tmp_path, fresh, *arguments)
        time.sleep(rng.uniform(3.0, 6.0))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    both = [fork(tmp_path, fresh, *arguments, f"study=s{number}") for number in range(2)]
    for launch in both:
        finish(launch)
    names = ("tokens.bin", "ends.bin", "amounts.bin", "stretches.bin", "stretch_ends.bin")
    for shard in own_cache.glob("shards/*"):
        for name in names if shard.is_dir() else ():
            assert (fresh / "shards" / shard.name / name).read_bytes() == (shard / name).read_bytes(), shard


@pytest.mark.parametrize(
    "arguments",
    [
        ("train.packing=joined", "code=true", "mixing.replay.share=0.1"),
        (
            *("data=bi", "data_mix.form=interlinear", "data_mix.direction=both", "mixing=unimax", "mixing.total=800"),
            "mixing.stages=[{until:0.5,factors:{deu_Latn:3}},{until:1,factors:{eng_Latn:0}}]",
        ),
    ],
)
def test_every_way_to_mix_and_pack_trains(cache: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    finish(fork(tmp_path, cache, *PREPARING, *arguments))
    [ledger] = [read_json(path) for path in tmp_path.glob("runs/toy/*/ledger.json")]
    assert sum(source["tokens_seen"] for source in ledger["sources"]) == ledger["tokens_seen"]
    assert set(ledger["packing"]) == {"padded", "dropped", "overwritten"}
