"""Importance of channels by what passes through them: statistics of calibration activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tcc.ir.channels import Group, Groups
from tcc.ir.model import Model
from tcc.passes._prune_consumers import Consumer, bias_of, consumers
from tcc.passes._prune_taps import Feed, Tapped
from tcc.passes._prune_weights import Scores, magnitude

_WIDEST = 4096
"""Channels up to which a Gram matrix is kept."""
_TOGETHER = 16
"""Consumers that are looked at in one pass over the data."""
_ROWS = 20
_RIDGE = 1e-3
_STEPS = 64


@dataclass
class Statistics:
    """Moments of a consumer's data, by channel."""

    consumer: Consumer
    rows: int = 0
    zeros: np.ndarray = field(default_factory=lambda: np.zeros(0))
    total: np.ndarray = field(default_factory=lambda: np.zeros(0))
    gram: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))

    def add(self, data: np.ndarray, limit: int, seed: int) -> None:
        """Take in the channels of one run's places."""
        flat = np.moveaxis(data, self.consumer.data.axis, -1).reshape(-1, data.shape[self.consumer.data.axis])
        if len(flat) > limit:
            flat = flat[np.random.default_rng(seed).choice(len(flat), limit, replace=False)]
        x = flat.astype(np.float64)
        if not np.isfinite(x).all():
            return
        if not self.rows:
            self.zeros, self.total, self.gram = np.zeros(x.shape[1]), np.zeros(x.shape[1]), np.zeros((x.shape[1],) * 2)
        self.rows += len(x)
        self.zeros += (x == 0).sum(axis=0)
        self.total += x.sum(axis=0)
        self.gram += x.T @ x

    def covariance(self) -> np.ndarray:
        """About the mean where a bias can make up for it; [channels, channels]."""
        return self.gram / self.rows - np.outer(self.mean, self.mean)

    @property
    def mean(self) -> np.ndarray:
        """What a bias makes up for; 0 where there is none."""
        has_bias = bias_of(self.consumer, self.consumer.site.node) is not None
        return self.total / self.rows * has_bias


