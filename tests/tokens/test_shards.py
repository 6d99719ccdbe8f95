"""Shards are whole or grow on, whoever is killed, whoever else wants them, and whatever the disk does."""

from __future__ import annotations

import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from making import made, pairs, source, tokenizer

from cpt.corpora.reading import layout
from cpt.corpora.source import Amount
from cpt.corpora.toy.world import ToyWorld
from cpt.errors import UserError
from cpt.growing_folder import marker, read_journal, verify
from cpt.tokens import shards
from cpt.tokens.encode import WORDS, TokenizerFile
from cpt.tokens.shards import FILES

TEXTS = [f"umfundi {n} ufunda incwadi " * (3 + n % 50) for n in range(2_000)]


@pytest.fixture(scope="module")
def tokens(world: ToyWorld) -> TokenizerFile:
    return tokenizer(world)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 4 kB and pieces of two, so that small texts have many of each."""
    monkeypatch.setattr(layout, "CHUNK_BYTES", 4_096)
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("cpt.corpora.reading") and hasattr(module, "CHUNK_BYTES"):
            monkeypatch.setattr(module, "CHUNK_BYTES", 4_096)
    monkeypatch.setattr(shards, "PIECE_CHUNKS", 2)


def content(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_any_number_of_processes_gives_the_same_bytes(tmp_path: Path, tokens: TokenizerFile, processes: int) -> None:
    texts = TEXTS * 4
    made(tmp_path, source(tmp_path, "alone", texts), tokens)
    made(tmp_path, source(tmp_path, "many", texts), tokens, processes=processes)
    assert content(tmp_path / "alone-shard") == content(tmp_path / "many-shard")


@pytest.mark.usefixtures("small_chunks")
def test_a_shard_grows_on_to_the_bytes_it_would_have_had(tmp_path: Path, tokens: TokenizerFile) -> None:
    item = source(tmp_path, "grown", TEXTS)
    sizes = []
    for words in (100, 5_000, 5_000, 60_000):
        shard = made(tmp_path, item, tokens, Amount(words))
        assert not shard.whole
        assert sum(shard.total(WORDS).values()) >= words
        sizes.append(shard.documents)
    assert sizes[0] < sizes[1] == sizes[2] < sizes[3]
    assert made(tmp_path, item, tokens).whole
    made(tmp_path, source(tmp_path, "once", TEXTS), tokens)
    assert content(tmp_path / "grown-shard") == content(tmp_path / "once-shard")


@pytest.mark.usefixtures("small_chunks")
def test_documents_of_pairs_grow_on_too(tmp_path: Path, tokens: TokenizerFile) -> None:
    sides = [(f"item {n}", f"into {n} yesi") for n in range(2_000)]
    item = pairs(tmp_path, "grown", sides, per_document=3)
    made(tmp_path, item, tokens, Amount(50))
    grown = made(tmp_path, item, tokens)
    once = made(tmp_path, pairs(tmp_path, "once", sides, per_document=3), tokens)
    assert content(tmp_path / "grown-shard") == content(tmp_path / "once-shard")
    assert int((np.asarray(grown.stretches) >> 4).sum()) == grown.ends[-1] == once.ends[-1]


def test_what_is_there_is_not_made_again(
    tmp_path: Path, tokens: TokenizerFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = source(tmp_path, "one", TEXTS)
    made(tmp_path, item, tokens)
    monkeypatch.setattr(shards, "encode", lambda task: pytest.fail("it was tokenised already"))
    assert made(tmp_path, item, tokens, Amount(50)).documents == len(TEXTS)
    assert made(tmp_path, item, tokens, Amount(10**9)).documents == len(TEXTS)


@pytest.mark.usefixtures("small_chunks")
def test_a_flipped_byte_is_found_and_named(tmp_path: Path, tokens: TokenizerFile) -> None:
    made(tmp_path, source(tmp_path, "one", TEXTS), tokens)
    folder = tmp_path / "one-shard"
    assert list(verify(folder)) == []
    for name in ("tokens.bin", "ends.bin", "amounts.bin"):
        path = folder / name
        before = path.read_bytes()
        at = len(before) // 2
        path.write_bytes(before[:at] + bytes([before[at] ^ 1]) + before[at + 1 :])
        [problem] = list(verify(folder))
        path.write_bytes(before)
        assert problem.startswith(f"{path}: damaged between bytes ")
        first, last = (int(part.replace(",", "")) for part in problem.split(" bytes ")[1].split(" (")[0].split(" and "))
        assert first <= at < last


@pytest.mark.usefixtures("small_chunks")
def test_a_shard_that_lost_bytes_is_made_whole_again(tmp_path: Path, tokens: TokenizerFile) -> None:
    item = source(tmp_path, "one", TEXTS)
    made(tmp_path, item, tokens)
    folder = tmp_path / "one-shard"
    before = content(folder)
    for name in FILES[:3]:
        with (folder / name).open("r+b") as file:
            file.truncate(len(before[name]) // 3)
        assert marker(folder) is None
        made(tmp_path, item, tokens)
        assert content(folder) == before


def test_an_empty_source_is_an_error(tmp_path: Path, tokens: TokenizerFile) -> None:
    with pytest.raises(UserError, match="source none has no documents"):
        made(tmp_path, source(tmp_path, "none", []), tokens)


def test_unreadable_lines_are_passed_over_and_named(tmp_path: Path, tokens: TokenizerFile) -> None:
    item = source(tmp_path, "one", ["good one", "good two"])
    path = tmp_path / "one.jsonl"
    good = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(good[0] + b'{"text": "torn\n' + b'{"text": "\xff\xfe"}\n' + good[1])
    shard = made(tmp_path, item, tokens)
    facts = marker(tmp_path / "one-shard")
    assert shard.documents == 2
    assert facts is not None
    assert facts["unreadable"] == 2
    assert [sample.split(": ")[0] for sample in facts["samples"]] == [f"{path}:2", f"{path}:3"]


@pytest.mark.usefixtures("small_chunks")
def test_a_full_disk_ends_in_a_message_and_goes_on(tmp_path: Path, tokens: TokenizerFile) -> None:
    """A file may grow to no more than a limit, as on a disk with no room left."""
    item = source(tmp_path, "one", TEXTS)
    made(tmp_path, source(tmp_path, "free", TEXTS), tokens)
    whole = content(tmp_path / "free-shard")
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole["tokens.bin"]) // 2, before[1]))
        with pytest.raises(UserError, match="no room left to write"):
            made(tmp_path, item, tokens)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    kept = len(read_journal(tmp_path / "one-shard"))
    assert kept > 1
    made(tmp_path, item, tokens)
    assert content(tmp_path / "one-shard") == whole


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from cpt.corpora.reading import layout, lines
layout.CHUNK_BYTES = lines.CHUNK_BYTES = 4_096
from cpt.tokens import shards
shards.PIECE_CHUNKS = 2
from making import maker, source
from cpt.corpora.source import Amount
from cpt.corpora.reading.layout import Stored, Volume
from cpt.corpora.source import Source
from cpt.tokens.encode import TokenizerFile
from cpt.processes import WorkerPool
if __name__ == "__main__":
    folder = Path({folder!r})
    volumes = (Volume("jsonl", (Stored({text!r}),), ("text",)),)
    item = Source("one", ("eng_Latn",), "test", lambda: volumes)
    print("ready", flush=True)
    maker(folder, item, TokenizerFile(*{tokens!r})).ensure(Amount(), WorkerPool())
"""


