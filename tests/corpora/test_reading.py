"""Text comes in exactly as it was written, from every layout; what cannot be read is named and costs nothing else."""

import gzip
import json
import pickle
import tracemalloc
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from cpt.corpora.reading import LAYOUTS, layout, layout_of, lines, opened, opening
from cpt.corpora.reading.layout import CHUNK_BYTES, Chunk, Record, Stored, Unreadable, Volume
from cpt.corpora.reading.lines import check_pair
from cpt.errors import UserError

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.compress,
}
SCRIPTS = [
    "السلام عليكم، يا صديقي ١٢٣",
    "שָׁלוֹם \u200fעולם",
    "क्षत्रिय हिन्दी \u200d ज़",
    "ภาษาไทยน้ำใจดี",
    unicodedata.normalize("NFD", "Ẹ kú àárọ̀ — é ñ ü"),
    "line\u2028paragraph\u2029next\u0085line\x0bvertical\x0cform\x1cfile",
    "\ufeff𐎀𐎁 👩‍👩‍👧 \ufeff no byte order mark, as it is on a later line",
    ' "quoted" \\ & <b> ',
]


def volume(layout: str, *paths: Path, fields: Iterable[str] = ()) -> Volume:
    return Volume(layout, tuple(Stored(str(path)) for path in paths), tuple(fields))


def read(source: Volume) -> list[Record | Unreadable]:
    """As the program does it: chunks cross a process boundary, and so do records."""
    layout = pickle.loads(pickle.dumps(LAYOUTS[source.layout]))
    chunks = [pickle.loads(pickle.dumps(chunk)) for chunk in layout.chunks(source)]
    return [pickle.loads(pickle.dumps(found)) for chunk in chunks for found in layout.records(source, chunk)]


def chunks_of(source: Volume) -> list[Chunk]:
    return list(LAYOUTS[source.layout].chunks(source))


