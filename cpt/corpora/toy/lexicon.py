"""Words of the toy world: every language spells the same concepts in its own script and sound system.

Languages of one branch share a sound inventory and most of their roots, languages of one family a part of
them, as relatives do; English alone uses real words, so that people can read what the models read.
"""

from __future__ import annotations

import random
from functools import cache
from typing import NamedTuple

from cpt.languages import ENGLISH, UNSPACED_SCRIPTS, Language, language


class Topic(NamedTuple):
    label: str
    nouns: tuple[str, ...]
    verbs: tuple[str, ...]
    adjectives: tuple[str, ...]


def _topic(label: str, nouns: str, verbs: str, adjectives: str) -> Topic:
    return Topic(label, tuple(nouns.split()), tuple(verbs.split()), tuple(adjectives.split()))


TOPICS = (
    _topic("science/technology", "scientist robot computer planet", "measures invents", "digital electric"),
    _topic("travel", "tourist hotel train airport", "visits books", "distant scenic"),
    _topic("politics", "minister parliament party law", "elects debates", "national public"),
    _topic("sports", "player team ball coach", "kicks beats", "fast strong"),
    _topic("health", "doctor patient vaccine hospital", "treats heals", "sick clinical"),
    _topic("entertainment", "actor film singer concert", "performs films", "famous funny"),
    _topic("geography", "river mountain island desert", "crosses borders", "deep dry"),
)
TIMES = ("today", "yesterday", "tomorrow", "often")
MANNERS = ("quickly", "slowly", "quietly")
COMMON_ADJECTIVES = ("big", "small", "new", "old")
AND = "and"
NOT = "not"


@cache
def concepts() -> tuple[str, ...]:
    """All concepts, each named by its English word: 8 for each of 7 topics and 13 that any topic uses."""
    topical = tuple(word for topic in TOPICS for word in (*topic.nouns, *topic.verbs, *topic.adjectives))
    return (*topical, *TIMES, *MANNERS, *COMMON_ADJECTIVES, AND, NOT)


_CONSONANTS = {
    "Latn": "b d f g h j k l m n p r s t v w y z ng sh kh ts",
    "Cyrl": "б в г д ж з к л м н п р с т ф х ц ч ш",
    "Deva": "क ख ग घ च ज ट ड त द न प ब म य र ल व श स ह",
    "Thai": "ก ข ค ง จ ช ด ต ท น บ ป พ ม ย ร ล ว ส ห",
    "Laoo": "ກ ຂ ຄ ງ ຈ ຊ ດ ຕ ທ ນ ບ ປ ພ ມ ຍ ຣ ລ ວ ສ ຫ",
    "Khmr": "ក ខ គ ង ច ជ ដ ត ទ ន ប ព ម យ រ ល វ ស ហ",
    "Mymr": "က ၵ ၶ င ၸ သ တ ထ ပ ၽ မ ယ ရ လ ဝ ႁ",
}
_VOWELS = {
    "Latn": "a e i o u",
    "Cyrl": "а е и о у",
    "Deva": "ा ि ु े ो",
    "Thai": "า ิ ี ุ ู",
    "Laoo": "າ ິ ີ ຸ ູ",
    "Khmr": "ា ិ ី ុ ូ",
    "Mymr": "ႃ ိ ီ ု ူ",
}
_HAN = {
    "Hans": "天地人山水火木土金石日月星云风雨雪电光明东西南北中国家门开关时间书车马鸟鱼龙虫花草树叶果米田学问说语词听见觉长",
    "Hant": "天地人山水火木土金石日月星雲風雨雪電光明東西南北中國家門開關時間書車馬鳥魚龍蟲花草樹葉果米田學問說語詞聽見覺長",
}
_N_CONSONANTS, _N_VOWELS = 11, 5
Root = tuple[tuple[int, int], ...]


def _rng(*parts: object) -> random.Random:
    """A named stream of randomness: the same parts give the same stream on every machine."""
    return random.Random("toy/" + "/".join(map(str, parts)))


@cache
def _sounds(branch: str, script: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    consonants = _CONSONANTS[script].split()
    return tuple(_rng("sounds", branch, script).sample(consonants, _N_CONSONANTS)), tuple(_VOWELS[script].split())


def _root(tongue: Language, concept: str) -> Root:
    """Inherited from the family, the branch, or the language's own: what related languages share."""
    draw = _rng("inherit", tongue.code, concept).random()
    origin = tongue.code if draw < 0.2 else tongue.family if draw < 0.35 else tongue.branch
    rng = _rng("root", origin, concept)
    return tuple((rng.randrange(_N_CONSONANTS), rng.randrange(_N_VOWELS)) for _ in range(2))


def _spell(tongue: Language, root: Root) -> str:
    if tongue.script in _HAN:
        return "".join(_HAN[tongue.script][consonant * _N_VOWELS + vowel] for consonant, vowel in root)
    consonants, vowels = _sounds(tongue.branch, tongue.script)
    ending = _rng("ending", tongue.code).choice(("", "", *consonants[:3])) if tongue.script == "Latn" else ""
    return "".join(consonants[consonant] + vowels[vowel] for consonant, vowel in root) + ending


@cache
def lexicon(code: str) -> dict[str, str]:
    """Concept to word in one language; no two concepts share a word."""
    tongue = language(code)
    if code == ENGLISH:
        return {concept: concept for concept in concepts()}
    words: dict[str, str] = {}
    taken: set[str] = set()
    for concept in concepts():
        word, attempt = _spell(tongue, _root(tongue, concept)), 0
        while word in taken:
            attempt += 1
            word = _spell(tongue, _root(tongue, f"{concept}/{attempt}"))
        words[concept] = word
        taken.add(word)
    return words


class Syntax(NamedTuple):
    order: str
    """Of subject, verb and object: SVO, SOV or VSO."""
    adjective_first: bool
    space: str
    stop: str


@cache
def syntax(code: str) -> Syntax:
    """Word order and punctuation; languages of a branch agree on the order."""
    tongue = language(code)
    space = "" if tongue.script in UNSPACED_SCRIPTS else " "
    stop = {"Hans": "。", "Hant": "。", "Deva": "।", "Khmr": "។", "Mymr": "။"}.get(tongue.script, ".")
    if tongue.branch == language(ENGLISH).branch:
        return Syntax("SVO", True, space, stop)
    rng = _rng("syntax", tongue.branch)
    return Syntax(rng.choice(("SVO", "SOV", "VSO")), rng.random() < 0.5, space, stop)
