"""The contrasts of a study and the weight of each run in them.

An effect is computed per language, from runs that differ in nothing else, and then averaged over languages.
Model, data and code are crossed: every language is scored under several of their levels, so a language is compared
with itself. A category or a level of resources is a property of languages: there, languages are compared with others.

A run without a counterpart is left out of that effect. In a contrast of categories, the counterpart has the same
model, data and code.
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
"""Degrees of freedom that seeds need to be used; the third-order term of the study's 36 runs has as many."""
BASE = "base"
"""The effect of training: trained runs against the untouched base model."""
TIMES = "×"
LEVELS = {"data": DATA_ORDER, "resource": RESOURCES}
"""Axes whose levels are not sorted by name; an effect is a later level minus an earlier one."""

Cell = tuple[str, str, bool, str]
"""Model, data, code and category: a point of the study without the seed."""


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
    """A change from one level of an axis to another."""

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
    """An effect: no step for training against base, one for a main effect, two for an interaction."""

    steps: tuple[LevelChange, ...]

    @property
    def effect(self) -> str:
        return TIMES.join(step.axis for step in self.steps) or BASE

    @property
    def words(self) -> str:
        return ", ".join(step.words for step in self.steps) or "trained − base"


@dataclass(frozen=True)
class Repeats:
    """Runs whose scores differ only by chance once the explained part is projected out."""

    rows: list[int]
    shared: NDArray[np.bool_]
    """The languages in which all of them were scored."""
    residual: NDArray[np.float64]
    """Projects their scores to the residuals."""
    dof: int


@dataclass(frozen=True)
class Layout:
    """Which run was scored in which language, and the resource level of each language."""

    runs: tuple[RunPoint, ...]
    resources: tuple[str, ...]
    scored: NDArray[np.bool_]
    """Runs by languages."""

    @cached_property
    def repeats(self) -> tuple[str, list[Repeats]]:
        """The source of run-to-run variance, replicate seeds or third-order interactions, and the groups of runs.

        Without enough seeds, the third-order interaction of model, data and code estimates chance, as is usual in
        factorials without repetition. If part of it is real, the variance is overestimated, never underestimated.
        """
        cells: dict[Cell, list[int]] = {}
        categories: dict[str, list[int]] = {}
        for index, run in enumerate(self.runs):
            if not run.is_base and self.scored[index].any():
                cells.setdefault(run.cell, []).append(index)
                categories.setdefault(run.langcat, []).append(index)
        seed_repeats = self._residual_groups(list(cells.values()), lambda rows: np.ones((len(rows), 1)))
        if sum(group.dof for group in seed_repeats) >= ENOUGH:
            return SEEDS, seed_repeats
        third_order_repeats = self._residual_groups(
            list(categories.values()), lambda rows: _two_orders([self.runs[row] for row in rows])
        )
        return THIRD_ORDER if third_order_repeats else "", third_order_repeats

    def _residual_groups(
        self, groups: list[list[int]], explained: Callable[[list[int]], NDArray[np.float64]]
    ) -> list[Repeats]:
        repeats = []
        for rows in groups:
            shared = np.logical_and.reduce(self.scored[rows])
            columns = explained(rows)
            dof = len(rows) - int(np.linalg.matrix_rank(columns))
            if dof and shared.any():
                residual = np.eye(len(rows)) - columns @ np.linalg.pinv(columns)
                repeats.append(Repeats(rows, shared, residual, dof))
        return repeats

    def levels(self, axis: str) -> list[str | bool]:
        """The levels of an axis among trained runs, or of resources among languages."""
        if axis == "resource":
            levels: set[str | bool] = {name for name in self.resources if name}
        else:
            runs = zip(self.runs, self.scored, strict=True)
            levels = {getattr(run, axis) for run, scored in runs if scored.any() and not run.is_base}
        order = LEVELS.get(axis, ())
        return sorted(levels, key=lambda level: (order.index(str(level)) if level in order else len(order), level))


