"""Importance of channels by their weights alone."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

import numpy as np

from tcc.ir.channels import Group, Groups

Scores = np.ndarray
"""One number a unit, float64 [size]: the lower, the sooner the unit goes."""


def rows(group: Group) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each float weight: its indices of the axis as rows float64 [n, rest], and their units [n]."""
    for (value, axis), units in group.weights():
        tensor = value.const_value
        assert tensor is not None
        if not tensor.dtype.is_floating_point():
            continue
        array = np.moveaxis(tensor.numpy().astype(np.float64), axis, 0)
        used = units >= 0
        yield array.reshape(len(units), -1)[used], units[used]


def magnitude(groups: Groups, group: Group, power: int) -> Scores:
    """Group-reduced L1 or L2: a unit's slice of each weight, relative to the mean slice, averaged over the weights."""
    del groups
    total, count = np.zeros(group.size), 0
    for array, units in rows(group):
        sums = np.bincount(units, (np.abs(array) ** power).sum(axis=1), minlength=group.size)
        counts = np.maximum(np.bincount(units, minlength=group.size), 1)
        norms = (sums / counts).astype(np.float64) ** (1 / power)
        if norms.mean() > 0:
            total, count = total + norms / norms.mean(), count + 1
    return total / max(count, 1)


def _scale(groups: Groups, group: Group) -> Scores:
    """The scales of batch normalisations (Liu et al., 2017); where there are none, L2."""
    total = np.zeros(group.size)
    for (value, _), units in group.weights():
        tensor = value.const_value
        assert tensor is not None
        if any(use.node.op_type == "BatchNormalization" and use.idx == 1 for use in value.uses()):
            used = units >= 0
            total += np.bincount(units[used], np.abs(tensor.numpy().astype(np.float64))[used], minlength=group.size)
    return total if total.any() else magnitude(groups, group, 2)


def _median(groups: Groups, group: Group) -> Scores:
    """FPGM: the sum of distances to all others, so that what lies near the geometric median goes (He et al., 2019)."""
    del groups
    total = np.zeros(group.size)
    for array, units in rows(group):
        # |a - b|^2 = |a|^2 + |b|^2 - 2 a·b, of units that are one index each or many.
        squares = (array**2).sum(axis=1)
        distances = np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * array @ array.T, 0)).sum(axis=1)
        if distances.mean() > 0:
            total += np.bincount(units, distances / distances.mean(), minlength=group.size)
    return total


def _lamp(groups: Groups, group: Group) -> Scores:
    """LAMP: a unit's squared norm over that of all units that are no smaller (Lee et al., 2021)."""
    squares = magnitude(groups, group, 2) ** 2
    order = np.argsort(squares, kind="stable")
    left = np.cumsum(squares[order][::-1])[::-1]
    scores = np.empty_like(squares)
    scores[order] = squares[order] / np.maximum(left, np.finfo(float).tiny)
    return scores


def _random(groups: Groups, group: Group) -> Scores:
    """The baseline: drawn from the group's name, the same on every run."""
    del groups
    return np.random.default_rng(zlib.crc32(group.name.encode())).random(group.size)


BY_WEIGHTS: dict[str, Callable[[Groups, Group], Scores]] = {
    "l1": lambda groups, group: magnitude(groups, group, 1),
    "l2": lambda groups, group: magnitude(groups, group, 2),
    "bn": _scale,
    "fpgm": _median,
    "lamp": _lamp,
    "random": _random,
}
"""Importances that need no data, by the name of the option."""