def collect(groups: Groups, model: Model, feeds: Sequence[Feed]) -> list[Statistics]:
    """Statistics of every consumer's data, in a few passes over the data."""
    wanted = [c for c in consumers(groups) if (c.site.port_shape(c.data.port) or (0,))[c.data.axis] <= _WIDEST]
    found: list[Statistics] = []
    for at in range(0, len(wanted), _TOGETHER):
        batch = [Statistics(c) for c in wanted[at : at + _TOGETHER]]
        taps = Tapped(model, [s.consumer.data.value.name or "" for s in batch])
        for turn, feed in enumerate(feeds):
            for statistics, data in zip(batch, taps.run(feed), strict=True):
                columns = data.shape[statistics.consumer.data.axis]
                if statistics.rows < 2 * _ROWS * columns:
                    statistics.add(data, max(16, -(-_ROWS * columns // len(feeds))), turn)
        found += [s for s in batch if s.rows]
    return found


def _by(measure: Callable[[Statistics], np.ndarray]) -> Callable[[Groups, Group, Sequence[Statistics]], Scores]:
    """A ranking by a number a channel, averaged over a unit's channels and over the group's consumers."""

    def scores(groups: Groups, group: Group, statistics: Sequence[Statistics]) -> Scores:
        total, count = np.zeros(group.size), 0
        for s in statistics:
            units = group.slices.get(s.consumer.data.key)
            if units is None:
                continue
            used, values = units >= 0, measure(s)
            sums = np.bincount(units[used], values[used], minlength=group.size)
            means = sums / np.maximum(np.bincount(units[used], minlength=group.size), 1)
            if means.mean() > 0:
                total, count = total + means / means.mean(), count + 1
        return total / count if count else magnitude(groups, group, 2)

    return scores


def reconstruction(groups: Groups, statistics: Sequence[Statistics]) -> dict[Group, Scores]:
    """Scores of all groups, from the last to the first: an error counts by what the output it is in is worth.

    The worth of an output is its unit's score over its variance, as scores are what is lost without the unit.
    """
    order = {site.node: i for i, (site, _) in enumerate(groups.network.sites)}
    last = {
        g: max((order[s.consumer.site.node] for s in statistics if _reads(g, s)), default=-1) for g in groups.groups
    }
    found: dict[Group, Scores] = {}
    for group in sorted(groups.groups, key=lambda g: -last[g]):
        worths = [_worth(s, found) if _reads(group, s) else np.zeros(0) for s in statistics]
        found[group] = _eliminated(groups, group, statistics, worths)
    return {group: found[group] for group in groups.groups}


def _reads(group: Group, statistics: Statistics) -> bool:
    return statistics.consumer.data.key in group.slices


def _worth(statistics: Statistics, scores: Mapping[Group, Scores]) -> np.ndarray:
    """One number for each output of a consumer; all the same where nothing is known of them."""
    _, variance = _products(statistics)
    worth = np.zeros(len(variance))
    weight = statistics.consumer.weight
    for group, own in scores.items():
        units = group.slices.get((weight.value, 1 - weight.axis))
        if units is not None and len(units) == len(worth):
            used = units >= 0
            share = own / np.maximum(np.bincount(units[used], minlength=group.size), 1)
            worth[used] = np.maximum(worth[used], share[units[used]])
    if not worth.any():
        return np.ones(len(variance))
    worth[worth == 0] = worth[worth > 0].mean()
    found = worth / np.maximum(variance, 1e-6 * variance.mean() + np.finfo(float).tiny)
    # Scores span many orders; an output is never taken for worthless.
    return np.asarray(np.maximum(found, 1e-4 * found.mean()))


def _products(statistics: Statistics) -> tuple[np.ndarray, np.ndarray]:
    """A consumer's weight as [channels, outputs, taps], and the variance of each output."""
    consumer = statistics.consumer
    tensor = consumer.weight.value.const_value
    assert tensor is not None
    array = np.moveaxis(tensor.numpy().astype(np.float64), consumer.weight.axis, 0)
    matrix = array.reshape(len(array), array.shape[1] if array.ndim > 1 else 1, -1)
    covariance = statistics.covariance()
    variance = np.einsum("iot,ij,jot->o", matrix, covariance, matrix, optimize=True)
    return matrix, variance


def _eliminated(groups: Groups, group: Group, statistics: Sequence[Statistics], worths: Sequence[np.ndarray]) -> Scores:
    """What cannot be made up for: greedy backward elimination by the optimal brain surgeon's error.

    The unit goes next whose removal costs the consumers' outputs least when all that are left make up for it:
    tr(Wᵤᵀ (H⁻¹)ᵤᵤ⁻¹ Wᵤ), H the covariance of the data, relative to the consumers' energy. A unit's score is the cost
    when it went, never less than that of one before it.
    """
    parts = [
        p for s, worth in zip(statistics, worths, strict=True) if (p := _Elimination.of(group, s, worth)) is not None
    ]
    if not parts:
        return magnitude(groups, group, 2)
    scores, left, highest = np.zeros(group.size), np.ones(group.size, bool), 0.0
    while left.any():
        costs = np.where(left, np.sum([p.costs(left) for p in parts], axis=0), np.inf)
        # A few at a time where there are many: what one of them costs hardly depends on the others.
        for unit in np.argsort(costs, kind="stable")[: max(1, int(left.sum()) // _STEPS)].tolist():
            highest = max(highest, float(costs[unit]))
            # Ties (dead channels) keep their order.
            scores[unit] = highest * (1 + 1e-9 * (group.size - int(left.sum())))
            left[unit] = False
            for p in parts:
                p.remove(unit)
    return scores


@dataclass
class _Elimination:
    """One consumer while units are removed: the inverse covariance and the products of the current weight."""

    places: list[np.ndarray]
    inverse: np.ndarray
    products: np.ndarray
    energy: float

    @classmethod
    def of(cls, group: Group, statistics: Statistics, worth: np.ndarray) -> _Elimination | None:
        """None where the consumer does not read the group."""
        consumer = statistics.consumer
        units = group.slices.get(consumer.data.key)
        if units is None:
            return None
        covariance = statistics.covariance()
        scale = float(np.trace(covariance)) / len(covariance)
        if not scale > 0:
            return None
        matrix, _ = _products(statistics)
        weighted = (matrix * np.sqrt(worth)[None, :, None]).reshape(len(matrix), -1)
        products = weighted @ weighted.T
        energy = float((covariance * products).sum())
        inverse = np.linalg.inv(covariance + _RIDGE * scale * np.eye(len(covariance)))
        places = [np.flatnonzero(units == u) for u in range(group.size)]
        return cls(places, inverse, products, max(energy, np.finfo(float).tiny))

    def costs(self, left: np.ndarray) -> np.ndarray:
        """The relative cost of each unit that is left."""
        if all(len(p) == 1 for p in self.places):
            at = np.concatenate(self.places)
            return np.asarray(np.where(left, self.products[at, at] / self.inverse[at, at], np.inf) / self.energy)
        found = np.full(len(left), np.inf)
        for unit in np.flatnonzero(left):
            at = self.places[unit]
            block = self.inverse[np.ix_(at, at)]
            found[unit] = np.trace(np.linalg.solve(block, self.products[np.ix_(at, at)])) if len(at) else 0.0
        return found / self.energy

    def remove(self, unit: int) -> None:
        """Let the others make up for a unit."""
        at = self.places[unit]
        if not len(at):
            return
        # B = H⁻¹[:, u] (H⁻¹[u, u])⁻¹; W ← W - B W[u], H⁻¹ ← H⁻¹ - B H⁻¹[u, :]
        b = np.linalg.solve(self.inverse[np.ix_(at, at)], self.inverse[at]).T
        cross, own = self.products[:, at], self.products[np.ix_(at, at)]
        self.products = self.products - b @ cross.T - cross @ b.T + b @ own @ b.T
        self.inverse = self.inverse - b @ self.inverse[at]
        self.inverse[at, at] = np.maximum(self.inverse[at, at], np.finfo(float).tiny)


BY_DATA: Mapping[str, Callable[[Groups, Group, Sequence[Statistics]], Scores]] = {
    "apoz": _by(lambda s: 1 - s.zeros / s.rows),
    "mean": _by(lambda s: np.abs(s.total / s.rows)),
    "variance": _by(lambda s: np.maximum(np.diag(s.covariance()), 0)),
    "energy": _by(lambda s: np.diag(s.gram) / s.rows),
}
"""Importances that need calibration data, by the name of the option."""
