import math

import pytest

from cpt.results.analysis.data_consumed import by_language, consumption

PLANNED = {"run_id": "a", "words": "1000", "tokens": "2000", "planned_steps": "50", "minutes": "3", "devices": "8"}
SOURCES = [
    {"source": "mono/zul_Latn", "language": "zul_Latn", "words_unique": 600, "words_seen": 1200, "tokens_seen": 30},
    {"source": "bi/eng_Latn-zul_Latn", "language": "zul_Latn", "words_unique": 350, "words_seen": 700},
    {"source": "code", "language": "code", "words_unique": 5000, "tokens_seen": 7},
]
LEDGER = {"steps": 25, "tokens_unique": 2200, "seconds": 225.0, "processes": 8, "sources": SOURCES}


def lines(plan, ledgers):
    return {(row.run_id, row.quantity): row for row in consumption(plan, ledgers).itertuples(index=False)}


def test_the_ledger_is_set_against_the_plan():
    found = lines([PLANNED], {"a": LEDGER})
    words = found["a", "words"]
    assert (words.planned, words.consumed, words.ratio, words.off) == (1000, 950, 0.95, False)
    minutes = found["a", "device_minutes"]
    assert (minutes.planned, minutes.consumed, minutes.ratio, minutes.off) == (24, 30, 1.25, False)
    assert (found["a", "steps"].ratio, found["a", "steps"].off) == (0.5, True)


@pytest.mark.parametrize(("seen", "off"), [(1099, False), (1101, True), (910, False), (908, True)])
def test_off_is_a_tenth_more_or_less(seen, off):
    ledger = {"tokens_unique": seen}
    assert lines([{"run_id": "a", "tokens": "1000"}], {"a": ledger})["a", "tokens"].off == off


def test_what_is_not_known_has_no_ratio_and_is_not_off():
    found = lines([PLANNED | {"devices": "", "tokens": ""}], {"b": LEDGER})
    assert found["a", "device_minutes"].planned == 3
    assert math.isnan(found["a", "steps"].consumed)
    assert math.isnan(found["b", "steps"].planned)
    assert ("a", "tokens") not in found
    assert not any(line.off for line in found.values())


def test_a_plan_for_no_devices_is_for_those_the_run_had():
    assert lines([PLANNED | {"devices": ""}], {"a": LEDGER})["a", "device_minutes"].planned == 24


def test_a_language_counts_over_all_sources_that_hold_it():
    found = by_language({"a": LEDGER}).set_index("language")
    assert found.loc["zul_Latn", "words_seen"] == 1900
    assert found.loc["zul_Latn", "tokens_seen"] == 30
    assert found.loc["code", "tokens_seen"] == 7
