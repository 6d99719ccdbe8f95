"""Translation memories (TMX 1.4): bitext as translators' programs, OPUS and the EU's institutions hand it out.

Read with expat itself: no tree is built, so memory stays constant, and what a file declares can be refused before it
takes effect (a few nested entities can stand for gigabytes).
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.parsers import expat

from cpt.corpora.reading.layout import Chunk, Record, RecordError, Stored, Unreadable, Volume, checked, into_chunks
from cpt.corpora.reading.opening import opened
from cpt.errors import UserError

BLOCK_BYTES = 1 << 16
MARKUP = frozenset({"bpt", "ept", "it", "ph", "ut"})
"""Elements in a segment whose text is codes of the translated file; that in others (`hi`) is part of the sentence."""


class Tmx:
    """`fields` are language codes as in `xml:lang`; case does not matter, and `en` is any `en-…` too."""

    endings: tuple[str, ...] = (".tmx",)

    def chunks(self, volume: Volume) -> Iterator[Chunk]:
        (stored,) = volume.files
        return into_chunks(_units(stored, volume.fields))

    def records(self, volume: Volume, chunk: Chunk) -> Iterator[Record | Unreadable]:
        (stored,) = volume.files
        for number, row in enumerate(chunk.rows, start=chunk.first):
            try:
                yield checked("segment", volume.fields, row)
            except RecordError as refused:
                yield Unreadable(f"{stored.name}: unit {number}", str(refused))


def _units(stored: Stored, languages: tuple[str, ...]) -> Iterator[Record]:
    memory = _Memory(stored.name, languages)
    with opened(stored) as file:
        while block := file.read(BLOCK_BYTES):
            yield from memory.feed(block, last=False)
        yield from memory.feed(b"", last=True)


class _Memory:
    """What was read of a file: units not handed over yet, and the position of the parser in the current unit."""

    def __init__(self, name: str, languages: tuple[str, ...]) -> None:
        self.name = name
        self.wanted = tuple(_plain(code) for code in languages)
        self.units: list[Record] = []
        self.root = ""
        self.language = ""
        self.segments: dict[str, str] = {}
        """Segments of the current unit, by language."""
        self.text: list[str] | None = None
        """Text of the current segment; None outside of segments."""
        self.markup = 0
        """Depth of markup within a segment."""
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.characters
        self.parser.EntityDeclHandler = self.declared
        self.parser.SkippedEntityHandler = self.undeclared

    def feed(self, block: bytes, *, last: bool) -> list[Record]:
        try:
            self.parser.Parse(block, last)
        except expat.ExpatError as error:
            raise self.problem(error.lineno, f"broken XML ({expat.ErrorString(error.code)})") from error
        units, self.units = self.units, []
        return units

    def problem(self, line: int, what: str) -> UserError:
        return UserError(
            f"{self.name}:{line}: {what}; expected a translation memory (TMX); repair or leave out the file"
        )

    def declared(self, name: str, *_: object) -> None:
        what = f"declares the entity '{name}', which is refused as a few of them can fill the memory"
        raise self.problem(self.parser.CurrentLineNumber, what)

    def undeclared(self, name: str, *_: object) -> None:
        raise self.problem(self.parser.CurrentLineNumber, f"uses the entity '{name}', which it does not define")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if not self.root and tag != "tmx":
            raise self.problem(self.parser.CurrentLineNumber, f"starts with <{tag}> instead of <tmx>")
        self.root = "tmx"
        if self.text is not None:
            self.markup += self.markup > 0 or tag in MARKUP
        elif tag == "tu":
            self.segments = {}
        elif tag == "tuv":
            self.language = _plain(attributes.get("xml:lang", attributes.get("lang", "")))  # TMX 1.1 had no xml:
        elif tag == "seg":
            self.text = []

    def end(self, tag: str) -> None:
        if self.markup:
            self.markup -= 1
        elif tag == "seg" and self.text is not None:
            self.segments.setdefault(self.language, "".join(self.text))
            self.text = None
        elif tag == "tu":
            self.units.append(tuple(self.segment(code) for code in self.wanted))

    def characters(self, text: str) -> None:
        if self.text is not None and not self.markup:
            self.text.append(text)

    def segment(self, wanted: str) -> str:
        """Empty if the unit does not have the language; `checked` refuses that."""
        return next(
            (text for code, text in self.segments.items() if code == wanted or code.startswith(f"{wanted}-")), ""
        )


def _plain(code: str) -> str:
    return code.lower().replace("_", "-")
