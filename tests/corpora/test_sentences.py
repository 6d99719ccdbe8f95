"""Sentence splitting, on sentences whose ends anybody who reads the script can see."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpt.corpora.sentences import english_sentences, letters, sentences
from cpt.languages import registry


@pytest.mark.parametrize(
    ("code", "parts"),
    [
        ("eng_Latn", ["Mr. Smith came at 3.5 degrees.", "He left!", "Did he?"]),
        ("zul_Latn", ["Sawubona mngane.", "Unjani namuhla?"]),
        ("rus_Cyrl", ["Привет, мир.", "Как дела?"]),
        ("mar_Deva", ["हे एक वाक्य आहे।", "दुसरे वाक्य.", "English inside.", "आणि शेवट?"]),
        ("khm_Khmr", ["សួស្តីពិភពលោក។", "ផ្លែឈើ បន្លែ ។ល។", "ហេតុអ្វី?", "Hello there.", "ចប់៕"]),
        ("tha_Thai", ["สวัสดีครับ", "ผมชื่อสมชาย 25 ๆ", "I love you very much.", "Next one.", "ขอบคุณมาก"]),
        ("lao_Laoo", ["ສະບາຍດີ", "ຂ້ອຍຊື່ສົມ"]),
        ("shn_Mymr", ["မႂ်ႇသုင်ၶႃႈ", "ယူႇလီၵိၼ်ဝၢၼ်"]),
        ("shn_Mymr", ["မႂ်ႇသုင် ၶႃႈ။", "ယူႇလီ။"]),
    ],
)
def test_each_script_ends_its_sentences_its_own_way(code: str, parts: list[str]) -> None:
    assert sentences(" ".join(parts), code) == parts
    assert sentences("\n".join(parts) + "\n\n", code) == [piece for part in parts for piece in sentences(part, code)], (
        "a line break ends a sentence everywhere"
    )


def test_chinese_needs_no_spaces() -> None:
    parts = ["你好！", "他说：“好。”", "English text.", "你呢？", "再见"]
    assert sentences("".join(parts), "zho_Hans") == parts


def test_the_english_splitter_sees_no_other_script() -> None:
    assert english_sentences('He said "Go." Then Mr. Smith left.\nA title\n\nNext! No?') == [
        'He said "Go."',
        "Then Mr. Smith left.",
        "A title\n\nNext!",
        "No?",
    ]
    for text in ("你好！我是。他说：好。", "สวัสดีครับ ผมชื่อสมชาย", "សួស្តី។ ខ្ញុំ។", "हे आहे। ते आहे।"):
        assert english_sentences(text) == [text]
    assert english_sentences(" \n ") == []


TEXTS = st.text(st.sampled_from('ab É.!?។៕ល။।。！？ \n\t"”) กขๆ1កခ你好हे'), max_size=60)


@given(text=TEXTS, code=st.sampled_from(sorted(registry())))
def test_nothing_but_white_space_is_lost(text: str, code: str) -> None:
    for parts in (sentences(text, code), english_sentences(text)):
        assert "".join("".join(parts).split()) == "".join(text.split())
        assert all(part == part.strip() != "" for part in parts)


def test_letters_are_counted_without_marks_and_digits() -> None:
    assert letters("abc 123, é!") == 4
    assert letters("คือ") == 2
