"""The report as people meet it: opened in Chromium, sorted, filtered, turned dark, made narrow, printed."""

import os
import time
from itertools import pairwise
from pathlib import Path

import pytest
from browser import DESKTOP, PHONE, axe, chromium, complaints, prefer, requests, resize, violations
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait
from simulated_study import BITS, OVERLAPS, SHARES, write_study
from waiting import PATIENCE

from cpt.results.output.published_study import write_published
from cpt.results.report.page import write_report

SCREENSHOTS = Path(__file__).parents[2] / "docs" / "screenshots"
RUNS = 36
FEW = [SHARES[0], *SHARES[3:5], *OVERLAPS[::2], BITS[0]]
"""One measure of each kind, and translation both ways."""
ALIKE = "tbody tr:nth-child(n + 4), .panels > :nth-child(n + 3)"
"""Lines of tables and panels that are made as the ones before them are: axe takes a while over each."""
VIEWS = (
    ("light", DESKTOP, "light", "main"),
    ("dark", DESKTOP, "dark", "languages"),
    ("phone", PHONE, "light", "main"),
)
NAMELESS = """
return [...document.querySelectorAll('svg, figure, img')].filter((item) => {
  if (item.matches('figure')) return !item.querySelector('table caption, [role=img]');
  return !item.closest('[aria-hidden=true]') && !item.matches('[role=img][aria-label]:not([aria-label=""])');
}).map((item) => item.outerHTML.slice(0, 200));
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A toy study of 36 runs, of which one has failed, and the published numbers."""
    folder = tmp_path_factory.mktemp("pages")
    study = write_study(folder / "pilot", RUNS, measures=FEW)
    failed = next(study.glob("V7-Bi+Code-Stag-*"))
    status = (failed / "status.json").read_text(encoding="utf-8")
    (failed / "status.json").write_text(status.replace('"finished"', '"failed"').replace("null", '"OutOfMemoryError"'))
    (failed / "evaluate.done").unlink()
    write_published(folder / "published")
    return {
        "toy": write_report(study, "pilot", "toy", {"cpt": "0.1.0"}),
        "published": folder / "published" / "report.html",
    }


@pytest.fixture
def toy(browser, pages):
    return opened(browser, pages["toy"])


def opened(browser, path, size=DESKTOP, scheme="light"):
    """The page as on a first visit, with nothing asked or said before."""
    prefer(browser, scheme)
    resize(browser, size)
    browser.get(path.as_uri())
    browser.execute_script("localStorage.clear(); scrollTo(0, 0)")
    return browser


def within(browser, anchor, selector):
    return browser.find_elements(By.CSS_SELECTOR, f"#{anchor} {selector}")


def first_words(browser, anchor, column=1):
    """A column of the section's first table, as it is shown."""
    cells = f"#{anchor} tbody tr:not([hidden]) > :nth-child({column})"
    script = "return [...document.querySelectorAll(arguments[0])].filter(c => c.offsetParent).map(c => c.textContent)"
    return browser.execute_script(script, cells)


def background(browser):
    return browser.execute_script("return getComputedStyle(document.body).backgroundColor")


def check(browser, value):
    box = browser.find_element(By.CSS_SELECTOR, f'#filter input[value="{value}"]')
    browser.execute_script("arguments[0].click()", box)


def shown(browser):
    return browser.find_element(By.ID, "shown").text


@pytest.mark.parametrize("name", ["toy", "published"])
def test_it_opens_without_a_complaint_and_asks_for_nothing(browser, pages, name):
    requests(browser), complaints(browser)
    opened(browser, pages[name])
    browser.execute_script("for (const part of document.querySelectorAll('main details')) part.open = true")
    browser.execute_async_script("requestAnimationFrame(() => setTimeout(arguments[0]))")
    assert not browser.execute_script("return [...document.querySelectorAll('details > noscript')].length")
    assert set(requests(browser)) == {pages[name].as_uri()}
    assert complaints(browser) == []
    assert browser.execute_script(NAMELESS) == []
    heads = browser.execute_script("return [...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])")
    assert heads[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(heads))


@pytest.mark.parametrize(("name", "scheme"), [("toy", "light"), ("published", "dark")])
def test_axe_finds_nothing(browser, pages, name, scheme):
    opened(browser, pages[name], scheme=scheme)
    browser.execute_script("for (const item of document.querySelectorAll(arguments[0])) item.remove()", ALIKE)
    assert violations(browser, axe()) == []
    browser.execute_script("document.querySelector('details.filter').open = true")
    assert violations(browser, axe(), "main") == []


