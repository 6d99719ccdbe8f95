"""How much of each source an epoch takes: the study's own amounts, or amounts computed from the size of each source.

All but the first divide a total in proportion to a power of the source's size: 1 is proportional, 1/T a temperature
(mT5, arXiv 2010.11934), 0 is UniMax (arXiv 2304.09151). No source is repeated more than `most_epochs` times; the rest
goes to the other sources in the same proportions, and the result is less than the total if all sources reach the limit.
"""

from __future__ import annotations

import math


def explicit(budgets: dict[str, float], available: dict[str, float], most_epochs: float) -> dict[str, float]:
    """The budget of each source, limited to `most_epochs` repetitions."""
    assert budgets.keys() <= available.keys()
    return {name: min(budget, most_epochs * available[name]) for name, budget in budgets.items()}


def proportional(available: dict[str, float], total: float, most_epochs: float) -> dict[str, float]:
    """The same number of epochs of every source."""
    return _share_out(available, total, 1.0, most_epochs)


def temperature(available: dict[str, float], total: float, temperature: float, most_epochs: float) -> dict[str, float]:
    """Shares in proportion to `available ** (1 / temperature)`: above 1, small sources get a larger share."""
    assert temperature > 0
    return _share_out(available, total, 1 / temperature, most_epochs)


def unimax(available: dict[str, float], total: float, most_epochs: float) -> dict[str, float]:
    """The same amount of every source, except those at the limit."""
    return _share_out(available, total, 0.0, most_epochs)


def with_share(taken: dict[str, float], name: str, share: float) -> dict[str, float]:
    """A further source, such as code or replay, added so that it makes up `share` of the whole."""
    assert 0 <= share < 1
    assert name not in taken
    return {**taken, name: share / (1 - share) * math.fsum(taken.values())}


def _share_out(available: dict[str, float], total: float, power: float, most_epochs: float) -> dict[str, float]:
    """Divide the total in one pass, starting with the source that reaches the limit first.

    For powers up to 1 this is the smallest source, else the largest. The order of the dict has no influence, not even
    on rounding; an empty source gets nothing.
    """
    filled = sorted((size, name) for name, size in available.items() if size > 0)
    if power > 1:
        filled.reverse()
    taken, left = dict.fromkeys(available, 0.0), total
    for index, (size, name) in enumerate(filled):
        # Relative to this source, because a power of the sizes may be too large for a float.
        weights = [(other / size) ** power for other, _ in filled[index:]]
        part = left / math.fsum(weights)
        if part < most_epochs * size:
            shares = zip(filled[index:], weights, strict=True)
            return taken | {name: min(part * weight, most_epochs * size) for (size, name), weight in shares}
        taken[name] = most_epochs * size
        left -= taken[name]
    return taken
