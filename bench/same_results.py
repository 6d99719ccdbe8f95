"""Whether two folders of studies hold the same results, as after a change of the code that should change none.

    cp -a runs before; …; cpt report toy; cpt report --published; python bench/same_results.py before runs

Prints every table that is not byte-identical, and every difference in the text of the report pages. Only the commit
of the code may differ. Exit code 1 if anything else does.
"""

from __future__ import annotations

import argparse
import difflib
import html
import re
import sys
from collections.abc import Iterator
from pathlib import Path

TABLES = ("comparison.csv", "effects.csv", "forgetting.csv", "best.csv", "plan.csv", "data.csv")
PAGE = "report.html"
CONTEXT = 4
"""Words shown around a difference in a page."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the results of two folders of studies.")
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    chosen = parser.parse_args()
    studies = sorted({path.parent.name for path in chosen.before.glob("*/comparison.csv")})
    if not studies:
        sys.exit(f"{chosen.before}: no study with a comparison")
    lines = [line for study in studies for line in differences(chosen.before / study, chosen.after / study)]
    print("\n".join(lines) or f"no difference in {', '.join(studies)}")
    sys.exit(1 if lines else 0)


def differences(before: Path, after: Path) -> Iterator[str]:
    for name in TABLES:
        one, other = before / name, after / name
        if one.exists() and (not other.exists() or one.read_bytes() != other.read_bytes()):
            yield f"{other}: {changed_lines(one, other)}" if other.exists() else f"{other}: missing"
    one, other = before / PAGE, after / PAGE
    if one.exists():
        yield from (f"{other}: {line}" for line in changed_words(page_words(one), page_words(other)))


def changed_lines(one: Path, other: Path) -> str:
    old, new = (path.read_text(encoding="utf-8").splitlines() for path in (one, other))
    changed = [pair for pair in zip(old, new, strict=False) if pair[0] != pair[1]]
    first = f"; the first: {changed[0][0]} -> {changed[0][1]}" if changed else ""
    return f"{len(changed)} lines differ, {len(old)} and {len(new)} in all{first}"


def page_words(path: Path) -> list[str]:
    """The text of a page without tags, scripts, styles, and the commit of the code."""
    text = re.sub(r"<(script|style)\b.*?</\1>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    words = html.unescape(re.sub(r"<[^>]+>", " ", text)).split()
    commits = {n + 1 for n in range(len(words)) if words[max(n - 3, 0) : n + 1] == ["the", "code", "that", "compared"]}
    return [word for number, word in enumerate(words) if number not in commits]


def changed_words(old: list[str], new: list[str]) -> Iterator[str]:
    if old == new:
        return
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind != "equal":
            yield f"{' '.join(old[max(a - CONTEXT, 0) : b])} -> {' '.join(new[max(c - CONTEXT, 0) : d])}"


if __name__ == "__main__":
    main()
