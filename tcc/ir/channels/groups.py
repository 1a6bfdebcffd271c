"""Channel groups: every tensor, axis and index that goes together, as values that can be printed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tcc.ir.channels.links import Axis
from tcc.ir.channels.network import Network

if TYPE_CHECKING:
    import networkx as nx
    import onnx_ir

Units = np.ndarray
"""The unit that each index of an axis belongs to; -1 for an index that the group does not touch."""


@dataclass(frozen=True, eq=False)
class Group:
    """Units that can be removed one by one; each takes its slices of all of the group's axes with it.

    Args:
        name: of the axis where the group was found.
        size: the number of units.
        slices: for each axis, the unit of each of its indices.
        edges: which axis led to which, and through which operator.
    """

    name: str
    size: int
    slices: Mapping[Axis, Units]
    edges: Mapping[tuple[Axis, Axis], str] = field(repr=False, default_factory=dict)

    def weights(self) -> Iterator[tuple[Axis, Units]]:
        """The slices of constants."""
        return ((key, units) for key, units in self.slices.items() if key[0].const_value is not None)

    def elements(self) -> np.ndarray:
        """How many elements of constants go with each unit, when it goes alone: float64 [size]."""
        found = np.zeros(self.size)
        for (value, _), units in self.weights():
            tensor = value.const_value
            assert tensor is not None
            per_index = tensor.size / len(units)
            found += per_index * np.bincount(units[units >= 0], minlength=self.size)
        return found

    def graph(self) -> nx.DiGraph:
        """The axes as nodes (``name[axis]``), with an edge for each step that found one: a networkx graph."""
        import networkx as nx

        made = nx.DiGraph(name=self.name, units=self.size)
        for key, units in self.slices.items():
            made.add_node(axis_name(key), indices=int((units >= 0).sum()), constant=key[0].const_value is not None)
        for (a, b), operator in self.edges.items():
            if a in self.slices and b in self.slices:
                made.add_edge(axis_name(a), axis_name(b), operator=operator)
        return made

    def text(self, unit: int | None = None) -> str:
        """The group, or one unit of it, in lines: an axis and its indices each."""
        head = f"{self.name}: {self.size} units" if unit is None else f"{self.name}: unit {unit}"
        lines = [head]
        for key, units in self.slices.items():
            chosen = units >= 0 if unit is None else units == unit
            if chosen.any():
                kind = "weight" if key[0].const_value is not None else "value"
                lines.append(f"  {kind} {axis_name(key)} {ranges(np.flatnonzero(chosen))} of {len(units)}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Groups:
    """The channel groups of a model's top-level graph.

    Args:
        network: the links they follow from.
        groups: in the order of the graph.
        frozen: axes of weights that cannot shrink, by name, and why.
    """

    network: Network
    groups: tuple[Group, ...]
    frozen: Mapping[str, str]

    def unknown(self) -> dict[str, str]:
        """Nodes that the rules cannot follow, and why."""
        return {_node_name(node): reason for node, reason in self.network.declined.items()}

    def overlapping(self) -> list[set[int]]:
        """Groups, by number, that share indices of an axis, as heads and the indices within a head do."""
        import networkx as nx

        graph = nx.Graph()
        graph.add_nodes_from(range(len(self.groups)))
        by_axis: dict[Axis, list[int]] = {}
        for i, group in enumerate(self.groups):
            for key in group.slices:
                by_axis.setdefault(key, []).append(i)
        for key, members in by_axis.items():
            for at, i in enumerate(members):
                for j in members[at + 1 :]:
                    if ((self.groups[i].slices[key] >= 0) & (self.groups[j].slices[key] >= 0)).any():
                        graph.add_edge(i, j)
        return [set(c) for c in nx.connected_components(graph)]


def axis_name(key: Axis) -> str:
    """An axis as it is printed: ``conv1.weight[0]``."""
    return f"{key[0].name}[{key[1]}]"


def _node_name(node: onnx_ir.Node) -> str:
    return f"{node.name or node.outputs[0].name} [{node.op_type}]"


def ranges(indices: np.ndarray) -> str:
    """Indices as ranges: ``0-3,8``.

    >>> ranges(np.array([0, 1, 2, 3, 8]))
    '0-3,8'
    """
    if not len(indices):
        return ""
    starts = np.flatnonzero(np.diff(indices, prepend=indices[0] - 2) != 1)
    parts = np.split(indices, starts[1:])
    return ",".join(f"{p[0]}-{p[-1]}" if len(p) > 1 else f"{p[0]}" for p in parts)
