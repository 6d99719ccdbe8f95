"""Every form and direction of bitext gives the documents in `golden/bitext`, byte for byte."""

import pickle
from pathlib import Path

import pytest

from cpt.corpora.bitext import DIRECTIONS, FORMS, BitextFormat
from cpt.errors import UserError

GOLDEN = Path(__file__).with_name("golden") / "bitext"
PAIRS = [
    ("Good day.", "Sawubona."),
    ("Thank you,\nmy friend.", " Ngiyabonga, \r\n\n mngane wami.\n"),
    ("Yes.", "Yebo."),
]
CODES = ("eng_Latn", "zul_Latn")


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("form", FORMS)
def test_documents_are_the_golden_ones(form: str, direction: str) -> None:
    docs = list(BitextFormat(form, direction, pairs_per_document=2).documents(iter(PAIRS), *CODES))
    assert "-----\n".join(doc.text for doc in docs).encode() == (GOLDEN / f"{form}-{direction}.txt").read_bytes()


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_and_direction_takes_the_same_amounts(form: str, direction: str) -> None:
    docs = BitextFormat(form, direction, pairs_per_document=2).documents(PAIRS, *CODES)
    amounts = [doc.words() for doc in docs]
    assert sum(amount["eng_Latn"] for amount in amounts) == 7
    assert sum(amount["zul_Latn"] for amount in amounts) == 5, "each language's own, and tags are no text of a language"


@pytest.mark.parametrize("separator", ["\n", "\r\n", "\r", "\u2028", "\u0085", "\x0c"])
@pytest.mark.parametrize("form", FORMS)
def test_a_sentence_stays_a_line(form: str, separator: str) -> None:
    (doc,) = BitextFormat(form).documents([(f"a{separator}b", f"{separator}c")], *CODES)
    assert [line.split("]: ")[-1] for line in doc.text.splitlines()] == ["a b", "c"]


def test_sentences_without_line_ends_are_left_as_they_are() -> None:
    (doc,) = BitextFormat("pair").documents([("  two  spaces ", "\u200fשָׁלוֹם\t")], *CODES)
    assert doc.parts == (("eng_Latn", "  two  spaces \n"), ("zul_Latn", "\u200fשָׁלוֹם\t\n"))


def test_fingerprints_differ_exactly_when_documents_do() -> None:
    formats = [BitextFormat(form, way, size) for form in FORMS for way in DIRECTIONS for size in (1, 2)]
    documents = {each: tuple(each.documents(PAIRS, *CODES)) for each in formats}
    for each in formats:
        for other in formats:
            if {each.form, other.form} == {"pair", "interlinear"}:
                continue  # a pair is interlinear text of one pair, under a name of its own
            assert (each.fingerprint == other.fingerprint) == (documents[each] == documents[other]), (each, other)
    assert BitextFormat("tagged", "forward", 10).fingerprint == "tagged-10"
    assert BitextFormat("interlinear", "both", 4).fingerprint == "interlinear-4-both"


def test_tagged_is_the_default_format() -> None:
    pairs = [(f"word {n}", f"igama {n}") for n in range(25)]
    assert list(BitextFormat("tagged", "forward", 10).documents(pairs, *CODES)) == list(
        BitextFormat().documents(pairs, *CODES)
    )
    assert pickle.loads(pickle.dumps(BitextFormat())) == BitextFormat()
    assert list(BitextFormat().documents([], *CODES)) == []


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"form": "taged"}, "form=taged: .*pair, tagged, interlinear; did you mean 'tagged'"),
        ({"direction": "backward"}, "direction=backward: .*forward, reverse, both"),
        ({"pairs_per_document": 0}, "pairs_per_document=0: "),
    ],
)
def test_an_unknown_format_is_a_mistake_that_is_told(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(UserError, match=told):
        BitextFormat(**wrong)  # type: ignore[arg-type]
