"""What a study can tell of its axes: which runs, weighed how, make up each effect, from the runs that are there.

An effect is reckoned language by language, from runs that differ in nothing else, and then averaged over languages.
Model, data and code are crossed: every language is scored under several of their levels, so a language is compared
with itself. A category or a level of resources is a property of languages: there, languages are compared with others.

A run counts only in complete comparisons: where its counterpart is missing, it is left out of that effect. The
counterpart of a category's run is the other category's of the same model, data and code.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, combinations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cpt.results.analysis.change.against_base import FEWEST, RESOURCES
from cpt.results.rows.table import DATA_ORDER

AXES = ("model", "data", "code", "langcat")
CROSSED = AXES[:3]
NESTED = ("langcat", "resource")
SEEDS, THIRD_ORDER = "seeds", "third order"
"""Where run-to-run variance is estimated from."""
ENOUGH = 6
"""Degrees of freedom from which repeated cells tell it alone; the study's 36 runs have as many of third order."""
BASE = "base"
"""The effect that is no axis: training at all, against none."""
TIMES = "×"
LEVELS = {"data": DATA_ORDER, "resource": RESOURCES}
"""The order of an axis whose levels are not in that of their names; an effect is a later level less an earlier one."""


Cell = tuple[str, str, bool, str]
"""Model, data, code and category: a point of the study, whatever the seed."""


@dataclass(frozen=True)
class RunPoint:
    """One scored run, or a base model in one category (data `base`)."""

    model: str
    data: str
    code: bool
    langcat: str
    seed: Hashable = None

    @property
    def is_base(self) -> bool:
        return self.data == BASE

    @property
    def cell(self) -> Cell:
        return self.model, self.data, self.code, self.langcat


@dataclass(frozen=True)
class LevelChange:
    """From one level of an axis to another."""

    axis: str
    first: str | bool
    second: str | bool

    @property
    def words(self) -> str:
        if self.axis == "code":
            return "with − without code"
        return f"{self.second} − {self.first}"


@dataclass(frozen=True)
class Contrast:
    """An effect: no step is training against none, one is a main effect, two are an interaction."""

    steps: tuple[LevelChange, ...]

    @property
    def effect(self) -> str:
        return TIMES.join(step.axis for step in self.steps) or BASE

    @property
    def words(self) -> str:
        return ", ".join(step.words for step in self.steps) or "trained − base"


@dataclass(frozen=True)
class Repeats:
    """Runs that are alike but for chance, once what explains them is taken away."""

    rows: list[int]
    shared: NDArray[np.bool_]
    """The languages that all of them were scored in."""
    left: NDArray[np.float64]
    """Their scores times this are what is not explained."""
    dof: int


@dataclass(frozen=True)
class Layout:
    """Which run was scored in which language, and what the languages are."""

    runs: tuple[RunPoint, ...]
    resources: tuple[str, ...]
    """Of each language."""
    scored: NDArray[np.bool_]
    """Runs by languages."""

    @cached_property
    def repeats(self) -> tuple[str, list[Repeats]]:
        """Where run-to-run variance is estimated from, and the runs: replicate seeds, else third-order interactions.

        Among the seeds of a cell, where there are enough of them. Else in what is left of the runs of a category when
        model, data, code and every two of them are allowed for: the third order, which in factorials without
        repetition stands for chance. If some of it is real, the variance is overestimated, never underestimated.
        """
        cells: dict[Cell, list[int]] = {}
        categories: dict[str, list[int]] = {}
        for place, run in enumerate(self.runs):
            if not run.is_base and self.scored[place].any():
                cells.setdefault(run.cell, []).append(place)
                categories.setdefault(run.langcat, []).append(place)
        of_seeds = self._left(list(cells.values()), lambda rows: np.ones((len(rows), 1)))
        if sum(each.dof for each in of_seeds) >= ENOUGH:
            return SEEDS, of_seeds
        of_orders = self._left(list(categories.values()), lambda rows: _two_orders([self.runs[row] for row in rows]))
        return THIRD_ORDER if of_orders else "", of_orders

    def _left(self, groups: list[list[int]], explained: Callable[[list[int]], NDArray[np.float64]]) -> list[Repeats]:
        found = []
        for rows in groups:
            shared = np.logical_and.reduce(self.scored[rows])
            columns = explained(rows)
            dof = len(rows) - int(np.linalg.matrix_rank(columns))
            if dof and shared.any():
                left = np.eye(len(rows)) - columns @ np.linalg.pinv(columns)
                found.append(Repeats(rows, shared, left, dof))
        return found

    def levels(self, axis: str) -> list[str | bool]:
        """Of an axis, among runs that were trained, or of languages."""
        if axis == "resource":
            found: set[str | bool] = {name for name in self.resources if name}
        else:
            runs = zip(self.runs, self.scored, strict=True)
            found = {getattr(run, axis) for run, seen in runs if seen.any() and not run.is_base}
        order = LEVELS.get(axis, ())
        return sorted(found, key=lambda level: (order.index(str(level)) if level in order else len(order), level))


