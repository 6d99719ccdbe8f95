"""`paths.harness=hub`: what a study asks of lm-eval's benchmarks is fetched once, and told where it cannot be."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import harness_data
import pytest
from data_hub import TOKEN, DataHub, DataSet, serving
from rich.console import Console

from cpt.config import StudyConfig
from cpt.errors import UserError
from cpt.evals.benchmarks.harness import download as harness
from cpt.evals.benchmarks.harness.tasks import data
from cpt.study.checks.benchmark_files import provide
from cpt.study.checks.value_checks import check
from cpt.study.state.run import Run

BELEBELE, LONG = "facebook/belebele", "MaLA-LM/MassiveSumm_long"
LANGUAGES = ["eng_Latn", "zul_Latn", "khm_Khmr", "bel_Cyrl"]
"""The last is none of BELEBELE's."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[DataHub]:
    with serving(monkeypatch, tmp_path) as hub:
        yield hub


def belebele(tmp_path: Path, *languages: str) -> dict[str, bytes]:
    """As facebook/belebele has it, the same text for all."""
    harness_data.belebele(tmp_path / "given")
    content = (tmp_path / "given/data/zul_Latn.jsonl").read_bytes()
    return {f"data/{code}.jsonl": content for code in languages} | {"README.md": b""}


def articles(*languages: str) -> bytes:
    rows = [{"language": code, "text": f"{code} {n}", "summary": "short"} for n in range(5) for code in languages]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def fetched(tmp_path: Path, name: str, languages: Iterable[str]) -> list[str]:
    """What is then there, beside the record."""
    folder = harness.folder_of(tmp_path / "cache", data.place(name))
    harness.fetch(name, languages, folder, lambda line: None)
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return sorted(set(files) - {harness.RECORD})


def refused(tmp_path: Path, name: str, language: str = "rus_Cyrl") -> str:
    """What is said before anything is fetched."""
    folder = harness.folder_of(tmp_path / "cache", data.place(name))
    with pytest.raises(UserError) as told:
        harness.check(name, [language], folder)
    assert not folder.exists()
    assert str(told.value).startswith(f"evals={name}")
    return str(told.value)


