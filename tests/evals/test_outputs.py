"""What is wrong with outputs: known cases of each kind, and planted shares of other languages found again."""

from __future__ import annotations

import random
from itertools import cycle, islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpt.corpora.language_identifier import Identifier, NgramIdentifier
from cpt.corpora.toy.grammar import Meaning, draw, say
from cpt.corpora.toy.lexicon import TOPICS
from cpt.evals.metrics.measured import Measured
from cpt.evals.metrics.outputs import MIN_REPEATED, REPEATED, REPEATS, copied, measure_outputs, repeated_end
from cpt.languages import registry

SHARES = (0.0, 0.1, 0.5, 1.0)
WITHIN = 0.03
REFERENCES, FRESH = (1, 3, 5, 7, 19), (9, 11, 13, 15, 17)
"""Of the sentences below, by number; even ones train. In Thai, which is counted by length, both are equally long."""
SENTENCES = {
    "eng_Latn": """The river flooded the village after three days of rain.
My grandmother bakes bread every Sunday morning.
Scientists have discovered a new planet outside our solar system.
The president will visit the capital next week.
Children learn languages faster than adults.
He forgot his umbrella on the train yesterday.
The price of oil has doubled since last year.
We walked along the beach until the sun went down.
Doctors recommend drinking plenty of water.
The museum is closed on Mondays.
She wrote a long letter to her brother in the army.
Many farmers lost their cattle during the drought.
The team won the final match in front of a large crowd.
Please close the window because it is cold.
The new bridge connects both parts of the city.
Teachers are asking for smaller classes and better books.
An old man was sitting under the tree, reading a newspaper.
The police are looking for two men who stole a car.
Elephants can hear sounds that people cannot hear.
The government promised to build more hospitals.""",
    "deu_Latn": """Der Fluss überschwemmte das Dorf nach drei Tagen Regen.
Meine Großmutter backt jeden Sonntagmorgen Brot.
Forscher haben einen neuen Planeten außerhalb unseres Sonnensystems entdeckt.
Der Präsident wird nächste Woche die Hauptstadt besuchen.
Kinder lernen Sprachen schneller als Erwachsene.
Er hat gestern seinen Regenschirm im Zug vergessen.
Der Ölpreis hat sich seit dem letzten Jahr verdoppelt.
Wir gingen am Strand entlang, bis die Sonne unterging.
Ärzte empfehlen, viel Wasser zu trinken.
Das Museum ist montags geschlossen.
Sie schrieb ihrem Bruder in der Armee einen langen Brief.
Viele Bauern haben während der Dürre ihr Vieh verloren.
Die Mannschaft gewann das Endspiel vor vielen Zuschauern.
Bitte schließ das Fenster, denn es ist kalt.
Die neue Brücke verbindet beide Teile der Stadt.
Lehrer fordern kleinere Klassen und bessere Bücher.
Ein alter Mann saß unter dem Baum und las eine Zeitung.
Die Polizei sucht zwei Männer, die ein Auto gestohlen haben.
Elefanten können Töne hören, die Menschen nicht hören.
Die Regierung hat versprochen, mehr Krankenhäuser zu bauen.""",
    "zul_Latn": """Umfula ugcwele emzaneni ngemva kwezinsuku ezintathu zemvula.
Ugogo wami ubhaka isinkwa njalo ngeSonto ekuseni.
Ososayensi bathole iplanethi entsha ngaphandle kwesistimu yethu yelanga.
Umongameli uzovakashela inhlokodolobha ngesonto elizayo.
Izingane zifunda izilimi ngokushesha kunabantu abadala.
Ukhohlwe isambulela sakhe esitimeleni izolo.
Intengo kawoyela iphindeke kabili kusukela ngonyaka odlule.
Sahamba ogwini lolwandle kwaze kwashona ilanga.
Odokotela batusa ukuphuza amanzi amaningi.
Imnyuziyamu ivaliwe ngoMsombuluko.
Wabhala incwadi ende eya kumfowabo osebuthweni.
Abalimi abaningi balahlekelwe izinkomo zabo ngesikhathi sesomiso.
Iqembu linqobe umdlalo wamanqamu phambi kwesixuku esikhulu.
Ngicela uvale iwindi ngoba kuyabanda.
Ibhuloho elisha lixhumanisa izingxenye zombili zedolobha.
Othisha bacela amakilasi amancane nezincwadi ezingcono.
Ikhehla lalihlezi ngaphansi kwesihlahla lifunda iphephandaba.
Amaphoyisa afuna amadoda amabili antshontshe imoto.
Izindlovu ziyezwa imisindo abantu abangakwazi ukuyizwa.
Uhulumeni uthembise ukwakha izibhedlela eziningi.""",
    "rus_Cyrl": """Река затопила деревню после трёх дней дождя.
Моя бабушка печёт хлеб каждое воскресное утро.
Учёные открыли новую планету за пределами нашей солнечной системы.
Президент посетит столицу на следующей неделе.
Дети учат языки быстрее, чем взрослые.
Вчера он забыл свой зонт в поезде.
Цена на нефть удвоилась с прошлого года.
Мы шли по пляжу, пока не село солнце.
Врачи советуют пить много воды.
По понедельникам музей закрыт.
Она написала длинное письмо своему брату в армию.
Многие крестьяне потеряли скот во время засухи.
Команда выиграла финал на глазах у большой толпы.
Закрой, пожалуйста, окно, потому что холодно.
Новый мост соединяет обе части города.
Учителя просят меньшие классы и лучшие книги.
Старик сидел под деревом и читал газету.
Полиция ищет двух мужчин, укравших машину.
Слоны слышат звуки, которых не слышат люди.
Правительство обещало построить больше больниц.""",
    "hin_Deva": """तीन दिन की बारिश के बाद नदी ने गाँव को डुबो दिया।
मेरी दादी हर रविवार की सुबह रोटी बनाती हैं।
वैज्ञानिकों ने हमारे सौर मंडल के बाहर एक नया ग्रह खोजा है।
राष्ट्रपति अगले सप्ताह राजधानी का दौरा करेंगे।
बच्चे बड़ों की तुलना में भाषाएँ जल्दी सीखते हैं।
वह कल अपना छाता ट्रेन में भूल गया।
पिछले साल से तेल की कीमत दोगुनी हो गई है।
हम सूरज डूबने तक समुद्र तट पर चलते रहे।
डॉक्टर बहुत पानी पीने की सलाह देते हैं।
संग्रहालय सोमवार को बंद रहता है।
उसने सेना में अपने भाई को एक लंबा पत्र लिखा।
सूखे के दौरान कई किसानों ने अपने मवेशी खो दिए।
टीम ने बड़ी भीड़ के सामने अंतिम मैच जीता।
कृपया खिड़की बंद कर दो क्योंकि ठंड है।
नया पुल शहर के दोनों हिस्सों को जोड़ता है।
शिक्षक छोटी कक्षाएँ और बेहतर किताबें माँग रहे हैं।
एक बूढ़ा आदमी पेड़ के नीचे बैठकर अख़बार पढ़ रहा था।
पुलिस कार चुराने वाले दो आदमियों को ढूँढ रही है।
हाथी वे आवाज़ें सुन सकते हैं जो लोग नहीं सुन सकते।
सरकार ने और अस्पताल बनाने का वादा किया।""",
    "tha_Thai": """แม่น้ำท่วมหมู่บ้าน หลังจากฝนตกสามวัน
ยายของฉันอบขนมปังทุกเช้าวันอาทิตย์
นักวิทยาศาสตร์ค้นพบดาวเคราะห์ดวงใหม่ นอกระบบสุริยะของเรา
ประธานาธิบดีจะไปเยือนเมืองหลวงสัปดาห์หน้า
เด็กเรียนภาษาได้เร็วกว่าผู้ใหญ่
เขาลืมร่มไว้บนรถไฟเมื่อวานนี้
ราคาน้ำมันเพิ่มขึ้นเป็นสองเท่า ตั้งแต่ปีที่แล้ว
เราเดินไปตามชายหาดจนพระอาทิตย์ตก
แพทย์แนะนำให้ดื่มน้ำมาก ๆ
พิพิธภัณฑ์ปิดทุกวันจันทร์
เธอเขียนจดหมายยาวถึงพี่ชายที่อยู่ในกองทัพ
ชาวนาจำนวนมากสูญเสียวัวควาย ระหว่างภัยแล้ง
ทีมชนะการแข่งขันนัดสุดท้ายต่อหน้าผู้ชมมากมาย
กรุณาปิดหน้าต่างเพราะอากาศหนาว
สะพานใหม่เชื่อมสองฝั่งของเมือง
ครูขอให้มีห้องเรียนเล็กลงและหนังสือที่ดีขึ้น
ชายชราคนหนึ่งนั่งอ่านหนังสือพิมพ์ใต้ต้นไม้
ตำรวจกำลังตามหาชายสองคนที่ขโมยรถ
ช้างได้ยินเสียงที่คนไม่ได้ยิน
รัฐบาลสัญญาว่าจะสร้างโรงพยาบาลเพิ่ม""",
    "zho_Hans": """下了三天雨之后,河水淹没了村庄。
我奶奶每个星期天早上烤面包。
科学家在太阳系外发现了一颗新行星。
总统将于下周访问首都。
孩子学语言比大人快。
他昨天把雨伞忘在火车上了。
石油价格自去年以来翻了一倍。
我们沿着海滩一直走到太阳落山。
医生建议多喝水。
博物馆星期一不开门。
她给在军队里的哥哥写了一封长信。
许多农民在干旱期间失去了牲畜。
球队在众多观众面前赢得了决赛。
请把窗户关上,因为天气很冷。
新桥连接了城市的两个部分。
老师们要求小班教学和更好的课本。
一位老人坐在树下看报纸。
警方正在寻找两名偷车的男子。
大象能听到人听不到的声音。
政府承诺修建更多的医院。""",
}


