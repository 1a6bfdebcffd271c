"""How far a program's outputs are from the original's, gathered sample by sample in constant memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tcc.ir.execution import Runner
from tcc.ir.model import Model

CONFIDENCE = "lost confidence"
ENERGY = "unexplained variance"
_SCORES_RANK = 2
_ENOUGH = 32
"""Samples from which on predictions say more than a distance does."""
_SURE = 0.25
"""The mean probability of the predicted class below which outputs are no classifier's scores."""
_FEWEST_SPREAD = 8
"""Samples from which on the mean over them says what an output holds whatever the input."""
_FLAT = 1e-6
"""The part of an output below which what differs between samples is rounding."""
Z95 = 1.645
"""One-sided, of the normal distribution."""


@dataclass(frozen=True)
class Loss:
    """``value`` by ``metric``, over ``samples`` rows of the first output: 0 is none, 1 is all.

    ``upper`` is the end of its one-sided 95 % confidence interval: what the loss on other data of the same kind
    stays below.
    """

    metric: str
    value: float
    samples: int
    upper: float = math.nan

    @property
    def most(self) -> float:
        """What is held against a budget: the end of the interval, or 0 where no sample lost anything.

        That none did says little where there are few; the rule of three would then allow no program at all.
        """
        return max(self.value, self.upper) if self.value and not math.isnan(self.upper) else self.value


def measure(
    model: Model,
    feeds: Iterable[Mapping[str, Any]],
    expected: Iterable[Sequence[Any]],
    *,
    optimise: bool = False,
    threads: int = 1,
    every: int = 0,
    enough: Callable[[Loss], bool] = lambda _: False,
) -> Loss:
    """The loss of a model against the outputs of the original.

    Args:
        model: the program.
        feeds: what it is run on.
        expected: the original's outputs for each feed.
        optimise: whether the kernels of a deployment run.
        threads: how many runs there are at once.
        every: after how many runs each time ``enough`` is asked; 0 for never.
        enough: whether what was found so far says all that is wanted; the rest is not run then.
    """
    proto, weights = model.stripped_proto()
    runner, judge = Runner(proto, weights=weights, optimise=optimise), Judge()
    for number, (a, b) in enumerate(zip(expected, runner.run_each(feeds, threads), strict=True), 1):
        judge.add(a, b)
        if every and not number % every and enough(judge.loss()):
            break
    return judge.loss()


def loss_of(expected: Iterable[Sequence[Any]], actual: Iterable[Sequence[Any]]) -> Loss:
    """How far outputs are from those of the original, one list of outputs a feed; see ``Judge``."""
    judge = Judge()
    for a, b in zip(expected, actual, strict=True):
        judge.add(a, b)
    return judge.loss()


def relative_l2(expected: Iterable[Any], actual: Iterable[Any]) -> float:
    """``|a - b| / |a|`` of one output over all runs; infinite where something of another kind is not the same."""
    energy = _Energy()
    for a, b in zip(expected, actual, strict=True):
        energy.add(a, b)
    if energy.broken:
        return math.inf
    return math.sqrt(energy.gap / energy.norm) if energy.norm else float(energy.gap > 0)


@dataclass
class _Classes:
    """The confidence that new predictions lose, and whether the scores are a classifier's at all."""

    count: int = 0
    lost: float = 0.0
    squares: float = 0.0
    confidence: float = 0.0
    first: int | None = None
    varied: bool = False

    def add(self, before: np.ndarray, after: np.ndarray) -> None:
        sure = _probabilities(before.astype(np.float64))
        rows = np.arange(len(sure))
        # Of equal scores the one that the original prefers: a tie is no wrong prediction.
        best = before.argmax(-1)
        tied = after[rows, best] >= after.max(-1)
        predicted = np.where(tied, best, np.nan_to_num(after, nan=-math.inf).argmax(-1))
        lost = np.maximum(sure[rows, best] - sure[rows, predicted], 0.0)
        self.count += len(rows)
        self.lost += float(lost.sum())
        self.squares += float(np.square(lost).sum())
        self.confidence += float(sure[rows, best].sum())
        if len(best):
            self.first = int(best[0]) if self.first is None else self.first
            self.varied |= bool((best != self.first).any())

    @property
    def is_classifier(self) -> bool:
        """Whether the largest score differs from sample to sample and stands out."""
        return self.varied and self.confidence >= _SURE * self.count

    def result(self) -> tuple[float, int, float]:
        mean = self.lost / self.count
        deviation = math.sqrt(max(self.squares / self.count - mean**2, 0.0) / self.count)
        # Where nothing was seen in n samples, less than 3/n is likely (the rule of three).
        return mean, self.count, max(mean + Z95 * deviation, 3 / self.count if not self.lost else 0.0)


def _probabilities(scores: np.ndarray) -> np.ndarray:
    if (scores >= 0).all() and np.allclose(scores.sum(-1), 1.0, atol=1e-2):
        return scores
    exponents = np.exp(scores - scores.max(-1, keepdims=True))
    made: np.ndarray = exponents / exponents.sum(-1, keepdims=True)
    return made