def test_only_what_is_asked_is_fetched_and_only_once(
    hub: DataHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub.sets[BELEBELE] = DataSet(belebele(tmp_path, "eng_Latn", "zul_Latn", "fra_Latn"))
    there = ["data/eng_Latn.jsonl", "data/zul_Latn.jsonl"]
    assert fetched(tmp_path, "belebele", LANGUAGES) == there
    assert len(data.rows("belebele", "zul_Latn", "test", tmp_path / "cache/benchmarks/harness/belebele")) == 6
    hub.requests.clear()
    hub.sets[BELEBELE].files["data/zul_Latn.jsonl"] = b"later"
    assert fetched(tmp_path, "belebele", LANGUAGES) == there
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert fetched(tmp_path, "belebele", LANGUAGES) == there
    assert not hub.requests


def test_a_study_that_grows_stays_at_its_commit(hub: DataHub, tmp_path: Path) -> None:
    known = DataSet(belebele(tmp_path, *LANGUAGES))
    hub.sets[BELEBELE] = known
    fetched(tmp_path, "belebele", ["eng_Latn"])
    hub.requests.clear()
    assert len(fetched(tmp_path, "belebele", LANGUAGES)) == 3
    assert hub.requests
    assert all(known.commit in request for request in hub.requests if "/cdn/" not in request)


def test_a_fetch_that_was_killed_goes_on(hub: DataHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub.sets[BELEBELE] = DataSet(belebele(tmp_path, *LANGUAGES))
    answer = hub.answer
    process = get_context("fork").Process(target=fetched, args=(tmp_path, "belebele", LANGUAGES))

    def killing(path: str, headers: Any) -> Any:
        if "/cdn/" in path and "khm_Khmr" in path:
            process.kill()
        return answer(path, headers)

    with monkeypatch.context() as patched:
        patched.setattr(hub, "answer", killing)
        process.start()
        process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / "cache/benchmarks/harness/belebele/data/khm_Khmr.jsonl").exists()
    hub.sent.clear()
    assert len([name for name in fetched(tmp_path, "belebele", LANGUAGES) if name.endswith(".jsonl")]) == 3
    assert hub.sent
    assert not any("eng_Latn" in name for name in hub.sent)


def test_a_connection_that_breaks_is_told_and_nothing_torn_kept(hub: DataHub, tmp_path: Path) -> None:
    hub.sets[BELEBELE] = DataSet(belebele(tmp_path, *LANGUAGES))
    hub.breaks["data/khm_Khmr.jsonl"] = 5
    with pytest.raises(UserError, match=r"khm_Khmr.jsonl: the connection broke"):
        fetched(tmp_path, "belebele", LANGUAGES)
    hub.breaks.clear()
    assert len(fetched(tmp_path, "belebele", LANGUAGES)) == 3


def test_files_of_ones_own_are_used_with_those_of_the_hub(hub: DataHub, tmp_path: Path) -> None:
    """Both forms of MGSM read one folder; its exemplars are put there by hand, as released."""
    folder = tmp_path / "cache/benchmarks/harness/mgsm"
    harness_data.mgsm(folder)
    (folder / "mgsm_th.tsv").unlink()
    harness_data.parquet(tmp_path / "test", [{"question": "5 + 2?", "answer": None, "answer_number": 7}])
    hub.sets["juletxara/mgsm"] = DataSet({"th/test-00000-of-00001.parquet": (tmp_path / "test").read_bytes()})
    there = ["exemplars.py", "th/test-00000-of-00001.parquet"]
    assert fetched(tmp_path, "mgsm_cot", ["tha_Thai"]) == there
    hub.requests.clear()
    assert fetched(tmp_path, "mgsm_direct", ["tha_Thai"]) == there
    assert not hub.requests
    assert data.rows("mgsm_cot", "tha_Thai", "test", folder)[0]["answer_number"] == 7


def test_a_set_whose_converted_files_are_read(hub: DataHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    branch, answer = data.SOURCES["xlsum"].revision, hub.answer
    harness_data.parquet(tmp_path / "test", [{"text": "Long.", "summary": "Short."}])
    content = (tmp_path / "test").read_bytes()
    files = {f"{code}/{split}/0000.parquet": content for code in ("kyrgyz", "thai") for split in ("test", "validation")}
    hub.sets["csebuetnlp/xlsum"] = DataSet(files)

    def at_branch(path: str, headers: Any) -> Any:
        if path.endswith("/revision/main"):
            raise AssertionError(path)
        return answer(path.replace(branch, "main"), headers)

    monkeypatch.setattr(hub, "answer", at_branch)
    found = fetched(tmp_path, "xlsum", ["kir_Cyrl"])
    assert found == ["kyrgyz/test/0000.parquet", "kyrgyz/validation/0000.parquet"]


def test_languages_in_one_split_are_told_apart(hub: DataHub, tmp_path: Path) -> None:
    hub.sets[LONG] = DataSet({"a.jsonl": articles("khm", "zho"), "b.jsonl": articles("khm", "xxx")}, gated=True)
    (tmp_path / "token").write_text(TOKEN)
    hub.breaks["b.jsonl"] = 5
    with pytest.raises(UserError, match=r"b.jsonl: the connection broke"):
        fetched(tmp_path, "massivesumm_long", ["khm_Khmr", "lao_Laoo"])
    hub.breaks.clear()
    hub.sent.clear()
    assert fetched(tmp_path, "massivesumm_long", ["khm_Khmr", "lao_Laoo"]) == ["khm.jsonl", "zho.jsonl"]
    assert not any("a.jsonl" in name for name in hub.sent)
    folder = tmp_path / "cache/benchmarks/harness/massivesumm_long"
    assert [row["text"] for row in data.rows("massivesumm_long", "zho_Hans", "test", folder)][:2] == ["zho 0", "zho 1"]
    assert len(data.rows("massivesumm_long", "khm_Khmr", "test", folder)) == 10
    hub.requests.clear()
    fetched(tmp_path, "massivesumm_long", ["khm_Khmr", "lao_Laoo", "zho_Hans"])
    assert not hub.requests


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"lang": "khm"}, "no column 'language'"),
        ({"language": "Khmer"}, "`language` is none of massivesumm_long, such as afr, sqi, "),
    ],
)
def test_rows_that_tell_no_language_are_told(hub: DataHub, tmp_path: Path, row: dict[str, str], message: str) -> None:
    hub.sets[LONG] = DataSet({"a.jsonl": json.dumps(row).encode()})
    with pytest.raises(UserError, match=message):
        fetched(tmp_path, "massivesumm_long", ["khm_Khmr"])


