"""The report of a study: one file that needs no server, no network and no other file, written from what is on disk."""

from __future__ import annotations

from functools import partial
from importlib.resources import files
from pathlib import Path

import pandas as pd

from cpt.files import write_text
from cpt.results.analysis.change import left_out
from cpt.results.folders import read_curve, read_losses
from cpt.results.report import sections
from cpt.results.report.claims import claims_section
from cpt.results.report.contents import Contents, read_contents
from cpt.results.report.forgetting import forgetting_section
from cpt.results.report.heatmap import draw, heat_maps
from cpt.results.report.markup import Content, Html, element, join
from cpt.results.report.mixing import mixing_section
from cpt.results.report.plots import POINTS, curves
from cpt.results.report.scores import scores_section

REPORT = "report.html"
CURVES = {
    "train": "trained languages",
    "related": "related languages",
    "english": "English",
    "code": "code",
}
"""Groups of languages whose held-out text is followed through the training."""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""Forbids the browser every request: the file is all there is."""

READING = {
    "Base": "The same model before this training, scored in the same way on the same items.",
    "Trained, related": "Languages a run was trained on, and unseen relatives of them.",
    "Bits per byte": "How many bits the model needs for a byte of held-out text. Lower is better; comparable across "
    "tokenizers, not across languages, whose scripts differ in bytes.",
    "chrF++, spBLEU": "Overlap of a translation with its reference, in characters and words, or in pieces of words.",
    "Wrong language": "As an identifier tells it whose mistakes on the references are taken into account: of these at "
    "most about 1 in 200 is judged wrong.",
    "Intervals": "95 %, from resampling the evaluated items. They say how sure a score is on other items of the same "
    "kind, not what another training seed would give.",
    "Bold": "The intervals of run and base do not overlap: a cautious sign of a difference. Of hundreds of cells some "
    "will be bold by chance.",
    "Colour": "Blue better, orange worse, deeper is more; one scale for each measure, on which the largest twentieth "
    "of changes has the deepest shade.",
    "Categories": "Means of different categories are over different languages: compare runs within one.",
    "Protocol": "How a benchmark was asked and scored. Scores of different protocols are never averaged or compared.",
    "*": "A mean that lacks languages other runs of its category have; point at it to see which.",
}

OF_PUBLISHED = {
    "Intervals": "95 %, Wilson's, of the share of items answered correctly; a score without one was published without. "
    "They say how sure a score is on other items of the same kind, not what another training seed would give.",
    "Left out": "Values known to be out of line are in no table here; the section Odd values lists them.",
}
"""What is read otherwise where the numbers are published ones."""

Section = tuple[str, str, Content | None]
"""Anchor, heading and content; a section without content is left out."""


def write_report(study: Path, name: str, scale: str, provenance: dict[str, str]) -> Path:
    """Write the study's `report.html`: everything known of it now, finished or not."""
    contents = read_contents(study, name, scale, provenance)
    path = study / REPORT
    write_text(path, page(contents))
    return path


def page(contents: Contents) -> str:
    parts = [(anchor, heading, body) for anchor, heading, body in _sections(contents) if body is not None]
    links = [element("li", element("a", heading, href=f"#{anchor}")) for anchor, heading, _ in parts]
    bodies = [element("section", element("h2", heading), body, id=anchor) for anchor, heading, body in parts]
    title = f"{contents.name} ({contents.scale})"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", _own("report.css")),
    )
    banner = [element("p", contents.banner, class_="banner", role="note")] if contents.banner else []
    header = element("header", element("h1", contents.name), element("p", _lead(contents), class_="lead"))
    navigation = element("nav", element("ul", *links), aria_label="Sections")
    main = element("main", header, navigation, *bodies)
    body = element("body", *banner, main, element("script", _own("report.js")), data_scale=contents.scale)
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _own(name: str) -> Html:
    return Html(files("cpt.results.report").joinpath(name).read_text(encoding="utf-8"))