def _two_orders(runs: Sequence[RunPoint]) -> NDArray[np.float64]:
    """Indicator columns for main effects and two-way interactions of model, data and code."""
    single = {axis: sorted({getattr(run, axis) for run in runs}) for axis in CROSSED}
    alone = {
        axis: [np.array([getattr(run, axis) == level for run in runs]) for level in single[axis]] for axis in CROSSED
    }
    columns = [np.ones(len(runs), dtype=bool), *chain(*alone.values())]
    for one, other in combinations(CROSSED, 2):
        columns += [first & second for first, second in product(alone[one], alone[other])]
    return np.column_stack(columns).astype(np.float64)


def contrasts(layout: Layout) -> list[Contrast]:
    """Training against base, the main effects and the two-way interactions that the layout allows."""
    axes = [axis for axis in (*CROSSED, *NESTED) if len(layout.levels(axis)) > 1]
    result = [Contrast(())] + [Contrast((step,)) for axis in axes for step in _steps(layout, axis)]
    for one, other in combinations(axes, 2):
        if {one, other} != set(NESTED):
            result += [Contrast(pair) for pair in product(_steps(layout, one), _steps(layout, other))]
    return result


def _steps(layout: Layout, axis: str) -> list[LevelChange]:
    return [LevelChange(axis, first, second) for first, second in combinations(layout.levels(axis), 2)]


@dataclass(frozen=True)
class ContrastWeights:
    """An effect as weighted sums: over runs in each language, then over one group of languages or two, subtracted."""

    contrast: Contrast
    layout: Layout
    runs: NDArray[np.float64]
    """Runs by languages: the weighted sum of a column of scores is the effect in that language."""
    groups: tuple[NDArray[np.bool_], ...]
    """The languages averaged over; of two groups the first is subtracted."""

    @cached_property
    def total(self) -> NDArray[np.float64]:
        """Runs by languages: the weighted sum of all scores is the effect."""
        total = np.zeros_like(self.runs)
        for sign, group in zip((1.0,) if len(self.groups) == 1 else (-1.0, 1.0), self.groups, strict=True):
            total[:, group] += sign * self.runs[:, group] / max(1, group.sum())
        return total

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
        """How much run-to-run variance adds to the variance of the effect, beyond the variance between languages."""
        trained = list(chain(*self.cells.values()))
        variance = float((self.total[trained].sum(axis=1) ** 2).sum())
        for group in self.groups:
            count = int(group.sum())
            if count >= FEWEST:  # the variance between languages of different runs includes this part
                variance -= float(self.runs[trained][:, group].var(axis=1, ddof=1).sum()) / count
        return max(0.0, variance)


def weights(contrast: Contrast, layout: Layout) -> ContrastWeights:
    """The weights of runs and the groups of languages; a group without languages cannot be compared."""
    inner = [step for step in contrast.steps if step.axis in CROSSED]
    outer = next((step for step in contrast.steps if step.axis in NESTED), None)
    if outer is None:
        run_weights = _within(inner, layout)
        return ContrastWeights(contrast, layout, run_weights, (_compared_languages(run_weights),))
    levels = outer.first, outer.second
    first, second = (_languages(layout, outer.axis, level) for level in levels)
    if outer.axis == "langcat" and (first & second).any():
        # English and code are scored for every category, so they are compared with themselves.
        run_weights = _within([*inner, outer], layout)
        return ContrastWeights(contrast, layout, run_weights, (_compared_languages(run_weights),))
    if outer.axis == "langcat":
        # Use only points that both categories have; otherwise their effect would be attributed to the category.
        both = _points(inner, layout, levels[0]) & _points(inner, layout, levels[1])
        one, other = (_within(inner, layout, {(*point, str(level)) for point in both}) for level in levels)
        run_weights = np.where(second, other, one)
    else:
        run_weights = _within(inner, layout)
    compared = _compared_languages(run_weights)
    return ContrastWeights(contrast, layout, run_weights, (first & compared, second & compared))


