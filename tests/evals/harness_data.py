"""Small files of the twelve benchmarks in the layout of their releases, for one language each (two for FLORES-200)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

LANGUAGES = {
    "sib200": "khm_Khmr",
    "taxi1500": "zho_Hans",
    "xcopa": "tha_Thai",
    "xstorycloze": "rus_Cyrl",
    "xnli": "hin_Deva",
    "flores200": "eng_Latn-lao_Laoo",
    "xlsum": "kir_Cyrl",
    "massivesumm_long": "khm_Khmr",
    "massivesumm_short": "yor_Latn",
    "belebele": "zul_Latn",
    "arc": "mar_Deva",
    "mgsm_direct": "tha_Thai",
    "mgsm_cot": "tha_Thai",
}
"""The language whose files are written here."""


def text(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    text(path, [json.dumps(row, ensure_ascii=False) for row in rows])


def tsv(path: Path, rows: Sequence[Sequence[object]]) -> None:
    text(path, ["\t".join(map(str, row)) for row in rows])


def parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def sib200(folder: Path) -> None:
    texts = ["ក្រុមបាល់ទាត់ឈ្នះ", "រដ្ឋាភិបាលបានប្រកាស", "វេជ្ជបណ្ឌិតព្យាបាល", "ទន្លេមេគង្គវែង", '"ខ្សែភាពយន្តថ្មី" ល្អ']
    labels = ["sports", "politics", "health", "geography", "entertainment"]
    for split in ("train", "dev", "test"):
        rows = [["index_id", "category", "text"]]
        rows += [
            [str(i), label, line.replace('"', "")] for i, (label, line) in enumerate(zip(labels, texts, strict=True))
        ]
        tsv(folder / "khm_Khmr" / f"{split}.tsv", rows)


def taxi1500(folder: Path) -> None:
    verses = [
        "要 彼此 相爱 。",
        '耶稣 说 ： " 信 我 "',
        "那人 住 在 城里 。",
        "他们 犯 了 罪 。",
        "神 赐 恩典 。",
        "他们 杀 了 他 。",
    ]
    labels = ["Recommendation", "Faith", "Description", "Sin", "Grace", "Violence"]
    for split in ("train", "dev", "test"):
        rows = [[55002024 + i, label, verse] for i, (label, verse) in enumerate(zip(labels, verses, strict=True))]
        tsv(folder / "zho_Hani" / f"zho_Hani_{split}.tsv", rows)


def xcopa(folder: Path) -> None:
    told = [
        ("สิ่งของตกลงมา.", "กล่องแตก", "กล่องว่าง", "effect", 0),
        ("ชายคนนั้นหิว.", "เขาไม่ได้กินข้าว", "เขานอนหลับ", "cause", 0),
        ("ฝนตกหนัก.", "ถนนแห้ง", "น้ำท่วมถนน", "effect", 1),
        ("เธอหัวเราะ.", "เธอได้ยินเรื่องตลก", "เธอทำแก้วแตก", "cause", 0),
        ("เด็กร้องไห้.", "เขาได้ของขวัญ", "เขาหกล้ม", "cause", 1),
        ("He ran.", "He was late", "He sat", "cause", 0),
    ]
    names = ("premise", "choice1", "choice2", "question", "label")
    rows = [{**dict(zip(names, one, strict=True)), "idx": i, "changed": False} for i, one in enumerate(told)]
    for split in ("val", "test"):
        jsonl(folder / "data" / "th" / f"{split}.th.jsonl", rows)


def xstorycloze(folder: Path) -> None:
    header = ["InputStoryid", *(f"InputSentence{n}" for n in "1234")]
    header += ["RandomFifthSentenceQuiz1", "RandomFifthSentenceQuiz2", "AnswerRightEnding"]
    stories = [
        ["Рик вырос.", "Он искал друзей.", "Он попал в беду.", "Он изменился.", "Он счастлив.", "Он ушёл.", 1],
        ["Мама пекла.", "Пирог подгорел.", "Пошёл дым.", "Она открыла окно.", "Она смеялась.", "Она летала.", 1],
        ["Шёл снег.", "Дети вышли.", "Они лепили.", "Снеговик был велик. ", "Лето пришло.", "Они радовались.", 2],
        ["Кот пропал.", "Мы искали.", "Сосед позвонил.", "Он нашёл кота.", "Мы обрадовались.", "Мы заснули.", 1],
        ["Она училась.", "Был экзамен.", "Она волновалась.", "Она ответила.", "Она упала.", "Она сдала.", 2],
    ]
    for split in ("train", "eval"):
        rows: list[list[object]] = [[*header], *([f"id{i}", *story] for i, story in enumerate(stories))]
        tsv(folder / f"spring2016.val.ru.tsv.split_20_80_{split}.tsv", rows)


def xnli(folder: Path) -> None:
    told = [
        ("वह घर गया", "वह बाहर नहीं है", 0),
        ("बारिश हो रही है", "मौसम सूखा है", 2),
        ("मैंने किताब पढ़ी", "किताब लंबी थी", 1),
        ("बच्चे खेल रहे हैं", "बच्चे जाग रहे हैं", 0),
        ("उसने चाय पी", "उसे चाय पसंद है", 1),
        ("दुकान बंद है", "दुकान खुली है", 2),
    ]
    rows = [dict(zip(("premise", "hypothesis", "label"), one, strict=True)) for one in told]
    for split in ("validation", "test"):
        parquet(folder / "hi" / f"{split}-00000-of-00001.parquet", rows)


def flores200(folder: Path) -> None:
    sides = {
        "eng_Latn": ["The cat sleeps.", "Rain fell.", "We ate rice.", "The river is long.", "She reads books."],
        "lao_Laoo": ["ແມວນອນ.", "ຝົນຕົກ.", "ພວກເຮົາກິນເຂົ້າ.", "ແມ່ນ້ຳຍາວ.", "ນາງອ່ານປຶ້ມ."],
    }
    for split in ("dev", "devtest"):
        for code, lines in sides.items():
            text(folder / split / f"{code}.{split}", lines)


def articles(path: Path, told: Sequence[tuple[str, str]]) -> None:
    jsonl(path, [{"url": f"u{i}", "title": "t", "text": a, "summary": b} for i, (a, b) in enumerate(told)])


def xlsum(folder: Path) -> None:
    told = [
        ("Бишкекте кар жаады. Жолдор жабылды.", "Бишкекте кар жаады."),
        ("Мектептер ачылды. Балдар келди.", "Мектептер ачылды."),
        ("Дарыядагы суу көтөрүлдү. Айыл суу алдында.", "Айыл суу алдында калды."),
        ("Оюнчулар утту. Эл кубанды.", "Команда утту."),
        ("Баалар өстү. Эл нааразы.", "Баалар өстү."),
    ]
    for split in ("val", "test"):
        articles(folder / f"kyrgyz_{split}.jsonl", told)


def massivesumm_long(folder: Path) -> None:
    told = [(f"ព័ត៌មានថ្ងៃនេះ លេខ {i}។ ភ្លៀងធ្លាក់ខ្លាំង។", f"ភ្លៀងធ្លាក់ លេខ {i}") for i in range(5)]
    articles(folder / "khm_test.jsonl", told)


def massivesumm_short(folder: Path) -> None:
    told = [(f"Ìròyìn òní, nọ́ńbà {i}. Òjò rọ̀ gan-an.", f"Òjò rọ̀, {i}.") for i in range(5)]
    articles(folder / "yor_test.jsonl", told)


def belebele(folder: Path) -> None:
    rows = [
        {
            "link": "https://en.wikibooks.org/wiki/Accordion",
            "question_number": i,
            "flores_passage": f"Umfula mude. Kunamanzi amaningi lapho, izinhlanzi ezingu-{i}.",
            "question": "Unjani umfula? ",
            **{f"mc_answer{n}": word for n, word in enumerate(("mude", "mfushane", "womile", "awukho"), start=1)},
            "correct_answer_num": str(i % 4 + 1),
            "dialect": "zul_Latn",
            "ds": "2023-05-03",
        }
        for i in range(6)
    ]
    jsonl(folder / "data" / "zul_Latn.jsonl", rows)


def arc(folder: Path) -> None:
    rows = [
        {
            "id": f"ARC-Challenge/test/{i}",
            "instruction": f"[title] सूर्य कोठे उगवतो?  [edit]{i}",
            "option_a": "पूर्व",
            "option_b": "पश्चिम दिशेला",
            "option_c": "उत्तर",
            "option_d": None if i == 2 else "दक्षिण",
            "option_e": "आकाश" if i == 1 else None,
            "answer": "ABCAB"[i],
        }
        for i in range(5)
    ]
    for split in ("train", "val", "test"):
        jsonl(folder / "data" / "mr" / f"{split}.jsonl", rows)


def mgsm(folder: Path) -> None:
    told = [("มีแอปเปิ้ล 3 ผล ซื้ออีก 4 ผล รวมกี่ผล", "7"), ("10 - 4 เท่ากับเท่าไร", "6"), ("บ้านราคา 1,000 บวก 450", "1,450")]
    tsv(folder / "mgsm_th.tsv", [*told, ("5 คูณ 2", "10"), ("9 หาร 3", "3")])
    question, steps = "โจทย์: โรเจอร์มีลูกเทนนิส 5 ลูก", "คำตอบทีละขั้นตอน: 5 + 6 = 11 คำตอบคือ 11"
    examples = {str(n): {"q": f"{question} {n}", "a": steps} for n in (1, 2, 3, 4)}
    text(
        folder / "exemplars.py",
        ["EXEMPLAR_NUMBER_ANSWERS = [11, 11, 11, 11]", f"MGSM_EXEMPLARS = {{'th': {examples!r}}}"],
    )


WRITERS: dict[str, Callable[[Path], None]] = {
    **{
        one.__name__: one for one in (sib200, taxi1500, xcopa, xstorycloze, xnli, flores200, xlsum, belebele, arc, mgsm)
    },
    **{one.__name__: one for one in (massivesumm_long, massivesumm_short)},
}


def write(folder: Path) -> None:
    """All twelve, each in a folder of its own name."""
    for name, writer in WRITERS.items():
        writer(folder / name)
