"""Marks one axis with labels and follows them through the graph to a fixpoint."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tcc.ir.channels.links import Axis, End, Map, Tie
from tcc.ir.channels.network import Network

Labels = np.ndarray
"""The label of each index of an axis; -1 for an index that this propagation does not touch."""


class SplitError(Exception):
    """Labels meet a product of factors and depend on several: they must be coarser, by one of the factors."""

    def __init__(self, end: End, tie: Tie, choices: Sequence[str]) -> None:
        super().__init__()
        self.end, self.tie, self.choices = end, tie, choices


class Classes:
    """Labels that turned out to go together (union-find)."""

    def __init__(self, count: int) -> None:
        self._parent = np.arange(count)

    def roots(self, labels: Labels) -> Labels:
        """The representative of each label; -1 stays."""
        found = labels
        while True:
            above = np.where(found >= 0, self._parent[found], -1)
            if np.array_equal(above, found):
                return found
            found = above

    def join(self, first: Labels, second: Labels) -> None:
        """Make pairs of labels one."""
        pairs = np.unique(np.stack([self.roots(first), self.roots(second)]), axis=1)
        for a, b in pairs.T.tolist():
            left, right = self._root(a), self._root(b)
            if left != right:
                self._parent[max(left, right)] = min(left, right)

    def alive(self, frozen: Iterable[int]) -> set[int]:
        """Representatives of the labels that no frozen one goes with."""
        roots = self.roots(np.arange(len(self._parent)))
        return set(roots.tolist()) - set(self.roots(np.array(sorted(frozen), dtype=np.int64)).tolist())

    def _root(self, label: int) -> int:
        while (above := int(self._parent[label])) != label:
            label = above
        return label


@dataclass
class Propagation:
    """One marked axis and what goes with it.

    Args:
        network: the graph's links.
        seed: the axis that is marked.
        labels: of its indices.
        strict: raise ``SplitError`` where labels have to become coarser, rather than choose.
    """

    network: Network
    seed: Axis
    labels: Labels
    strict: bool = False
    arrays: dict[Axis, Labels] = field(default_factory=dict)
    edges: dict[tuple[Axis, Axis], str] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._waiting: deque[Axis] = deque()
        self._queued: set[Axis] = set()
        self._changed = False
        self.classes = Classes(int(self.labels.max(initial=-1)) + 1)

    def run(self) -> bool:
        """Follow the labels to a fixpoint; False as soon as no label is left that can be removed."""
        self._merge(self.seed, self.labels)
        while self._waiting:
            key = self._waiting.popleft()
            self._queued.discard(key)
            self._freeze(key)
            if self._changed and self.is_dead:
                return False
            self._changed = False
            for link in self.network.by_axis.get(key, ()):
                if isinstance(link, Map):
                    self._follow_map(key, link)
                else:
                    for end in link.ends:
                        if end.key == key:
                            self._follow_tie(end, link)
        # Labels that became one since an axis was looked at may now be all of it.
        for key in self.arrays:
            self._freeze(key)
        return not self.is_dead

    @property
    def is_dead(self) -> bool:
        """Whether every label is frozen."""
        return not self.classes.alive(self.reasons)

    def _freeze(self, key: Axis) -> None:
        labels = self.arrays[key]
        for frozen in self.network.frozen.get(key, ()):
            hit = labels if frozen.positions is None else labels[list(frozen.positions)]
            self._give_up(hit[hit >= 0], frozen.reason)
        if (labels >= 0).all() and len(np.unique(self.classes.roots(labels))) == 1:
            self._give_up(labels, f"nothing would be left of axis {key[1]} of {key[0].name}")

    def _give_up(self, labels: Labels, reason: str) -> None:
        for label in np.unique(labels).tolist():
            if label not in self.reasons:
                self.reasons[label] = reason
                self._changed = True

    def _merge(self, key: Axis, new: Labels, came: tuple[Axis, str] | None = None) -> None:
        """Take labels over to an axis; where it has others already, the two go together."""
        if came is not None and key != came[0]:
            self.edges.setdefault((came[0], key), came[1])
        old = self.arrays.get(key)
        if old is None:
            if not (new >= 0).any():
                return
            self.arrays[key] = np.array(new)
        else:
            both = (old >= 0) & (new >= 0) & (old != new)
            if both.any():
                self.classes.join(old[both], new[both])
                self._changed = True
            fill = (old < 0) & (new >= 0)
            if not fill.any():
                return
            old[fill] = new[fill]
        if key not in self._queued:
            self._queued.add(key)
            self._waiting.append(key)

    def _follow_map(self, key: Axis, link: Map) -> None:
        came = (key, link.node.op_type)
        labels = self.arrays[key]
        if key == link.source:
            self._merge(link.target, np.where(link.index >= 0, labels[link.index], -1), came)
        if key != link.target:
            return
        size = self.network.sizes.shapes[link.source[0]][link.source[1]]
        back = np.full(size, -1)
        used = (link.index >= 0) & (self.arrays[key] >= 0)
        places, own = link.index[used], self.arrays[key][used]
        back[places[::-1]] = own[::-1]
        again = back[places] != own
        if again.any():
            self.classes.join(back[places[again]], own[again])
            self._changed = True
        self._merge(link.source, back, came)

    def _follow_tie(self, end: End, tie: Tie) -> None:
        shape = tuple(tie.sizes[f] for f in end.factors)
        grid = self.classes.roots(self.arrays[end.key]).reshape(shape)
        depends = frozenset(f for i, f in enumerate(end.factors) if _varies(grid, i))
        if len(depends) > 1 or depends & tie.rigid:
            usable = sorted(depends - tie.rigid)
            if self.strict and len(usable) > 1:
                raise SplitError(end, tie, usable)
            grid, depends = self._coarsened(end, grid, usable)
        came = (end.key, tie.node.op_type)
        for other in tie.ends:
            if other is not end and depends and not depends - set(other.factors):
                self._merge(other.key, _spread(grid, end, other, depends, tie), came)

    def _coarsened(self, end: End, grid: np.ndarray, usable: Sequence[str]) -> tuple[np.ndarray, frozenset[str]]:
        """Join labels until they depend on one factor; the one that keeps most of them apart."""
        tried = [_joined(end, grid, choice) for choice in usable or [""]]
        best = max(tried, key=lambda labels: len(np.unique(labels)))
        mark = grid >= 0
        self.classes.join(grid[mark], best[mark])
        roots = self.classes.roots(best)
        self._merge(end.key, roots.reshape(-1))
        self._changed = True
        return roots, frozenset(f for i, f in enumerate(end.factors) if _varies(roots, i))


def _joined(end: End, grid: np.ndarray, chosen: str) -> np.ndarray:
    """For each index of the chosen factor, one of the labels it has anywhere; -1 where it has none."""
    axes = tuple(i for i, f in enumerate(end.factors) if f != chosen)
    return np.broadcast_to(grid.max(axis=axes, keepdims=True), grid.shape)


def _varies(grid: np.ndarray, axis: int) -> bool:
    first = grid.take([0], axis=axis)
    return bool((grid != first).any())


def _spread(grid: np.ndarray, end: End, other: End, depends: frozenset[str], tie: Tie) -> Labels:
    """Labels of ``end`` on ``other``'s axis, of which they depend on common factors alone."""
    picked = grid[tuple(slice(None) if f in depends else 0 for f in end.factors)]
    order = [f for f in end.factors if f in depends]
    wanted = [f for f in other.factors if f in depends]
    moved = picked.transpose([order.index(f) for f in wanted]) if wanted else picked
    shape = [tie.sizes[f] if f in depends else 1 for f in other.factors]
    full = [tie.sizes[f] for f in other.factors]
    return np.broadcast_to(moved.reshape(shape), full).reshape(-1)
