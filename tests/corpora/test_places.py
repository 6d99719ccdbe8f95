"""Text from where the configuration says it is: a hub, the web, this machine; and what is told where it is not."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from data_hub import TOKEN, DataHub, DataSet, fresh, serving

from cpt.config import CorporaConfig, StudyConfig, TextConfig
from cpt.corpora import collected_text as collect
from cpt.corpora.bitext import BitextFormat
from cpt.corpora.collected_text import TextFolder
from cpt.corpora.corpus_location import CorpusLocation, braces, matches
from cpt.corpora.library import Library
from cpt.corpora.reading import LAYOUTS, lines
from cpt.corpora.reading.layout import Stored, Unreadable
from cpt.corpora.source import Amount, Source
from cpt.corpora.toy.world import ToyWorld
from cpt.errors import UserError
from cpt.processes import WorkerPool

ROOT = Path(__file__).resolve().parents[2]
MADLAD, STACK = "allenai/MADLAD-400", "bigcode/the-stack-dedup"
LANGUAGES = ("python", "java", "javascript", "c", "c++", "go", "rust", "typescript", "php", "ruby", "shell", "sql")

CONFIGURED: list[CorporaConfig] = []
"""Composed once for all tests."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[DataHub]:
    with serving(monkeypatch, tmp_path) as hub:
        yield hub


@pytest.fixture
def library(compose: Callable[..., list[StudyConfig]], tmp_path: Path, world: ToyWorld) -> Library:
    """As `corpora=hub` configures it."""
    if not CONFIGURED:
        [config] = compose("scale=paper", "corpora=hub", "dry_run=true")
        CONFIGURED.append(config.corpora)
    return Library(deepcopy(CONFIGURED[0]), world, tmp_path / "cache")


def packed(texts: list[str]) -> bytes:
    return gzip.compress("".join(json.dumps({"text": text}) + "\n" for text in texts).encode())


def numbered(file: int, count: int = 300) -> list[str]:
    return [f"umbhalo {file} {n} " + os.urandom(60).hex() for n in range(count)]


def table(texts: list[str]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"lang": ["x"] * len(texts), "content": texts}), file)
    return file.getvalue()


def madlad(*files: list[str]) -> DataSet:
    names = (f"data/zu/zu_clean_{number:04}.jsonl.gz" for number in range(len(files)))
    return DataSet({"README.md": b"", **{name: packed(texts) for name, texts in zip(names, files, strict=True)}})


def collected(source: Source, folder: Path, need: Amount | None = None) -> list[dict[str, str]]:
    """What is kept on disk once that much of it has been asked for."""
    with WorkerPool() as pool:
        TextFolder(folder, source).ensure(need or Amount(), pool)
    with zstandard.ZstdDecompressor().stream_reader(
        io.BytesIO((folder / collect.FILE).read_bytes()), read_across_frames=True
    ) as file:
        return [json.loads(line) for line in file.read().decode().split("\n")[:-1]]


def refused(source: Callable[[], Source]) -> str:
    """What is said before anything starts."""
    with pytest.raises(UserError) as told:
        source().check()
    message = str(told.value)
    assert TOKEN not in message
    return message


# ---- a hub ---------------------------------------------------------------------------------------------------------


def test_a_hub_is_read_as_a_stream_as_far_as_is_needed(
    hub: DataHub, library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collect, "PIECE_CHUNKS", 2)
    first = [r"umugqa\nomunye"] + [os.urandom(4_000).hex() for _ in range(2_000)]
    hub.sets[MADLAD] = madlad(first, ["okwesibili"])
    source = library.monolingual("zul_Latn")
    source.check()
    assert source.remote
    found = collected(source, tmp_path / "text", Amount(5))
    assert found[0] == {"text": "umugqa\nomunye"}
    assert [record["text"] for record in found[1:]] == first[1 : len(found)]
    path, stored = f"/cdn/{MADLAD}/data/zu/zu_clean_0000.jsonl.gz", hub.sets[MADLAD].files
    assert hub.sent[path] < 0.7 * len(stored["data/zu/zu_clean_0000.jsonl.gz"])
    assert not hub.asked_for("_0001")
    assert len(collected(source, tmp_path / "text")) == len(first) + 1
    assert hub.asked_for("cdn/allenai/MADLAD-400/data/zu/zu_clean_0001") == 1


