"""Cleaning steps on records whose fate can be told by eye, and the gate that counts them."""

from __future__ import annotations

import json
import pickle
import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import ROOT
from numpy.typing import NDArray

from cpt.corpora.cleaning import STEPS, Cleaning, Gate, Tools, build, ngram_index
from cpt.corpora.cleaning.contamination import REASON, Contamination
from cpt.corpora.cleaning.duplicates import Exact, Near
from cpt.corpora.cleaning.language import Instances, LanguageStep
from cpt.corpora.cleaning.length import Length, Ratio
from cpt.corpora.cleaning.normalise import Normalise
from cpt.corpora.cleaning.pipeline import SAMPLES
from cpt.corpora.cleaning.step import RecordResult
from cpt.corpora.cleaning.units import units
from cpt.corpora.language_identifier import NgramIdentifier
from cpt.corpora.sentences import sentences
from cpt.corpora.toy.world import ToyWorld
from cpt.errors import UserError

ENGLISH = ("eng_Latn",)
PAIR = ("eng_Latn", "zul_Latn")
LANGUAGES = ("eng_Latn", "zho_Hans", "khm_Khmr", "tha_Thai", "mar_Deva", "zul_Latn")


@pytest.fixture(scope="module")
def docs(world: ToyWorld) -> dict[str, list[str]]:
    found = {}
    for code in LANGUAGES:
        lines = world.file(f"monolingual/{code}.jsonl").read_text(encoding="utf-8").splitlines()
        found[code] = [json.loads(line)["text"].strip() for line in lines][:80]
    return found


@pytest.fixture(scope="module")
def identifier(docs: dict[str, list[str]]) -> NgramIdentifier:
    return NgramIdentifier.train(
        {code: [s for doc in found for s in sentences(doc, code)] for code, found in docs.items()}
    )


def normal(text: str, code: str = "eng_Latn", form: str = "NFC") -> str:
    return Normalise(form).apply((text,), (code,)).texts[0]


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("  cafe\u0301 \r\nau\rlait\t\n", "café\nau\nlait"),
        ("a\x00b\x07\ufeff\ud800c\td", "abc\td"),
        ("one\n \n\n\n\ntwo", "one\n\ntwo"),
        ("one\x85two\u2028three", "one\ntwo\nthree"),
        ("क\u094d\u200dष می\u200cروم", "क\u094d\u200dष می\u200cروم"),
        ("a\u200bb \u200b\u200bc", "ab c"),
        ("ខ្មែរ\u200bភាសា\u200b ไทย\u200bไทย x\u200bក", "ខ្មែរ\u200bភាសា\u200b ไทย\u200bไทย x\u200bក"),
    ],
)
def test_normalise(text: str, clean: str) -> None:
    assert normal(text) == clean
    assert normal(clean) == clean


def test_normalise_removes_what_is_empty_and_spares_code() -> None:
    assert normal("ﬁ①", form="NFKC") == "fi1"
    assert Normalise().apply((" \n\u200b\x00",), ENGLISH).removed == "empty"
    assert Normalise().apply(("text", " "), PAIR).removed == "empty"
    code = "    if x:\r\n        y()  \n\n\n\ndef f(): ...\n"
    assert normal(code, "code") == "    if x:\n        y()\n\n\n\ndef f(): ..."


def removed(step: Any, *texts: str, languages: tuple[str, ...] = ENGLISH) -> str:
    result: RecordResult = step.apply(texts, languages * len(texts) if len(languages) == 1 else languages)
    assert result.texts == texts
    return result.removed


def test_length_is_in_words_of_each_script() -> None:
    step = Length(least_words=3, most_words=5)
    assert [removed(step, text) for text in ("one two", "one two three", "1 2 3 4 5", "1 2 3 4 5 6")] == [
        "too short", "", "", "too long",
    ]  # fmt: skip
    assert removed(step, "医生治病人", languages=("zho_Hans",)) == ""
    assert removed(step, "one two three", "kubili nje", languages=PAIR) == "too short"
    with pytest.raises(UserError, match=r"cleaning\.steps\.length\.most_words=2: less than least_words=3"):
        Length(least_words=3, most_words=2)


def test_ratio() -> None:
    step = Ratio(most=2)
    assert removed(step, "1234", "12345678") == ""
    assert removed(step, "1234", "123456789") == "sides of unlike length"
    assert removed(step, "字" * 4, "a" * 8) == "", "characters, not bytes"
    assert removed(step, "The same  Text", "the same text") == "source copied"
    assert removed(step, "", "x") == "sides of unlike length"
    assert removed(step, "x") == ""