def score(measured: Measured) -> float:
    return measured.score(measured.statistics.sum(axis=0))


def scores(outputs: list[str], sources: list[str], references: list[str], target: str, by: Identifier) -> dict:
    return {found.metric: score(found) for found in measure_outputs(outputs, sources, references, target, by)}


def planted(right: list[str], wrong: list[str], share: float, count: int, seed: int = 5) -> list[str]:
    """So many texts, the exact share of them wrong, in any order."""
    rng = random.Random(seed)
    places = [index < round(share * count) for index in range(count)]
    rng.shuffle(places)
    texts = {True: cycle(rng.sample(wrong, len(wrong))), False: cycle(rng.sample(right, len(right)))}
    return [next(texts[place]) for place in places]


def in_groups(texts: list[str], size: int) -> list[str]:
    return [" ".join(texts[at : at + size]) for at in range(0, len(texts), size)]


def as_many(texts: list[str], count: int) -> list[str]:
    return list(islice(cycle(texts), count))


@pytest.fixture(scope="module")
def meanings() -> list[Meaning]:
    rng = random.Random(3)
    return [draw(rng, rng.randrange(len(TOPICS)), for_test=True) for _ in range(24 + 200 + 300)]


@pytest.fixture(scope="module")
def toy(meanings: list[Meaning]) -> NgramIdentifier:
    """As it is trained where no model is given: on the development sentences of every language."""
    return NgramIdentifier.train({code: [say(meaning, code) for meaning in meanings[:24]] for code in registry()})


