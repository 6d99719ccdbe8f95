"""The registry holds the study's languages, as its paper's table has them."""

import pytest

from cpt.errors import UserError
from cpt.languages import ENGLISH, language, registry, relatives

TRAINED = {
    "alt": "zho_Hans ceb_Latn mar_Deva zul_Latn khm_Khmr",
    "sel": "deu_Latn bel_Cyrl mri_Latn kir_Cyrl nya_Latn",
    "stag": "tha_Thai yor_Latn sna_Latn wol_Latn",
}
RELATED = {
    "alt": "yue_Hant tgl_Latn ilo_Latn hin_Deva npi_Deva xho_Latn ssw_Latn vie_Latn",
    "sel": "nld_Latn dan_Latn rus_Cyrl ukr_Cyrl smo_Latn fij_Latn kaz_Cyrl bak_Cyrl bem_Latn sna_Latn",
    "stag": "lao_Laoo shn_Mymr ibo_Latn hau_Latn nya_Latn zul_Latn bam_Latn",
}
NAMES = (
    "English, Chinese (Simplified), Yue Chinese, Cebuano, Tagalog, Ilocano, Marathi, Hindi, Nepali, Zulu, Xhosa, "
    "Swati, Khmer, Vietnamese, German, Dutch, Danish, Belarusian, Russian, Ukrainian, Maori, Samoan, Fijian, Kyrgyz, "
    "Kazakh, Bashkir, Nyanja, Bemba, Shona, Thai, Lao, Shan, Yoruba, Igbo, Hausa, Wolof, Bambara"
)


def test_there_are_37_with_the_names_of_the_prompts() -> None:
    assert len(registry()) == 37
    assert sorted(item.name for item in registry().values()) == sorted(NAMES.split(", "))


@pytest.mark.parametrize("category", TRAINED)
def test_categories_are_the_studys(category: str) -> None:
    trained = [code for code, item in registry().items() if category in item.trained_in]
    assert set(trained) == {ENGLISH, *TRAINED[category].split()}
    assert set(relatives(trained)) == set(RELATED[category].split())
    related = [code for code, item in registry().items() if category in item.related_in]
    assert set(related) == set(RELATED[category].split())


def test_madlad_codes() -> None:
    codes = {item.madlad for item in registry().values() if item.madlad}
    assert codes == {"en", "zh", "ceb", "mr", "zu", "km", "de", "be", "mi", "ky", "ny", "th", "yo", "sn", "wo"}


def test_scripts_are_those_of_the_codes_but_for_chinese() -> None:
    for code, item in registry().items():
        assert item.script == code.split("_")[1]


def test_an_unknown_code_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'zul_Latn'"):
        language("zul_Lat")