def test_code_is_read_from_every_folder_that_is_named(hub: DataHub, library: Library, tmp_path: Path) -> None:
    files = {f"data/{name}/data-{n:05}-of-00002.parquet": table([f"{name} {n}"]) for name in LANGUAGES for n in (0, 1)}
    hub.sets[STACK] = DataSet({**files, "data/perl/data-00000-of-00001.parquet": table(["perl"])})
    source = library.code()
    source.check()
    found = [record["text"] for record in collected(source, tmp_path / "text")]
    assert found == [f"{name} {n}" for n in (0, 1) for name in LANGUAGES], "a chunk of each language in turn"
    assert not hub.asked_for("perl")
    del hub.sets[STACK].files["data/c++/data-00000-of-00002.parquet"]
    del hub.sets[STACK].files["data/c++/data-00001-of-00002.parquet"]
    assert "data/c++/*.parquet: bigcode/the-stack-dedup has no such file" in refused(
        Library(library.corpora, library.world, tmp_path / "elsewhere").code
    )


def test_a_commit_stays_until_its_record_is_removed(
    hub: DataHub, library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.sets[MADLAD] = madlad(["endala"])
    before = library.monolingual("zul_Latn")  # made before anything is checked, as a run's keys are
    commit = hub.sets[MADLAD].commit
    assert f"hub:{MADLAD}@{commit}/data/zu/" in before.fingerprint
    before.check()
    hub.sets[MADLAD] = madlad(["entsha"])
    asked = len(hub.requests)
    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        after = library.monolingual("zul_Latn")
        after.check()
    assert after == before
    assert len(hub.requests) == asked
    [record] = (tmp_path / "cache/hub").iterdir()
    assert json.loads(record.read_text())["commit"] == commit
    record.unlink()
    assert hub.sets[MADLAD].commit in library.monolingual("zul_Latn").fingerprint


# ---- the web -------------------------------------------------------------------------------------------------------


def at(library: Library, hub: DataHub) -> Library:
    """The same, with the address of the pairs' server that of this machine."""
    text = library.corpora.bitext
    text.files = text.files.replace("https://storage.googleapis.com/allennlp-data-bucket", f"{hub.url}/web")
    return library


def mined(count: int = 3) -> bytes:
    rows = (f"first {n}\tsecond {n}\t1.{n}\tfile\tlid\turl\n" for n in range(count))
    return gzip.compress("".join(rows).encode())


@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize(("source", "target"), [("ceb_Latn", "eng_Latn"), ("eng_Latn", "ceb_Latn")])
def test_sides_of_a_pair_are_told_apart_whichever_comes_first(
    hub: DataHub, library: Library, tmp_path: Path, source: str, target: str, packing: bool
) -> None:
    hub.web["nllb/ceb_Latn-eng_Latn.gz"], hub.packing = mined(), packing
    pairs = at(library, hub).bitext(source, target, BitextFormat())
    pairs.check()
    order = ("first", "second") if source < target else ("second", "first")
    assert collected(pairs, tmp_path / "text") == [
        {"source": f"{order[0]} {n}", "target": f"{order[1]} {n}"} for n in range(3)
    ]


def test_the_web_is_asked_once_and_read_in_little_memory(
    hub: DataHub, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.web["nllb/eng_Latn-zul_Latn.gz"] = content = gzip.compress(
        b"".join(b"%d %s\tz\t1\n" % (n, os.urandom(400).hex().encode()) for n in range(100_000)), 1
    )
    assert len(content) > 40_000_000
    pairs = at(library, hub).bitext("eng_Latn", "zul_Latn", BitextFormat())
    pairs.check()
    asked = len(hub.requests)
    [volume] = pairs.volumes()
    tracing: Any = LAYOUTS[volume.layout].chunks(volume)
    sizes = []
    tracemalloc.start()
    for chunk in tracing:
        sizes.append(len(chunk.lines[0]))
        if len(sizes) == 12:  # by now two blocks have come and gone
            break
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    tracing.close()
    assert peak < 34_000_000  # three blocks of eight, and what else is at work in this process
    assert hub.sent["/web/nllb/eng_Latn-zul_Latn.gz"] < len(content)
    assert len(hub.requests) > asked
    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        assert library.bitext("eng_Latn", "zul_Latn", BitextFormat()) == pairs
        library.bitext("eng_Latn", "zul_Latn", BitextFormat()).check()


def test_a_password_or_signature_is_not_shown(hub: DataHub, library: Library) -> None:
    address = f"{hub.url}/web/x.tsv?signature={TOKEN}".replace("http://", f"http://me:{TOKEN}@")
    library.corpora.bitext = TextConfig(address)
    assert "/web/x.tsv?…: no such file there" in refused(lambda: library.bitext("eng_Latn", "zul_Latn", BitextFormat()))
    assert TOKEN not in Stored(address).name


# ---- what cannot be had --------------------------------------------------------------------------------------------

LOCAL = "corpora=folder paths.corpora=<folder>"


def test_what_cannot_be_had_is_said_with_what_to_do(
    hub: DataHub, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(*parts: str) -> None:
        message = refused(lambda: library.monolingual("zul_Latn"))
        assert f"corpora.monolingual={library.corpora.monolingual.hub}: " in message
        for part in (*parts, LOCAL):
            assert part in message
        monkeypatch.setattr("cpt.hub._failures", {})

    told("no such data set on the hub at revision main, or it is private")
    hub.sets[MADLAD] = madlad(["umbhalo"])
    hub.sets[MADLAD].gated = True
    told("gated: accept its licence on the hub and log in with `hf auth login`")
    monkeypatch.setenv("HF_TOKEN", f"{TOKEN}-of-old")
    told("the hub does not accept the token")
    monkeypatch.setenv("HF_TOKEN", f"{TOKEN}\f!")  # no header may hold it, and the transport's complaint quotes it
    told("LocalProtocolError")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.down = True
    told("the hub answered 418", "prepare_only=true")
    hub.down = False
    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        told("not known here and HF_HUB_OFFLINE=1")
    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
        told("the hub at http://127.0.0.1:9 cannot be reached (ConnectError)", "prepare_only=true")
    library.corpora.monolingual.revision = "v9"
    told("no such data set on the hub at revision v9")
    library.corpora.monolingual.revision = "main"
    library.corpora.monolingual.hub = "not a name"
    told("not the name of a data set")
    library.corpora.monolingual.hub = MADLAD
    library.monolingual("zul_Latn").check()


def test_a_file_that_a_set_lacks_is_said_with_what_there_is(hub: DataHub, library: Library) -> None:
    hub.sets[MADLAD] = madlad(["umbhalo"])
    message = refused(lambda: library.monolingual("mar_Deva"))
    assert f"corpora.monolingual=data/mr/mr_clean_*.jsonl.gz: {MADLAD} has no such file" in message
    assert "of its 2 files the nearest are data/zu/zu_clean_0000.jsonl.gz, README.md" in message
    assert LOCAL in message


def test_a_web_address_that_is_not_there_is_named(hub: DataHub, library: Library) -> None:
    at(library, hub)
    message = refused(lambda: library.bitext("eng_Latn", "zul_Latn", BitextFormat()))
    assert f"corpora.bitext={hub.url}/web/nllb/eng_Latn-zul_Latn.gz: no such file there" in message
    assert "404" in message
    assert LOCAL in message
    library.corpora.bitext.files = "http://127.0.0.1:9/{first}-{second}.gz"
    message = refused(lambda: library.bitext("eng_Latn", "zul_Latn", BitextFormat()))
    assert "the server cannot be reached (ClientConnector" in message
    assert LOCAL in message


def test_a_silent_hub_is_asked_once_for_all_sources(hub: DataHub, library: Library) -> None:
    hub.down = True
    for code in ("zul_Latn", "mar_Deva", "khm_Khmr"):
        assert "answered 418" in refused(partial(library.monolingual, code))
    assert len(hub.requests) == 1


# ---- a connection that breaks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("processes", [0, 1])
def test_a_broken_stream_goes_on_where_it_was(
    hub: DataHub, library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    monkeypatch.setattr(lines, "CHUNK_BYTES", 2_000)
    monkeypatch.setattr("fsspec.spec.AbstractBufferedFile.DEFAULT_BLOCK_SIZE", 8_000)
    monkeypatch.setattr("cpt.corpora.reading.opening.PACKED_BYTES", 1_000)
    monkeypatch.setattr(collect, "PIECE_CHUNKS", 6)
    hub.sets[MADLAD] = madlad(numbered(0), numbered(1), numbered(2))
    source, folder = library.monolingual("zul_Latn"), tmp_path / "broken"
    broken = "data/zu/zu_clean_0001.jsonl.gz"
    hub.breaks[broken] = 20_000
    with WorkerPool(processes) as pool, pytest.raises(UserError) as told:
        TextFolder(folder, source).ensure(Amount(), pool)
    message = str(told.value)
    assert f"hf://datasets/{MADLAD}@" in message
    assert f"{broken}: the connection broke after " in message
    assert "launch again" in message
    assert not (folder / "marker.json").exists()
    kept = (folder / "journal.jsonl").read_text().splitlines()
    assert json.loads(kept[-1])["facts"]["place"][1][0][0] == 1
    hub.breaks.clear()
    hub.requests.clear()
    found = collected(source, folder)
    assert not hub.asked_for("cdn/allenai/MADLAD-400/data/zu/zu_clean_0000")
    assert (folder / "journal.jsonl").read_text().splitlines()[: len(kept)] == kept
    assert found == collected(source, tmp_path / "undisturbed")
    assert len(found) == 900


def test_a_broken_web_stream_and_a_hub_that_fails_are_told_apart_from_damage(
    hub: DataHub, library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.web["nllb/eng_Latn-zul_Latn.gz"] = mined()
    pairs = at(library, hub).bitext("eng_Latn", "zul_Latn", BitextFormat())
    hub.breaks["nllb/eng_Latn-zul_Latn.gz"] = 20
    with pytest.raises(
        UserError, match=r"eng_Latn-zul_Latn.gz: the connection broke after 0 bytes \(ContentLengthError\)"
    ):
        collected(pairs, tmp_path / "pairs")
    hub.breaks.clear()
    assert len(collected(pairs, tmp_path / "pairs")) == 3
    hub.sets[STACK] = DataSet({f"data/{name}/data-0.parquet": table(["code"]) for name in LANGUAGES})
    code = library.code()
    hub.breaks["data/c++/data-0.parquet"] = 20
    with pytest.raises(UserError, match=r"data/c\+\+/data-0.parquet: the connection broke"):
        collected(code, tmp_path / "code")
    hub.down = True
    fresh()
    with pytest.raises(UserError, match=r"data/python/data-0.parquet: cannot be opened \(the server answered 418\)"):
        collected(code, tmp_path / "code")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"cannot be opened \(HF_HUB_OFFLINE=1 keeps it out of reach\)"):
        collected(code, tmp_path / "code")


def test_training_and_evaluation_ask_no_hub(hub: DataHub, tmp_path: Path) -> None:
    hub.sets[MADLAD] = madlad(["umbhalo"])
    script = f"""
import huggingface_hub as hf
from cpt.hub import go_offline
hf.HfApi().dataset_info("{MADLAD}")
go_offline()
from transformers import AutoConfig
for ask in (
    lambda: hf.HfApi().dataset_info("{MADLAD}"),
    lambda: hf.HfFileSystem().open("datasets/{MADLAD}/data/zu/zu_clean_0000.jsonl.gz").read(),
    lambda: hf.hf_hub_download("{MADLAD}", "README.md", repo_type="dataset"),
    lambda: hf.snapshot_download("{MADLAD}", repo_type="dataset"),
    lambda: AutoConfig.from_pretrained("some/model"),
):
    try:
        ask()
    except Exception as error:
        print("refused")
"""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf")}
    ended = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.stdout.split() == ["refused"] * 5, ended.stderr
    assert hub.requests == [f"/api/datasets/{MADLAD}"]


# ---- this machine --------------------------------------------------------------------------------------------------


@pytest.fixture
def local(tmp_path: Path, world: ToyWorld) -> Callable[..., CorpusLocation]:
    def spot(files: str, *languages: str, **settings: Any) -> CorpusLocation:
        names = {"language": languages[0]} if len(languages) == 1 else {"source": languages[0], "target": languages[1]}
        key = "corpora.monolingual" if len(languages) == 1 else "corpora.bitext"
        text = TextConfig(str(tmp_path / files), **settings)
        return CorpusLocation(key, text, tuple(names.items()), languages, world, tmp_path / "cache")

    return spot


def records(spot: CorpusLocation) -> list[Any]:
    found: list[Any] = []
    for volume in spot.volumes():
        layout = LAYOUTS[volume.layout]
        found += [record for chunk in layout.chunks(volume) for record in layout.records(volume, chunk)]
    assert not any(isinstance(record, Unreadable) for record in found)
    return found


def test_a_folder_may_hold_a_pair_in_many_files_and_layouts(
    tmp_path: Path, local: Callable[..., CorpusLocation]
) -> None:
    stem = str(tmp_path / "eng_Latn-zul_Latn")
    (tmp_path / "eng_Latn-zul_Latn").mkdir()
    for side, code in (("a", "zul_Latn"), ("b", "eng_Latn")):
        Path(f"{stem}.{code}").write_text(f"plain {side}\n")
        Path(f"{stem}.more.{code}.gz").write_bytes(gzip.compress(f"packed {side}\n".encode()))
    Path(f"{stem}.tsv").write_text("table b\ttable a\n")
    pq.write_table(pa.table({"source": ["rows b"], "target": ["rows a"]}), f"{stem}.parquet")
    units = "".join(
        f'<tuv xml:lang="{code}"><seg>memory {side}</seg></tuv>' for side, code in (("a", "zu"), ("b", "en"))
    )
    Path(f"{stem}.tmx").write_text(f"<tmx><body><tu>{units}</tu></body></tmx>")
    spot = local("{source}-{target}*", "eng_Latn", "zul_Latn")
    spot.check()
    kinds = ["packed", "plain", "rows", "table", "memory"]
    assert sorted(records(spot)) == sorted((f"{kind} b", f"{kind} a") for kind in kinds)
    Path(f"{stem}.more.zul_Latn.gz").unlink()
    with pytest.raises(UserError) as told:
        spot.check()
    assert str(told.value) == (
        f"corpora.bitext={stem}.more.eng_Latn.gz: the other side of the pair, {stem}.more.zul_Latn, is not there"
    )


def test_what_is_wrong_with_a_pattern_is_said_before_it_is_read(
    tmp_path: Path, local: Callable[..., CorpusLocation]
) -> None:
    (tmp_path / "zul_Latn.docx").write_text("x")
    (tmp_path / "eng_Latn-zul_Latn.txt").write_text("x")
    (tmp_path / "folder").mkdir()
    faults = {
        "its ending is of no known layout": local("{language}.*", "zul_Latn"),
        "corpora.monolingual.layout=docx: no such layout; known: jsonl": local("*.docx", "zul_Latn", layout="docx"),
        "{lang} stands for nothing here; what does: {language}": local("{lang}.*", "zul_Latn"),
        "a pair needs two such files": local("{source}-{target}.txt", "eng_Latn", "zul_Latn"),
        "no such file": local("fold*", "zul_Latn"),
        f"={tmp_path}/b.txt: no such file": local("{{source}-{target},b}.txt", "eng_Latn", "zul_Latn", layout="tsv"),
    }
    for fault, spot in faults.items():
        with pytest.raises(UserError) as told:
            spot.check()
        assert fault in str(told.value)
        assert "corpora." in str(told.value) or "ending" in fault
    assert "nowhere said where" in refused(
        lambda: Library(CorporaConfig("mine"), spot.world, tmp_path).monolingual("zul_Latn")
    )


def test_a_fingerprint_is_of_content(tmp_path: Path, local: Callable[..., CorpusLocation]) -> None:
    path = tmp_path / "zul_Latn.jsonl"
    path.write_text('{"text": "a"}\n')
    first = local("{language}.*", "zul_Latn").fingerprint()
    path.rename(tmp_path / "zul_Latn.ndjson")
    assert local("{language}.*", "zul_Latn").fingerprint() == first
    (tmp_path / "zul_Latn.ndjson").write_text('{"text": "b"}\n')
    assert local("{language}.*", "zul_Latn").fingerprint() != first
    assert local("{language}.*", "zul_Latn", layout="text").fingerprint() not in (
        first,
        local("{language}.*", "zul_Latn").fingerprint(),
    )


def test_the_toy_world_is_one_more_place(compose: Callable[..., list[StudyConfig]], world: ToyWorld) -> None:
    [config] = compose("corpora=toy")
    library = Library(config.corpora, world, world.folder)
    pairs = library.bitext("eng_Latn", "zul_Latn", BitextFormat())
    for source in (library.monolingual("zul_Latn"), library.general("eng_Latn"), library.code(), pairs):
        source.check()
        assert not source.remote
        assert world.fingerprint in source.fingerprint
        assert all(Path(volume.files[0].path).is_file() for volume in source.volumes())


@pytest.mark.parametrize(
    ("pattern", "patterns"),
    [
        ("a/*.gz", ["a/*.gz"]),
        ("a/{b,c}/d", ["a/b/d", "a/c/d"]),
        ("{a,b}-{c,d}", ["a-c", "a-d", "b-c", "b-d"]),
        ("a{,.gz}", ["a", "a.gz"]),
    ],
)
def test_braces(pattern: str, patterns: list[str]) -> None:
    assert braces(pattern) == patterns


@pytest.mark.parametrize(
    ("name", "pattern", "matched"),
    [
        ("a/b.gz", "a/*.gz", True),
        ("a/c/b.gz", "a/*.gz", False),
        ("b.jsonl.gz", "**/*.jsonl*", True),
        ("a/c/b.jsonl", "**/*.jsonl*", True),
        ("a/c/b.jsonl", "a/**", True),
        ("a/c++/b", "a/c++/?", True),
        ("A/b", "a/b", False),
    ],
)
def test_a_star_stays_within_a_folder(name: str, pattern: str, matched: bool) -> None:
    assert matches(name, pattern) is matched