def test_exact() -> None:
    step, memory = Exact(), Exact().memory()
    memory.add(step.apply(("One  text\n",), ENGLISH).sketch)
    assert memory.known(step.apply(("one TEXT",), ENGLISH).sketch) == "exact duplicate"
    assert memory.known(step.apply(("one text.",), ENGLISH).sketch) == ""
    assert memory.known(step.apply(("one", "text"), PAIR).sketch) == "", "where the sides part makes a difference"


def words_of(rng: random.Random, count: int, alphabet: str, spaced: bool) -> list[str]:
    return ["".join(rng.choices(alphabet, k=5 if spaced else 1)) for _ in range(count)]


@pytest.mark.parametrize("alphabet", ["abcdefghij", "天地人山水火木金土日月星", "กขคงจฉชซฌญ", "កខគឃងចឆជឈញ"])
def test_near_duplicates_are_found_and_others_kept(alphabet: str) -> None:
    rng = random.Random(alphabet)
    spaced = alphabet.startswith("a")
    step = Near()
    memory = step.memory()
    originals = [words_of(rng, 300, alphabet, spaced) for _ in range(30)]
    for words in originals:
        memory.add(step.apply(((" " if spaced else "").join(words),), ENGLISH).sketch)

    def known(words: list[str]) -> str:
        return memory.known(step.apply(((" " if spaced else "").join(words),), ENGLISH).sketch)

    near = [[*words[:150], "xyz", *words[151:]] for words in originals]
    apart = [[*words[:180], *words_of(rng, 120, alphabet, spaced)] for words in originals]
    assert {known(words) for words in originals + near} == {"near duplicate"}
    assert {known(words) for words in apart} == {""}, "sharing 60 % is not enough"


def test_near_compares_short_texts_and_pairs_as_a_whole() -> None:
    step = Near()
    memory = step.memory()
    memory.add(step.apply(("Thank you!",), ENGLISH).sketch)
    memory.add(step.apply(("The cat sat on the mat today.", "Ikati lahlala phezu kocansi namhlanje."), PAIR).sketch)
    assert memory.known(step.apply(("thank you",), ENGLISH).sketch) == "near duplicate"
    assert memory.known(step.apply(("thank them",), ENGLISH).sketch) == ""
    same = step.apply(("The cat sat on the mat, today", "Ikati lahlala phezu kocansi namhlanje"), PAIR)
    assert memory.known(same.sketch) == "near duplicate"
    other = step.apply(("The cat sat on the mat today.", "Inja igijima ngokushesha emgwaqeni omkhulu."), PAIR)
    assert memory.known(other.sketch) == "", "another translation is another pair"
    assert step.apply(("!!! ...",), ENGLISH).sketch is None


def test_sketches_are_the_same_in_every_process() -> None:
    program = (
        "import pickle, sys; from cpt.corpora.cleaning.duplicates import Exact, Near;"
        "t = ('The cat sat on the mat. ខ្មែរ 你好 ' * 5,);"
        "s = Near().apply(t, ('eng_Latn',)).sketch;"
        "print(Exact().apply(t, ('eng_Latn',)).sketch, pickle.loads(pickle.dumps(s)).digest())"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1


def test_language(identifier: NgramIdentifier, docs: dict[str, list[str]]) -> None:
    step = LanguageStep(identifier, least=0.6)
    assert removed(step, docs["khm_Khmr"][0], languages=("khm_Khmr",)) == ""
    assert removed(step, docs["khm_Khmr"][0], languages=("zho_Hans",)) == "wrong language"
    assert removed(step, "1 2 3") == "uncertain language"
    assert removed(step, docs["eng_Latn"][0], docs["zul_Latn"][0], languages=PAIR) == ""
    assert removed(step, docs["eng_Latn"][0], docs["mar_Deva"][0], languages=PAIR) == "wrong language"
    assert removed(step, "1 2 3", languages=("code",)) == ""


INSIDE = "the doctor treats the sick patient in the hospital"


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("khm_Khmr", f" {INSIDE}។ "),
        ("zho_Hans", f"{INSIDE}。"),
        ("mar_Deva", f" {INSIDE}। "),
        ("tha_Thai", f" {INSIDE} "),
    ],
)
def test_instances_in_scripts_the_english_splitter_does_not_know(
    code: str, sentence: str, identifier: NgramIdentifier, docs: dict[str, list[str]]
) -> None:
    own = [doc.replace(".", "") for doc in docs[code][:12]]  # real Thai has no full stops, the toy's has
    mixed = [before + sentence + after for before, after in zip(own[1:], own, strict=False)]
    sound, published = Instances(identifier), Instances(identifier, behaviour="published")
    assert {removed(published, text, languages=(code,)) for text in mixed} == {""}
    assert {removed(sound, text, languages=(code,)) for text in mixed} == {"other languages inside"}
    assert {removed(sound, text, languages=(code,)) for text in own} == {""}