@pytest.mark.parametrize(
    ("target", "other"),
    [
        ("zul_Latn", "eng_Latn"),
        ("eng_Latn", "ceb_Latn"),
        ("khm_Khmr", "zho_Hans"),
        ("tha_Thai", "eng_Latn"),
        ("bel_Cyrl", "deu_Latn"),
    ],
)
def test_planted_shares_are_found_in_toy_languages(
    target: str, other: str, toy: NgramIdentifier, meanings: list[Meaning]
) -> None:
    references, fresh = ([say(m, target) for m in part] for part in (meanings[24:224], meanings[224:]))
    sources, wrong = ([say(m, other) for m in part] for part in (meanings[24:224], meanings[224:]))
    for share in SHARES:
        whole = scores(planted(fresh, wrong, share, 200), sources, references, target, toy)
        assert whole["wrong_language"] == pytest.approx(share, abs=WITHIN)
        mixed = in_groups(planted(fresh, wrong, share, 800), 4)
        inside = scores(mixed, sources, references, target, toy)
        assert inside["wrong_sentences"] == pytest.approx(share, abs=WITHIN)


@pytest.fixture(scope="module")
def real() -> dict[str, list[str]]:
    return {code: text.split("\n") for code, text in SENTENCES.items()}


@pytest.fixture(scope="module")
def small(real: dict[str, list[str]]) -> NgramIdentifier:
    return NgramIdentifier.train({code: found[::2] for code, found in real.items()})


@pytest.mark.parametrize("other", ["eng_Latn", "zho_Hans"])
@pytest.mark.parametrize("target", ["zul_Latn", "deu_Latn", "rus_Cyrl", "hin_Deva", "tha_Thai", "zho_Hans"])
def test_planted_shares_are_found_in_real_languages(
    target: str, other: str, real: dict[str, list[str]], small: NgramIdentifier
) -> None:
    """Ten sentences train the identifier, five are references, five others and ten wrong ones are outputs."""
    if target == other:
        pytest.skip("nothing wrong to plant")
    count = 120
    references, sources = (as_many([real[code][at] for at in REFERENCES], count) for code in (target, "eng_Latn"))
    fresh, wrong = [real[target][at] for at in FRESH], real[other][1::2]
    for share in SHARES:
        whole = scores(planted(fresh, wrong, share, count), sources, references, target, small)
        assert whole["wrong_language"] == pytest.approx(share, abs=WITHIN)
        mixed = in_groups(planted(fresh, wrong, share, 5 * count), 5)
        inside = scores(mixed, sources, references, target, small)
        assert inside["wrong_sentences"] == pytest.approx(share, abs=WITHIN)