def _languages(layout: Layout, axis: str, level: str | bool) -> NDArray[np.bool_]:
    if axis == "resource":
        return np.array([name == level for name in layout.resources])
    return _compared_languages(layout.scored[np.array([run.langcat == level for run in layout.runs])])


def _compared_languages(run_weights: NDArray[Any]) -> NDArray[np.bool_]:
    """The languages with any nonzero entry in a table of runs by languages."""
    return np.asarray(run_weights.any(axis=0), dtype=np.bool_)


def _points(steps: Sequence[LevelChange], layout: Layout, langcat: str | bool) -> set[tuple[str, str, bool]]:
    """The (model, data, code) points of a category that have all runs of the comparison."""
    runs = zip(layout.runs, layout.scored, strict=True)
    cells = {run.cell for run, seen in runs if seen.any() and run.langcat == langcat}
    return {cell[:3] for cell in cells if cell[1] != BASE and _comparison(cell, steps, cells)}


def _within(steps: Sequence[LevelChange], layout: Layout, of: Collection[Cell] | None = None) -> NDArray[np.float64]:
    """Weights, runs by languages: the mean over all complete comparisons, or only those of the given cells."""
    run_weights = np.zeros(layout.scored.shape)
    patterns: dict[bytes, NDArray[np.float64]] = {}
    for language in range(layout.scored.shape[1]):
        scored = layout.scored[:, language]
        key = scored.tobytes()  # most languages were scored by the same runs
        if key not in patterns:
            patterns[key] = _column(steps, layout.runs, scored, of)
        run_weights[:, language] = patterns[key]
    return run_weights


def _column(
    steps: Sequence[LevelChange], runs: Sequence[RunPoint], scored: NDArray[np.bool_], of: Collection[Cell] | None
) -> NDArray[np.float64]:
    cells: dict[Cell, list[int]] = {}
    for index in map(int, np.flatnonzero(scored)):
        cells.setdefault(runs[index].cell, []).append(index)
    trained = [cell for cell in cells if cell[1] != BASE and (of is None or cell in of)]
    comparisons = [comparison_cells for cell in trained if (comparison_cells := _comparison(cell, steps, cells))]
    column = np.zeros(len(runs))
    for comparison in comparisons:
        for cell, sign in comparison:
            column[cells[cell]] += sign / len(cells[cell]) / len(comparisons)
    return column


Signed = list[tuple[Cell, float]]


def _comparison(cell: Cell, steps: Sequence[LevelChange], cells: Container[Cell]) -> Signed | None:
    """The signed cells of the comparison that starts at this cell; None if one is missing."""
    # Within one model and category the base is the same on both sides.
    with_base = not {"data", "code"} & {step.axis for step in steps}
    axis_indices = [AXES.index(step.axis) for step in steps]
    if any(cell[index] != step.first for index, step in zip(axis_indices, steps, strict=True)):
        return None
    signed_cells: Signed = []
    for levels, sign in _corners(steps):
        changed = dict(zip(axis_indices, levels, strict=True))
        model, data, code, langcat = (changed.get(index, level) for index, level in enumerate(cell))
        signed_cells.append(((str(model), str(data), bool(code), str(langcat)), sign))
        if with_base:
            signed_cells.append(((str(model), BASE, False, str(langcat)), -sign))
    return signed_cells if all(key in cells for key, _ in signed_cells) else None


def _corners(steps: Sequence[LevelChange]) -> Iterator[tuple[tuple[str | bool, ...], float]]:
    """Each combination of levels of the steps, with its sign."""
    for sides in product((False, True), repeat=len(steps)):
        levels = tuple(step.second if side else step.first for step, side in zip(steps, sides, strict=True))
        yield levels, (-1.0) ** (len(steps) - sum(sides))
