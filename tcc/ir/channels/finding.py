"""Finds all channel groups of a model: every axis of its weights is marked and followed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tcc.ir.channels.groups import Group, Groups, axis_name
from tcc.ir.channels.links import Axis, End, Tie
from tcc.ir.channels.network import Network
from tcc.ir.channels.observing import observe
from tcc.ir.channels.propagation import Labels, Propagation, SplitError
from tcc.ir.model import Model

if TYPE_CHECKING:
    import onnx_ir


def find(model: Model, feeds: Sequence[Mapping[str, Any]]) -> Groups:
    """The channel groups of a model, whose constants are initialisers.

    Args:
        model: its values' types are inferred in place; nothing else changes.
        feeds: inputs to observe sizes on; two at least, so that what is always the same can be told.

    Raises:
        TccError: where the model does not run.
    """
    network = Network.of(model, observe(model, feeds))
    search = _Search(network)
    for key in _weight_axes(network):
        search.mark(key)
    for end, tie in _products(network):
        search.mark_factors(end, tie)
    return search.result()


def _weight_axes(network: Network) -> Iterator[Axis]:
    """Axes of parametric operators' operands that come from constants alone, in the graph's order."""
    constant = _constants(network)
    found: dict[Axis, None] = {}
    for site, rule in network.sites:
        if rule is None or not rule.parametric:
            continue
        for link in network.links.get(site.node, ()):
            if isinstance(link, Tie):
                found.update((end.key, None) for end in link.ends if end.port >= 0 and end.value in constant)
    return iter(found)


_BRANCHING = frozenset({"If", "Loop", "Scan"})


def _constants(network: Network) -> set[onnx_ir.Value]:
    found = {v for v in network.model.graph.initializers.values() if not v.is_graph_input()}
    for site, _ in network.sites:
        inputs = [v for v in site.node.inputs if v is not None]
        if site.node.op_type in _BRANCHING:
            continue
        if inputs and all(v in found for v in inputs):
            found.update(site.node.outputs)
    return found


def _products(network: Network) -> Iterator[tuple[End, Tie]]:
    for links in list(network.links.values()):
        for link in links:
            if isinstance(link, Tie):
                yield from ((end, link) for end in link.ends if len(end.factors) > 1)


@dataclass
class _Search:
    network: Network
    done: list[Propagation] = field(default_factory=list)
    by_axis: dict[Axis, list[Propagation]] = field(default_factory=dict)
    frozen: dict[str, str] = field(default_factory=dict)

    def mark(self, key: Axis) -> None:
        """Follow the indices of an axis that nothing has reached yet."""
        size = self.network.sizes.shapes[key[0]][key[1]]
        reached = np.zeros(size, bool)
        for found in self.by_axis.get(key, ()):
            reached |= found.arrays[key] >= 0
        if reached.all():
            return
        labels = np.full(size, -1)
        labels[~reached] = np.arange(int((~reached).sum()))
        try:
            self._follow(Propagation(self.network, key, labels, strict=True))
        except SplitError as split:
            for factor in split.choices:
                self._mark_choice(split.end, split.tie, factor)

    def mark_factors(self, end: End, tie: Tie) -> None:
        """Follow each factor of an axis that something has reached."""
        if not self.by_axis.get(end.key):
            return
        for factor in end.factors:
            if factor not in tie.rigid:
                self._mark_choice(end, tie, factor)

    def _mark_choice(self, end: End, tie: Tie, factor: str) -> None:
        if any(self._depends(found, end, tie) == {factor} for found in self.by_axis.get(end.key, ())):
            return
        labels = _labels(end, tie, factor)
        self._follow(Propagation(self.network, end.key, labels))

    def _depends(self, found: Propagation, end: End, tie: Tie) -> frozenset[str]:
        grid = found.classes.roots(found.arrays[end.key]).reshape([tie.sizes[f] for f in end.factors])
        return frozenset(f for i, f in enumerate(end.factors) if (grid != grid.take([0], axis=i)).any())

    def _follow(self, propagation: Propagation) -> None:
        alive = propagation.run()
        self.done.append(propagation)
        for key in propagation.arrays:
            self.by_axis.setdefault(key, []).append(propagation)
        if not alive:
            self.frozen.setdefault(axis_name(propagation.seed), next(iter(propagation.reasons.values())))

    def result(self) -> Groups:
        """The groups that are left with units, each name once."""
        groups, names = [], dict[str, int]()
        for propagation in self.done:
            if (group := _group(propagation)) is not None:
                count = names[group.name] = names.get(group.name, 0) + 1
                name = group.name if count == 1 else f"{group.name}#{count}"
                groups.append(Group(name, group.size, group.slices, group.edges))
        return Groups(self.network, tuple(groups), self.frozen)


def _labels(end: End, tie: Tie, factor: str) -> Labels:
    """A label for each index of a factor."""
    shape = [tie.sizes[f] for f in end.factors]
    chosen = [tie.sizes[f] if f == factor else 1 for f in end.factors]
    return np.broadcast_to(np.arange(int(np.prod(chosen))).reshape(chosen), shape).reshape(-1).copy()


def _group(propagation: Propagation) -> Group | None:
    """The units that nothing freezes; None where there are none, or where none takes a weight with it."""
    alive = propagation.classes.alive(propagation.reasons)
    arrays = {key: propagation.classes.roots(labels) for key, labels in propagation.arrays.items()}
    order = dict.fromkeys(r for r in arrays[propagation.seed].tolist() if r in alive)
    numbers = np.full(len(propagation.labels) + 1, -1)
    for number, root in enumerate(order):
        numbers[root] = number
    slices = {key: np.where(labels >= 0, numbers[labels], -1) for key, labels in arrays.items()}
    slices = {key: units for key, units in slices.items() if (units >= 0).any()}
    if not any(key[0].const_value is not None for key in slices):
        return None
    return Group(axis_name(propagation.seed), len(order), slices, propagation.edges)