class Told:
    """Says what the texts themselves say: `<label> <confidence> …`."""

    fingerprint = "told"

    def predict(self, texts: list[str]) -> list[tuple[str, float]]:
        return [(text.split()[0], float(text.split()[1])) for text in texts]


def test_a_label_that_references_are_often_given_is_believed_only_above_what_they_show() -> None:
    ending = " amagama amaningi"
    references = [f"zul_Latn 0.9 {n}{ending}" for n in range(967)] + [
        f"xho_Latn 0.{n + 60} {ending}" for n in range(30)
    ]
    references += [f"eng_Latn 0.99 {n}{ending}" for n in range(3)]
    outputs = [f"{said}{ending}" for said in ("xho_Latn 0.85", "xho_Latn 0.95", "eng_Latn 0.6", "eng_Latn 0.4")]
    outputs = as_many(outputs, 1000)
    found = measure_outputs(outputs, outputs, references, "zul_Latn", Told())[0]
    assert found.metric == "wrong_language"
    assert found.statistics[:4].tolist() == [[0, 1], [1, 1], [1, 1], [0, 1]]
    assert found.signature == "told, confidence 0.5, xho_Latn above 0.89; references 0.3%, sources 50.0%"


def test_a_label_that_good_text_is_given_with_certainty_or_that_few_texts_tell_of_is_never_believed() -> None:
    for certainty, times in (("0.999", 100), ("0.6", 2)):
        references = as_many([f"{code} {certainty} magama amaningi" for code in ("zul_Latn", "xho_Latn")], times)
        outputs = as_many(["xho_Latn 1.0 magama amaningi", "eng_Latn 0.7 magama amaningi"], times)
        found = measure_outputs(outputs, references, references, "zul_Latn", Told())[0]
        assert found.statistics[:2].tolist() == [[0, 1], [1, 1]]


def test_signatures_say_what_is_noise_and_depend_on_no_output(
    real: dict[str, list[str]], small: NgramIdentifier
) -> None:
    sources, references = real["eng_Latn"], real["zul_Latn"]
    for outputs in (references, sources, [""] * len(sources)):
        language, inside, *_ = measure_outputs(outputs, sources, references, "zul_Latn", small)
        assert language.signature == f"{small.fingerprint}, confidence 0.5; references 0.0%, sources 100.0%"
        assert inside.signature == language.signature


def test_without_an_identifier_the_other_metrics_are_measured(real: dict[str, list[str]]) -> None:
    sources, references = real["eng_Latn"], real["tha_Thai"]
    outputs = [sources[0], "", "…?!", references[3] * 5, *references[4:]]
    found = {item.metric: item for item in measure_outputs(outputs, sources, references, "tha_Thai", None)}
    assert {name: item.statistics[:, 0].nonzero()[0].tolist() for name, item in found.items()} == {
        "wrong_script": [0],
        "copied": [0],
        "empty": [1, 2],
        "repeated": [3],
    }
    assert all(item.statistics.shape == (20, 2) and item.signature for item in found.values())
    assert found["wrong_script"].statistics[1:3].tolist() == [[0, 0], [0, 0]]


def test_a_copied_source_is_in_the_wrong_language_and_an_empty_output_is_nothing_else(
    real: dict[str, list[str]], small: NgramIdentifier
) -> None:
    sources, references = real["eng_Latn"], real["zul_Latn"]
    copies = scores(sources, sources, references, "zul_Latn", small)
    assert (copies["copied"], copies["wrong_language"], copies["wrong_sentences"]) == (1, 1, 1)
    assert copies["wrong_script"] == copies["empty"] == copies["repeated"] == 0
    nothing = scores(["", " \n", "." * 60, "\ufffd"] * 5, sources, references, "zul_Latn", small)
    assert nothing.pop("empty") == 1
    assert set(nothing.values()) == {0}
    perfect = scores(references, sources, references, "zul_Latn", small)
    assert set(perfect.values()) == {0}


