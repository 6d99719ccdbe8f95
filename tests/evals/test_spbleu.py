"""spBLEU's tokenizer model: verified, brought ahead of time; scores are those of sacrebleu's own command."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import sentencepiece
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.tokenizers import tokenizer_spm

from cpt.evals.metrics import spbleu

WORDS = ["umuntu", "ngumuntu", "ngabantu", "izwe", "lethu", "lihle", "kakhulu", "ἐν", "ἀρχῇ", "λόγος", "我", "们", "走"]


def sentences(seed: int) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=9)) for _ in range(30)]


@pytest.fixture(scope="module")
def model() -> bytes:
    """A SentencePiece model of its own, small as it is."""
    file = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences(0) * 10), model_writer=file, vocab_size=40, minloglevel=2
    )
    return file.getvalue()


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where sacrebleu looks, with nothing there; and a hub cache with nothing in it."""
    monkeypatch.setattr(tokenizer_spm, "SACREBLEU_DIR", str(tmp_path / "sacrebleu"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "sacrebleu"


def put(model: bytes) -> str:
    """Where sacrebleu looks; its sum."""
    spbleu.model_path().parent.mkdir(parents=True)
    spbleu.model_path().write_bytes(model)
    return hashlib.sha256(model).hexdigest()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, folder: Path, hub: bytes | None, own: bytes | None) -> Iterator[str]:
    """A server on this machine that is the hub and sacrebleu's address, and what it has of each."""
    folder.mkdir()
    for data, path in ((hub, f"{spbleu.HUB_MODEL}/resolve/main/{spbleu.HUB_FILE}"), (own, "flores200sacrebleuspm")):
        if data is not None:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    network(monkeypatch, f"http://127.0.0.1:{server.server_port}")
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def network(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setitem(tokenizer_spm.SPM_MODELS["flores200"], "url", f"{url}/flores200sacrebleuspm")


def provisioned(expected: str) -> tuple[bool, str]:
    """Whether it is at hand then, and the one line that is said."""
    said: list[str] = []
    brought = spbleu.provision(said.append, expected)
    assert len(said) == 1
    assert "\n" not in said[0]
    assert brought == spbleu.at_hand(expected)
    return brought, said[0]


def left() -> list[str]:
    folder = spbleu.model_path().parent
    return [path.name for path in folder.iterdir() if not path.name.endswith(".lock")]


def test_the_model_is_used_under_its_own_sum_alone(home: Path, model: bytes) -> None:
    assert not spbleu.at_hand()
    own = put(model)
    assert spbleu.at_hand(own)
    assert not spbleu.at_hand()
    with pytest.raises(AssertionError):
        spbleu.bleu()


def test_another_file_is_told_and_left_where_it_is(home: Path, model: bytes) -> None:
    own = put(model)
    brought, line = provisioned(spbleu.SHA256)
    assert not brought
    assert own in line
    assert "remove it" in line
    assert "chrF++ alone" in line
    assert spbleu.model_path().read_bytes() == model


def test_spbleu_and_chrf_are_those_of_the_sacrebleu_command(home: Path, model: bytes, tmp_path: Path) -> None:
    own = put(model)
    reference, output = sentences(1), [" ".join([*text.split()[:-2], "izwe"]) for text in sentences(1)]
    (tmp_path / "ref").write_text("\n".join(reference) + "\n", encoding="utf-8")
    (tmp_path / "out").write_text("\n".join(output) + "\n", encoding="utf-8")
    asked = ["ref", "-i", "out", "-m", "bleu", "chrf", "-tok", "flores200", "--chrf-word-order", "2", "-w", "8"]
    environment = {**os.environ, "SACREBLEU": str(home)}
    told = subprocess.run(
        [sys.executable, "-m", "sacrebleu", *asked], cwd=tmp_path, env=environment, capture_output=True, check=True
    )
    of_bleu, of_chrf = json.loads(told.stdout)
    for metric, command in ((spbleu.bleu(own), of_bleu), (CHRF(word_order=2), of_chrf)):
        score = metric.corpus_score(output, [reference])
        assert round(score.score, 8) == command["score"]
        assert 20 < score.score < 99
        assert str(metric.get_signature()) == command["signature"]
    assert "tok:flores200" in of_bleu["signature"]


def test_the_model_is_fetched_from_the_hub(
    home: Path, model: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = hashlib.sha256(model).hexdigest()
    with serving(monkeypatch, tmp_path / "web", hub=model, own=None):
        brought, line = provisioned(own)
    assert brought
    assert str(spbleu.model_path()) in line
    assert left() == ["flores200sacrebleuspm"]
    assert spbleu.provision(lambda line: pytest.fail(line), own), "what is there is not fetched again"


def test_a_wrong_file_is_refused_and_the_next_address_asked(
    home: Path, model: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = hashlib.sha256(model).hexdigest()
    with serving(monkeypatch, tmp_path / "web", hub=b"another", own=None) as server:
        brought, line = provisioned(own)
        assert not brought
        assert left() == []
        assert hashlib.sha256(b"another").hexdigest() in line
        assert "404" in line
        assert f"save http://{server}/{spbleu.HUB_MODEL}/resolve/main/{spbleu.HUB_FILE} (sha256 {own})" in line
        assert f"as {spbleu.model_path()}" in line
        (tmp_path / "web" / "flores200sacrebleuspm").write_bytes(model)
        assert provisioned(own)[0]


def test_without_a_network_one_line_says_how_to_bring_the_model(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    brought, line = provisioned(spbleu.SHA256)
    assert not brought
    assert "HF_HUB_OFFLINE=1" in line
    network(monkeypatch, "http://127.0.0.1:9")
    brought, line = provisioned(spbleu.SHA256)
    assert not brought
    assert "ConnectionRefusedError" in line
    assert left() == []


def test_a_model_in_the_hubs_cache_needs_no_network(home: Path, model: bytes, tmp_path: Path) -> None:
    stored = tmp_path / "hub" / "models--facebook--nllb-200-distilled-600M"
    (stored / "refs").mkdir(parents=True)
    (stored / "refs" / "main").write_text("abc")
    (stored / "snapshots" / "abc").mkdir(parents=True)
    (stored / "snapshots" / "abc" / spbleu.HUB_FILE).write_bytes(model)
    assert provisioned(hashlib.sha256(model).hexdigest())[0]


def test_a_folder_that_cannot_be_written_is_told(home: Path) -> None:
    home.write_text("a file where the folder would be")
    brought, line = provisioned(spbleu.SHA256)
    assert not brought
    assert "cannot be written" in line
