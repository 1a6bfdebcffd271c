"""How far a program's outputs are from the original's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tcc.ir.execution import Runner
from tcc.ir.model import Model

_SCORES_RANK = 2
_ENOUGH = 32
"""Samples from which on agreement of the predicted class says more than a distance does."""


@dataclass(frozen=True)
class Loss:
    """``value`` by ``metric``, over ``samples`` rows of the first output: 0 is none, 1 is all."""

    metric: str
    value: float
    samples: int


def measure(model: Model, feeds: Sequence[Mapping[str, Any]], expected: Sequence[Sequence[Any]]) -> Loss:
    """The loss of a model against the outputs of the original."""
    proto, weights = model.stripped_proto()
    runner = Runner(proto, weights=weights)
    return loss_of(expected, [runner.run(feed) for feed in feeds])


def loss_of(expected: Sequence[Sequence[Any]], actual: Sequence[Sequence[Any]], *, scores: bool = True) -> Loss:
    """How far outputs are from those of the original, one list of outputs a feed.

    A single output of shape [samples, classes] over at least 32 samples is taken for a classifier's scores: the
    loss is the part of the samples whose predicted class changes. Else it is the relative L2 distance,
    ``|a - b| / |b|`` over all feeds, of the output where that is largest; always so with ``scores`` false.
    """
    samples = sum(len(run[0]) if _is_array(run[0]) and run[0].ndim else 1 for run in expected)
    if scores and samples >= _ENOUGH and all(len(run) == 1 and _is_scores(run[0]) for run in expected):
        pairs = [(a[0].argmax(-1), b[0].argmax(-1)) for a, b in zip(expected, actual, strict=True)]
        changed = sum(int((a != b).sum()) for a, b in pairs)
        return Loss("changed predictions", changed / samples, samples)
    count = len(expected[0])
    errors = [_relative([run[i] for run in expected], [run[i] for run in actual]) for i in range(count)]
    return Loss("relative L2", max(errors, default=0.0), samples)


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray)


def _is_scores(value: Any) -> bool:
    return _is_array(value) and value.dtype.kind == "f" and value.ndim == _SCORES_RANK and value.shape[1] > 1


def _relative(expected: Sequence[Any], actual: Sequence[Any]) -> float:
    """The relative L2 distance over all arrays; infinite where something of another kind is not the same."""
    gap = norm = 0.0
    for a, b in zip(expected, actual, strict=True):
        if not _is_array(a) or a.dtype.kind in "OUSb":
            if not np.array_equal(np.asarray(a, dtype=object), np.asarray(b, dtype=object)):
                return math.inf
            continue
        wide, other = a.astype(np.float64), np.asarray(b).astype(np.float64)
        finite = np.isfinite(wide)
        if wide.shape != other.shape or not np.array_equal(finite, np.isfinite(other)):
            return math.inf
        gap += float(np.square(wide[finite] - other[finite]).sum())
        norm += float(np.square(wide[finite]).sum())
    return math.sqrt(gap / norm) if norm else float(gap > 0)