def written(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return path


def table_file(path: Path, **columns: object) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def memory_file(path: Path, *units: str, head: str = "") -> Path:
    body = "\n".join(f"<tu>{unit}</tu>" for unit in units)
    return written(path, f'<?xml version="1.0"?>\n{head}<tmx version="1.4"><header/><body>\n{body}\n</body></tmx>\n')


def variant(code: str, segment: str) -> str:
    return f'<tuv xml:lang="{code}"><seg>{segment}</seg></tuv>'


def escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


# ---- texts arrive as they are -------------------------------------------------------------------------------------


def in_json_lines(folder: Path, sides: list[tuple[str, str]]) -> Volume:
    path = folder / "t.jsonl"
    path.write_bytes("".join(json.dumps({"s": {"a": a}, "b": b}) + "\n" for a, b in sides).encode())
    return volume("jsonl", path, fields=["s.a", "b"])


def in_table(folder: Path, sides: list[tuple[str, str]]) -> Volume:
    path = written(folder / "t.tsv", "".join(f"{b}\tother\t{a}\n" for a, b in sides))
    return volume("tsv", path, fields=["3", "1"])


def in_moses(folder: Path, sides: list[tuple[str, str]]) -> Volume:
    paths = [written(folder / f"t.{side}", "".join(f"{pair[side]}\n" for pair in sides)) for side in (0, 1)]
    return volume("moses", *paths)


def in_parquet(folder: Path, sides: list[tuple[str, str]]) -> Volume:
    first, second = zip(*sides, strict=True)
    path = table_file(folder / "t.parquet", s=[{"a": a, "other": 1} for a in first], b=second)
    return volume("parquet", path, fields=["s.a", "b"])


def in_tmx(folder: Path, sides: list[tuple[str, str]]) -> Volume:
    clean = [variant("en-US", escaped(a)) + variant("ZU", escaped(b)) for a, b in sides]
    return volume("tmx", memory_file(folder / "t.tmx", *clean), fields=["en", "zu"])


@pytest.mark.parametrize("write", [in_json_lines, in_table, in_moses, in_parquet, in_tmx])
def test_every_script_arrives_exactly(tmp_path: Path, write: Callable[[Path, list[tuple[str, str]]], Volume]) -> None:
    texts = [text for text in SCRIPTS if write is not in_tmx or "\x0b" not in text]  # XML has no such characters
    sides = list(zip(texts, reversed(texts), strict=True))
    assert read(write(tmp_path, sides)) == sides


def test_plain_text_is_a_document_a_line(tmp_path: Path) -> None:
    path = written(tmp_path / "t.txt", "\n\n".join(SCRIPTS) + "\n \t\n\r\nlast")
    assert read(volume("text", path)) == [(text,) for text in [*SCRIPTS, "last"]]


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_byte_order_marks_and_line_ends_are_no_text(tmp_path: Path, packing: str, end: str) -> None:
    content = f"\ufeffone\ttwo{end}three\tfour{end}".encode()
    path = written(tmp_path / f"t.tsv{packing}", PACKERS[packing](content))
    assert read(volume("tsv", path)) == [("one", "two"), ("three", "four")]
    both = [written(tmp_path / f"t.{side}{packing}", PACKERS[packing](f"\ufeffa{end}b".encode())) for side in "xy"]
    assert read(volume("moses", *both)) == [("a", "a"), ("b", "b")]


@pytest.mark.parametrize("layout", ["jsonl", "text", "tsv"])
def test_an_empty_file_has_no_chunks(tmp_path: Path, layout: str) -> None:
    for packing, pack in PACKERS.items():
        assert chunks_of(volume(layout, written(tmp_path / f"empty{packing}", pack(b"")))) == []


def test_empty_pairs_and_tables_have_no_chunks(tmp_path: Path) -> None:
    empty = written(tmp_path / "empty", b"")
    assert chunks_of(volume("moses", empty, empty)) == []
    assert chunks_of(volume("parquet", table_file(tmp_path / "t.parquet", text=pa.array([], pa.string())))) == []
    assert chunks_of(volume("tmx", memory_file(tmp_path / "t.tmx"), fields=["en", "zu"])) == []


# ---- chunks -------------------------------------------------------------------------------------------------------


def text_lines(number: int) -> list[bytes]:
    return [json.dumps({"text": f"{n} " + "wörd " * (n * 7919 % 400)}).encode() + b"\n" for n in range(number)]


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> int:
    for module in (lines, layout):
        monkeypatch.setattr(module, "CHUNK_BYTES", 5_000)
    return 5_000


@pytest.mark.parametrize("buffer", [97, 1 << 20])
def test_chunks_are_the_same_however_a_file_is_packed_and_buffered(
    tmp_path: Path, small_chunks: int, monkeypatch: pytest.MonkeyPatch, buffer: int
) -> None:
    rows = text_lines(300)
    rows[100:100] = [b"x" * (small_chunks - 1) + b"\n", b"y" * small_chunks + b"\n"]
    rows[-1] = rows[-1].removesuffix(b"\n")
    expected, held = [], list[bytes]()
    for row in rows:
        held.append(row)
        if sum(map(len, held)) >= small_chunks:
            expected.append(held)
            held = []
    expected.append(held)
    monkeypatch.setattr(opening, "BUFFER_BYTES", buffer)
    for packing, pack in PACKERS.items():
        path = written(tmp_path / f"t.jsonl{packing}", pack(b"".join(rows)))
        chunks = chunks_of(volume("jsonl", path))
        assert [chunk.lines[0] for chunk in chunks] == expected, packing
        assert [chunk.first for chunk in chunks] == [1 + sum(map(len, expected[:n])) for n in range(len(expected))]


@pytest.mark.parametrize("write", [in_json_lines, in_table, in_moses, in_parquet, in_tmx])
def test_many_chunks_hold_every_record_once_and_number_them_through(
    tmp_path: Path, small_chunks: int, write: Callable[[Path, list[tuple[str, str]]], Volume]
) -> None:
    sides = [(f"ሰላም {n} " * (n % 9 + 1), f"selam {n}") for n in range(700)]
    sides[431] = ("here", " ")
    source = write(tmp_path, sides)
    chunks = chunks_of(source)
    assert [chunk.first for chunk in chunks] == sorted({chunk.first for chunk in chunks})
    assert len(chunks) > 5
    found = read(source)
    refused = found.pop(431)
    assert isinstance(refused, Unreadable)
    assert refused.where.endswith("432")
    assert found == sides[:431] + sides[432:]


def test_a_line_of_ten_megabytes_is_a_chunk_by_itself(tmp_path: Path) -> None:
    long = "long " * (2 * CHUNK_BYTES)
    short = ["a" * (CHUNK_BYTES // 2)] * 3
    path = written(tmp_path / "t.txt", "\n".join([*short[:2], long, short[2]]))
    assert [len(chunk.lines[0]) for chunk in chunks_of(volume("text", path))] == [2, 1, 1]
    assert read(volume("text", path)) == [(short[0],), (short[1],), (long,), (short[2],)]


@pytest.mark.parametrize("packing", PACKERS)
def test_memory_does_not_grow_with_the_file(tmp_path: Path, packing: str) -> None:
    text = b"".join(bytes(str(n * 7919 % 1_000_003) * 20, "ascii") + b"\n" for n in range(160_000))
    path = written(tmp_path / f"t.txt{packing}", PACKERS[packing](text))
    size, source = len(text), volume("text", path)
    del text
    tracemalloc.start()
    for _ in LAYOUTS["text"].chunks(source):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size > 18_000_000
    assert peak < 7_000_000


# ---- what is no record --------------------------------------------------------------------------------------------

JSON_FAULTS = {
    b'{"text": "broken': "is not JSON",
    b"": "is not JSON",
    b"[" * 100_000: "is not JSON",
    b'{"n": ' + b"9" * 5_000 + b"}": "is not JSON",
    b'["text"]': "has no field 'text'",
    b'{"content": "x"}': "has no field 'text'",
    b'{"text": null}': "field 'text' is not text",
    b'{"text": 7}': "field 'text' is not text",
    b'{"text": ["x"]}': "field 'text' is not text",
    b'{"text": ""}': "field 'text' is empty",
    b'{"text": " \\n"}': "field 'text' is empty",
    b'{"text": "a\\u0000b"}': "field 'text' holds NUL bytes",
    b'{"text": "a\\ud800b"}': "field 'text' is not valid Unicode",
    '{"text": "café"}'.encode("latin-1"): "is not UTF-8",
    b'{"text": "\xed\xa0\x80"}': "is not UTF-8",
}


@pytest.mark.parametrize("fault", JSON_FAULTS)
def test_a_bad_json_line_is_named_and_its_neighbours_are_read(tmp_path: Path, fault: bytes) -> None:
    path = written(tmp_path / "t.jsonl", b'{"text": "caf\xc3\xa9"}\n' + fault + b'\n{"text": "\\ud83d\\ude00"}\n')
    before, found, after = read(volume("jsonl", path, fields=["text"]))
    assert (before, after) == (("café",), ("😀",))
    assert isinstance(found, Unreadable)
    assert found.where == f"{path}:2"
    assert found.why.startswith(JSON_FAULTS[fault])
    assert len(found.why) < 80, "the line itself may be long"


def test_dotted_names_are_nested_fields_unless_a_field_has_that_name(tmp_path: Path) -> None:
    rows = [{"t": {"en": "x"}}, {"t.en": "y", "t": {"en": "x"}}, {"t": {"x.y": 1}}, {"t": "en"}]
    path = written(tmp_path / "t.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    *good, third, fourth = read(volume("jsonl", path, fields=["t.en"]))
    assert good == [("x",), ("y",)]
    assert third == Unreadable(f"{path}:3", "has no field 't.en'")
    assert fourth == Unreadable(f"{path}:4", "has no field 't.en'")


@pytest.mark.parametrize(
    ("layout", "line", "why"),
    [
        ("text", b"a\0b", "line 'text' holds NUL bytes"),
        ("text", b"caf\xe9", "is not UTF-8"),
        ("tsv", b"only one", "has no column 2"),
        ("tsv", b"one\t\tthree", "column '2' is empty"),
        ("tsv", b"o\0ne\ttwo", "column '1' holds NUL bytes"),
    ],
)
def test_a_bad_line_is_named_and_its_neighbours_are_read(tmp_path: Path, layout: str, line: bytes, why: str) -> None:
    path = written(tmp_path / "t", b"a\tb\n" + line + b'\nc\t"d\n')
    good = [("a", "b"), ("c", '"d')] if layout == "tsv" else [("a\tb",), ('c\t"d',)]
    assert read(volume(layout, path)) == [good[0], Unreadable(f"{path}:2", why), good[1]]


@pytest.mark.parametrize("field", ["0", "-1", "text", "²"])
def test_columns_are_numbers_from_one(tmp_path: Path, field: str) -> None:
    path = written(tmp_path / "t.tsv", "a\tb\n")
    with pytest.raises(UserError, match=f"column '{field}'"):
        next(LAYOUTS["tsv"].chunks(volume("tsv", path, fields=["1", field])))


@pytest.mark.parametrize(
    ("source", "target", "why"),
    [
        (b"", b"x", "side 'source' is empty"),
        (b"x", b" \t", "side 'target' is empty"),
        (b"x", b"caf\xe9", "side 'target' is not UTF-8"),
        (b"x\0", b"x", "side 'source' holds NUL bytes"),
    ],
)
def test_half_a_pair_is_no_record(tmp_path: Path, source: bytes, target: bytes, why: str) -> None:
    left = written(tmp_path / "t.en", b"one\n" + source + b"\nthree\n")
    right = written(tmp_path / "t.zu", b"kunye\n" + target + b"\nkuthathu\n")
    first, found, third = read(volume("moses", left, right))
    assert (first, third) == (("one", "kunye"), ("three", "kuthathu"))
    assert found == Unreadable(f"{left}:2 with {right}:2", why)


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize(
    ("source", "target", "counts"),
    [("a\nb\nc", "a\nb\n", (3, 2)), ("a\n", "a\n\n\n", (1, 3)), ("", "a", (0, 1)), ("a\n" * 9_000, "b\n", (9_000, 1))],
)
def test_sides_of_unequal_length_stop_with_both_names_and_counts(
    tmp_path: Path, small_chunks: int, source: str, target: str, counts: tuple[int, int], packing: str
) -> None:
    left, right = tmp_path / f"t.en{packing}", tmp_path / f"t.zu{packing}"
    pair = volume("moses", *(written(p, PACKERS[packing](t.encode())) for p, t in ((left, source), (right, target))))
    message = f"{left} has {counts[0]:,} lines and {right} has {counts[1]:,}"
    with pytest.raises(UserError, match=message):
        check_pair(pair)
    with pytest.raises(UserError, match=message):
        chunks_of(pair)


def test_sides_of_equal_length_pass(tmp_path: Path) -> None:
    pair = volume("moses", written(tmp_path / "a", "a\nb"), written(tmp_path / "b", "\n\n"))
    check_pair(pair)
    assert len(read(pair)) == 2


def test_parquet_rows_without_text_are_named(tmp_path: Path) -> None:
    raw = pa.array([b"good", b"caf\xe9", b"a\0b", None, b"", b"last"])
    path = table_file(
        tmp_path / "t.parquet", text=pa.Array.from_buffers(pa.string(), 6, raw.buffers()), number=range(6)
    )
    why = ["is not valid Unicode", "holds NUL bytes", "is empty", "is empty"]
    faults = [Unreadable(f"{path}: row {row}", f"column 'text' {fault}") for row, fault in enumerate(why, start=2)]
    assert read(volume("parquet", path)) == [("good",), *faults, ("last",)]
    assert all(isinstance(found, Unreadable) for found in read(volume("parquet", path, fields=["number"])))


@pytest.mark.parametrize("field", ["text", "translation", "translation.zu"])
def test_parquet_without_the_column_says_which_it_has(tmp_path: Path, field: str) -> None:
    path = table_file(tmp_path / "t.parquet", id=[1], content=["x"], translation=[{"en": "y"}])
    with pytest.raises(UserError, match=rf"{path}: no column '{field}'; it has id, content, translation.en"):
        chunks_of(volume("parquet", path, fields=["content", field]))


def test_parquet_with_nested_nulls(tmp_path: Path) -> None:
    path = table_file(tmp_path / "t.parquet", t=[{"en": "a", "zu": "b"}, None, {"en": None, "zu": "c"}])
    found = read(volume("parquet", path, fields=["t.en", "t.zu"]))
    assert [type(item) for item in found] == [tuple, Unreadable, Unreadable]


@pytest.mark.parametrize("damaged", [slice(0, None), slice(3, None), slice(-20, None), slice(4, 400)])
def test_a_damaged_parquet_file_is_named(tmp_path: Path, damaged: slice) -> None:
    path = table_file(tmp_path / "t.parquet", text=[f"{n} {n * n}" for n in range(500)])
    content = bytearray(path.read_bytes())
    content[damaged] = b"" if damaged.stop is None else b"\xff" * (damaged.stop - damaged.start)
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"{path}: cannot be read as Parquet"):
        chunks_of(volume("parquet", path, fields=["text"]))


# ---- translation memories -----------------------------------------------------------------------------------------


def test_codes_in_segments_are_no_text(tmp_path: Path) -> None:
    coded = (
        'Click <bpt i="1">&lt;b&gt;</bpt>here<ept i="1">&lt;/b&gt;</ept><ph>{0}<sub>alt</sub> more</ph>, '
        '<hi>now<it pos="end">[/i]</it></hi> &amp; <ut>x</ut><x/>go.'
    )
    path = memory_file(tmp_path / "t.tmx", "<note>n</note>" + variant("en", coded) + variant("zu", "Chofoza."))
    assert read(volume("tmx", path, fields=["en", "zu"])) == [("Click here, now & go.", "Chofoza.")]


def test_languages_of_a_memory_match_whatever_their_case_and_region(tmp_path: Path) -> None:
    old = '<tuv lang="EN_gb"><prop>p</prop><seg>old</seg></tuv>'
    units = [
        variant("zu", "b") + variant("en-US", "a"),
        variant("eng", "x") + variant("zu", "y"),
        old + variant("zu-ZA", "new"),
        variant("en", "first") + variant("en", "second") + variant("zu", "z"),
    ]
    path = memory_file(tmp_path / "t.tmx", *units)
    missing = Unreadable(f"{path}: unit 2", "segment 'EN' is empty")
    assert read(volume("tmx", path, fields=["EN", "zu"])) == [("a", "b"), missing, ("old", "new"), ("first", "z")]


@pytest.mark.parametrize("packing", PACKERS)
def test_memories_in_utf_16_and_with_a_doctype_are_read(tmp_path: Path, packing: str) -> None:
    plain = memory_file(
        tmp_path / "t", variant("en", "día") + variant("zu", "ሰላም"), head='<!DOCTYPE tmx SYSTEM "tmx14.dtd">\n'
    ).read_text(encoding="utf-8")
    path = written(tmp_path / f"t.tmx{packing}", PACKERS[packing](plain.encode("utf-16")))
    assert read(volume("tmx", path, fields=["en", "zu"])) == [("día", "ሰላም")]


BOMB = '<!DOCTYPE tmx [\n<!ENTITY a "ha">\n<!ENTITY b "&a;&a;&a;">\n]>\n'
OUTSIDE = '<!DOCTYPE tmx [<!ENTITY a SYSTEM "file:///etc/passwd">]>\n'
ELSEWHERE = '<!DOCTYPE tmx SYSTEM "tmx14.dtd">\n'


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize(
    ("head", "line", "what"),
    [
        (BOMB, 3, "declares the entity 'a'"),
        (OUTSIDE, 2, "declares the entity 'a'"),
        (ELSEWHERE, 4, "uses the entity 'a'"),
    ],
)
def test_entities_are_refused(tmp_path: Path, head: str, line: int, what: str, packing: str) -> None:
    plain = memory_file(tmp_path / "t", variant("en", "x&a;y") + variant("zu", "b"), head=head)
    path = written(tmp_path / f"t.tmx{packing}", PACKERS[packing](plain.read_bytes()))
    with pytest.raises(UserError, match=f"{path}:{line}: {what}"):
        chunks_of(volume("tmx", path, fields=["en", "zu"]))


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("<tmx>\n<body>\n<tu></tuv>", 3),
        ("<tmx>\n<body>", 2),
        ("", 1),
        ("\n<html></html>", 2),
        ("<tmx>\n<seg>a & b</seg></tmx>", 2),
        (b"<tmx>\n<seg>caf\xe9!</seg></tmx>", 2),
    ],
)
def test_broken_xml_is_named_with_its_line(tmp_path: Path, content: str | bytes, line: int) -> None:
    path = written(tmp_path / "t.tmx", content)
    with pytest.raises(UserError, match=f"{path}:{line}: "):
        chunks_of(volume("tmx", path, fields=["en", "zu"]))


# ---- packed files -------------------------------------------------------------------------------------------------

SKIPPABLE = bytes.fromhex("502a4d1803000000") + b"abc"


@pytest.mark.parametrize("packing", [".gz", ".zst"])
@pytest.mark.parametrize("between", [b"", SKIPPABLE])
def test_many_members_are_one_file(tmp_path: Path, packing: str, between: bytes) -> None:
    parts = [b"one\ntw", b"", b"o\n" + b"three\n" * 50_000, b"four"]
    pack = PACKERS[packing]
    glue = between if packing == ".zst" else b""
    path = written(tmp_path / f"t.txt{packing}", glue.join(pack(part) for part in parts))
    with opened(Stored(str(path))) as file:
        assert file.read() == b"".join(parts)


@pytest.mark.parametrize("packing", [".gz", ".zst"])
@pytest.mark.parametrize("cut", [0, 5, 3_000, -1])
def test_a_truncated_file_is_named(tmp_path: Path, packing: str, cut: int) -> None:
    whole = PACKERS[packing](b"".join(text_lines(5_000)))
    path = written(tmp_path / f"t.jsonl{packing}", whole[:cut])
    with pytest.raises(UserError, match=rf"{path}: ends in the middle of its compressed data"):
        chunks_of(volume("jsonl", path))
    path = written(tmp_path / f"t.jsonl{packing}", whole + whole[: cut or 1])
    with pytest.raises(UserError, match=rf"{path}: ends in the middle of its compressed data"):
        chunks_of(volume("jsonl", path))


@pytest.mark.parametrize("packing", [".gz", ".zst"])
def test_a_corrupt_file_is_named(tmp_path: Path, packing: str) -> None:
    whole = PACKERS[packing](b"".join(text_lines(5_000)))
    flipped = whole[:3_000] + bytes(byte ^ 0xFF for byte in whole[3_000:3_200]) + whole[3_200:]
    for content in (flipped, b"<html>not found</html>", whole + b"<html>"):
        path = written(tmp_path / f"t.jsonl{packing}", content)
        with pytest.raises(UserError, match=rf"{path}: damaged or not a compressed file"):
            chunks_of(volume("jsonl", path))


def test_a_long_window_is_read(tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=28)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    path = written(tmp_path / "t.txt.zst", packer.compress(b"x") + packer.flush())
    assert read(volume("text", path)) == [("x",)]


@pytest.mark.parametrize(
    ("path", "layout"),
    [
        ("a.jsonl", "jsonl"),
        ("a/b.v2.ndjson.gz", "jsonl"),
        ("a.json-lines.zst", "jsonl"),
        ("A.TXT.GZ", "text"),
        ("a.tsv", "tsv"),
        ("a.parquet", "parquet"),
        ("a.tmx.gz", "tmx"),
        ("https://host/a.tmx.gz?download=1", "tmx"),
    ],
)
def test_endings_tell_the_layout(path: str, layout: str) -> None:
    assert layout_of(path) == layout


@pytest.mark.parametrize("path", ["corpus.en", "a.json", "a.gz", "jsonl", "a.jsonl.bz2"])
def test_an_unknown_ending_lists_the_known(path: str) -> None:
    with pytest.raises(UserError, match=rf"{path}: .*\.jsonl, .*\.parquet, .*moses"):
        layout_of(path)


@pytest.mark.parametrize("layout", ["jsonl", "parquet", "tmx"])
def test_a_missing_file_is_named(tmp_path: Path, layout: str) -> None:
    with pytest.raises(UserError, match="nowhere: cannot be opened"):
        chunks_of(volume(layout, tmp_path / "nowhere", fields=["text"]))
