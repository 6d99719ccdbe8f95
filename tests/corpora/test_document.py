"""The unit `words`, on texts whose words can be counted by hand."""

import pytest

from cpt.corpora.document import Doc, count_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        ("the doctor treats the patient.", 5),
        ("umfundi ufunda incwadi", 3),
        ("डॉक्टर मरीज का इलाज करता है।", 6),
        ("医生治疗病人。", 6),
        ("แพทย์รักษาผู้ป่วย", 3),  # 12 base letters, 4 a word
        ("คน", 1),
        ("ខ្មែរ", 1),
        ("Python 3 在 2024", 4),
    ],
)
def test_count_words(text: str, words: int) -> None:
    assert count_words(text) == words


def test_a_document_counts_each_language_apart() -> None:
    doc = Doc((("eng_Latn", "a b c\n"), ("zul_Latn", "d e\n"), ("eng_Latn", "f\n")))
    assert doc.text == "a b c\nd e\nf\n"
    assert doc.words() == {"eng_Latn": 4, "zul_Latn": 2}
