"""Floating-point kernels as the back end runs them: activations, sums and whole patterns joined into one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from tcc.cost_models._fusions import Fusions, Pattern
from tcc.passes._neighbours import Neighbours

if TYPE_CHECKING:
    from tcc.ir.frozen import ENode

_COMMUTATIVE = frozenset({"Add", "Mul"})
_GATED = {"HardSigmoid": "HardSwish"}
"""Activations that multiply a value by another one of it, as which runtimes see the two nodes."""
Bound = dict[str, int]


@dataclass(frozen=True)
class Joined:
    """A node that runs as another kernel: its name and the classes that it reads."""

    kernel: str
    inputs: tuple[int, ...]


@dataclass
class Fused:
    """The floating-point fusions of one read-out.

    ``whole`` says that it is one program, of which every node runs. Then patterns are looked for and what is joined
    must have no other reader; in an e-graph a class has readers of which only some are chosen.
    """

    around: Neighbours
    fusions: Fusions
    whole: bool = False
    _memo: dict[tuple[int, ENode], bool] = field(default_factory=dict)

    def is_free(self, c: int, node: ENode) -> bool:
        """Whether a node is part of another's kernel."""
        if (key := (c, node)) not in self._memo:
            self._memo[key] = self.around.result(c) in self._inner or self._is_epilogue(c, node)
        return self._memo[key]

    def joined(self, c: int) -> Joined | None:
        """The kernel that computes a class at the end of a pattern."""
        return self._patterns[0].get(self.around.result(c))

    def _is_epilogue(self, c: int, node: ENode) -> bool:
        """Whether a node is computed as the result of a product or convolution is written."""
        name = self.around.operator(node)
        if not node.inputs or c in self._patterns[0]:
            return False
        if self._is_gated(c, node, name):
            return True
        if self._is_at_end(node.inputs[0], self.fusions.epilogues, name):
            if name in _GATED.values():
                return self.around.result(c) not in self.around.needed
            return name != "Clip" or all(self.around.is_constant(i) for i in node.inputs[1:])
        if len(node.inputs) < 2:
            return False
        first, second = node.inputs[:2]
        for made, other in ((first, second), (second, first)):
            if self.around.is_constant(other) and self._is_at_end(made, self.fusions.affine, name):
                return True
        # Only one of a sum's sides can take it in; the later one, where both could.
        return self.whole and (
            self._is_at_end(first, self.fusions.sums, name) or self._is_at_end(second, self.fusions.sums, name)
        )

    def _is_gated(self, c: int, node: ENode, name: str) -> bool:
        """Whether a node is a part of x · HardSigmoid(x) where a kernel computes that as it writes x.

        That happens between kernels on channel blocks, and so not where the graph ends.
        """
        if name in _GATED:
            products = [u for u, user in self.around.readers(c) if self._gate(user) == (node.inputs[0], name)]
            found = (node.inputs[0], name) if any(u not in self.around.needed for u in products) else None
        else:
            found = None if self.around.result(c) in self.around.needed else self._gate(node)
        if found is None:
            return False
        return self._is_at_end(found[0], self.fusions.epilogues, _GATED[found[1]], readers=2)

    def _gate(self, node: ENode) -> tuple[int, str] | None:
        """The value and the activation by which a Mul multiplies it."""
        if not self.around.has(node, "Mul"):
            return None
        for x, other in (node.inputs, node.inputs[::-1]):
            for _, maker in self.around.makers(other):
                name = self.around.operator(maker)
                if name in _GATED and maker.inputs[0] == x:
                    return x, name
        return None

    def _is_at_end(self, made: int, table: Mapping[str, tuple[str, ...]], name: str, readers: int = 1) -> bool:
        if made in self.around.needed or (self.whole and len(self.around.users.get(made, ())) != readers):
            return False
        for m, maker in self.around.makers(made):
            if name in table.get(self.around.operator(maker), ()):
                return True
            # A sum, a bias or an affine map stands between a product and its activation.
            if (
                maker.inputs
                and self.around.has(maker, "Add", "Mul", "BatchNormalization")
                and self._takes(m, maker, name)
            ):
                return True
        return False

    def _takes(self, m: int, maker: ENode, name: str) -> bool:
        """Whether a joined Add or affine map, too, takes an activation in."""
        if name not in {op for ops in self.fusions.epilogues.values() for op in ops}:
            return False
        if not self.is_free(m, maker):
            return False
        return any(
            name in self.fusions.epilogues.get(self.around.operator(product), ())
            for i in maker.inputs
            for _, product in self.around.makers(i)
        )

    @property
    def _inner(self) -> frozenset[int]:
        return self._patterns[1]

    @cached_property
    def _patterns(self) -> tuple[dict[int, Joined], frozenset[int]]:
        """The classes at the ends of patterns with their kernels, and those within."""
        if not self.whole:
            return {}, frozenset()
        ends: dict[int, Joined] = {}
        inner: set[int] = set()
        for pattern in self.fusions.patterns:
            for c in range(len(self.around.frozen.classes)):
                if c in inner or c in ends:
                    continue
                for inside, bound in self._match(pattern, pattern.root, c, {}):
                    if not pattern.suits(self.around.frozen.classes[bound[pattern.operands[0]]].kind):
                        continue
                    within = set(inside) - {c}
                    if within & (inner | ends.keys()) or not all(self._is_private(i, {c} | within) for i in within):
                        continue
                    ends[c] = Joined(pattern.kernel, tuple(bound[name] for name in pattern.operands))
                    inner |= within
                    break
        return ends, frozenset(inner)

    def _is_private(self, c: int, pattern: set[int]) -> bool:
        return c not in self.around.needed and all(u in pattern for u, _ in self.around.readers(c))

    def _match(self, pattern: Pattern, at: int, c: int, bound: Bound) -> Iterator[tuple[tuple[int, ...], Bound]]:
        """The ways in which a class is a term of a pattern: the classes inside, and what the variables stand for."""
        term = pattern.terms[at]
        if term.name in bound:
            if bound[term.name] == c:
                yield (), bound
            return
        named = bound | {term.name: c} if term.name else bound
        if not term.operator:
            if not term.constant or self.around.is_constant(c):
                yield (), named
            return
        for _, node in self.around.makers(c):
            if self.around.operator(node) != term.operator:
                continue
            given = [i for i in node.inputs if not self.around.is_absent(i)]
            orders = [given, given[::-1]] if term.operator in _COMMUTATIVE and len(given) == 2 else [given]
            for inputs in orders:
                if len(inputs) >= len(term.operands):
                    for inside, found in self._match_all(pattern, term.operands, inputs, named):
                        yield (c, *inside), found

    def _match_all(
        self, pattern: Pattern, terms: tuple[int, ...], inputs: list[int], bound: Bound
    ) -> Iterator[tuple[tuple[int, ...], Bound]]:
        if not terms:
            yield (), bound
            return
        for inside, found in self._match(pattern, terms[0], inputs[0], bound):
            for rest, last in self._match_all(pattern, terms[1:], inputs[1:], found):
                yield (*inside, *rest), last
