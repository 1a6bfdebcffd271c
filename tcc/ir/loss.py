"""How far a program's outputs are from the original's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tcc.ir.execution import Runner
from tcc.ir.model import Model

_CLASSES = 2
"""Classes from which on an output can be one of scores."""


@dataclass(frozen=True)
class Loss:
    """A measured loss in 0..1: ``1 - agreement`` of the predicted class, or the ``relative L2`` distance."""

    metric: str
    value: float


def measure(model: Model, feeds: Sequence[Mapping[str, Any]], expected: Sequence[Sequence[Any]]) -> Loss:
    """The loss of a model against the outputs of the original.

    Outputs that look like class scores (a matrix of samples and classes, on at least 32 samples) are judged by
    the predicted class, everything else by the relative L2 distance over all floating-point outputs.
    """
    proto, weights = model.stripped_proto()
    runner = Runner(proto, weights=weights)
    actual = [runner.run(feed) for feed in feeds]
    if is_classifier(expected):
        same = [a[0].argmax(-1) == e[0].argmax(-1) for a, e in zip(actual, expected, strict=True)]
        return Loss("disagreement of the predicted class", 1.0 - float(np.concatenate(same).mean()))
    return Loss("relative L2 distance", _distance(expected, actual))


def is_classifier(outputs: Sequence[Sequence[Any]]) -> bool:
    """Whether the first output is a matrix of class scores, over enough samples to count agreements."""
    first = [run[0] for run in outputs]
    enough = 32
    return (
        all(isinstance(o, np.ndarray) and o.ndim == _CLASSES and o.shape[1] >= _CLASSES for o in first)
        and all(o.dtype.kind == "f" for o in first)
        and sum(len(o) for o in first) >= enough
    )


def _distance(expected: Sequence[Sequence[Any]], actual: Sequence[Sequence[Any]]) -> float:
    norm = distance = 0.0
    for before, after in zip(expected, actual, strict=True):
        for e, a in zip(before, after, strict=True):
            if not isinstance(e, np.ndarray) or e.dtype.kind != "f":
                continue
            wide, other = e.astype(np.float64), np.asarray(a, np.float64)
            if wide.shape != other.shape or not np.array_equal(np.isfinite(wide), np.isfinite(other)):
                return math.inf
            finite = np.isfinite(wide)
            norm += float(np.square(wide[finite]).sum())
            distance += float(np.square(wide[finite] - other[finite]).sum())
    return math.sqrt(distance / norm) if norm else math.sqrt(distance)
