"""Batches and the samples in them: what is held out, and what a distance is taken over, are samples, not runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tcc.diagnostics import TccError
from tcc.ir.execution import Runner
from tcc.ir.loss import relative_l2
from tcc.ir.model import Model

Feed = Mapping[str, Any]

RUNS = 64
"""Runs that are enough to hold some out; fewer are divided."""
_FEWEST = 2
_SAME = 0.01
"""The relative distance below which a sample's outputs do not depend on the others of its batch."""


def samples_in(feed: Feed) -> int:
    """How many samples a feed holds: what its arrays' first axes agree on, else 1."""
    firsts = {array.shape[0] if isinstance(array, np.ndarray) and array.ndim else 1 for array in feed.values()}
    return firsts.pop() if len(firsts) == 1 else 1


def are_batches(model: Model, feeds: Sequence[Feed]) -> bool:
    """Whether the first axes of a model's inputs are one free axis, and those of each feed agree on its length."""
    inputs = [v for v in model.graph.inputs if v.name not in model.graph.initializers]
    firsts = {str(v.shape[0]) if v.shape is not None and len(v.shape) else "" for v in inputs}
    free = all(v.shape is not None and len(v.shape) and not isinstance(v.shape[0], int) for v in inputs)
    if not free or len(firsts) != 1 or not all(isinstance(a, np.ndarray) and a.ndim for f in feeds for a in f.values()):
        return False
    return all(len({len(array) for array in feed.values()}) == 1 for feed in feeds)


def is_independent(model: Model, batch: Feed) -> bool:
    """Whether samples of a batch are computed each by itself: the first axis may be one of time."""
    if samples_in(batch) < _FEWEST:
        return True
    last = {name: array[-1:] for name, array in batch.items()}
    proto, weights = model.stripped_proto()
    runner = Runner(proto, weights=weights, optimise=True)
    together, alone = runner.run(batch), runner.run(last)
    return all(
        isinstance(a, np.ndarray) and a.shape[:1] == (samples_in(batch),) and relative_l2([b], [a[-1:]]) < _SAME
        for a, b in zip(together, alone, strict=True)
    )


def divided(model: Model, feeds: Sequence[Feed], runs: int = RUNS) -> tuple[Feed, ...]:
    """Few batches of many samples as at least ``runs`` smaller ones, or as single samples where there are not as many.

    Feeds stay as they are where there are enough of them, and where a batch's samples are not independent.

    Args:
        model: that they are inputs of.
        feeds: one mapping a run.
        runs: how many are enough.
    """
    if not feeds or len(feeds) >= runs or not are_batches(model, feeds):
        return tuple(feeds)
    every = sum(map(samples_in, feeds))
    try:
        if every == len(feeds) or not is_independent(model, max(feeds, key=samples_in)):
            return tuple(feeds)
    except TccError:
        # What does not run is told where it is used.
        return tuple(feeds)
    size = max(1, every // runs)
    return tuple(
        {name: array[at : at + size] for name, array in feed.items()}
        for feed in feeds
        for at in range(0, samples_in(feed), size)
    )
