"""The report's sections that are plots alone: curves over training, pairs of runs, and where all plots are as files."""

from __future__ import annotations

from cpt.results.analysis.change.mono_bi_pairs import unpaired
from cpt.results.figures.curves import HELD_OUT, held_out, losses
from cpt.results.figures.inline import inline
from cpt.results.figures.markup import Content, Html, element, join
from cpt.results.figures.paired import paired
from cpt.results.report.contents import Contents
from cpt.results.report.sections import notes

PAIRED = {"data": "Mono against bi", "code": "Without against with code"}
FILES = {
    "effects-…, interactions-…": "Effects of the axes on each measure, and how they depend on one another.",
    "paired-data-…, paired-code-…": "Mono against bi, and without against with code, by language, on each measure.",
    "change-…": "Change against base by run and language, on each measure.",
    "pareto": "Adaptation against forgetting and cost.",
    "loss, curve-train, curve-related, curve-english, curve-code": "Curves over training.",
}
"""What the files of all plots are called, and what they show."""


def paired_section(contents: Contents) -> Html | None:
    """Runs that differ in one axis alone, by language; folded away but for the first measure of each axis."""
    quality = contents.quality
    parts: list[Content] = []
    for axis, found in quality.pairs.items():
        drawn = [(each, figure) for each in quality.measures() if (figure := paired(found, axis, each, contents.tag))]
        if drawn:
            parts.append(element("h3", PAIRED[axis]))
            parts += [
                element("details", element("summary", _called(figure.title, each.protocol)), inline(figure), open=shown)
                for place, (each, figure) in enumerate(drawn)
                for shown in ("" if place == 0 else None,)
            ]
            said = unpaired(quality.table, axis)
            parts += [element("p", "In no pair:"), notes(said)] if said else []
    words = (
        "Runs of the same model, category and seed that differ in this axis alone, each language by itself. Intervals "
        "are Student's, over the languages of a group: they do not say what another training seed would give."
    )
    return join([element("p", words), *parts]) if parts else None


def _called(title: str, protocol: str) -> str:
    return f"{title} (protocol {protocol})" if protocol else title


def losses_section(contents: Contents) -> Html | None:
    drawn = losses(contents)
    return inline(drawn) if drawn else None


def learning_section(contents: Contents) -> Html | None:
    """What a run learns and forgets on its way: the same held-out text after shares of the training."""
    figures: list[Content] = []
    for role, title in HELD_OUT.items():
        drawn = held_out(contents, role)
        if drawn:
            figures += [element("h3", title), inline(drawn)]
    words = (
        "Bits per byte of the beginning of the held-out text, packed as in training, from the base model (step 0) on: "
        "the mean over the languages of each group. Lower is better; a rise is forgetting."
    )
    return join([element("p", words), *figures]) if figures else None


def files_section(contents: Contents) -> Html | None:
    """Where the plots are as files, without a link: the page needs no other file."""
    if not contents.trained:  # of models as they are nothing is drawn
        return None
    words = (
        "For a paper, every plot is in the folder plots beside this page, as .svg and .pdf, named after what it shows:"
    )
    named = (part for name, told in FILES.items() for part in (element("dt", name), element("dd", told)))
    return join([element("p", words), element("dl", *named)])
