"""Prices every node as the back end runs it, in an e-graph and in a program as it stands."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tcc.cost_models._fusions import fusions_of
from tcc.cost_models.roofline import Roofline
from tcc.ir import attributes
from tcc.ir.facts import OUTPUTS_MARK
from tcc.ir.fixed_sizes import fixed_types
from tcc.ir.frozen import EClass, ENode, Frozen
from tcc.ir.importing import is_pure
from tcc.ir.model import tensor_type
from tcc.ir.types import TensorType
from tcc.passes._fused import Fused
from tcc.passes._kernel_tiles import KernelTiles, tiles_of
from tcc.passes._neighbours import Neighbours
from tcc.passes._pointwise import Chain, Chains
from tcc.passes._quantized import Quantized

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir

    from tcc.ir.model import Model
    from tcc.targets import Target

_PRODUCTS = frozenset({"MatMul", "Gemm"})
RUN_ON_CONSTANTS = frozenset({"DequantizeLinear"})
"""Operators that runtimes run each time although all their inputs are constant, to keep weights small in memory."""
_SMALL_VALUE = 64
"""Elements of a constant whose value may be looked at: scales, zero points, limits."""


@dataclass
class Pricing:
    """Prices of a read-out's nodes.

    Args:
        frozen: the read-out.
        prices: of one kernel.
        nodes: what opaque keys stand for.
        values: what the numbers of classes stand for.
        needed: classes whose value is used as it is.
        whole: whether it is one program, of which every node runs.
        instead: for the ends of lossy edges the classes that they may stand for.
    """

    frozen: Frozen
    prices: Roofline
    nodes: Mapping[str, onnx_ir.Node]
    values: Sequence[onnx_ir.Value | None]
    needed: Collection[int]
    whole: bool = False
    instead: Mapping[int, Collection[int]] = field(default_factory=dict)
    _quantized: Quantized = field(init=False, repr=False)
    _fused: Fused = field(init=False, repr=False)
    _chains: Chains | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        around = Neighbours(self.frozen, self.needed, self.operator, self.value)
        fusions = fusions_of(self.prices.target)
        self._quantized = Quantized(around, fusions)
        self._fused = Fused(around, fusions, self.whole)
        found = fusions.pointwise if self.whole else None
        self._chains = None if found is None else Chains(around, found, self._is_taken)

    def _is_taken(self, c: int, node: ENode) -> bool:
        """Whether a node that stands among elementwise ones is part of another kernel all the same."""
        if self.is_folded(node) or self._fused.is_free(c, node) or self._fused.joined(c) is not None:
            return True
        around, table = self._quantized.around, self._quantized.fusions.pointwise
        assert table is not None
        if self.operator(node) == "DequantizeLinear":
            # Where a product reads it, too, each of its readers takes the integers.
            readers = [self.operator(user) for _, user in around.readers(c)]
            return not readers or not table.operators.issuperset(readers)
        if not self._quantized.is_free(c, node):
            return False
        # What is free behind an integer sum is free because it belongs to its kernel, which is a chain here.
        return not any(
            self.operator(maker) in table.operators and not self._is_taken(m, maker)
            for m, maker in around.makers(node.inputs[0])
        )

    def operator(self, node: ENode) -> str:
        """The ONNX name of an e-node."""
        return self.nodes[node.attributes].op_type if node.operator == "opaque" else node.operator

    def value(self, c: int) -> np.ndarray[Any, Any] | None:
        """A small constant's value."""
        eclass = self.frozen.classes[c]
        if eclass.known is not None and eclass.known.is_fixed:
            return eclass.known.array()
        values = (self.values[n] for n in eclass.numbers)
        held = next((v.const_value for v in values if v is not None and v.const_value is not None), None)
        return None if held is None or held.size > _SMALL_VALUE else held.numpy()

    def program(self) -> Iterator[tuple[int, ENode]]:
        """The nodes of a graph as it stands, with their classes."""
        for c, eclass in enumerate(self.frozen.classes):
            yield from ((c, node) for node in eclass.nodes if node.operator == "opaque")

    def tiles(self, target: Target) -> KernelTiles | None:
        """The kernels in tiles; None where the target's back end brings its own."""
        return tiles_of(self._quantized.around, target, self._attributes)

    def is_folded(self, node: ENode) -> bool:
        """Whether a node depends on no input, and so is computed when the model is loaded."""
        if self.operator(node) in RUN_ON_CONSTANTS:
            return False
        return all(self.frozen.classes[i].constant for i in node.inputs) and is_pure(node.attributes)

    def seconds(self, c: int, node: ENode) -> float:
        """What a node takes as a part of the kernel that it runs in."""
        constants = [self._is_held(i) for i in node.inputs]
        if self.is_folded(node):
            return self._alone(c, node, constants)
        if c in self.instead and self.operator(node) in RUN_ON_CONSTANTS and self._is_held(node.inputs[0]):
            return self._as_weight(c, node)
        if self._chains is not None and (self._chains.is_inner(c) or self._chains.chain(c) is not None):
            chain = self._chains.chain(c)
            return self.prices.folded if chain is None else self._in_chain(c, chain)
        owed = 0.0
        if not self._quantized.is_empty:
            if self._quantized.is_free(c, node):
                return self.prices.folded
            fused = self._quantized.price(self.prices, c, node, self._attributes(node))
            if fused is not None:
                return fused
            for i, other in self._quantized.owed(c, node):
                owed += self._alone(i, other, [False] * len(other.inputs))
        return (self.prices.folded if self._fused.is_free(c, node) else self._joined(c, node, constants)) + owed

    def _in_chain(self, c: int, chain: Chain) -> float:
        """What several elementwise operators take as one kernel."""
        if chain.absorbed:
            return self.prices.folded
        kinds = [self.frozen.classes[i].kind for i in chain.inputs]
        flags = [self._is_held(i) for i in chain.inputs]
        return self.prices.price(
            "PointWise", {"count": chain.count}, kinds, [self.frozen.classes[c].kind], flags
        ).seconds

    def _is_held(self, c: int) -> bool:
        """Whether a class is a constant when the model runs."""
        eclass = self.frozen.classes[c]
        return eclass.constant and not any(self.operator(n) in RUN_ON_CONSTANTS for n in eclass.nodes)

    def _as_weight(self, c: int, node: ENode) -> float:
        """What a weight takes that is dequantised in each run: itself, and what its readers then take longer.

        Kernels arrange weights for themselves when a model is loaded, and take others where they cannot; products may
        read the integers themselves.
        """
        own, longer = self._alone(c, node, []), 0.0
        for s in self.instead[c]:
            changes: dict[int, list[tuple[float, float]]] = {}
            for u, user in self._quantized.around.users.get(s, ()):
                if self.frozen.classes[u].constant or self._quantized.kernel(u, user) is not None:
                    continue
                changes.setdefault(u, []).append(self._change(u, user, s, own))
            longer += sum(min(sum(change) for change in found) for found in changes.values())
        return max(self.prices.folded, longer)

    def _change(self, u: int, user: ENode, s: int, own: float) -> tuple[float, float]:
        """How much longer a reader takes where ``s`` is computed, and what of ``own`` for computing it is left."""
        constants = [self._is_held(i) for i in user.inputs]
        before = self._alone(u, user, constants)
        kernel = self._quantized.fusions.weight_only.get(self.operator(user))
        if kernel is not None and user.inputs[1] == s:
            kinds = [self.frozen.classes[i].kind for i in user.inputs]
            after = self.prices.price(kernel, {}, kinds, self._outputs(u, user), constants).seconds
            return after - before, 0.0
        computed = [held and i != s for i, held in zip(user.inputs, constants, strict=True)]
        return self._alone(u, user, computed) - before, own

    def kernel(self, c: int, node: ENode) -> str | None:
        """The name of the kernel that a node begins; None where it is a part of another one, or folded."""
        if self._chains is not None and (chain := self._chains.chain(c)) is not None:
            return None if chain.absorbed else "PointWise"
        if self._chains is not None and self._chains.is_inner(c):
            return None
        if self.is_folded(node) or self._quantized.is_free(c, node) or self._fused.is_free(c, node):
            return None
        joined = self._fused.joined(c)
        return self._quantized.kernel(c, node) or (joined.kernel if joined else self.operator(node))

    def _joined(self, c: int, node: ENode, constants: list[bool]) -> float:
        joined = self._fused.joined(c)
        if joined is None:
            return self._alone(c, node, constants)
        kinds = [self.frozen.classes[i].kind for i in joined.inputs]
        flags = [self._is_held(i) for i in joined.inputs]
        result = self.frozen.classes[self._quantized.around.result(c)].kind
        return self.prices.price(joined.kernel, {}, kinds, [result], flags).seconds

    def _attributes(self, node: ENode) -> Mapping[str, Any]:
        if node.operator == "opaque":
            return attributes.plain(self.nodes[node.attributes]) or {}
        return attributes.parse(node.attributes)

    def _alone(self, c: int, node: ENode, constants: list[bool]) -> float:
        """What a node takes that runs as it is."""
        operator = self.operator(node)
        if operator in RUN_ON_CONSTANTS:
            constants = [False] * len(constants)
        if operator == "Add" and self._is_bias(node):
            # Runtimes fuse a bias into the product before it: what is left of the Add is its dispatch.
            return self.prices.target.launch_overhead
        kinds = [self.frozen.classes[i].kind for i in node.inputs]
        return self.prices.price(operator, self._attributes(node), kinds, self._outputs(c, node), constants).seconds

    def _is_bias(self, node: ENode) -> bool:
        """Whether an Add only adds a constant vector to a matrix product."""
        around = self._quantized.around
        for product, bias in (node.inputs, node.inputs[::-1]):
            added = self.frozen.classes[bias].constant and around.adds_bias(product, node)
            if added and any(self.operator(maker) in _PRODUCTS for _, maker in around.makers(product)):
                return True
        return False

    @cached_property
    def _projected(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for p, eclass in enumerate(self.frozen.classes):
            for node in eclass.nodes:
                if node.operator == "project":
                    found.setdefault(node.inputs[0], []).append(p)
        return found

    def _outputs(self, c: int, node: ENode) -> list[TensorType | None]:
        if not self.frozen.classes[c].several:
            return [self.frozen.classes[c].kind]
        count = int(attributes.parse(node.attributes).get(OUTPUTS_MARK, 1)) if node.operator != "opaque" else 1
        return [self.frozen.classes[p].kind for p in self._projected.get(c, ())] or [None] * count


def predicted_seconds(
    model: Model, target: Target, symbols: Mapping[str, int], known: Mapping[str, TensorType] | None = None
) -> float:
    """What a run of a model takes under given sizes of its dimensions, bodies and functions once each.

    The types of the model's values are set where they are known; ``known`` has further ones, by name.
    """
    return sum(each.seconds for each in priced(model, target, symbols, known).values())


@dataclass(frozen=True)
class Priced:
    """What a node takes as a part of the kernel that it runs in; one ``at_load`` runs once, on constants alone."""

    seconds: float
    at_load: bool


def priced(
    model: Model, target: Target, symbols: Mapping[str, int], known: Mapping[str, TensorType] | None = None
) -> dict[onnx_ir.Node, Priced]:
    """The nodes of a model, those of bodies and functions too, with their parts of ``predicted_seconds``."""
    prices = Roofline(target, symbols, weights=model.parameter_bytes)
    kinds = fixed_types(model, symbols) | dict(known or {})
    inner = [*model.graph.subgraphs(), *(function.graph for function in model.ir.functions.values())]
    made: dict[onnx_ir.Node, Priced] = {}
    for graph, types in [(model.graph, kinds), *((graph, {}) for graph in inner)]:
        pricing = whole_program(graph, prices, types)
        made |= {
            pricing.nodes[node.attributes]: Priced(pricing.seconds(c, node), pricing.is_folded(node))
            for c, node in pricing.program()
        }
    return made


def whole_program(graph: onnx_ir.Graph, prices: Roofline, kinds: Mapping[str, TensorType]) -> Pricing:
    """The prices of a graph as it stands."""
    reading = _Reading(graph, kinds)
    return Pricing(reading.frozen, prices, reading.nodes, reading.values, reading.outputs, whole=True)


class _Reading:
    """A graph as the read-out of an e-graph in which every class has one node."""

    def __init__(self, graph: onnx_ir.Graph, kinds: Mapping[str, TensorType]) -> None:
        self._kinds = kinds
        self.classes: list[EClass] = [EClass([ENode("absent", "", ())])]
        self.values: list[onnx_ir.Value | None] = [None]
        self.nodes: dict[str, onnx_ir.Node] = {}
        self._numbers: dict[onnx_ir.Value, int] = {}
        for node in graph:
            self._add(node)
        self.outputs = frozenset(self._number(v) for v in graph.outputs)
        self.frozen = Frozen(self.classes, {n: n for n in range(len(self.classes))})

    def _number(self, v: onnx_ir.Value | None) -> int:
        if v is None or not v.name:
            return 0
        if v not in self._numbers:
            self._numbers[v] = len(self.classes)
            self.classes.append(
                EClass(
                    kind=self._kinds.get(v.name) or tensor_type(v),
                    constant=v.const_value is not None,
                    numbers=[len(self.values)],
                )
            )
            self.values.append(v)
        return self._numbers[v]

    def _add(self, node: onnx_ir.Node) -> None:
        key = f"{node.op_type}:{len(self.nodes)}"
        self.nodes[key] = node
        opaque = ENode("opaque", key, tuple(self._number(v) for v in node.inputs))
        outputs = [self._number(v) for v in node.outputs]
        # Runtimes make an initialiser of a Constant node, and a bias or a scale of it is one to the node that reads it.
        constant = node.op_type == "Constant" or bool(opaque.inputs)
        constant &= all(self.classes[i].constant for i in opaque.inputs if i)
        if len(outputs) == 1:
            self.classes[outputs[0]].nodes.append(opaque)
            self.classes[outputs[0]].constant |= constant
            return
        several = len(self.classes)
        self.classes.append(EClass([opaque], several=True, numbers=[len(self.values)]))
        self.values.append(None)
        for i, c in enumerate(outputs):
            if c:
                self.classes[c].nodes.append(ENode("project", "", (several,), i))
                self.classes[c].constant |= constant