def _two_orders(runs: Sequence[RunPoint]) -> NDArray[np.float64]:
    """A column for every level of model, data and code, and for every two of them."""
    single = {axis: sorted({getattr(run, axis) for run in runs}) for axis in CROSSED}
    alone = {
        axis: [np.array([getattr(run, axis) == level for run in runs]) for level in single[axis]] for axis in CROSSED
    }
    columns = [np.ones(len(runs), dtype=bool), *chain(*alone.values())]
    for one, other in combinations(CROSSED, 2):
        columns += [first & second for first, second in product(alone[one], alone[other])]
    return np.column_stack(columns).astype(np.float64)


def contrasts(layout: Layout) -> list[Contrast]:
    """Training against none, every axis, and every two of them, as far as there are levels to compare."""
    axes = [axis for axis in (*CROSSED, *NESTED) if len(layout.levels(axis)) > 1]
    found = [Contrast(())] + [Contrast((step,)) for axis in axes for step in _steps(layout, axis)]
    for one, other in combinations(axes, 2):
        if {one, other} != set(NESTED):
            found += [Contrast(pair) for pair in product(_steps(layout, one), _steps(layout, other))]
    return found


def _steps(layout: Layout, axis: str) -> list[LevelChange]:
    return [LevelChange(axis, first, second) for first, second in combinations(layout.levels(axis), 2)]


@dataclass(frozen=True)
class ContrastWeights:
    """An effect as sums: in each language of the runs, then over languages of one group, or of one less another."""

    contrast: Contrast
    layout: Layout
    runs: NDArray[np.float64]
    """Runs by languages: a column's products with the scores add up to the effect in that language."""
    groups: tuple[NDArray[np.bool_], ...]
    """The languages averaged over; of two groups the first counts less."""

    @cached_property
    def total(self) -> NDArray[np.float64]:
        """Runs by languages: all products together are the effect."""
        found = np.zeros_like(self.runs)
        for sign, group in zip((1.0,) if len(self.groups) == 1 else (-1.0, 1.0), self.groups, strict=True):
            found[:, group] += sign * self.runs[:, group] / max(1, group.sum())
        return found

    @cached_property
    def cells(self) -> dict[Cell, list[int]]:
        """The trained runs of each cell that are used in any language."""
        cells: dict[Cell, list[int]] = {}
        for index in np.flatnonzero(self.total.any(axis=1)):
            if not self.layout.runs[index].is_base:
                cells.setdefault(self.layout.runs[index].cell, []).append(int(index))
        return cells

    @cached_property
    def training_variance(self) -> float:
        """The variance of the effect per variance between trainings, beyond what differs between its languages."""
        trained = list(chain(*self.cells.values()))
        variance = float((self.total[trained].sum(axis=1) ** 2).sum())
        for group in self.groups:
            count = int(group.sum())
            if count >= FEWEST:  # languages of different runs differ by the trainings too: that part is counted there
                variance -= float(self.runs[trained][:, group].var(axis=1, ddof=1).sum()) / count
        return max(0.0, variance)