def test_instances_sound_and_published_by_hand(identifier: NgramIdentifier, docs: dict[str, list[str]]) -> None:
    sound, published = Instances(identifier), Instances(identifier, behaviour="published")
    zulu, english = docs["zul_Latn"][0], docs["eng_Latn"][0]
    assert removed(published, f"{zulu} {english}", languages=("zul_Latn",)) == "more than one language"
    assert removed(published, english, languages=("zul_Latn",)) == "", "one label, though not the expected"
    assert removed(sound, f"{zulu} {english}", languages=("zul_Latn",)) == "other languages inside"
    assert removed(sound, english, languages=("zul_Latn",)) == "not the expected language"
    assert removed(sound, "12345. 67.", languages=("zul_Latn",)) == "", "too short to judge"
    assert removed(Instances(identifier, most_other=0.7), f"{zulu} {english}", languages=("zul_Latn",)) == ""
    long = " ".join(docs["zul_Latn"][:6])
    quoted = f"{long} The doctor treats the patient."
    assert removed(sound, quoted, languages=("zul_Latn",)) == "", "less than a tenth"
    for step in (sound, published):
        assert removed(step, zulu, english, languages=("zul_Latn", "eng_Latn")) == ""
        assert removed(step, f"{zulu} {english}", languages=("code",)) == ""


TESTS = {
    "eng_Latn": "Scientists announced the invention of a new diagnostic tool that can sort cells by type.",
    "zho_Hans": "周一，斯坦福大学医学院的科学家宣布，他们发明了一种可以将细胞按类型分类的新型诊断工具。",
    "khm_Khmr": "កាលពីថ្ងៃចន្ទ អ្នកវិទ្យាសាស្ត្របានប្រកាសពីការបង្កើតឧបករណ៍ធ្វើរោគវិនិច្ឆ័យថ្មីមួយ។",
    "tha_Thai": "เมื่อวันจันทร์ นักวิทยาศาสตร์ได้ประกาศการประดิษฐ์เครื่องมือวินิจฉัยโรคชนิดใหม่",
}


@pytest.fixture(scope="module")
def contamination() -> Contamination:
    return Contamination(ngram_index([*TESTS.values(), "The quick fox jumped.", "A new tool."], 8))