def prepare_apart(folder: Path, text: Path, tokens: TokenizerFile) -> subprocess.Popen[str]:
    root = str(Path(__file__).resolve().parent)
    fields = (tokens.path, tokens.fingerprint, tokens.end, tokens.start, tokens.vocabulary, tokens.habits)
    script = SCRIPT.format(root=root, folder=str(folder), text=str(text), tokens=fields)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_killed_anywhere_it_ends_in_the_same_bytes(tmp_path: Path, tokens: TokenizerFile, seed: int) -> None:
    """Killed at random moments until one attempt is let through, with a second process after the same shard."""
    texts = TEXTS * 3
    made(tmp_path, source(tmp_path, "free", texts), tokens)
    rng, kills = random.Random(seed), 0
    folder = tmp_path / "killed"
    folder.mkdir()
    for _ in range(3):
        process = prepare_apart(folder, tmp_path / "free.jsonl", tokens)
        time.sleep(rng.uniform(0.02, 0.4))
        kills += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert kills, "none was killed in time"
    both = [prepare_apart(folder, tmp_path / "free.jsonl", tokens) for _ in range(2)]
    assert [process.wait(120) for process in both] == [0, 0]
    assert content(folder / "one-shard") == content(tmp_path / "free-shard")
    assert list(verify(folder / "one-shard")) == []


def test_the_killed_are_not_trusted_beyond_what_was_checked(tmp_path: Path, tokens: TokenizerFile) -> None:
    """Bytes that never reached the disk, though the journal says so, are written again."""
    item = source(tmp_path, "one", TEXTS * 3)
    made(tmp_path, item, tokens)
    folder = tmp_path / "one-shard"
    before = content(folder)
    (folder / "marker.json").unlink()
    size = len(before["tokens.bin"])
    (folder / "tokens.bin").write_bytes(before["tokens.bin"][: size // 2] + bytes(size - size // 2))
    made(tmp_path, item, tokens)
    assert content(folder) == before
