"""Which samples are held out: what nothing is fitted to says what a fit loses on new data."""

from __future__ import annotations

import numpy as np

_SEED = 20261
"""Any number: the same samples are held out every time."""


def held(count: int, part: int) -> np.ndarray:
    """Bool [count]: one of every ``part`` neighbours, which one is drawn by a fixed seed.

    Data is often stored class by class, or the classes in turns. Neighbours share the first kind evenly, and what is
    drawn does not keep step with the second (stratified random sampling; Cochran, Sampling Techniques, chapter 8).
    """
    blocks = -(-count // part)
    drawn = np.arange(blocks) * part + np.random.default_rng(_SEED).integers(part, size=blocks)
    chosen = np.zeros(blocks * part, bool)
    chosen[drawn] = True
    return chosen[:count]
