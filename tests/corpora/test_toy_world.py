"""The toy world: deterministic, in every script, kin alike, in the real layouts, its tests never in its training."""

import hashlib
import json
import random
import unicodedata
from pathlib import Path

import pytest

from cpt.corpora.toy.grammar import draw, held_out, say
from cpt.corpora.toy.lexicon import TOPICS, concepts, lexicon
from cpt.corpora.toy.world import ToyWorld
from cpt.evals.benchmarks.flores200 import read_sentences
from cpt.evals.benchmarks.sib200 import LABELS, read_split
from cpt.languages import registry

PINNED = {
    "monolingual/zul_Latn.jsonl": "ae2a28bde8e50923",
    "bilingual/eng_Latn-khm_Khmr.jsonl": "0dc5e39547546190",
    "code/code.jsonl": "933a53758bb59ecc",
}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


@pytest.mark.parametrize("name", PINNED)
def test_the_same_seed_gives_the_same_bytes_everywhere(world: ToyWorld, name: str) -> None:
    assert digest(world.file(name)) == PINNED[name], "the generator changed: raise GENERATOR_VERSION, then pin anew"


def test_another_seed_is_another_world(world: ToyWorld, tmp_path: Path) -> None:
    other = ToyWorld(tmp_path, seed=1, size=world.size)
    assert other.fingerprint != world.fingerprint
    assert digest(other.file("code/code.jsonl")) != digest(world.file("code/code.jsonl"))


def test_every_language_says_every_concept_in_its_own_word() -> None:
    assert len(concepts()) == 69
    for code in registry():
        words = lexicon(code)
        assert len(set(words.values())) == len(concepts()), code


def test_words_are_written_in_the_languages_script() -> None:
    first = {"Latn": "LATIN", "Cyrl": "CYRILLIC", "Deva": "DEVANAGARI", "Thai": "THAI", "Laoo": "LAO", "Khmr": "KHMER"}
    first |= {"Mymr": "MYANMAR", "Hans": "CJK", "Hant": "CJK"}
    for code, item in registry().items():
        for word in lexicon(code).values():
            assert unicodedata.name(word[0]).startswith(first[item.script]), (code, word)


def shared(left: str, right: str) -> float:
    """Share of concepts whose words begin alike in two languages."""
    pairs = zip(lexicon(left).values(), lexicon(right).values(), strict=True)
    return sum(a[:4] == b[:4] for a, b in pairs) / len(concepts())


def test_related_languages_share_more_words_than_others() -> None:
    kin = [shared("zul_Latn", "xho_Latn"), shared("bel_Cyrl", "ukr_Cyrl"), shared("mri_Latn", "smo_Latn")]
    strangers = [shared("zul_Latn", "smo_Latn"), shared("bel_Cyrl", "kaz_Cyrl"), shared("mri_Latn", "yor_Latn")]
    assert min(kin) > 0.3
    assert max(strangers) < 0.1


def test_a_translation_says_the_same_meaning() -> None:
    meaning = draw(random.Random(3), topic=3, for_test=False)
    english, zulu = say(meaning, "eng_Latn"), say(meaning, "zul_Latn")
    known = lexicon("zul_Latn")
    content = {known[word] for word in english.rstrip(".").split() if word != "the"}
    assert content == set(zulu.rstrip(".").split())


def test_no_training_sentence_is_a_test_sentence(world: ToyWorld) -> None:
    world.benchmarks()
    tests = set(read_sentences(world.folder / "flores200/devtest/zul_Latn.devtest"))
    tests |= set(read_sentences(world.folder / "flores200/dev/zul_Latn.dev"))
    tests |= set(read_split(world.folder / "sib200/zul_Latn/test.tsv")["text"])
    assert len(tests) > 20
    lines = world.file("bilingual/eng_Latn-zul_Latn.jsonl").read_text(encoding="utf-8").splitlines()
    assert not tests & {json.loads(line)["target"] for line in lines}
    documents = world.file("monolingual/zul_Latn.jsonl").read_text(encoding="utf-8").splitlines()
    sentences = {f"{part}." for line in documents for part in json.loads(line)["text"].rstrip(".\n").split(". ")}
    assert len(sentences) > 100
    assert not tests & sentences
    rng = random.Random(0)
    assert not held_out(draw(rng, 0, for_test=False))
    assert held_out(draw(rng, 0, for_test=True))


def test_benchmarks_have_the_real_layouts(world: ToyWorld) -> None:
    world.benchmarks()
    english = read_sentences(world.folder / "flores200/devtest/eng_Latn.devtest")
    for code in registry():
        test = read_split(world.folder / "sib200" / code / "test.tsv")
        assert list(test.columns) == ["index_id", "category", "text"]
        assert set(test["category"]) == set(LABELS) == {topic.label for topic in TOPICS}
        assert len(read_sentences(world.folder / f"flores200/devtest/{code}.devtest")) == len(english)
        assert (world.folder / f"heldout/{code}.jsonl").exists()