def test_what_cannot_be_had_is_told(hub: DataHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub.sets[LONG] = DataSet({"a.jsonl": articles("rus")}, gated=True)
    told = refused(tmp_path, "massivesumm_long")
    assert f"{hub.url}/datasets/{LONG}): paths.harness=hub, but gated: accept its licence on the hub and log in" in told
    assert f"or leave it out, or put its files into its folder in {tmp_path}/cache/benchmarks/harness" in told
    assert "no such data set on the hub at revision main" in refused(tmp_path, "arc")
    hub.sets["facebook/xnli"] = DataSet({"xnli.py": b"", "ru/train.parquet": b""})
    assert "such as ar/validation-00000-of-00001.parquet; found xnli.py, " in refused(tmp_path, "xnli")
    hub.down = True
    assert "the hub answered 418" in refused(tmp_path, "xlsum")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "not known here and HF_HUB_OFFLINE=1" in refused(tmp_path, "belebele")
    assert not any("/cdn/" in request for request in hub.requests)


def test_what_has_no_open_copy_is_told_until_some_of_it_is_there(hub: DataHub, tmp_path: Path) -> None:
    told = refused(tmp_path, "taxi1500", "zho_Hans")
    assert "no open copy for paths.harness=hub: its Bibles are under licences; ask as" in told
    harness_data.taxi1500(tmp_path / "cache/benchmarks/harness/taxi1500")
    assert len(fetched(tmp_path, "taxi1500", ["zho_Hans", "zul_Latn"])) == 3
    assert not hub.requests


def test_a_launch_reads_where_it_has_fetched(
    hub: DataHub, compose: Callable[..., list[StudyConfig]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("cpt.corpora.toy.world.ToyWorld.benchmarks", lambda world: None)  # of no use here, and slow
    asked = ["evals=[belebele,xcopa]", "paths.harness=hub", f"paths.cache={tmp_path}/cache", "evals.strict=true"]
    [run] = [Run(config) for config in compose(*asked)]
    told = sorted(str(error) for error in check(run))
    assert [line.partition(" ")[0] for line in told] == ["evals=belebele", "evals=xcopa"]
    monkeypatch.setattr("cpt.hub._failures", {})
    known = data.codes("belebele")
    hub.sets[BELEBELE] = DataSet(belebele(tmp_path, *(set(run.languages) & set(known))))
    harness_data.xcopa(tmp_path / "cache/benchmarks/harness/xcopa")
    hub.sets["cambridgeltl/xcopa"] = DataSet({"th/test-00000-of-00001.parquet": b""})
    [run] = [Run(run.config)]
    hub.breaks["data/zul_Latn.jsonl"] = 5
    with pytest.raises(UserError, match="zul_Latn"):
        provide([run], Console(quiet=True))
    assert not check(run), "what a kill left is no mistake"
    hub.breaks.clear()
    with pytest.raises(UserError, match=r"paths.harness=hub: xcopa has no files for zho_Hans"):
        provide([run], Console(quiet=True))
    units, missing = run.suite.units(run.languages)
    assert {unit.language for unit in units} == set(run.languages) & set(known)
    assert {unit.task for unit in missing} == {"xcopa"}
