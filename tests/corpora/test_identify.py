"""Language identification: a small model of each kind, trained here, and measured on texts it has not seen."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from cpt.corpora.language_identifier import FastTextIdentifier, NgramIdentifier
from cpt.corpora.sentences import sentences
from cpt.corpora.toy.world import ToyWorld
from cpt.errors import UserError

CODES = [
    *("eng_Latn", "zho_Hans", "khm_Khmr", "tha_Thai", "lao_Laoo", "shn_Mymr", "mar_Deva"),
    *("rus_Cyrl", "kir_Cyrl", "zul_Latn", "deu_Latn", "yor_Latn", "mri_Latn"),
]


@pytest.fixture(scope="module")
def texts(world: ToyWorld) -> dict[str, list[str]]:
    found = {}
    for code in CODES:
        lines = world.file(f"monolingual/{code}.jsonl").read_text(encoding="utf-8").splitlines()
        found[code] = [sentence for line in lines for sentence in sentences(json.loads(line)["text"], code)][:240]
    return found


@pytest.fixture(scope="module")
def half(texts: dict[str, list[str]]) -> NgramIdentifier:
    return NgramIdentifier.train({code: found[::2] for code, found in texts.items()})


def test_ngrams_are_right_on_held_out_sentences(half: NgramIdentifier, texts: dict[str, list[str]]) -> None:
    accuracy = half.accuracy({code: found[1::2] for code, found in texts.items()})
    assert accuracy.overall > 0.95
    assert accuracy.n == sum(len(found[1::2]) for found in texts.values())
    assert set(accuracy.by_language) == set(CODES)
    for code in ("khm_Khmr", "tha_Thai", "lao_Laoo", "shn_Mymr", "zho_Hans", "mar_Deva"):
        assert accuracy.by_language[code] == 1, "a script of its own cannot be mistaken"


def test_accuracy_by_hand(half: NgramIdentifier, texts: dict[str, list[str]]) -> None:
    english = texts["eng_Latn"][1:8:2]
    accuracy = half.accuracy({"eng_Latn": english[:3], "zul_Latn": [*texts["zul_Latn"][1:6:2], english[3]]})
    assert accuracy.by_language == {"eng_Latn": 1, "zul_Latn": 0.75}
    assert accuracy.confused == {"zul_Latn": {"eng_Latn": 1}}
    assert (accuracy.overall, accuracy.n) == (0.875, 7)


def test_ngrams_are_no_surer_than_they_are_right(half: NgramIdentifier, texts: dict[str, list[str]]) -> None:
    for length in (5, 12, 40):
        held = [(code, text[:length]) for code, found in texts.items() for text in found[1::2]]
        found = half.predict([text for _, text in held])
        right = sum(label == code for (label, _), (code, _) in zip(found, held, strict=True)) / len(held)
        sure = sum(confidence for _, confidence in found) / len(held)
        assert sure < right + 0.08


def test_ngrams_of_nothing_known_are_unsure(half: NgramIdentifier) -> None:
    for _, confidence in half.predict(["", "123 ...", "ქართული ენა არის", "\ud800"]):
        assert confidence < 0.5
    assert half.predict([]) == []


def test_ngrams_answer_alike_in_any_company_and_after_storing(
    half: NgramIdentifier, texts: dict[str, list[str]], tmp_path: Path
) -> None:
    some = [found[1] for found in texts.values()]
    together = half.predict(some)
    assert [half.predict([text])[0] for text in some] == together
    half.save(tmp_path / "identifier.npz")
    for other in (NgramIdentifier.load(tmp_path / "identifier.npz"), pickle.loads(pickle.dumps(half))):
        assert other.predict(some) == together
        assert other.fingerprint == half.fingerprint
    again = NgramIdentifier.train({code: found[::2] for code, found in reversed(texts.items())})
    assert again.fingerprint == half.fingerprint
    assert NgramIdentifier.train({code: found[1::2] for code, found in texts.items()}).fingerprint != half.fingerprint


def test_a_damaged_file_is_named(half: NgramIdentifier, tmp_path: Path) -> None:
    path = tmp_path / "identifier.npz"
    half.save(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"identifier\.npz: not a whole"):
        NgramIdentifier.load(path)


TRAIN = """
import sys, fasttext
model = fasttext.train_supervised(
    sys.argv[1], lr=0.5, dim=8, epoch=10, minn=2, maxn=4, bucket=20_000, thread=1, verbose=0
)
model.save_model(sys.argv[2])
"""


def train_fasttext(texts: dict[str, list[str]], folder: Path) -> Path:
    """A model with GlotLID's way of labels.

    While it trains, the binding reads memory it has not written, and ends in NaN as often as not. So it trains in a
    process whose C library hands out zeros.
    """
    labels = {"zho_Hans": "cmn_Hani"}
    examples = folder / "train.txt"
    lines = [f"__label__{labels.get(code, code)} {text}\n" for code, found in texts.items() for text in found]
    examples.write_text("".join(lines), encoding="utf-8")
    model = folder / "model.bin"
    command = [sys.executable, "-c", TRAIN, str(examples), str(model)]
    subprocess.run(command, env={**os.environ, "MALLOC_PERTURB_": "255"}, check=True, capture_output=True)
    return model


@pytest.fixture(scope="module")
def model(texts: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("fasttext")
    chosen = {code: texts[code][::2] for code in ("eng_Latn", "zho_Hans", "khm_Khmr", "tha_Thai", "mar_Deva")}
    return train_fasttext(chosen, tmp_path_factory.mktemp("fasttext"))


def test_fasttext_answers_in_codes_of_the_registry(
    model: Path, texts: dict[str, list[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    identifier = pickle.loads(pickle.dumps(FastTextIdentifier(model)))
    for code in ("eng_Latn", "zho_Hans", "khm_Khmr", "tha_Thai", "mar_Deva"):
        for label, confidence in identifier.predict(texts[code][1:20:2]):
            assert label == code
            assert 0.5 < confidence <= 1
    assert identifier.predict(["\n".join(texts["eng_Latn"][1:4])])[0][0] == "eng_Latn"
    assert len(identifier.predict(["", "\n", "\ud800"])) == 3
    assert identifier.predict([]) == []
    assert capfd.readouterr() == ("", "")


def test_a_missing_or_cut_model_says_where_to_get_one(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"glotlid\.bin: no such file.*cis-lmu/glotlid, file model\.bin"):
        FastTextIdentifier(tmp_path / "glotlid.bin")
    whole = model.read_bytes()
    for content in (b"", b"<html>not found</html>" * 20, whole[:70], whole[:500], whole[: len(whole) // 2], whole[:-4]):
        (tmp_path / "glotlid.bin").write_bytes(content)
        with pytest.raises(UserError, match=r"glotlid\.bin: not a whole fastText classifier.*cis-lmu/glotlid"):
            FastTextIdentifier(tmp_path / "glotlid.bin")


def test_another_model_is_another_fingerprint(model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.bin"
    other.write_bytes(model.read_bytes())
    assert FastTextIdentifier(other).fingerprint == FastTextIdentifier(model).fingerprint
    changed = bytearray(model.read_bytes())
    changed[-1] ^= 1
    other.write_bytes(bytes(changed))
    assert FastTextIdentifier(other).fingerprint != FastTextIdentifier(model).fingerprint