def test_tables_sort_by_numbers_and_back(toy):
    head = within(toy, "summary", "thead th")[6]
    head.find_element(By.TAG_NAME, "button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    values = [float(value) for value in first_words(toy, "summary", 7) if value != "–"]
    assert len(values) > RUNS
    assert values == sorted(values)
    head.find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
    assert head.get_attribute("aria-sort") == "descending"
    assert [float(value) for value in first_words(toy, "summary", 7) if value != "–"] == values[::-1]


def test_a_language_sorts_runs_below_their_bases(toy):
    head = within(toy, "languages", "details[open] table thead tr:last-child th")[2]
    toy.execute_script("arguments[0].querySelector('button').click()", head)
    script = "return [...arguments[0].closest('table').tBodies[0].rows].map(r => [r.className, r.cells[3].textContent])"
    rows = toy.execute_script(script, head)
    kinds = [kind for kind, _ in rows]
    assert kinds == sorted(kinds, reverse=True)
    changes = [float(value.replace("−", "-")) for kind, value in rows if not kind]
    assert changes == sorted(changes)
    assert len(set(changes)) > 1


def test_a_table_is_sifted_by_words(toy):
    box = within(toy, "summary", ".sift input")[0]
    box.send_keys("BI alt")
    names = first_words(toy, "summary")
    assert names == [f"{model}-Bi{code}-Alt" for model in ("L2", "L3", "V7") for code in ("", "+Code")]
    assert within(toy, "summary", ".sift output")[0].text == "6 of 44 lines"
    box.send_keys(" nothing")
    assert first_words(toy, "summary") == []
    assert toy.execute_script("return document.querySelector('#summary .scroll').matches('.none')")


def test_the_filter_of_the_page_holds_everywhere_and_is_undone(toy):
    assert shown(toy) == "36 of 36 runs"
    all_lines = first_words(toy, "groups")
    check(toy, "mono")
    check(toy, "l3")
    assert shown(toy) == "6 of 36 runs"
    told = toy.find_element(By.ID, "shown")
    assert told.get_attribute("aria-live") == "polite"
    wanted = {"L3-Mono-Alt", "L3-Mono+Code-Alt", "L3-Mono-Sel", "L3-Mono+Code-Sel", "L3-Mono-Stag", "L3-Mono+Code-Stag"}
    for anchor in ("groups", "consumption"):
        assert set(first_words(toy, anchor)) == wanted
    assert {name.partition("-")[0] for name in first_words(toy, "languages")} == {"L3"}
    assert not any("Bi" in name for name in first_words(toy, "languages"))
    measures = "return [...document.querySelectorAll('#languages details')].filter(d => d.offsetParent).length"
    before = toy.execute_script(measures)
    check(toy, "chrf++")
    assert before > toy.execute_script(measures) == 2
    folded = within(toy, "languages", 'details[data-metric="chrf++"]')[0]
    toy.execute_script("arguments[0].open = true", folded)
    names = WebDriverWait(toy, PATIENCE).until(lambda driver: first_words(driver, "languages"))
    assert {name.split()[0] for name in names} == {"L3-Base-Alt", "L3-Base-Sel", "L3-Base-Stag"} | wanted
    toy.find_element(By.CSS_SELECTOR, "button[type=reset]").click()
    WebDriverWait(toy, PATIENCE).until(lambda driver: shown(driver) == "36 of 36 runs")
    assert first_words(toy, "groups") == all_lines
    assert not toy.find_element(By.CSS_SELECTOR, "button[type=reset]").is_displayed()


def test_the_filter_is_used_by_keyboard_alone(toy):
    summary = toy.find_element(By.CSS_SELECTOR, "details.filter > summary")
    summary.send_keys(Keys.ENTER)
    box = toy.find_element(By.CSS_SELECTOR, "#filter input")
    box.send_keys(Keys.SPACE)
    assert shown(toy) == "12 of 36 runs"
    box.send_keys(Keys.ESCAPE)
    assert not box.is_displayed()
    assert toy.switch_to.active_element == summary
    outline = toy.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_colours_are_the_systems_until_chosen_and_then_kept(browser, pages):
    opened(browser, pages["toy"], scheme="dark")
    dark = background(browser)
    choose = Select(browser.find_element(By.ID, "theme"))
    choose.select_by_value("light")
    light = background(browser)
    assert dark != light == "rgb(255, 255, 255)"
    browser.refresh()
    assert background(browser) == light
    assert Select(browser.find_element(By.ID, "theme")).first_selected_option.text == "Light"
    prefer(browser, "light")
    Select(browser.find_element(By.ID, "theme")).select_by_value("dark")
    assert background(browser) == dark
    Select(browser.find_element(By.ID, "theme")).select_by_value("")
    assert background(browser) == light


def test_it_works_where_nothing_is_kept(browser, pages, tmp_path):
    page = tmp_path / "frame.html"
    inner = pages["toy"].as_uri()
    page.write_text(f'<iframe sandbox="allow-scripts" src="{inner}" width="900" height="600"></iframe>')
    complaints(browser)
    browser.get(page.as_uri())
    browser.switch_to.frame(0)
    Select(browser.find_element(By.ID, "theme")).select_by_value("dark")
    assert background(browser) != "rgb(255, 255, 255)"
    assert shown(browser) == "36 of 36 runs"
    assert complaints(browser) == []
    browser.switch_to.default_content()


@pytest.mark.parametrize("name", ["toy", "published"])
def test_a_phone_scrolls_down_only(browser, pages, name):
    opened(browser, pages[name], PHONE)
    browser.execute_script("for (const part of document.querySelectorAll('main details, .filter')) part.open = true")
    width = "return document.documentElement.scrollWidth"
    assert browser.execute_script(width) == PHONE[0]
    wide = """
    return [...document.querySelectorAll('main *')].filter((item) => !item.closest('.scroll, svg, noscript')
      && item.getBoundingClientRect().right > innerWidth + 1).map((item) => item.outerHTML.slice(0, 200));
    """
    assert browser.execute_script(wide) == []
    cell = within(browser, "languages", "details[open] tbody tr:not(.base) td[title]")[0]
    browser.execute_script("arguments[0].click()", cell)
    readout = within(browser, "languages", "details[open] .readout")[0].text
    assert cell.get_attribute("title") in readout


def test_on_paper_it_is_light_unfolded_and_says_what_it_is(browser, pages):
    opened(browser, pages["toy"], scheme="dark")
    before = len(within(browser, "languages", "details[open]"))
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    prefer(browser, "dark", "print")
    assert background(browser) == "rgb(255, 255, 255)"
    assert not browser.find_elements(By.CSS_SELECTOR, "main details:not([open])")
    for hidden in (".controls", "nav", ".sift"):
        assert not browser.find_element(By.CSS_SELECTOR, hidden).is_displayed()
    assert browser.find_element(By.CSS_SELECTOR, ".banner").is_displayed()
    browser.execute_script("dispatchEvent(new Event('afterprint'))")
    assert len(within(browser, "languages", "details[open]")) == before


def test_without_scripts_everything_is_there(browser, pages):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(pages["toy"].as_uri())
        for fold in within(browser, "languages", "details:not([open]) > summary")[:2]:
            fold.click()
        tables = [item for item in within(browser, "languages", "table") if item.is_displayed()]
        assert len(tables) == 9
        assert not browser.find_element(By.CSS_SELECTOR, ".controls").is_displayed()
        assert "Without scripts" in browser.find_element(By.TAG_NAME, "main").text
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_of_many_lines_the_first_are_laid_out_and_all_take_part(browser, tmp_path):
    study = write_study(tmp_path / "many", 216, steps=2, measures=SHARES[:1])
    opened(browser, write_report(study, "many", "paper", {}))
    browser.execute_script("document.getElementById('summary').scrollIntoView()")
    lines = "return document.querySelectorAll('#summary tbody tr').length"
    WebDriverWait(browser, PATIENCE).until(lambda driver: driver.execute_script(lines) == 200)
    check(browser, "stag")
    assert shown(browser) == "72 of 216 runs"
    assert browser.execute_script(lines) == 75
    assert {name.rpartition("-")[0].rpartition("-")[2] for name in first_words(browser, "summary")} == {"Stag", "Base"}
    check(browser, "stag")
    more = browser.find_element(By.CSS_SELECTOR, "#summary .more")
    assert more.text == "Show all 225 lines, not only 200"
    browser.execute_script("arguments[0].click()", more)
    assert browser.execute_script(lines) == 225


@pytest.mark.skipif(not os.environ.get("CPT_SCREENSHOTS"), reason="written when CPT_SCREENSHOTS is 1, or a toy report")
def test_screenshots_are_kept(browser, pages):
    asked = os.environ["CPT_SCREENSHOTS"]
    shots = {"toy": pages["toy"] if asked == "1" else Path(asked), "published": pages["published"]}
    SCREENSHOTS.mkdir(exist_ok=True)
    for name, path in shots.items():
        for kind, size, scheme, anchor in VIEWS:
            opened(browser, path, size, scheme)
            browser.execute_script("document.getElementById(arguments[0]).scrollIntoView()", anchor)
            time.sleep(0.5)  # what comes near is drawn
            (SCREENSHOTS / f"{name}-{kind}.png").write_bytes(browser.get_screenshot_as_png())
    assert sum(path.stat().st_size for path in SCREENSHOTS.glob("*.png")) < 1_500_000
