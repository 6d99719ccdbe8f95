"""Sentences of the toy world: meanings are drawn once and rendered in any language, so translations are exact."""

from __future__ import annotations

import random
import zlib
from typing import NamedTuple

from cpt.corpora.toy.lexicon import AND, COMMON_ADJECTIVES, MANNERS, NOT, TIMES, TOPICS, lexicon, syntax
from cpt.languages import ENGLISH


class Clause(NamedTuple):
    time: str
    subject_adjective: str
    subject: str
    negated: bool
    verb: str
    object_adjective: str
    object: str
    manner: str


class Meaning(NamedTuple):
    topic: int
    clauses: tuple[Clause, ...]


def _clause(rng: random.Random, topic: int) -> Clause:
    theme = TOPICS[topic]
    adjectives = (*theme.adjectives, *COMMON_ADJECTIVES)
    subject, object_ = rng.sample(theme.nouns, 2)
    return Clause(
        time=rng.choice(TIMES) if rng.random() < 0.4 else "",
        subject_adjective=rng.choice(adjectives) if rng.random() < 0.5 else "",
        subject=subject,
        negated=rng.random() < 0.1,
        verb=rng.choice(theme.verbs),
        object_adjective=rng.choice(adjectives) if rng.random() < 0.5 else "",
        object=object_,
        manner=rng.choice(MANNERS) if rng.random() < 0.3 else "",
    )


def held_out(meaning: Meaning) -> bool:
    """Whether a meaning is one of the eighth reserved for tests, which no training text contains in any language."""
    return zlib.crc32(repr(tuple(meaning)).encode()) % 8 == 0


def draw(rng: random.Random, topic: int, for_test: bool, clauses: int = 1) -> Meaning:
    """A meaning on a topic, from the training side or the test side of the world."""
    while True:
        meaning = Meaning(topic, tuple(_clause(rng, topic) for _ in range(clauses)))
        if held_out(meaning) == for_test:
            return meaning


def _say_clause(clause: Clause, code: str) -> list[str]:
    words, rules = lexicon(code), syntax(code)

    def phrase(adjective: str, noun: str) -> list[str]:
        parts = [words[adjective], words[noun]] if adjective else [words[noun]]
        if not rules.adjective_first:
            parts.reverse()
        return ["the", *parts] if code == ENGLISH else parts

    verb = ([words[NOT]] if clause.negated else []) + [words[clause.verb]]
    parts = {
        "S": phrase(clause.subject_adjective, clause.subject),
        "V": verb,
        "O": phrase(clause.object_adjective, clause.object),
    }
    time = [words[clause.time]] if clause.time else []
    manner = [words[clause.manner]] if clause.manner else []
    return time + [word for part in rules.order for word in parts[part]] + manner


def say(meaning: Meaning, code: str) -> str:
    """The sentence of a meaning in one language."""
    rules = syntax(code)
    spoken: list[str] = []
    for index, clause in enumerate(meaning.clauses):
        spoken += ([lexicon(code)[AND]] if index else []) + _say_clause(clause, code)
    return rules.space.join(spoken) + rules.stop