@dataclass
class _Energy:
    """The squared distance of one output, and what it is relative to."""

    runs: int = 0
    gap: float = 0.0
    norm: float = 0.0
    pairs: tuple[float, float, float] = (0.0, 0.0, 0.0)
    total: np.ndarray | None = None
    samples: int = 0
    broken: bool = False

    def add(self, a: Any, b: Any) -> None:
        self.runs += 1
        if not _is_array(a) or a.dtype.kind in "OUSb":
            self.broken |= not np.array_equal(np.asarray(a, dtype=object), np.asarray(b, dtype=object))
            return
        wide, other = a.astype(np.float64), np.asarray(b).astype(np.float64)
        finite = np.isfinite(wide)
        if wide.shape != other.shape or not np.array_equal(finite, np.isfinite(other)):
            self.broken = True
            return
        wide, other = np.where(finite, wide, 0.0), np.where(finite, other, 0.0)
        gap, norm = float(np.square(wide - other).sum()), float(np.square(wide).sum())
        self.gap, self.norm = self.gap + gap, self.norm + norm
        self.pairs = (self.pairs[0] + gap * gap, self.pairs[1] + gap * norm, self.pairs[2] + norm * norm)
        self._centre(wide)

    def _centre(self, wide: np.ndarray) -> None:
        """Keep the sum over the samples, while all are of one shape."""
        rows = wide if wide.ndim > 1 else wide.reshape(1, -1)
        if self.total is None and self.runs == 1:
            self.total = np.zeros(rows.shape[1:])
        if self.total is not None:
            self.total = self.total + rows.sum(axis=0) if self.total.shape == rows.shape[1:] else None
        self.samples += len(rows)

    @property
    def varied(self) -> float:
        """The part of the norm that differs from sample to sample; 1 where the samples are too few to tell."""
        if self.total is None or self.samples < _FEWEST_SPREAD or not self.norm:
            return 1.0
        part = 1.0 - float(np.square(self.total).sum()) / self.samples / self.norm
        # An output that hardly varies has nothing to explain but itself.
        return part if part > _FLAT else 1.0

    def result(self, varied: float | None = None) -> tuple[float, float]:
        """The loss and the upper end of its interval."""
        if self.broken:
            return math.inf, math.inf
        base = self.norm * (self.varied if varied is None else varied)
        if not base:
            return (math.inf, math.inf) if self.gap else (0.0, 0.0)
        value = self.gap / base
        # The variance of a ratio of sums, each run a draw (Cochran, Sampling Techniques, 1977, 2.11).
        ratio = self.gap / self.norm
        spread = self.pairs[0] - 2 * ratio * self.pairs[1] + ratio**2 * self.pairs[2]
        return value, value + Z95 * math.sqrt(max(spread, 0.0)) / base


@dataclass
class Judge:
    """Gathers the loss over runs.

    A single output of shape [samples, classes] over at least 32 samples, of which the original is sure enough, is
    taken for a classifier's scores. Its loss is the confidence lost: the mean of the original's probability of its
    own prediction, less its probability of the new prediction (softmax of the scores, unless they are
    probabilities). Where the probabilities are right, that is the accuracy lost.

    Any other loss is the unexplained variance ``|a - b|² / |a - mean a|²`` over all runs, of the output where that is
    largest; the mean is taken over the samples, where there are enough of one shape.
    """

    samples: int = 0
    _classes: _Classes = field(default_factory=_Classes)
    _energies: list[_Energy] = field(default_factory=list)
    _classifies: bool = True

    def add(self, expected: Sequence[Any], actual: Sequence[Any]) -> None:
        """See the outputs of one run of both."""
        first: Any = expected[0] if expected else None
        self.samples += len(first) if _is_array(first) and first.ndim else 1
        if len(expected) == 1 and _is_scores(first) and _is_scores(actual[0]):
            self._classes.add(first, actual[0])
        else:
            self._classifies = False
        self._energies = self._energies or [_Energy() for _ in expected]
        for energy, a, b in zip(self._energies, expected, actual, strict=True):
            energy.add(a, b)

    @property
    def energy(self) -> float:
        """The unexplained variance, whatever the outputs are."""
        return max((energy.result()[0] for energy in self._energies), default=0.0)

    @property
    def varied(self) -> list[float]:
        """For each output the part of it that the samples do not have in common."""
        return [energy.varied for energy in self._energies]

    def unexplained(self, varied: Sequence[float]) -> float:
        """The unexplained variance where ``varied`` is known of each output from more samples than these."""
        if len(varied) != len(self._energies):
            return self.energy
        return max((e.result(part)[0] for e, part in zip(self._energies, varied, strict=True)), default=0.0)

    def loss(self) -> Loss:
        """What was found so far."""
        if self._classifies and self.samples >= _ENOUGH and self._classes.is_classifier:
            return Loss(CONFIDENCE, *self._classes.result())
        found = [energy.result() for energy in self._energies]
        value, upper = max(found, default=(0.0, 0.0))
        return Loss(ENERGY, value, self.samples, upper)


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray)


def _is_scores(value: Any) -> bool:
    return _is_array(value) and value.dtype.kind == "f" and value.ndim == _SCORES_RANK and value.shape[1] > 1
