"""Which units go: a part of each group, at a ratio."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tcc.ir.channels.groups import Group, Groups
from tcc.ir.channels.links import Axis

if TYPE_CHECKING:
    import onnx_ir


def at_ratio(
    groups: Groups, ratio: float, importance: Callable[[Group], np.ndarray], minimum: int = 1
) -> dict[Group, np.ndarray]:
    """The least important units of every group, at the same part of each axis.

    Groups that share an axis (heads, and the indices within them) share the ratio: both shrink, and what the coarser
    one cannot take because its units are few falls to the finer one. The groups of a convolution stay, and each gets
    narrower, which takes its weight along both axes; they go where that is not enough.
    """
    chosen: dict[Group, np.ndarray] = {}
    for members in groups.overlapping():
        kindred = {i: _kin(groups, i, members) for i in members}
        wholes = {i for i, kin in kindred.items() if _narrowed(groups.groups[i], [groups.groups[j] for j in kin])}
        # What is left of each shared axis: groups of a convolution share one with the units within them, in and out.
        left: dict[int, dict[Axis, float]] = {i: {} for i in members}
        ordered = sorted(members, key=lambda i: (i in wholes, groups.groups[i].size, i))
        for i in ordered:
            group = groups.groups[i]
            kin = kindred[i]
            later = [j for j in kin if ordered.index(j) > ordered.index(i)]
            shared = {key: left[i].get(key, 1.0) for j in kin for key in group.slices if key in groups.groups[j].slices}
            keep = min((1 - ratio) / float(np.mean(list(shared.values()) or [1.0])), 1.0)
            share = 1 - (keep**0.5 if set(later) - wholes else keep)
            removed = least(importance(group), share, group, minimum)
            chosen[group] = removed
            for j in later:
                for key in group.slices:
                    left[j][key] = left[j].get(key, 1.0) * float(1 - removed.mean())
    return chosen


def spread_ratio(
    groups: Groups, ratio: float, scores: Mapping[Group, np.ndarray], minimum: int = 1, *, isomorphic: bool = False
) -> dict[Group, np.ndarray]:
    """The least important units of all groups together, until they hold ``ratio`` of the elements.

    Args:
        groups: what may shrink; of groups that share an axis only the finest takes part.
        ratio: of the elements that go with units.
        scores: the ranking of each group's units, comparable between groups.
        minimum: indices that every axis keeps at least.
        isomorphic: compare units only with those of groups of the same form, which have the same operators and sizes.
    """
    taking = [groups.groups[max(members, key=lambda i: groups.groups[i].size)] for members in groups.overlapping()]
    families: dict[object, list[Group]] = {}
    for group in taking:
        form = tuple(sorted(group.edges.values())), tuple(sorted(len(u) for u in group.slices.values()))
        families.setdefault(form if isomorphic else None, []).append(group)
    chosen: dict[Group, np.ndarray] = {}
    for members in families.values():
        every = np.concatenate([scores[g] for g in members])
        sizes = np.concatenate([g.elements() for g in members])
        order = np.argsort(every, kind="stable")
        gone = np.zeros(len(every), bool)
        gone[order[np.cumsum(sizes[order]) <= ratio * sizes.sum()]] = True
        for group, part in zip(members, np.split(gone, np.cumsum([g.size for g in members])[:-1]), strict=True):
            share = float((group.elements() * part).sum() / max(group.elements().sum(), 1e-9))
            chosen[group] = least(scores[group], share, group, minimum)
    return chosen


def _kin(groups: Groups, i: int, members: Iterable[int]) -> list[int]:
    return [j for j in members if j != i and _share(groups.groups[i], groups.groups[j])]


def _share(a: Group, b: Group) -> bool:
    small, large = sorted((a, b), key=lambda g: len(g.slices))
    return any(
        ((units >= 0) & (large.slices[key] >= 0)).any() for key, units in small.slices.items() if key in large.slices
    )


def _narrowed(whole: Group, within: Sequence[Group]) -> bool:
    """Whether the units within those of ``whole`` take a weight along an axis more than ``whole`` does.

    A convolution's weight has the channels of all groups along one axis, those of one group along the other.
    """

    def axes(value: onnx_ir.Value, groups: Sequence[Group]) -> set[int]:
        return {axis for group in groups for other, axis in group.slices if other is value}

    return any(axes(value, [whole]) < axes(value, within) for (value, _), _ in whole.weights())


def least(scores: np.ndarray, share: float, group: Group, minimum: int = 1) -> np.ndarray:
    """Bool [size]: the units of the lowest scores that hold as near to ``share`` of the group's elements as can be.

    Fewer where an axis would keep less than ``minimum`` indices.
    """
    removed = np.zeros(group.size, bool)
    order = np.argsort(scores, kind="stable")
    sizes = np.maximum(group.elements(), 1e-9)[order]
    # A unit goes if more than half of it lies within the share.
    middle = np.cumsum(sizes) - sizes / 2
    removed[order[middle <= share * sizes.sum() * (1 + 1e-9)]] = True
    for units in group.slices.values():
        # The most important of them come back first.
        for unit in order[::-1].tolist():
            gone = np.append(removed, False)[units]
            if (~gone).sum() >= min(minimum, len(units)):
                break
            if removed[unit] and (units == unit).any():
                removed[unit] = False
    return removed
