"""Cleaning as a study configures it: its steps, a language identifier, and test sets that must not be trained on."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cpt.corpora.cleaning import STEPS, Cleaning, Tools, build, ngram_index
from cpt.corpora.cleaning.pipeline import VERSION
from cpt.corpora.cleaning.step import checked
from cpt.corpora.cleaning.units import Hashes
from cpt.corpora.language_identifier import FastTextIdentifier, Identifier, NgramIdentifier
from cpt.corpora.toy.world import ToyWorld
from cpt.errors import UserError
from cpt.files import file_hash, locked, read_json, write_json
from cpt.languages import registry
from cpt.run_keys import key_of

IDENTIFYING, COMPARING = ("language", "instances"), ("contamination",)
HELD_OUT = 5
"""Every fifth sentence is held out to measure the accuracy of the identifier."""
LEAST_SENTENCES = 10

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CleaningSetup:
    """The cleaning steps of a study, and the sources of its language identifier and test sets."""

    steps: str
    """As JSON."""
    glotlid: str | None
    sib200: Path
    flores200: Path
    world: ToyWorld
    cache: Path

    @property
    def _names(self) -> set[str]:
        return set(json.loads(self.steps))

    @property
    def key(self) -> str:
        """Changes when the cleaned text may change."""
        parts = [str(VERSION), json.dumps(self._settled())]
        if self._names & set(IDENTIFYING):
            parts.append(file_hash(Path(self.glotlid), self.cache) if self.glotlid else self._files(self._dev()))
        if self._names & set(COMPARING):
            parts.append(self._files(self._tests()))
        return key_of(*parts)[:16]

    def _settled(self) -> dict[str, Any]:
        """Every step with all its settings, so that an explicit default changes nothing."""
        given = json.loads(self.steps)
        return {name: checked(name, STEPS[name], given[name]) if name in STEPS else given[name] for name in given}

    def _files(self, paths: list[Path]) -> str:
        if paths and self.world.folder in paths[0].parents:
            return self.world.fingerprint
        return key_of([file_hash(path) for path in paths])

    def _dev(self) -> list[Path]:
        """FLORES-200's development sentences: in every language of the registry, and never used for tests."""
        self._written()
        return [path for code in registry() if (path := self.flores200 / "dev" / f"{code}.dev").exists()]

    def _tests(self) -> list[Path]:
        """The test files of the benchmarks, in all their languages."""
        self._written()
        flores = (self.flores200 / "devtest" / f"{code}.devtest" for code in registry())
        sib = (self.sib200 / code / "test.tsv" for code in registry())
        return [path for path in (*flores, *sib) if path.exists()]

    def _written(self) -> None:
        if self.world.folder in (self.flores200.parent, self.sib200.parent):
            self.world.benchmarks()

    def cleaning(self) -> Cleaning:
        identifier = self.identifier() if self._names & set(IDENTIFYING) else None
        tests = self._index if self._names & set(COMPARING) and self._tests() else None
        return build(json.loads(self.steps), Tools(identifier, tests))

    def _index(self, n: int) -> Hashes:
        return ngram_index(self._sentences(), n)

    def _sentences(self) -> Iterator[str]:
        for path in self._tests():
            for line in path.read_text(encoding="utf-8").split("\n"):
                text = line.split("\t")[-1] if path.suffix == ".tsv" else line
                if text.strip():
                    yield text

    def identifier(self) -> Identifier | None:
        """The configured model, or a small one that is trained here once."""
        if self.glotlid:
            return FastTextIdentifier(Path(self.glotlid))
        if not (files := self._dev()):
            return None
        folder = self.cache / "identifiers" / self._files(files).replace(":", "-")
        with locked(folder.with_name(f"{folder.name}.lock")):
            if not (folder / "accuracy.json").exists():
                self._train(files, folder)
        return NgramIdentifier.load(folder / "model.npz")

    @property
    def identifier_key(self) -> str:
        """Changes when the identifier's answers may; empty if there is none."""
        if self.glotlid:
            return file_hash(Path(self.glotlid), self.cache)
        return self._files(dev) if (dev := self._dev()) else ""

    def output_identifier(self) -> Identifier | None:
        """The identifier for measuring outputs; none if there is not enough text to train one."""
        try:
            return self.identifier()
        except UserError as error:
            log.warning("the languages of outputs are not identified: %s", error)
            return None

    def _train(self, files: list[Path], folder: Path) -> None:
        sentences = {path.stem: path.read_text(encoding="utf-8").split("\n") for path in files}
        sentences = {code: [line for line in lines if line.strip()] for code, lines in sentences.items()}
        if few := [code for code, lines in sentences.items() if len(lines) < LEAST_SENTENCES]:
            raise UserError(f"{self.flores200}: too few sentences in {few[0]} to learn from; give paths.glotlid")
        learnt = {code: [s for i, s in enumerate(lines) if i % HELD_OUT] for code, lines in sentences.items()}
        accuracy = NgramIdentifier.train(learnt).accuracy(
            {code: lines[::HELD_OUT] for code, lines in sentences.items()}
        )
        NgramIdentifier.train(sentences).save(folder / "model.npz")
        least = dict(sorted(accuracy.by_language.items(), key=lambda item: item[1])[:5])
        write_json(folder / "accuracy.json", {"overall": accuracy.overall, "n": accuracy.n, "least": least})

    def accuracy_note(self) -> str:
        """A line on the accuracy of the small identifier; empty if none is used."""
        if self.glotlid or not self._names & set(IDENTIFYING) or self.identifier() is None:
            return ""
        folder = self.cache / "identifiers" / self._files(self._dev()).replace(":", "-")
        facts = read_json(folder / "accuracy.json")
        least = ", ".join(f"{code} {share:.0%}" for code, share in facts["least"].items())
        return (
            f"Languages are identified by a small model trained on FLORES-200's dev sentences: {facts['overall']:.1%} "
            f"of {facts['n']:,} held-out ones right, least {least}. GlotLID does better: paths.glotlid=<its model.bin>."
        )


@cache
def cleaning_of(setup: CleaningSetup) -> tuple[str, Callable[[], Cleaning] | None]:
    """The key of the cleaning, and a function that builds it once; neither if there are no steps."""
    return ("", None) if setup.steps == "{}" else (setup.key, cache(setup.cleaning))
