"""Who makes and who reads a class of an e-graph's read-out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from tcc.ir.frozen import ENode, Frozen


@dataclass
class Neighbours:
    """The neighbourhood of each e-node.

    Args:
        frozen: the e-graph.
        needed: classes whose value is used as it is: outputs of the graph, ends of lossy edges.
        operator: an e-node's ONNX name.
        value: a constant class's value, where it is small.
    """

    frozen: Frozen
    needed: Collection[int]
    operator: Callable[[ENode], str]
    value: Callable[[int], np.ndarray[Any, Any] | None]

    @cached_property
    def users(self) -> dict[int, list[tuple[int, ENode]]]:
        """The e-nodes that read a class, with their own classes."""
        found: dict[int, list[tuple[int, ENode]]] = {}
        for c, eclass in enumerate(self.frozen.classes):
            for node in eclass.nodes:
                for i in set(node.inputs):
                    found.setdefault(i, []).append((c, node))
        return found

    def has(self, node: ENode, *operators: str) -> bool:
        """Whether an e-node is one of these operators."""
        return bool(node.inputs) and self.operator(node) in operators

    def is_absent(self, c: int) -> bool:
        """Whether a class stands for an optional input that is not there."""
        return any(node.operator == "absent" for node in self.frozen.classes[c].nodes)

    def is_constant(self, c: int) -> bool:
        """Whether a class depends on no input."""
        return self.frozen.classes[c].constant

    def result(self, c: int) -> int:
        """The class of a node's first output: where it has several, they are read through projections."""
        return self._first_output.get(c, c)

    @cached_property
    def _first_output(self) -> dict[int, int]:
        return {
            node.inputs[0]: c
            for c, eclass in enumerate(self.frozen.classes)
            for node in eclass.nodes
            if node.operator == "project" and node.output == 0
        }

    def readers(self, c: int) -> list[tuple[int, ENode]]:
        """The e-nodes that read what a class computes, with the classes of their results."""
        return [(self.result(u), user) for u, user in self.users.get(c, ())]

    def makers(self, c: int) -> Iterator[tuple[int, ENode]]:
        """The e-nodes that compute a class, with the classes they stand in."""
        for node in self.frozen.classes[c].nodes:
            if node.operator == "project":
                yield from ((node.inputs[0], maker) for maker in self.frozen.classes[node.inputs[0]].nodes)
            else:
                yield c, node

    def adds_bias(self, c: int, user: ENode) -> bool:
        """Whether an Add of a class adds a constant vector to it."""
        other = user.inputs[1] if user.inputs[0] == c else user.inputs[0]
        kind = self.frozen.classes[other].kind
        return self.frozen.classes[other].constant and kind is not None and kind.rank == 1
