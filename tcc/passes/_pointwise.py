"""Chains of elementwise operators that a back end runs as one kernel each, whatever the operators are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from tcc.ir.types import TensorType

if TYPE_CHECKING:
    from tcc.cost_models._fusions import Pointwise
    from tcc.ir.frozen import ENode
    from tcc.passes._neighbours import Neighbours


@dataclass(frozen=True)
class Chain:
    """Operators that one kernel computes.

    ``inputs`` are the classes that it reads, ``count`` the operators, ``absorbed`` says that a kernel before it does
    all of them as it writes its result.
    """

    inputs: tuple[int, ...]
    count: int
    absorbed: bool


@dataclass(frozen=True)
class Chains:
    """The elementwise kernels of one program, of which every node runs.

    Args:
        around: the program.
        pointwise: what joins.
        is_taken: whether a node is part of another kernel, is one of its own or is computed before the program runs.
    """

    around: Neighbours
    pointwise: Pointwise
    is_taken: Callable[[int, ENode], bool]

    def chain(self, c: int) -> Chain | None:
        """The kernel of several operators that a class is the end of."""
        return self._chains[0].get(c)

    def is_inner(self, c: int) -> bool:
        """Whether a class is computed within such a kernel and never stored."""
        return c in self._chains[1]

    def stored(self, c: int) -> int:
        """The class that is read where a chain reads ``c``: integers are dequantised on the way in."""
        for _, maker in self.around.makers(c):
            if self.around.has(maker, "DequantizeLinear"):
                return maker.inputs[0]
        return c

    @cached_property
    def _chains(self) -> tuple[dict[int, Chain], frozenset[int]]:
        members = self._members()
        end: dict[int, int] = {}
        for c in reversed(members):  # readers come behind what they read
            ends = {end.get(u) for u, _ in self.around.readers(c)}
            only = next(iter(ends)) if len(ends) == 1 and c not in self.around.needed else None
            end[c] = only if only is not None and self._shape(only) == self._shape(c) else c
        chains: dict[int, Chain] = {}
        for last in set(end.values()):
            inside = [c for c in members if end[c] == last]
            if len(inside) > 1 or self._absorbing(inside, members) is not None:
                chains[last] = self._chain(inside, members)
        return chains, frozenset(c for c, last in end.items() if c != last)

    def _members(self) -> dict[int, ENode]:
        """The classes that an elementwise operator computes for itself, in the program's order."""
        found = {}
        for c, eclass in enumerate(self.around.frozen.classes):
            for node in eclass.nodes:
                if self.around.operator(node) in self.pointwise.operators and not self.is_taken(c, node):
                    found[c] = node
        return found

    def _chain(self, inside: list[int], members: dict[int, ENode]) -> Chain:
        read = [i for c in inside for i in members[c].inputs if i not in inside and not self.around.is_absent(i)]
        return Chain(
            tuple(dict.fromkeys(map(self.stored, read))), len(inside), self._absorbing(inside, members) is not None
        )

    def _absorbing(self, inside: list[int], members: dict[int, ENode]) -> int | None:
        """The result that a chain is done to as it is written: its only input, of a kernel that takes any chain in."""
        read = {i for c in inside for i in members[c].inputs if i not in inside and not self.around.is_absent(i)}
        made = [i for i in read if not self.around.is_constant(i)]
        if len(made) != 1 or made[0] in self.around.needed or not all(map(self._is_number, read - {made[0]})):
            return None
        if any(u not in inside for u, _ in self.around.readers(made[0])):
            return None
        makers = [self.around.operator(maker) for _, maker in self.around.makers(made[0])]
        return made[0] if self.pointwise.into.issuperset(makers) and makers else None

    def _is_number(self, c: int) -> bool:
        kind = self.around.frozen.classes[c].kind
        return kind is not None and kind.elements({}, 1) == 1

    def _shape(self, c: int) -> object:
        kind = self.around.frozen.classes[c].kind
        return kind.shape if isinstance(kind, TensorType) else None
