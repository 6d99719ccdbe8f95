"""The sources of a run by kind and language, from the locations that the configuration gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cpt.config import CorporaConfig, TextConfig
from cpt.corpora.bitext import BitextFormat
from cpt.corpora.corpus_location import CorpusLocation
from cpt.corpora.document import CODE
from cpt.corpora.source import Source
from cpt.corpora.toy.world import ToyWorld
from cpt.languages import language

if TYPE_CHECKING:
    from cpt.corpora.cleaning.pipeline import Cleaning

TOY = CorporaConfig(
    name="toy",
    monolingual=TextConfig("toy:monolingual/{language}.jsonl"),
    bitext=TextConfig("toy:bilingual/{source}-{target}.jsonl"),
    code=TextConfig("toy:code/code.jsonl"),
    general=TextConfig("toy:general/{language}.jsonl"),
)
"""The corpora on which stand-ins for base models are pretrained in every study."""


@dataclass(frozen=True)
class Library:
    corpora: CorporaConfig
    world: ToyWorld
    cache: Path
    cleaning_key: str = ""
    cleaning: Callable[[], Cleaning] | None = field(default=None, compare=False)

    def monolingual(self, code: str) -> Source:
        return self._whole(f"mono/{code}", "monolingual", code)

    def general(self, code: str) -> Source:
        return self._whole(f"general/{code}", "general", code)

    def code(self) -> Source:
        return self._whole(CODE, "code", CODE)

    def bitext(self, source: str, target: str, form: BitextFormat) -> Source:
        """Sentence pairs; where they come as documents already, text in both languages at once."""
        name = f"bi/{source}-{target}"
        first, second = sorted((source, target))
        names = {"source": source, "target": target, "first": first, "second": second}
        for side, code in (("source", source), ("target", target)):
            names |= {f"madlad_{side}": language(code).madlad, f"iso_{side}": code.split("_")[0]}
        location = self._location(name, "bitext", names, (source, target))
        if len(location.text.fields) == 1:
            return self._source(name, (f"{source}-{target}",), location, None)
        return self._source(name, (source, target), location, form)

    def _whole(self, name: str, kind: str, code: str) -> Source:
        names = {"language": code, "iso": code.split("_")[0]}
        if code != CODE:
            names["madlad"] = language(code).madlad
        return self._source(name, (code,), self._location(name, kind, names, (code,)), None)

    def _location(self, name: str, kind: str, names: dict[str, str], languages: tuple[str, ...]) -> CorpusLocation:
        other = self.corpora.other.get(name)
        key = f"corpora.other.{name}" if other else f"corpora.{kind}"
        text = other or getattr(self.corpora, kind)
        return CorpusLocation(key, text, tuple(names.items()), languages, self.world, self.cache)

    def _source(
        self, name: str, languages: tuple[str, ...], location: CorpusLocation, form: BitextFormat | None
    ) -> Source:
        return Source(
            name,
            languages,
            location.fingerprint(),
            location.volumes,
            form,
            newline=location.text.newline,
            # Steps are about natural language; code is taken as it is.
            cleaning_key="" if name == CODE else self.cleaning_key,
            cleaning=None if name == CODE else self.cleaning,
            remote=location.remote,
            check=location.check,
        )
