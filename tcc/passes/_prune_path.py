"""The order in which groups shrink: at each step what saves most for what it is measured to lose."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tcc.diagnostics import TccError
from tcc.ir.channels import Group, Groups, sliced
from tcc.ir.channels.choosing import least
from tcc.ir.channels.links import MismatchError
from tcc.ir.channels.slicing import kept, replace_constant
from tcc.ir.model import Model
from tcc.passes._prune_consumers import bias_of
from tcc.passes._prune_costs import Cost, Costs
from tcc.passes._prune_data import Statistics
from tcc.passes._prune_taps import Feed, distance, few, outputs

_MEASURED = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Parts of a group's units at which its loss is measured; between them it is interpolated."""
_GRID = tuple(np.round(np.arange(0, 0.951, 0.05), 3).tolist())
_SAMPLES = (48, 1024)
"""The fewest and the most samples that losses are measured on."""
_WORK = 5e12
"""Operations that measuring all losses may take, as far as the fewest samples allow."""
_RIDGE = 1e-3

Shares = Mapping[Group, float]


@dataclass(frozen=True)
class Step:
    """A point on the way: which part of each group is gone, and what the model then costs."""

    shares: dict[Group, float]
    cost: Cost


@dataclass
class Path:
    """All points from the whole model to the smallest, each with one group smaller than the one before it.

    Args:
        groups: what may shrink.
        scores: the ranking of each group's units.
        curves: the squared loss of each group at each part of the grid.
        costs: of what a removal leaves.
        measure: the number that is to shrink.
        minimum: indices that every axis keeps at least.
        align: kept units come in multiples of this, where a group has twice as many.
    """

    groups: Groups
    scores: Mapping[Group, np.ndarray]
    curves: Mapping[Group, np.ndarray]
    costs: Costs
    measure: Callable[[Cost], float]
    minimum: int
    align: int
    _gone: dict[tuple[Group, float], np.ndarray] = field(default_factory=dict, repr=False)

    def removal(self, shares: Shares) -> dict[Group, np.ndarray]:
        """The units that are gone at given parts of the groups."""
        found = {g: self._removed(g, share) for g, share in shares.items() if share > 0}
        return {g: removed for g, removed in found.items() if removed.any()}

    def _removed(self, group: Group, share: float) -> np.ndarray:
        if (group, share) not in self._gone:
            chosen = least(self.scores[group], share, group, self.minimum)
            self._gone[group, share] = aligned(chosen, self.scores[group], self.align)
        return self._gone[group, share]

    def loss(self, group: Group, share: float) -> float:
        """The squared loss that is predicted for shrinking one group to a part of the grid."""
        return float(self.curves[group][_GRID.index(share)])

    def steps(self) -> list[Step]:
        """The points, in order of falling cost."""
        shares = dict.fromkeys(self.groups.groups, 0.0)
        cost = self.costs.total({})
        found = [Step(dict(shares), cost)]
        offers = {g: self._offer(g, shares) for g in shares}
        near = self._neighbours()
        while any(offers.values()):
            group, (_, share, gain) = min(
                ((g, offer) for g, offer in offers.items() if offer), key=lambda pair: (pair[1][0], pair[0].name)
            )
            # A large step is taken in small ones, so that a budget between them can be met.
            between = _GRID[_GRID.index(shares[group]) + 1 : _GRID.index(share)]
            found += [Step({**shares, group: s}, cost - self._gain(group, shares, s)) for s in between]
            shares[group], cost = share, cost - gain
            found.append(Step(dict(shares), cost))
            for g in near[group]:
                offers[g] = self._offer(g, shares)
        return found

    def _offer(self, group: Group, shares: dict[Group, float]) -> tuple[float, float, Cost] | None:
        """The best next part of a group: loss for gain, the part, and the gain; None where nothing is left."""
        now = _GRID.index(shares[group])
        best: tuple[float, float, Cost] | None = None
        for at in range(now + 1, len(_GRID)):
            gain = self._gain(group, shares, _GRID[at])
            saved = self.measure(gain)
            if saved <= 0:
                continue
            price = (self.curves[group][at] - self.curves[group][now]) / saved
            if best is None or price < best[0]:
                best = (price, _GRID[at], gain)
        return best

    def _gain(self, group: Group, shares: Mapping[Group, float], share: float) -> Cost:
        """What shrinking one group to a part saves, the groups around it as they are."""
        around = {g: s for g, s in shares.items() if g is not group and self._meet(g, group)}
        context = kept(self.removal(around))
        return self.costs.gain(group, self._with(context, group, shares[group]), self._with(context, group, share))

    def _with(self, keep: Mapping[Any, np.ndarray], group: Group, share: float) -> dict[Any, np.ndarray]:
        own = kept(self.removal({group: share}))
        return {**keep, **{key: keep[key] & mask if key in keep else mask for key, mask in own.items()}}

    def _neighbours(self) -> dict[Group, list[Group]]:
        """Groups that share a node, whose gains depend on each other; each is its own neighbour."""
        sites: dict[Any, list[Group]] = {}
        for group in self.groups.groups:
            for node in {n for value, _ in group.slices for n in (value.producer(), *(u.node for u in value.uses()))}:
                if node is not None:
                    sites.setdefault(node, []).append(group)
        found: dict[Group, dict[Group, None]] = {g: {g: None} for g in self.groups.groups}
        for members in sites.values():
            for a in members:
                found[a] |= dict.fromkeys(members)
        self._near = found
        return {g: list(others) for g, others in found.items()}

    def _meet(self, a: Group, b: Group) -> bool:
        if not hasattr(self, "_near"):
            self._neighbours()
        return a in self._near[b]