def test_what_is_too_short_is_not_judged(real: dict[str, list[str]], small: NgramIdentifier) -> None:
    sources, references = real["eng_Latn"][:4], real["zul_Latn"][:4]
    outputs = ["No.", "1990–1995", references[2], sources[3]]
    found = {item.metric: item for item in measure_outputs(outputs, sources, references, "zul_Latn", small)}
    for metric in ("wrong_language", "wrong_sentences"):
        assert found[metric].statistics.tolist() == [[0, 0], [0, 0], [0, 1], [1, 1]]
        assert score(found[metric]) == 0.5


def test_an_output_that_repeats_a_sentence_does_not_outvote_the_others(
    real: dict[str, list[str]], small: NgramIdentifier
) -> None:
    english, zulu = real["eng_Latn"], real["zul_Latn"]
    outputs = [f"{zulu[0]} {f'{english[1]} ' * 20}", *zulu[1:]]
    found = {item.metric: item for item in measure_outputs(outputs, english, zulu, "zul_Latn", small)}
    assert found["wrong_sentences"].statistics[0].tolist() == [1, 2]
    assert found["repeated"].statistics[0].tolist() == [1, 1]


def test_names_in_other_scripts_are_no_wrong_script(real: dict[str, list[str]], small: NgramIdentifier) -> None:
    sources = real["eng_Latn"]
    references = [*real["tha_Thai"][:-1], "ขอบคุณ International Business Machines Corporation"]
    outputs = [
        "ยายของฉันซื้อ iPhone ที่ New York ทุกเช้าวันอาทิตย์",
        "ยายของฉันซื้อ the new telephone from the shop in the city ทุกเช้า",
        "Мой телефон лежит на столе",
        *references[3:],
    ]
    found = {item.metric: item for item in measure_outputs(outputs, sources, references, "tha_Thai", small)}
    assert found["wrong_script"].statistics[:, 0].nonzero()[0].tolist() == [1, 2]
    russian = found["wrong_language"].statistics[2].tolist()
    assert russian == [1, 1], "whatever an identifier says of it"


@pytest.mark.parametrize(
    ("output", "is_copied"),
    [
        ("The river flooded the village.", True),
        (" the RIVER, flooded the village", True),
        ("The river flooded the villages.", True),
        ("The river flooded the village. Umfula ugcwele emzaneni ngemva kwemvula.", False),
        ("The river was flooded by a village.", False),
        ("Umfula ugcwele emzaneni.", False),
        ("", False),
    ],
)
def test_copied_is_the_source_again(output: str, is_copied: bool) -> None:
    assert copied(output, "The river flooded the village.", "Umfula ugcwele emzaneni.") == is_copied


def test_what_stays_the_same_in_translation_is_not_copied() -> None:
    assert not copied("UNESCO, 1972", "UNESCO (1972)", "UNESCO 1972")


@pytest.mark.parametrize(
    ("text", "repetition"),
    [
        ("It is. " + "very good " * 9 + "very", "very good "),
        ("今天天气" + "很好" * 12, "很好"),
        ("กา" * 30, "กา"),
        ("a" * 20, "a"),
        ("".join(f"Item {n} is new. " for n in range(30, 60)), "Item 30 is new. "),
        ("ha ha ha ha", None),
        ("1,000,000,000", None),
        ("There are many words here which stand at the beginning, and then it says no no no no no no no", None),
        ("no no no no no no no no no no, he said", None),
        ("", None),
    ],
)
def test_repeated_is_an_end_that_says_the_same_over_and_over(text: str, repetition: str | None) -> None:
    found = repeated_end(text)
    assert (found and len(text[found[0] : sum(found)])) == (repetition and len(repetition))


@given(
    st.text("ab", max_size=12),
    st.text("ab0", min_size=1, max_size=12),
    st.integers(1, 12),
    st.integers(0, 11),
)
def test_repeated_ends_are_those_that_trying_every_length_finds(head: str, unit: str, times: int, cut: int) -> None:
    text = head + unit * times + unit[:cut]
    tried = []
    for period in range(1, len(text)):
        start = len(text) - period
        while start and text[start - 1] == text[start - 1 + period]:
            start -= 1
        stretch = len(text) - start
        if stretch >= max(MIN_REPEATED, REPEATED * len(text), REPEATS * period):
            tried.append((start, period))
    assert repeated_end(text) == (min(tried, key=lambda found: found[1]) if tried else None)


def test_statistics_are_numbers_for_no_outputs_too() -> None:
    for found in measure_outputs([], [], [], "zul_Latn", None):
        assert found.statistics.shape == (0, 2)
        assert found.statistics.dtype == np.float64
