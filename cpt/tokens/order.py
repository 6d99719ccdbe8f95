"""Orders that need no memory: a shuffle of any number of things, computed for the places that are asked for.

Documents of a corpus can be a thousand million; a list of their shuffled numbers would fill the memory of a node. Here
a place's number is computed from it alone, by a small block cipher over the next power of two, applied again until it
falls among the things there are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ROUNDS = 7
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


class Shuffle:
    """A permutation of 0 .. size - 1, a pure function of size and seed."""

    def __init__(self, size: int, *seed: int) -> None:
        assert size > 0, "nothing to shuffle"
        self.size = size
        bits = max((size - 1).bit_length(), 2)
        self._low = np.uint64(bits // 2)
        self._masks = (np.uint64((1 << (bits - bits // 2)) - 1), np.uint64((1 << (bits // 2)) - 1))
        self._keys = np.random.SeedSequence(list(seed)).generate_state(ROUNDS, np.uint64)

    def __call__(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """What stands at each of the places."""
        found = self._once(places.astype(np.uint64))
        while (outside := found >= self.size).any():
            found[outside] = self._once(found[outside])
        return found.astype(np.int64)

    def _once(self, value: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """One pass of an unbalanced Feistel network, which is a bijection whatever its round function."""
        high_mask, low_mask = self._masks
        high, low = value >> self._low, value & low_mask
        for number, key in enumerate(self._keys):
            if number % 2:
                low = (low + _mixed(high, key)) & low_mask
            else:
                high = (high + _mixed(low, key)) & high_mask
        return (high << self._low) | low


def _mixed(value: NDArray[np.uint64], key: np.uint64) -> NDArray[np.uint64]:
    """Bits stirred so that each of them depends on all of them (the finaliser of splitmix64)."""
    with np.errstate(over="ignore"):
        value = (value ^ key) * _MULTIPLIER
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
