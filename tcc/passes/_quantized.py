"""Prices quantised programs as the back end runs them: as integer kernels, with the Q and DQ around them for free.

A kernel is a neighbourhood of e-nodes, and each of them is chosen on its own, so its price is laid on its nodes such
that a region's total is right:

- An operator whose data inputs are classes with a DequantizeLinear, and whose class a QuantizeLinear reads (past
  a Relu or Clip that the QuantizeLinear makes superfluous), is priced as the integer kernel. What is
  needed as it is, as an output of the graph or at the end of a lossy edge, is no integer kernel's result unless the
  kernel may give floating point.
- A QuantizeLinear behind such an operator is free; any other takes a pass over memory.
- A DequantizeLinear is paid for by the operators that read it and do not fuse it: runtimes repeat it for each. One
  that is an output of the graph, at the end of a lossy edge, or fused by nobody, pays for itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tcc.cost_models._fusions import Fusions, arranged
from tcc.ir.types import TensorType
from tcc.passes._neighbours import Neighbours

if TYPE_CHECKING:
    from tcc.cost_models.roofline import Roofline
    from tcc.ir.frozen import ENode, Frozen

_BOUNDS = {"uint8": (0, 255), "int8": (-128, 127)}


@dataclass
class Quantized:
    """The quantised kernels of one read-out, under the fusions of one back end."""

    around: Neighbours
    fusions: Fusions
    _kernels: dict[tuple[int, ENode], str | None] = field(default_factory=dict)

    @property
    def frozen(self) -> Frozen:
        """The read-out."""
        return self.around.frozen

    @cached_property
    def _dequantized(self) -> dict[int, ENode]:
        """The DequantizeLinear of each class that has one, of a type that the kernels take."""
        legal = self.fusions.activations | self.fusions.weights | {"int32"}
        found = {}
        for c, eclass in enumerate(self.frozen.classes):
            for node in eclass.nodes:
                kind = self.frozen.classes[node.inputs[0]].kind if self.around.has(node, "DequantizeLinear") else None
                if kind is not None and kind.dtype in legal:
                    found[c] = node
                    break
        return found

    @cached_property
    def is_empty(self) -> bool:
        """Whether nothing is quantised, so that nothing has another price."""
        dynamic = self.fusions.dynamic
        return not self._dequantized and not any(
            self.around.operator(node) in dynamic for eclass in self.frozen.classes for node in eclass.nodes
        )

    def kernel(self, c: int, node: ENode) -> str | None:
        """The integer kernel as which a node runs in its class; None where it runs in floating point."""
        if (key := (c, node)) not in self._kernels:
            self._kernels[key] = self._kernel(c, node)
        return self._kernels[key]

    def _kernel(self, c: int, node: ENode) -> str | None:
        name, table, c = self.around.operator(node), self.fusions, self.around.result(c)
        if name in table.unchanged:
            fused = bool(node.inputs) and node.inputs[0] in self._dequantized
            return name if fused and (name in table.through or self._keeps_scale(c, node)) else None
        data = self._data(node, name)
        if not data or not all(i in self._dequantized for i in data):
            right = node.inputs[1] if len(node.inputs) > 1 else -1
            return table.weight_only.get(name) if right in self._dequantized and self._is_constant(right) else None
        if name in table.integer and self._is_quantized(c, name):
            return table.integer[name]
        return None if self._is_joined(c) else table.integer_to_float.get(name)

    def _is_joined(self, c: int) -> bool:
        """Whether a runtime joins a product with the bias or activation behind it, and so has no integer kernel."""
        for u, user in self.around.readers(c):
            if self.around.has(user, "Add") and self.around.adds_bias(c, user):
                return True
            if self.around.has(user, *self.fusions.absorbed) and any(True for _ in self._quantizers(u)):
                return True
        return False

    def _data(self, node: ENode, name: str) -> list[int]:
        free = self.fusions.optional.get(name, ())
        return [i for place, i in enumerate(node.inputs) if place not in free and not self.around.is_absent(i)]

    def _is_constant(self, c: int) -> bool:
        stored = self._dequantized.get(c)
        return self.frozen.classes[c if stored is None else stored.inputs[0]].constant

    def _quantizers(self, c: int) -> Iterator[ENode]:
        """The QuantizeLinear nodes that read a class which nothing needs as it is."""
        if c not in self.around.needed:
            yield from (
                n for _, n in self.around.users.get(c, ()) if self.around.has(n, "QuantizeLinear") and n.inputs[0] == c
            )

    def _is_quantized(self, c: int, name: str) -> bool:
        """Whether the result of an integer kernel leaves its class as integers only."""
        if any(True for _ in self._quantizers(c)):
            return True
        if c in self.around.needed:
            return False
        for u, user in self.around.readers(c):
            if self._is_absorbed(u, user):
                return True
            joined = name == "MatMul" and "MatMul" in self.fusions.integer and self.around.has(user, "Add")
            if joined and self.around.adds_bias(c, user) and self._is_quantized(u, "Add"):
                return True
        return False

    def _is_absorbed(self, c: int, node: ENode) -> bool:
        """Whether a Relu or Clip changes nothing before the QuantizeLinear that reads it."""
        c = self.around.result(c)
        if not self.around.has(node, *self.fusions.absorbed):
            return False
        return any(self.fusions.any_range or self._covers(node, after) for after in self._quantizers(c))

    def _covers(self, node: ENode, after: ENode) -> bool:
        """Whether what a QuantizeLinear can express lies within a Relu's or Clip's range."""
        scale, zero = (self.around.value(i) for i in after.inputs[1:3])
        if scale is None or zero is None or scale.size != 1 or str(zero.dtype) not in _BOUNDS:
            return False
        low, high = ((bound - int(zero.item())) * float(scale.item()) for bound in _BOUNDS[str(zero.dtype)])
        # Halfway to the next step still rounds to the same integer.
        slack = float(scale.item()) / 2
        limits = [0.0, None] if self.around.has(node, "Relu") else [self._limit(node, 1), self._limit(node, 2)]
        least, most = limits
        return (least is None or low >= least - slack) and (most is None or high <= most + slack)

    def _limit(self, node: ENode, place: int) -> float | None:
        found = self.around.value(node.inputs[place]) if place < len(node.inputs) else None
        return None if found is None or found.size != 1 else float(found.item())

    def _keeps_scale(self, c: int, node: ENode) -> bool:
        before = self._dequantized[node.inputs[0]]
        return any(self._same_scale(before, after) for after in self._quantizers(c))

    def _same_scale(self, before: ENode, after: ENode) -> bool:
        return all(self._equal(a, b) for a, b in zip(before.inputs[1:3], after.inputs[1:3], strict=False))

    def _equal(self, a: int, b: int) -> bool:
        if a == b:
            return True
        one, other = self.around.value(a), self.around.value(b)
        return one is not None and other is not None and one.shape == other.shape and bool((one == other).all())

    def is_free(self, c: int, node: ENode) -> bool:
        """Whether a QuantizeLinear, a DequantizeLinear, a Relu or Clip, or a rescaling is part of another's kernel."""
        if self.around.has(node, "DequantizeLinear"):
            return c in self._paid_by_users
        if self.around.has(node, "QuantizeLinear"):
            return self._follows_kernel(node)
        if self.around.has(node, *self.fusions.absorbed):
            return self._is_absorbed(c, node) and any(self.kernel(i, n) for i, n in self.around.makers(node.inputs[0]))
        return self._rescales(node)

    def _follows_kernel(self, node: ENode) -> bool:
        made, integer = node.inputs[0], set(self.fusions.integer.values())
        for m, maker in self.around.makers(made):
            name = self.kernel(m, maker)
            if name in integer or (name in self.fusions.unchanged and self._keeps_scale_to(maker, node)):
                return made not in self.around.needed
            if self.around.has(maker, *self.fusions.absorbed) and self.is_free(m, maker):
                return True
            if self.around.has(maker, "Add") and self._is_bias_of_kernel(made, maker):
                return True
        return False

    def _keeps_scale_to(self, maker: ENode, after: ENode) -> bool:
        return self._same_scale(self._dequantized[maker.inputs[0]], after)

    def _is_bias_of_kernel(self, c: int, node: ENode) -> bool:
        """Whether an Add is the bias of an integer product."""
        if c in self.around.needed or not self._is_quantized(c, "Add"):
            return False
        return any(
            self.around.adds_bias(i, node) and self.around.has(maker, "MatMul") and self.kernel(m, maker) is not None
            for i in node.inputs
            for m, maker in self.around.makers(i)
        )

    def _rescales(self, node: ENode) -> bool:
        """Whether a Cast, a Mul by scales or an Add of a bias belongs to an integer product of dynamic inputs."""
        behind = {"Cast": self.fusions.dynamic, "Mul": {"Cast"}, "Add": {"Mul"}}.get(self.around.operator(node))
        if behind is None or not self.fusions.dynamic:
            return False
        if self.around.has(node, "Add") and not any(self.around.adds_bias(i, node) for i in node.inputs):
            return False
        makers = [maker for i in node.inputs for _, maker in self.around.makers(i)]
        return any(
            self.around.operator(maker) in behind and (self.around.has(node, "Cast") or self._rescales(maker))
            for maker in makers
        )

    @cached_property
    def _paid_by_users(self) -> frozenset[int]:
        """The dequantised classes that some operator fuses and that nothing needs as they are."""
        found = set()
        for c in self._dequantized:
            if c not in self.around.needed and any(self.kernel(u, user) for u, user in self.around.users.get(c, ())):
                found.add(c)
        return frozenset(found)

    def owed(self, c: int, node: ENode) -> list[tuple[int, ENode]]:
        """The DequantizeLinear nodes, with their classes, that run before a node for it alone."""
        if self.kernel(c, node) is not None or self._is_absorbed(c, node) or self.around.has(node, "DequantizeLinear"):
            return []
        return [(i, self._dequantized[i]) for i in dict.fromkeys(node.inputs) if i in self._paid_by_users]

    def price(self, prices: Roofline, c: int, node: ENode, attributes: Mapping[str, Any]) -> float | None:
        """Seconds of a node that runs as an integer kernel; None for any other."""
        name = self.kernel(c, node)
        if name is None:
            return None
        kinds = [self._stored_kind(i) for i in node.inputs]
        places = arranged(name, len(node.inputs))
        constants = [place is not None and self._is_constant(node.inputs[place]) for place in places]
        result = self.frozen.classes[self.around.result(c)].kind
        first = kinds[0]
        is_float = name in self.fusions.integer_to_float.values() and not self._is_quantized(
            self.around.result(c), self.around.operator(node)
        )
        if result is not None and first is not None and not is_float and name not in self.fusions.weight_only.values():
            result = TensorType(first.dtype, result.shape)
        operands = [None if place is None else kinds[place] for place in places]
        return prices.price(name, attributes, operands, [result], constants).seconds

    def _stored_kind(self, c: int) -> TensorType | None:
        node = self._dequantized.get(c)
        return self.frozen.classes[c if node is None else node.inputs[0]].kind
