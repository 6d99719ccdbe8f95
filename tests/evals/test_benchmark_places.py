"""SIB-200 and FLORES-200 as people have them: folders, a hub's data sets, the archive; and what is told otherwise."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_hub import TOKEN, DataHub, DataSet, serving

from cpt.errors import UserError
from cpt.evals import benchmark_location as places
from cpt.evals.benchmark_location import BenchmarkLocation
from cpt.languages import registry

LANGUAGES = ["eng_Latn", "zho_Hans", "zul_Latn"]
SIB, PLUS = "Davlan/sib200", "openlanguagedata/flores_plus"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[DataHub]:
    with serving(monkeypatch, tmp_path) as hub:
        yield hub


def sib(*languages: str) -> dict[str, bytes]:
    """As Davlan/sib200 has it."""
    return {
        f"data/{code}/{split}.tsv": f"index_id\tcategory\ttext\n7\ttravel\t{code} {split}\n".encode()
        for code in languages
        for split in ("train", "dev", "test")
    } | {"README.md": b"", "sib200.py": b"raise SystemExit"}


def rows(code: str, split: str) -> list[dict[str, object]]:
    texts = [f"{code} {split} first", f"{code} {split}\nsecond"]
    script = code.split("_")[1]
    return [{"id": n, "iso_639_3": code[:3], "iso_15924": script, "text": text} for n, text in enumerate(texts, 1)]


def as_jsonl(rows: Sequence[Mapping[str, object]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_parquet(rows: Sequence[Mapping[str, object]]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file.getvalue()


def plus(*languages: str, ending: str = "jsonl") -> dict[str, bytes]:
    """As openlanguagedata/flores_plus has it; not in the order of its numbers."""
    form = {"jsonl": as_jsonl, "parquet": as_parquet}[ending]
    return {
        f"{split}/{code}.{ending}": form(rows(code, split)[::-1]) for code in languages for split in ("dev", "devtest")
    }


def archive(*languages: str) -> bytes:
    """As FLORES-200 was released."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for split in ("dev", "devtest"):
            for code in languages:
                data = f"{code} {split} first\n{code} {split} second\n".encode()
                member = tarfile.TarInfo(f"./flores200_dataset/{split}/{code}.{split}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        tar.addfile(tarfile.TarInfo("./flores200_dataset/../dev/../../escaped.dev"))
    return file.getvalue()


def written(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def fetched(place: BenchmarkLocation, languages: list[str] | None = None) -> dict[str, str]:
    """What is there to be read when all has been fetched that there is."""
    folder = place.fetch(languages or registry(), lambda line: None)
    assert folder == place.folder
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}


def refused(place: BenchmarkLocation) -> str:
    """What is said before anything is fetched."""
    with pytest.raises(UserError) as told:
        place.check()
    assert str(told.value).startswith(f"paths.{place.name}={place.where.partition('?')[0]}")
    assert not (place.cache / "benchmarks").exists()
    return str(told.value)


@pytest.mark.parametrize("root", ["", "data", "data/annotated"])
def test_sib_is_read_where_people_have_it(tmp_path: Path, root: str) -> None:
    files = {f"{root}/zul_Latn/{split}.tsv".lstrip("/"): b"x" for split in ("train", "test")}
    place = BenchmarkLocation("sib200", str(written(tmp_path / "own", files)), tmp_path / "cache")
    place.check()
    assert place.fetch(LANGUAGES, lambda line: pytest.fail(line)) == tmp_path / "own" / root
    assert not place.cache.exists()


@pytest.mark.parametrize("root", ["", "flores200_dataset"])
def test_flores_is_read_where_people_have_it(tmp_path: Path, root: str) -> None:
    files = {f"{root}/{split}/zul_Latn.{split}".lstrip("/"): b"x" for split in ("dev", "devtest")}
    place = BenchmarkLocation("flores200", str(written(tmp_path / "own", files)), tmp_path / "cache")
    assert place.fetch(LANGUAGES, lambda line: pytest.fail(line)) == tmp_path / "own" / root


def test_a_folder_without_the_files_is_told(tmp_path: Path) -> None:
    written(tmp_path / "own", {"dev.txt": b"", "sub/x.txt": b""})
    told = refused(BenchmarkLocation("flores200", str(tmp_path / "own"), tmp_path / "cache"))
    assert "expected such as dev/eng_Latn.dev or flores200_dataset/dev/eng_Latn.dev" in told
    assert "found dev.txt, sub" in told
    assert "no such folder" in refused(BenchmarkLocation("sib200", str(tmp_path / "none"), tmp_path / "cache"))


def test_a_download_of_flores_plus_is_brought_into_the_layout(tmp_path: Path) -> None:
    own = written(tmp_path / "own", plus("eng_Latn", ending="parquet"))
    place = BenchmarkLocation("flores200", str(own), tmp_path / "cache")
    assert fetched(place)["dev/eng_Latn.dev"] == "eng_Latn dev first\neng_Latn dev second\n"
    assert place.folder.parent == tmp_path / "cache" / "benchmarks"
    (own / "dev" / "eng_Latn.parquet").write_bytes(as_parquet(rows("eng_Latn", "new")))
    assert fetched(BenchmarkLocation("flores200", str(own), tmp_path / "cache"))["dev/eng_Latn.dev"].startswith(
        "eng_Latn new"
    )


def test_sib_comes_from_the_hub_once_and_only_what_is_asked_for(
    hub: DataHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub.sets[SIB] = DataSet(sib(*LANGUAGES))
    place = BenchmarkLocation("sib200", f"hub:{SIB}", tmp_path / "cache")
    place.check()
    assert not hub.sent or not any("tsv" in name for name in hub.sent)
    files = fetched(place, ["zul_Latn", "ssw_Latn"])
    assert set(files) == {"zul_Latn/train.tsv", "zul_Latn/test.tsv"}
    assert files["zul_Latn/test.tsv"].endswith("7\ttravel\tzul_Latn test\n")
    assert place.folder.name == f"sib200-{hub.sets[SIB].commit[:12]}"
    assert set(fetched(place, LANGUAGES)) == {
        f"{code}/{split}.tsv" for code in LANGUAGES for split in ("train", "test")
    }
    assert hub.asked_for("/resolve/") >= 6
    hub.requests.clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hub.sets[SIB].files["data/zul_Latn/test.tsv"] = b"later"
    again = BenchmarkLocation("sib200", f"hub:{SIB}", tmp_path / "cache")
    assert fetched(again, LANGUAGES)["zul_Latn/test.tsv"] == files["zul_Latn/test.tsv"]
    assert not hub.requests


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_flores_plus_is_read_under_the_codes_of_flores(hub: DataHub, tmp_path: Path, ending: str) -> None:
    hub.sets[PLUS] = DataSet(plus("eng_Latn", "cmn_Hans", "fil_Latn", "lld_Latn", ending=ending), gated=True)
    (tmp_path / "token").write_text(TOKEN)
    said: list[str] = []
    place = BenchmarkLocation("flores200", f"hub:{PLUS}@{hub.sets[PLUS].commit}", tmp_path / "cache")
    place.fetch(registry(), said.append)
    files = fetched(place)
    codes = ("eng_Latn", "tgl_Latn", "zho_Hans")
    assert sorted(files) == [f"{split}/{code}.{split}" for split in ("dev", "devtest") for code in codes]
    assert files["devtest/zho_Hans.devtest"] == "cmn_Hans devtest first\ncmn_Hans devtest second\n"
    assert "6 files" in said[0]
    assert "FLORES+" in said[1]


def test_a_set_that_needs_a_login_says_where_to_accept_its_terms(hub: DataHub, tmp_path: Path) -> None:
    hub.sets[PLUS] = DataSet(plus("eng_Latn"), gated=True)
    told = refused(BenchmarkLocation("flores200", f"hub:{PLUS}", tmp_path / "cache"))
    assert "hf auth login" in told
    assert f"{hub.url}/datasets/{PLUS}" in told
    assert f"paths.flores200={places.ARCHIVE}, which needs no login" in told


def test_a_set_that_cannot_be_had_says_why(hub: DataHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub.sets["facebook/flores"] = DataSet({"README.md": b"", "flores.py": b""})
    told = refused(BenchmarkLocation("flores200", "hub:facebook/flores", tmp_path / "a"))
    assert "loading script, flores.py" in told
    assert places.ARCHIVE in told
    assert "no such data set" in refused(BenchmarkLocation("sib200", "hub:Davlan/sib", tmp_path / "b"))
    assert "at revision 1.0" in refused(BenchmarkLocation("flores200", "hub:facebook/flores@1.0", tmp_path / "c"))
    hub.down = True
    assert "418" in refused(BenchmarkLocation("sib200", "hub:some/other", tmp_path / "d"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    offline = BenchmarkLocation("sib200", f"hub:{SIB}", tmp_path / "e")
    assert "HF_HUB_OFFLINE=1" in refused(offline)
    assert not offline.folder.exists()


def test_a_download_that_breaks_leaves_whole_files_and_goes_on(hub: DataHub, tmp_path: Path) -> None:
    hub.sets[SIB] = DataSet(sib(*LANGUAGES))
    hub.breaks["data/zho_Hans/test.tsv"] = 5
    place = BenchmarkLocation("sib200", f"hub:{SIB}", tmp_path / "cache")
    with pytest.raises(UserError, match=r"zho_Hans/test.tsv: the connection broke"):
        fetched(place, LANGUAGES)
    assert sorted(p.parent.name for p in place.folder.rglob("*") if p.is_file()) == ["eng_Latn", "eng_Latn", "zho_Hans"]
    hub.breaks.clear()
    hub.sent.clear()
    assert len(fetched(place, LANGUAGES)) == 6
    assert not any("eng_Latn" in name for name in hub.sent)


def test_a_sentence_missing_on_one_side_is_refused(hub: DataHub, tmp_path: Path) -> None:
    several = [{"id": number, "text": "a"} for number in (1, 2, 4)]
    hub.sets[PLUS] = DataSet({**plus("eng_Latn"), "dev/zul_Latn.jsonl": as_jsonl(several)})
    with pytest.raises(UserError, match=r"dev/zul_Latn.jsonl: a number in `id`"):
        fetched(BenchmarkLocation("flores200", f"hub:{PLUS}", tmp_path / "cache"))
    hub.sets["my/flores"] = DataSet({"dev/zul_Latn.jsonl": as_jsonl([{"id": 1, "sentence": "a"}])})
    with pytest.raises(UserError, match="no column 'text' in it; expected id and text, it has id, sentence"):
        fetched(BenchmarkLocation("flores200", "hub:my/flores", tmp_path / "cache"))


def test_the_archive_is_fetched_once_and_unpacked(hub: DataHub, tmp_path: Path) -> None:
    data = archive(*LANGUAGES, "fra_Latn")
    hub.web["flores200_dataset.tar.gz"] = data
    address = f"{hub.url}/web/flores200_dataset.tar.gz@{hashlib.sha256(data).hexdigest()}"
    files = fetched(BenchmarkLocation("flores200", address, tmp_path / "cache"), ["eng_Latn"])
    assert len(files) == 8
    assert files["devtest/zul_Latn.devtest"] == "zul_Latn devtest first\nzul_Latn devtest second\n"
    hub.requests.clear()
    assert len(fetched(BenchmarkLocation("flores200", address, tmp_path / "cache"))) == 8
    assert not hub.requests
    assert not list(tmp_path.rglob("escaped*"))


def test_an_archive_that_is_another_is_refused_and_nothing_kept(
    hub: DataHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub.web["flores200_dataset.tar.gz"] = archive(*LANGUAGES)
    cache = tmp_path / "cache"
    place = BenchmarkLocation("flores200", f"{hub.url}/web/flores200_dataset.tar.gz", cache)
    with pytest.raises(UserError, match=f"expected {places.ARCHIVE_SHA256}"):
        fetched(place)
    with pytest.raises(UserError, match="the server answered 404"):
        fetched(BenchmarkLocation("flores200", f"{hub.url}/web/none.tar.gz", cache))
    with pytest.raises(UserError, match="cannot be reached"):
        fetched(BenchmarkLocation("flores200", "http://127.0.0.1:9/none.tar.gz", cache))
    hub.breaks["flores200_dataset.tar.gz"] = 100
    with pytest.raises(UserError, match="connection broke after 100 of"):
        fetched(place)
    other = b"no archive"
    hub.web["other"] = other
    with pytest.raises(UserError, match="not a tar archive"):
        fetched(BenchmarkLocation("flores200", f"{hub.url}/web/other@{hashlib.sha256(other).hexdigest()}", cache))
    assert {path.suffix for path in (cache / "benchmarks").iterdir()} == {".lock"}
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE=1" in refused(BenchmarkLocation("flores200", places.ARCHIVE, tmp_path / "another"))
    assert "expected a folder or hub:" in refused(
        BenchmarkLocation("sib200", "https://here/x.tar.gz", tmp_path / "another")
    )
