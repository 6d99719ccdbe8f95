"""What runs learn against what they forget, what each costs, and the front: those that no other is ahead of in all."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cpt.results.analysis.choice.tradeoff import Pareto
from cpt.results.figures.drawing import Dot, Figure, Key, Line, Mark, Panel, Words, axis, width_of
from cpt.results.rows.measures import Measure

WIDTH, HEIGHT = 274.0, 206.0
SMALL, LARGE = 3.0, 7.5
"""Radii of the cheapest and the dearest run."""
LEADING = 12.0
FEW = 12
"""Points up to which a panel has their intervals and all their names; of more, the names on the front."""
KINDS = {"base": ("square", 3), "mono": ("circle", 0), "bi": ("up", 1)}
OTHER = ("diamond", 2)
"""By data, the form and the colour of a mark."""


@dataclass(frozen=True)
class Labels:
    adaptation: Measure
    forgetting: Measure
    cost: str

    def words(self, point: Any) -> str:
        gained = self.adaptation.difference(point.adaptation)
        lost = self.forgetting.difference(point.forgetting)
        cost = f", {point.cost:,.4g} {self.cost}" if self.cost and math.isfinite(point.cost) else ""
        return f"{point.run}: adaptation {gained}, forgetting {lost}{cost}{', on the front' if point.front else ''}"


def pareto(found: Pareto, tag: str = "") -> Figure | None:
    """A panel for each model and category; none where nobody knows what was forgotten."""
    points = found.points[found.points["adaptation"].notna() & found.points["forgetting"].notna()]
    if found.forgetting is None or points.empty:
        return None
    labels = Labels(found.adaptation, found.forgetting, found.cost_unit)
    groups = {
        f"{model} {langcat}".strip(): list(rows.itertuples(index=False))
        for (model, langcat), rows in points.groupby(["model", "langcat"], sort=True)
    }
    compared = {name: group for name, group in groups.items() if any(point.data != "base" for point in group)}
    panels = [_panel(name, group, labels) for name, group in compared.items()]
    if not panels:
        return None
    rows = tuple(tuple(panels[start : start + 3]) for start in range(0, len(panels), 3))
    kinds = sorted(set(points[["data", "code"]].itertuples(index=False, name=None)))
    goods = f"adaptation, forgetting and {found.cost_unit}" if found.cost_unit else "adaptation and forgetting"
    note = (
        f"Adaptation: gain in {found.adaptation.title} over the base, trained languages. Forgetting: loss in "
        f"{found.forgetting.title}, English. Best is down and to the right. In bold: on the front of {goods}; dashed: "
        "the front of the first two alone. Thin lines: 95 % intervals."
    )
    if missing := [name for name in groups if name not in compared]:
        note += f" Not shown, for something is not known of their runs: {', '.join(missing)}."
    return Figure("pareto", "Adaptation against forgetting", note, rows, _keys(kinds, found.cost_unit), tag)


def _keys(kinds: Iterable[tuple[str, bool]], cost: str) -> tuple[Key, ...]:
    keys = [Key((_dot((14, 6), 4, data, code),), _kind(data, code)) for data, code in kinds]
    if cost:
        keys.append(Key((_dot((6, 6), SMALL, "base", False), _dot((19, 6), 6, "base", False)), f"size: {cost}"))
    return tuple(keys)


def _dot(at: tuple[float, float], radius: float, data: str, code: bool, title: str = "") -> Dot:
    shape, colour = KINDS.get(data, OTHER)
    return Dot(at, shape, radius, f"dot c{colour} {f'f{colour}' if code else 'hollow'}", title)


def _panel(name: str, points: Sequence[Any], labels: Labels) -> Panel:
    few = len(points) <= FEW
    factors = labels.adaptation.shown.factor, labels.forgetting.shown.factor
    x, y = (
        axis(_values(points, goal, few, measure.shown.factor), label=f"{goal}, {_unit(measure)}")
        for goal, measure in (("adaptation", labels.adaptation), ("forgetting", labels.forgetting))
    )
    placed = [(point.adaptation * factors[0], point.forgetting * factors[1]) for point in points]
    marks: list[Mark] = []
    front = outline([(x, -y) for (x, y), point in zip(placed, points, strict=True) if point.front])
    if len(front) > 1:
        marks.append(Line(tuple((x, -y) for x, y in front), "zero dashed"))
    costs = [point.cost for point in points if math.isfinite(point.cost)]
    for at, point in zip(placed, points, strict=True):
        if few:
            marks += _whiskers(at, point, factors)
        marks.append(_dot(at, _radius(point.cost, costs), str(point.data), bool(point.code), labels.words(point)))
    texts = "; ".join(labels.words(point) for point in points)
    panel = Panel(name, x, y, WIDTH, HEIGHT, tuple(marks), f"Adaptation against forgetting, {name}. {texts}")
    named = [(at, point) for at, point in zip(placed, points, strict=True) if few or point.front]
    return replace(panel, marks=(*marks, *_names_beside(panel, named, _names(points))))


def _unit(measure: Measure) -> str:
    return measure.shown.change_unit or measure.shown.label


def _values(points: Iterable[Any], name: str, spans: bool, factor: float) -> list[float]:
    ends = ("", "_low", "_high") if spans else ("",)
    return [getattr(point, f"{name}{end}") * factor for point in points for end in ends]


def outline(places: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """From right to left the places, y running downward, that none is both below and to the right of."""
    found: list[tuple[float, float]] = []
    for x, y in sorted(places, reverse=True):
        if not found or y > found[-1][1]:
            found.append((x, y))
    return found


def _whiskers(at: tuple[float, float], point: Any, factors: tuple[float, float]) -> list[Mark]:
    x, y = at
    wide = [end * factors[0] for end in (point.adaptation_low, point.adaptation_high)]
    high = [end * factors[1] for end in (point.forgetting_low, point.forgetting_high)]
    lines = [((wide[0], y), (wide[1], y)), ((x, high[0]), (x, high[1]))]
    return [
        Line(line, "zero") for line in lines if line[0] != line[1] and all(map(math.isfinite, (*line[0], *line[1])))
    ]


def _radius(cost: float, costs: Sequence[float]) -> float:
    """By area, from nothing to the dearest of a panel; where nobody knows, one size."""
    if not math.isfinite(cost) or not max(costs) > 0:
        return (SMALL + LARGE) / 2
    return math.sqrt(SMALL**2 + cost / max(costs) * (LARGE**2 - SMALL**2))


def _names(points: Sequence[Any]) -> dict[str, str]:
    """What to call the runs of a panel, all of one model and category: by their data, where that tells them apart."""
    kinds = {str(point.run_id): _kind(str(point.data), bool(point.code)) for point in points}
    common = Counter(kinds.values())
    return {
        str(point.run_id): str(point.run) if common[kinds[point.run_id]] > 1 else kinds[point.run_id]
        for point in points
    }


def _kind(data: str, code: bool) -> str:
    return f"{data}{' + code' if code else ''}"


def _overlaps(start: float, end: float, line: float, others: Iterable[tuple[float, float, float]]) -> bool:
    """Whether text from start to end on a line is over other text, given as start, end and line."""
    return any(abs(line - at) < LEADING and start < stop and begin < end for begin, stop, at in others)


def _names_beside(
    panel: Panel, points: Sequence[tuple[tuple[float, float], Any]], names: Mapping[str, str]
) -> list[Mark]:
    """Names beside their points, those on the outline of all first, each moved down to where no other name is."""
    placed = [(panel.position(at), at, point) for at, point in points]
    first = set(outline(position for position, _, _ in placed))
    marks: list[Mark] = []
    taken: list[tuple[float, float, float]] = []
    for (x, y), at, point in sorted(placed, key=lambda each: (each[0] not in first, each[0][::-1])):
        name = names[point.run_id]
        width = width_of(name)
        leftward = x + 10 + width > WIDTH + 16
        start = x - 10 - width if leftward else x + 10
        lines = [y - 4 + step * LEADING / 2 for step in range(7) if y - 4 + step * LEADING / 2 <= HEIGHT + LEADING]
        free = [line for line in lines if not _overlaps(start, start + width, line, taken)]
        if not free:
            continue  # no room: the name is in the tooltip and in the description
        line = free[0]
        taken.append((start, start + width, line))
        style, side = "strong" if point.front else "label", -1 if leftward else 1
        marks.append(Words(name, at, style, "end" if leftward else "start", (10 * side, line - y)))
    return marks