@pytest.mark.parametrize("code", TESTS)
def test_contamination_is_found_wherever_it_is_planted(
    code: str, contamination: Contamination, docs: dict[str, list[str]]
) -> None:
    space = "" if code == "zho_Hans" else " "
    clean = docs[code]
    assert {removed(contamination, doc, languages=(code,)) for doc in clean} == {""}
    for index in (3, 7):
        planted = space.join([clean[index], TESTS[code].upper().replace("，", " , "), clean[index + 1]])
        assert removed(contamination, planted, languages=(code,)) == REASON
    middle = TESTS[code][len(TESTS[code]) // 5 :]
    assert removed(contamination, clean[0] + " " + middle + clean[1], languages=(code,)) == REASON
    assert removed(contamination, clean[0], TESTS[code], languages=PAIR) == REASON


def test_short_test_texts_are_found_as_whole_sentences_only(contamination: Contamination) -> None:
    assert removed(contamination, "RecordResult! The quick fox jumped. Then it slept.") == REASON
    assert removed(contamination, "the quick fox jumped") == REASON
    assert removed(contamination, "Then the quick fox jumped. It slept.") == ""
    assert removed(contamination, "The quick fox jumped over it.") == ""
    assert removed(contamination, "A new tool. It is good.") == "", "fewer than four words is anybody's phrase"
    assert removed(contamination, "Scientists announced the invention of a new machine.") == "", "seven words in common"


def test_contamination_can_only_be_reported(contamination: Contamination) -> None:
    result = Contamination(contamination.ngrams, action="report").apply((TESTS["eng_Latn"],), ENGLISH)
    assert (result.removed, result.notes) == ("", (REASON,))
    assert not Contamination(ngram_index([], 8)).apply((TESTS["eng_Latn"],), ENGLISH).removed
    assert set(map(int, ngram_index(["a b c d e"], 4))) == set(map(int, units("x a B, c; d (e)").windows(4))) - set(
        map(int, units("x a b c").windows(4))
    )


def test_windows_by_hand() -> None:
    assert [len(units("one two three four five").windows(n)) for n in (1, 4, 5, 6)] == [5, 2, 1, 0]
    assert len(units("天地人山水火").windows(2)) == 3, "four ideographs are two words"
    assert len(units("กขคงจฉชซ").windows(2)) == 1, "eight letters of Thai are two words"
    assert len(set(units("to day today").windows(1))) == 3
    assert list(units("to day").whole()) != list(units("today").whole())
    assert list(units("中 文，字").whole()) == list(units("中文字").whole())
    assert list(units("ﬁne CAFÉ\u200b!").whole()) == list(units("fine cafe\u0301").whole())
    assert units("...").words == 0
    assert not len(units("").whole())


RECORDS = ["A first text of some words.", "  a FIRST text of some words. ", "short", "Another text of some words.",
           "short", "", "One more text, of other words."]  # fmt: skip


def run(cleaning: Cleaning, records: list[str]) -> tuple[list[str], dict[str, Any]]:
    gate = Gate(cleaning)
    results = [cleaning.apply((text,), ENGLISH) for text in records]
    return [cleaned.texts[0] for cleaned in results if gate.admit(cleaned)], gate.report()


def test_the_gate_counts_what_each_step_removed() -> None:
    cleaning = build({"normalise": {}, "exact": {}, "length": {"least_words": 3}}, Tools())
    kept, report = run(cleaning, [*RECORDS, *["nothing"] * 25])
    assert kept == [RECORDS[0], RECORDS[3], RECORDS[6]]
    assert report["read"] == {"records": 32, "words": 6 + 6 + 1 + 5 + 1 + 0 + 6 + 25}
    assert report["kept"] == {"records": 3, "words": 6 + 5 + 6}
    assert report["steps"]["normalise"]["removed"] == {"empty": {"records": 1, "words": 0}}
    assert report["steps"]["exact"]["removed"] == {"exact duplicate": {"records": 1, "words": 6}}
    assert report["steps"]["length"]["removed"] == {"too short": {"records": 27, "words": 27}}, (
        "removed records are not remembered, so a second one is no duplicate"
    )
    samples = report["steps"]["length"]["samples"]
    assert samples[0] == {"why": "too short", "text": "short"}
    assert len(samples) == SAMPLES
    assert json.loads(json.dumps(report)) == report


def test_a_duplicate_that_a_later_step_would_remove_is_a_duplicate(contamination: Contamination) -> None:
    class Once:
        """Removes a text whose letters are capitals, which the duplicate step does not see."""

        def apply(self, texts: tuple[str, ...], languages: tuple[str, ...]) -> RecordResult:
            return RecordResult(texts, removed="shouted" if texts[0].isupper() else "")

    cleaning = Cleaning((("exact", Exact()), ("once", Once())))
    kept, report = run(cleaning, ["A text", "A TEXT", "OTHER", "Other"])
    assert kept == ["A text", "Other"]
    assert report["steps"]["exact"]["removed"]["exact duplicate"]["records"] == 1
    assert report["steps"]["once"]["removed"]["shouted"]["records"] == 1


def test_notes_are_counted_for_records_that_reach_their_step(contamination: Contamination) -> None:
    report_only = Contamination(contamination.ngrams, action="report")
    cleaning = Cleaning((("exact", Exact()), ("contamination", report_only)))
    kept, report = run(cleaning, [TESTS["eng_Latn"], TESTS["eng_Latn"] * 30, TESTS["eng_Latn"], "Clean text."])
    assert len(kept) == 3
    assert report["steps"]["contamination"]["noted"][REASON]["records"] == 2
    assert report["steps"]["contamination"]["removed"] == {}
    assert len(report["steps"]["contamination"]["samples"][1]["text"]) == 300


def toy_cleaning(identifier: NgramIdentifier) -> Cleaning:
    settings = yaml.safe_load((ROOT / "conf/cleaning/sound.yaml").read_text(encoding="utf-8"))["steps"]
    settings["contamination"]["action"] = "report"
    return build(settings, Tools(identifier, lambda n: ngram_index(TESTS.values(), n)))


def planted(docs: dict[str, list[str]]) -> list[str]:
    english = docs["eng_Latn"]
    records = [*english, *english[:9], *(f"{doc} And more." for doc in english[9:20]), *docs["khm_Khmr"][:5], "no"]
    records += [english[30] + " " + " ".join(docs["zul_Latn"][:3]), TESTS["eng_Latn"] + " " + english[31]]
    random.Random(5).shuffle(records)
    return records


def test_any_process_may_look_and_a_restart_changes_nothing(
    identifier: NgramIdentifier, docs: dict[str, list[str]]
) -> None:
    cleaning = toy_cleaning(identifier)
    records = planted(docs)
    kept, report = run(cleaning, records)
    assert report["steps"]["exact"]["removed"]["exact duplicate"]["records"] >= 9
    assert report["steps"]["contamination"]["noted"][REASON]["records"] == 1

    other = pickle.loads(pickle.dumps(cleaning))
    backwards = [pickle.dumps(other.apply((text,), ENGLISH)) for text in reversed(records)]
    results = [pickle.loads(result) for result in reversed(backwards)]
    gate = Gate(cleaning)
    first = [cleaned.texts for cleaned in results[:60] if gate.admit(cleaned)]
    saved = json.loads(json.dumps(gate.report()))
    gate = Gate(other)
    gate.restore(first, ENGLISH, saved)
    rest = [cleaned.texts for cleaned in results[60:] if gate.admit(cleaned)]
    assert [texts[0] for texts in first + rest] == kept
    assert gate.report() == report
    assert saved != report


def test_the_fingerprint_names_settings_and_tools(identifier: NgramIdentifier, docs: dict[str, list[str]]) -> None:
    settings: dict[str, Any] = {"near": {"similarity": 1}, "instances": {}, "contamination": {}}
    tools = Tools(identifier, lambda n: ngram_index(TESTS.values(), n))
    one = build(settings, tools).fingerprint
    assert json.loads(json.dumps(one)) == one == build(settings, tools).fingerprint
    assert one["steps"][0] == {"step": "near", "similarity": 1.0, "ngram": 5, "permutations": 128}
    assert one["steps"][1]["identifier"] == identifier.fingerprint
    others = [
        build({**settings, "near": {}}, tools),
        build(dict(reversed(settings.items())), tools),
        build(
            settings, Tools(identifier, lambda n: ngram_index(["another test text of more than eight words in all"], n))
        ),
        build(settings, Tools(NgramIdentifier.train({"eng_Latn": docs["eng_Latn"]}), tools.test_ngrams)),
    ]
    assert len({json.dumps(cleaning.fingerprint) for cleaning in others} | {json.dumps(one)}) == 5


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"nearr": {}}, r"cleaning\.steps\.nearr=\{\}: no such step; did you mean 'near'\?; known: normalise, length"),
        ({"near": {"similarty": 1}}, r"cleaning\.steps\.near\.similarty=1: .*did you mean 'similarity'\?; known: sim"),
        ({"near": {"similarity": "high"}}, r"cleaning\.steps\.near\.similarity=high: expected a number"),
        ({"near": {"similarity": 1.2}}, r"cleaning\.steps\.near\.similarity=1\.2: expected a number of at least 0\.5"),
        ({"near": {"ngram": 2.5}}, r"cleaning\.steps\.near\.ngram=2\.5: expected a whole number"),
        ({"near": {"ngram": True}}, r"cleaning\.steps\.near\.ngram=True: expected a whole number"),
        ({"near": 3}, r"cleaning\.steps\.near=3: expected the step's settings"),
        ({"exact": {"case": 1}}, r"cleaning\.steps\.exact\.case=1: no such setting; known: none"),
        ({"normalise": {"form": "NFX"}}, r"cleaning\.steps\.normalise\.form=NFX: expected one of.*did you mean 'NF"),
        ({"length": {"least_words": 0}}, r"cleaning\.steps\.length\.least_words=0: .* at least 1"),
        ({"instances": {"identifier": 1}}, r"cleaning\.steps\.instances\.identifier=1: no such setting"),
        ({"instances": {}}, r"cleaning\.steps\.instances: needs a language identifier; give paths\.glotlid"),
        ({"contamination": {}}, r"cleaning\.steps\.contamination: needs the test sets.*paths\.flores200 or paths\.sib"),
        ({"exact": {}, "normalise": {}}, r"cleaning\.steps=exact, normalise: .* put 'normalise' before 'exact'"),
    ],
)  # fmt: skip
def test_mistakes_in_the_configuration_are_named(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        build(settings, Tools())


@pytest.mark.parametrize("name", ["none", "published", "sound"])
def test_the_named_cleanings_can_be_built(name: str, identifier: NgramIdentifier) -> None:
    config = yaml.safe_load((ROOT / f"conf/cleaning/{name}.yaml").read_text(encoding="utf-8"))
    assert config["name"] == name
    indexed: list[int] = []

    def index(n: int) -> NDArray[np.uint64]:
        indexed.append(n)
        return np.zeros(0, np.uint64)

    cleaning = build(config["steps"], Tools(identifier, index))
    assert [step for step, _ in cleaning.steps] == list(config["steps"])
    assert indexed == [8] * (name == "sound")
    if name == "sound":
        assert set(config["steps"]) == set(STEPS)
