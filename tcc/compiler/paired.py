"""Statistics of two models judged on the same samples: intervals and tests of paired differences."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_RESAMPLES = 4000
_PERMUTATIONS = 4000
_SHARES = tuple(round(0.95 - 0.05 * i, 2) for i in range(19))
"""The parts of the samples over which a profile is taken, from 95 % to 5 %."""
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Difference:
    """The mean of ``b - a`` over paired samples with its 95 % confidence interval."""

    mean: float
    low: float
    high: float


def difference(a: Array, b: Array, seed: int = 0) -> Difference:
    """The mean paired difference of two score vectors [samples]; the interval is the percentile bootstrap's.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3.
    """
    gaps = np.asarray(b, np.float64) - np.asarray(a, np.float64)
    if not gaps.size:
        return Difference(math.nan, math.nan, math.nan)
    # Differences of right and wrong take three values: resampling their counts is the same, and cheap.
    values, counts = np.unique(gaps, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(gaps.size, counts / gaps.size, _RESAMPLES)
    low, high = np.quantile(drawn @ values / gaps.size, [0.025, 0.975])
    return Difference(float(gaps.mean()), float(low), float(high))


def mcnemar(a: Array, b: Array) -> float:
    """The exact two-sided p-value that two classifiers err equally often, from which [samples] are right.

    Source: McNemar, Psychometrika 12, 1947; the binomial form is exact for few discordant samples.
    """
    first, second = np.asarray(a, bool), np.asarray(b, bool)
    lost, won = int((first & ~second).sum()), int((~first & second).sum())
    total = lost + won
    if not total:
        return 1.0
    tail = sum(math.comb(total, k) for k in range(min(lost, won) + 1))
    return min(1.0, float(2 * tail / 2**total))


def systematic(classes: Array, disagrees: Array, seed: int = 0) -> tuple[float, float]:
    """Pearson's chi-squared statistic of disagreement against class, and its p-value.

    A small p-value says that disagreements gather in some classes (``classes`` [samples], ``disagrees`` [samples]
    of booleans). The p-value is that of random permutations: expected counts are too small for the asymptotic
    one (Agresti, Categorical Data Analysis, section 3.5).
    """
    _, index = np.unique(np.asarray(classes), return_inverse=True)
    sizes = np.bincount(index)
    found = np.bincount(index, weights=np.asarray(disagrees, np.float64), minlength=len(sizes))
    total = int(found.sum())
    if len(sizes) < 2 or total in (0, int(sizes.sum())):
        return 0.0, 1.0
    rate = total / sizes.sum()
    drawn = np.random.default_rng(seed).multivariate_hypergeometric(sizes, total, _PERMUTATIONS, method="marginals")

    def statistic(counts: Array) -> Array:
        gap = np.square(counts - sizes * rate)
        return np.asarray((gap / (sizes * rate) + gap / (sizes * (1 - rate))).sum(-1))

    observed = float(statistic(found))
    # The observed one counts as one of the permutations, so that no p-value is zero.
    p = (1 + int((statistic(drawn) >= observed - 1e-9).sum())) / (1 + _PERMUTATIONS)
    return observed, p


@dataclass(frozen=True)
class Profile:
    """The accuracy degradation profile and factor.

    For each share of the samples: the largest loss of B against A within a neighbourhood of that many samples.
    ``factor`` is the largest share at which that loss is significant; 0 where it nowhere is.
    """

    shares: tuple[float, ...]
    losses: tuple[float, ...]
    factor: float


def degradation(features: Array, a: Array, b: Array, *, anchors: int = 200, seed: int = 0) -> Profile:
    """How much worse B is than A where it is worst: over shrinking neighbourhoods of the samples.

    The mean over all samples hides a part of the inputs on which the compressed model fails. Neighbourhoods are
    the nearest samples to an anchor by ``features`` [samples, dimensions]; the loss is mean(a - b) of the scores
    [samples]. A loss is significant where it exceeds what permuting the samples gives in 95 % of the cases, the
    search over all anchors included, so that looking in many places is paid for.

    Source: accuracy degradation profile and factor, Novaes, Kingsman and Munoz, Holistic AI, 2024, with a
    permutation test in place of one chi-squared test a subset.
    """
    losses = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    count = len(losses)
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(count, min(anchors, count), replace=False))
    order = np.argsort(_distances(np.asarray(features, np.float64), chosen), axis=1, kind="stable")
    sizes = np.array([max(1, round(share * count)) for share in _SHARES])

    def worst(values: Array) -> Array:
        return np.asarray((np.cumsum(values[order], axis=1)[:, sizes - 1] / sizes).max(axis=0))

    found = worst(losses)
    by_chance = np.array([worst(rng.permutation(losses)) for _ in range(200)])
    significant = found > np.quantile(by_chance, 1 - SIGNIFICANT, axis=0) + 1e-12
    factor = max((share for share, is_so in zip(_SHARES, significant, strict=True) if is_so), default=0.0)
    return Profile(_SHARES, tuple(float(x) for x in found), factor)


def _distances(features: Array, anchors: Array) -> Array:
    """Squared distances [anchors, samples] between standardised features."""
    spread = features.std(axis=0)
    scaled = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    squares = np.square(scaled).sum(axis=1)
    return np.asarray(squares[anchors][:, None] - 2 * scaled[anchors] @ scaled.T + squares[None])
