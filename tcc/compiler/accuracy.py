"""Measures what a lossy program loses on the user's own data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tcc.ir.execution import Runner
from tcc.passes.base import Effect
from tcc.passes.manager import Outcome, Snapshot

Feed = Mapping[str, Any]
Outputs = list[list[Any]]


@dataclass(frozen=True)
class Loss:
    """``value`` by ``metric``, over ``samples`` feeds: 0 is none, 1 is all."""

    metric: str
    value: float
    samples: int


@dataclass
class LossOf:
    """The loss of a form of a model on data; the original runs once, when it is first needed."""

    outcome: Outcome
    feeds: Sequence[Feed]
    _expected: Outputs = field(default_factory=list)

    def __call__(self, snapshot: Snapshot) -> Loss | None:
        """None for a form that promises more than a loss, and where there is no data."""
        if not self.feeds or self.outcome.promise(snapshot) is not Effect.LOSSY:
            return None
        self._expected = self._expected or outputs(self.outcome.snapshots[0].runner(), self.feeds)
        return loss(self._expected, outputs(snapshot.runner(), self.feeds))


def outputs(runner: Runner, feeds: Sequence[Feed]) -> Outputs:
    """The model's outputs for every feed."""
    return [runner.run(feed) for feed in feeds]


def loss(expected: Outputs, actual: Outputs) -> Loss:
    """How far the outputs are from those of the original.

    One output of shape [samples, classes] is taken for a classifier's scores: the loss is the part of the samples
    whose predicted class changes. Else it is the relative L2 error, ‖a − b‖ / ‖b‖ over all feeds, of the output
    where that is largest.
    """
    if all(len(run) == 1 and _is_scores(run[0]) for run in expected):
        pairs = [(a[0].argmax(-1), b[0].argmax(-1)) for a, b in zip(expected, actual, strict=True)]
        changed, total = sum(int((a != b).sum()) for a, b in pairs), sum(a.size for a, _ in pairs)
        return Loss("changed predictions", changed / total, len(expected))
    count = len(expected[0])
    errors = [_relative([run[i] for run in expected], [run[i] for run in actual]) for i in range(count)]
    return Loss("relative L2", max(errors, default=0.0), len(expected))


def _is_scores(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.ndim == 2 and value.shape[1] > 1


def _relative(expected: Sequence[Any], actual: Sequence[Any]) -> float:
    """The relative L2 error over all arrays; 1 where something of another kind is not the same."""
    gap = norm = 0.0
    for a, b in zip(expected, actual, strict=True):
        if not isinstance(a, np.ndarray) or a.dtype.kind in "OUSb":
            if not np.array_equal(np.asarray(a, dtype=object), np.asarray(b, dtype=object)):
                return 1.0
            continue
        wide, other = a.astype(np.float64), b.astype(np.float64)
        gap += float(np.square(wide - other).sum())
        norm += float(np.square(wide).sum())
    return float(np.sqrt(gap / norm)) if norm else float(gap > 0)