def weights(contrast: Contrast, layout: Layout) -> ContrastWeights:
    """How runs and languages are weighed; groups without a language are those that cannot be compared."""
    inner = [step for step in contrast.steps if step.axis in CROSSED]
    outer = next((step for step in contrast.steps if step.axis in NESTED), None)
    if outer is None:
        found = _within(inner, layout)
        return ContrastWeights(contrast, layout, found, (_told(found),))
    levels = outer.first, outer.second
    first, second = (_languages(layout, outer.axis, level) for level in levels)
    if outer.axis == "langcat" and (first & second).any():
        # English is scored after every category, and code: those are compared with themselves.
        found = _within([*inner, outer], layout)
        return ContrastWeights(contrast, layout, found, (_told(found),))
    if outer.axis == "langcat":
        # Of what only one category was trained with, the effect would pass for the category's own.
        both = _points(inner, layout, levels[0]) & _points(inner, layout, levels[1])
        one, other = (_within(inner, layout, {(*point, str(level)) for point in both}) for level in levels)
        found = np.where(second, other, one)
    else:
        found = _within(inner, layout)
    told = _told(found)
    return ContrastWeights(contrast, layout, found, (first & told, second & told))


def _languages(layout: Layout, axis: str, level: str | bool) -> NDArray[np.bool_]:
    if axis == "resource":
        return np.array([name == level for name in layout.resources])
    return _told(layout.scored[np.array([run.langcat == level for run in layout.runs])])


def _told(found: NDArray[Any]) -> NDArray[np.bool_]:
    """The languages of which a table of runs by languages says anything."""
    return np.asarray(found.any(axis=0), dtype=np.bool_)


def _points(steps: Sequence[LevelChange], layout: Layout, langcat: str | bool) -> set[tuple[str, str, bool]]:
    """Model, data and code of every complete comparison of a category."""
    runs = zip(layout.runs, layout.scored, strict=True)
    cells = {run.cell for run, seen in runs if seen.any() and run.langcat == langcat}
    return {cell[:3] for cell in cells if cell[1] != BASE and _comparison(cell, steps, cells)}


def _within(steps: Sequence[LevelChange], layout: Layout, of: Collection[Cell] | None = None) -> NDArray[np.float64]:
    """Runs by languages: the mean over all complete comparisons, or of some, that differ in these steps alone."""
    found = np.zeros(layout.scored.shape)
    patterns: dict[bytes, NDArray[np.float64]] = {}
    for place in range(layout.scored.shape[1]):
        seen = layout.scored[:, place]
        key = seen.tobytes()  # most languages were scored by the same runs
        if key not in patterns:
            patterns[key] = _column(steps, layout.runs, seen, of)
        found[:, place] = patterns[key]
    return found


def _column(
    steps: Sequence[LevelChange], runs: Sequence[RunPoint], seen: NDArray[np.bool_], of: Collection[Cell] | None
) -> NDArray[np.float64]:
    cells: dict[Cell, list[int]] = {}
    for place in map(int, np.flatnonzero(seen)):
        cells.setdefault(runs[place].cell, []).append(place)
    named = [cell for cell in cells if cell[1] != BASE and (of is None or cell in of)]
    comparisons = [found for cell in named if (found := _comparison(cell, steps, cells))]
    column = np.zeros(len(runs))
    for comparison in comparisons:
        for cell, sign in comparison:
            column[cells[cell]] += sign / len(cells[cell]) / len(comparisons)
    return column


Signed = list[tuple[Cell, float]]


def _comparison(cell: Cell, steps: Sequence[LevelChange], cells: Container[Cell]) -> Signed | None:
    """The cells that one comparison is of, named by that which has the first level of every step."""
    # Within one model and category the base is the same on both sides.
    with_base = not {"data", "code"} & {step.axis for step in steps}
    places = [AXES.index(step.axis) for step in steps]
    if any(cell[place] != step.first for place, step in zip(places, steps, strict=True)):
        return None
    found: Signed = []
    for levels, sign in _corners(steps):
        changed = dict(zip(places, levels, strict=True))
        model, data, code, langcat = (changed.get(place, level) for place, level in enumerate(cell))
        found.append(((str(model), str(data), bool(code), str(langcat)), sign))
        if with_base:
            found.append(((str(model), BASE, False, str(langcat)), -sign))
    return found if all(key in cells for key, _ in found) else None


def _corners(steps: Sequence[LevelChange]) -> Iterator[tuple[tuple[str | bool, ...], float]]:
    """Every choice of a level for each step, with its sign."""
    for sides in product((False, True), repeat=len(steps)):
        levels = tuple(step.second if side else step.first for step, side in zip(steps, sides, strict=True))
        yield levels, (-1.0) ** (len(steps) - sum(sides))
