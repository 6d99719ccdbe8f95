"""The report of a study: one file that needs no server, no network and no other file, written from what is on disk."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pandas as pd

from cpt.files import write_text
from cpt.results.analysis.change.against_base import left_out
from cpt.results.analysis.change.heat_maps import heat_maps
from cpt.results.figures.inline import stylesheet
from cpt.results.figures.markup import Content, Html, element, join
from cpt.results.report import sections
from cpt.results.report.answer import answer_section
from cpt.results.report.best import best_section
from cpt.results.report.claims import claims_section
from cpt.results.report.confusion import mixing_section
from cpt.results.report.consumption import consumption_section
from cpt.results.report.contents import Contents
from cpt.results.report.effects import effects_section
from cpt.results.report.filters import bar
from cpt.results.report.forgetting import forgetting_section
from cpt.results.report.heatmap import draw
from cpt.results.report.plots import files_section, learning_section, losses_section, paired_section
from cpt.results.report.resources import resources_section
from cpt.results.report.scores import scores_section
from cpt.results.rows.schema import VERSION

REPORT = "report.html"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""Forbids the browser every request: the file is all there is."""
NOTE = element("noscript", element("p", "Without scripts tables are not sorted or filtered; nothing else is missing."))
LONG = 2000
"""Characters of what is left out that are shown at once."""

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
    return write_page(Contents.read(study, name, scale, provenance), study)


def write_page(contents: Contents, study: Path) -> Path:
    """The same of contents that have been read."""
    path = study / REPORT
    write_text(path, page(contents))
    return path


def page(contents: Contents) -> str:
    parts = [(anchor, heading, body) for anchor, heading, body in _sections(contents) if body is not None]
    links = [element("li", element("a", heading, href=f"#{anchor}")) for anchor, heading, _ in parts]
    bodies = [element("section", element("h2", heading), body, id=anchor) for anchor, heading, body in parts]
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="color-scheme", content="light dark"),
        element("title", _title(contents)),
        element("style", _own("report.css"), Html(stylesheet()), _on_paper(contents)),
        element("script", _own("theme.js")),
    )
    banner = [element("p", contents.banner, class_="banner", role="note")] if contents.banner else []
    skip = element("a", "Skip to the contents of the page", href="#main", class_="skip")
    top = element("header", *banner, bar(contents))
    folded = element("details", element("summary", "Contents"), element("ol", *links), open="")
    navigation = element("nav", folded, aria_label="Contents")
    title = element("div", element("h1", contents.name), *_lead(contents), NOTE, class_="title")
    middle = element("div", navigation, element("main", title, *bodies, id="main"), class_="page")
    body = element("body", skip, top, middle, element("script", _own("report.js")), data_scale=contents.scale)
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _own(name: str) -> Html:
    return Html(files("cpt.results.report").joinpath(name).read_text(encoding="utf-8"))


def _title(contents: Contents) -> str:
    """What a tab shows: first of all whether these are results at all."""
    return f"{contents.tag.upper()}: {contents.name}" if contents.tag else f"{contents.name} ({contents.scale})"


def _on_paper(contents: Contents) -> Html:
    """At the head of every printed page: a sheet may be looked at alone."""
    marked = f"{contents.tag.upper()} results: " if contents.tag else ""
    words = "".join(f"\\{ord(letter):x} " for letter in f"{marked}{contents.name}")
    return Html(f'@page {{ @top-center {{ content: "{words}"; font: 8pt sans-serif; }} }}')


def _lead(contents: Contents) -> list[Html]:
    heard = max((folder.updated for folder in contents.folders), default="")
    counted = f"{sections.counts(contents)}."
    state = counted if contents.published else f"Scale {contents.scale}. {counted}"
    lead = [element("p", f"{state} Last change of a run: {heard}." if heard else state, class_="lead")]
    failed = sum(folder.state == "failed" for folder in contents.folders)
    if failed:
        link = element("a", f"{failed} failed: which and why", href="#unfinished")
        lead.append(element("p", link, class_="failed"))
    return lead


def _sections(contents: Contents) -> list[Section]:
    scored = not contents.table.empty
    quality = contents.quality
    said = left_out(pd.concat([quality.table, contents.set_aside]))
    return [
        ("run", "What was run", sections.overview(quality)),
        ("answer", "The answer", answer_section(contents)),
        ("best", "Which run to use", best_section(contents)),
        ("summary", "Runs compared", sections.summary_table(contents) if scored else None),
        ("effects", "Effects of the axes", effects_section(contents)),
        ("groups", "Change by group of languages", _groups(quality)),
        ("resources", "Change by level of resources", resources_section(contents)),
        ("claims", "Transfer, and what the categories claim", claims_section(contents)),
        ("languages", "Change by language", _languages(quality)),
        ("scores", "Scores by language", scores_section(quality)),
        ("paired", "Runs alike but for one axis", paired_section(contents)),
        ("forgetting", "Forgetting", forgetting_section(contents)),
        ("mixing", "Language mixing", mixing_section(contents)),
        ("loss", "Training loss", losses_section(contents)),
        ("curve", "Learning and forgetting", learning_section(contents)),
        ("consumption", "Plan and ledger", consumption_section(contents)),
        ("unfinished", "Not finished", sections.unfinished(contents)),
        ("odd", "Odd values", sections.odd_values(contents)),
        ("left-out", "Left out of the comparison", _left_out(said)),
        ("plots", "Plots as files", files_section(contents)),
        ("reading", "How to read this", _reading(contents)),
        ("provenance", "Provenance", _provenance(contents)),
    ]


def _left_out(said: list[str]) -> Html | None:
    """Many runs of one reason are one long sentence: folded away when there is more than a screen of it."""
    if not said:
        return None
    if sum(map(len, said)) <= LONG:
        return sections.notes(said)
    return element("details", element("summary", f"{len(said)} reasons"), sections.notes(said))


def _groups(contents: Contents) -> Html | None:
    found = sections.group_table(contents)
    words = (
        "100 × (mean over languages of the run ÷ mean over the same languages of its base − 1). English and code are "
        "in neither group. Blue is better than the base and orange worse, whichever way the metric runs, on a scale "
        "of its own for each column."
    )
    return join([element("p", words), found]) if found else None


def _languages(contents: Contents) -> Html | None:
    heats = heat_maps(contents.table, contents.measures())
    if not heats:
        return None
    words = (
        "Each cell is the run's score minus its base model's, in the unit of the measure. Bold: the two 95 % intervals "
        "do not overlap. Empty: not evaluated, or no base to compare with. Point at or tap a cell for its numbers."
    )
    figures = [draw(contents, heat, shown=not place) for place, heat in enumerate(heats)]
    return join([element("p", words), *figures])


def _reading(contents: Contents) -> Html:
    words = READING | OF_PUBLISHED if contents.published else READING
    return element("dl", *(part for word, told in words.items() for part in (element("dt", word), element("dd", told))))


def _provenance(contents: Contents) -> Html:
    table = contents.table
    protocols = table.loc[table["protocol"] != "", ["task", "protocol"]].drop_duplicates()
    told = {
        "protocols": ", ".join(f"{task} {protocol}" for task, protocol in protocols.itertuples(index=False, name=None)),
        "seeds": ", ".join(str(seed) for seed in sorted(table["seed"].dropna().unique())),
        "schema of the rows": str(VERSION),
        "computed by": "; ".join(sorted(filter(None, table["signature"].unique()))),
    }
    facts = {name: value for name, value in told.items() if value} | contents.provenance
    return element("dl", *(part for key, value in facts.items() for part in (element("dt", key), element("dd", value))))