def _lead(contents: Contents) -> str:
    heard = max((folder.updated for folder in contents.folders), default="")
    counted = f"{sections.counts(contents)}."
    state = counted if contents.published else f"Scale {contents.scale}. {counted}"
    return f"{state} Last change of a run: {heard}." if heard else state


def _sections(contents: Contents) -> list[Section]:
    scored = not contents.table.empty
    quality = contents.quality
    said = left_out(pd.concat([quality.table, contents.set_aside]))
    return [
        ("run", "What was run", sections.overview(quality)),
        ("unfinished", "Not finished", sections.unfinished(contents)),
        ("summary", "Runs compared", sections.summary_table(contents) if scored else None),
        ("groups", "Change by group of languages", _groups(quality)),
        ("claims", "Transfer, and what the categories claim", claims_section(contents)),
        ("languages", "Change by language", _languages(quality)),
        ("scores", "Scores by language", scores_section(quality)),
        ("forgetting", "Forgetting", forgetting_section(contents)),
        ("mixing", "Language mixing", mixing_section(contents)),
        ("odd", "Odd values", sections.odd_values(contents)),
        ("left-out", "Left out of the comparison", sections.notes(said) if said else None),
        ("loss", "Training loss", _losses(contents)),
        ("curve", "Learning and forgetting", _forgetting(contents)),
        ("ledger", "Ledger", sections.ledger_tables(contents)),
        ("plan", "Plan", sections.plan_table(contents)),
        ("reading", "How to read this", _reading(contents)),
        ("provenance", "Provenance", _provenance(contents)),
    ]


def _groups(contents: Contents) -> Html | None:
    found = sections.group_table(contents)
    words = (
        "100 × (mean over languages of the run ÷ mean over the same languages of its base − 1). English and code are "
        "in neither group. Blue is better than the base and orange worse, whichever way the metric runs, on a scale "
        "of its own for each column."
    )
    return join([element("p", words), found]) if found else None


def _languages(contents: Contents) -> Html | None:
    heats = heat_maps(contents)
    if not heats:
        return None
    words = (
        "Each cell is the run's score minus its base model's, in the unit of the measure. Bold: the two 95 % intervals "
        "do not overlap. Empty: not evaluated, or no base to compare with."
    )
    figures: list[Content] = []
    for heat in heats:
        protocol = f"protocol {heat.measure.protocol}, " if heat.measure.protocol else ""
        note = element("small", f" {protocol}{heat.measure.better}")
        figures += [element("h3", heat.measure.title, note), draw(contents, heat)]
    return join([element("p", words), *figures])


def _losses(contents: Contents) -> Html | None:
    drawn = curves(contents, read_losses, "Training loss")
    words = (
        f"At most {POINTS} points a curve, each the mean of the steps since the one before. Panels of one model share "
        "a scale; losses of different models cannot be compared, for their tokens differ."
    )
    return join([element("p", words), drawn]) if drawn else None


def _forgetting(contents: Contents) -> Html | None:
    """What a run learns and forgets on its way: the same held-out text after shares of the training."""
    figures: list[Content] = []
    for role, title in CURVES.items():
        drawn = curves(contents, partial(read_curve, role=role), f"Bits per byte, {title}")
        if drawn:
            figures += [element("h3", title), drawn]
    words = (
        "Bits per byte of the beginning of the held-out text, packed as in training, from the base model (step 0) on: "
        "the mean over the languages of each group. Lower is better; a rise is forgetting."
    )
    return join([element("p", words), *figures]) if figures else None


def _reading(contents: Contents) -> Html:
    words = READING | OF_PUBLISHED if contents.published else READING
    return element("dl", *(part for word, told in words.items() for part in (element("dt", word), element("dd", told))))


def _provenance(contents: Contents) -> Html | None:
    pairs = [part for key, value in contents.provenance.items() for part in (element("dt", key), element("dd", value))]
    return element("dl", *pairs) if pairs else None