def aligned(removed: np.ndarray, scores: np.ndarray, align: int) -> np.ndarray:
    """Let the most important removed units stay until the kept ones are a multiple of ``align``."""
    spare = (-int((~removed).sum())) % align
    if align == 1 or len(removed) < 2 * align or not spare:
        return removed
    gone = np.flatnonzero(removed)
    back = gone[np.argsort(scores[gone], kind="stable")][::-1][:spare]
    result = removed.copy()
    result[back] = False
    return result


def curves(
    groups: Groups,
    scores: Mapping[Group, np.ndarray],
    statistics: Sequence[Statistics],
    feeds: Sequence[Feed],
    operations: float,
) -> dict[Group, np.ndarray]:
    """The squared loss of shrinking each group alone, measured on calibration data at a few parts of its units.

    What is left makes up for what is gone as far as the data's moments tell. Losses are relative L2 distances of the
    outputs; for independent errors their squares add up. ``operations`` are those of a sample.
    """
    runs = len(groups.groups) * len(_MEASURED)
    data = few(feeds, min(max(int(_WORK / max(operations * runs, 1.0)), _SAMPLES[0]), _SAMPLES[1]))
    expected = outputs(groups.network.model, data)
    found: dict[Group, np.ndarray] = {}
    for group in groups.groups:
        points = [(0.0, 0.0)]
        for share in _MEASURED:
            removed = least(scores[group], share, group)
            loss = points[-1][1]
            if removed.any():
                loss = max(loss, _loss(groups, {group: removed}, statistics, data, expected))
            points.append((share, loss))
        points.append((1.0, 2 * points[-1][1] + 1.0))
        shares, losses = (np.array(column) for column in zip(*points, strict=True))
        found[group] = np.interp(np.array(_GRID), shares, losses) ** 2
    return found


def guessed(scores: Mapping[Group, np.ndarray]) -> dict[Group, np.ndarray]:
    """Losses where there is no data to measure them on: the part of the squared scores that goes."""
    found = {}
    for group, own in scores.items():
        squares = np.sort(np.square(own - min(own.min(), 0.0)))
        part = np.concatenate([[0.0], np.cumsum(squares)]) / max(float(squares.sum()), np.finfo(float).tiny)
        found[group] = np.interp(np.array(_GRID) * len(own), np.arange(len(part)), part)
    return found


def _loss(
    groups: Groups,
    removal: dict[Group, np.ndarray],
    statistics: Sequence[Statistics],
    feeds: Sequence[Feed],
    expected: list[list[Any]],
) -> float:
    try:
        small = sliced(groups, removal)
        compensate(small, statistics, kept(removal))
        loss = distance(expected, outputs(small, feeds))
    except (MismatchError, TccError):
        return 1e3
    return min(loss, 1e3) if np.isfinite(loss) else 1e3


def compensate(small: Model, statistics: Sequence[Statistics], keep: Mapping[Any, np.ndarray]) -> None:
    """Let kept channels stand in for removed ones in a sliced model, in place, by the moments of the data."""
    for s in statistics:
        mask, value = keep.get(s.consumer.data.key), small.graph.initializers.get(s.consumer.name)
        whole = s.consumer.weight.value.const_value
        if mask is None or value is None or value.const_value is None or whole is None:
            continue
        covariance, mean = s.covariance(), s.mean
        inner = covariance[np.ix_(mask, mask)]
        ridge = _RIDGE * max(float(np.trace(inner)) / len(inner), np.finfo(float).tiny)
        merge = np.linalg.solve(inner + ridge * np.eye(len(inner)), covariance[np.ix_(mask, ~mask)])
        axis, array = s.consumer.weight.axis, whole.numpy()
        for other in range(array.ndim):
            if other != axis and (s.consumer.weight.value, other) in keep:
                array = np.compress(keep[s.consumer.weight.value, other], array, axis=other)
        gone = np.moveaxis(np.compress(~mask, array, axis=axis).astype(np.float64), axis, 0)
        like = value.const_value.numpy()
        replace_constant(value, (like + np.moveaxis(np.tensordot(merge, gone, 1), 0, axis)).astype(like.dtype))
        _shift(s, value, np.tensordot(mean[~mask] - mean[mask] @ merge, gone, 1))


def _shift(s: Statistics, value: Any, gain: np.ndarray) -> None:
    """Add what the removed channels gave on average to the bias."""
    (use,) = value.uses()
    place = bias_of(s.consumer, use.node)
    if place is None:
        return
    bias = place[0].inputs[place[1]]
    assert bias is not None
    assert bias.const_value is not None
    old = bias.const_value.numpy()
    total = gain.reshape(old.size, -1).sum(axis=1)
    replace_constant(bias, (old + total.reshape(old.shape)).astype(old.dtype))
