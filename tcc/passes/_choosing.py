"""Prices the programs of an e-graph read-out for a target and extracts the best one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tcc.cost_models._fusions import fusions_of
from tcc.cost_models.roofline import FOLDED, Roofline
from tcc.ir import attributes, emission, extraction, importing, problem
from tcc.ir.facts import OUTPUTS_MARK
from tcc.ir.frozen import ENode, Frozen, freeze
from tcc.ir.importing import Imported, is_pure
from tcc.ir.inference import annotate
from tcc.ir.model import Model
from tcc.ir.problem import Budgets, Candidate, Edge, Price, Problem, Weights
from tcc.ir.types import TensorType
from tcc.passes._quantized import Quantized

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir

_NODE_FIELDS = 24
"""Bytes of a node's field headers and of a typical attribute in a file, besides its names."""
_PRODUCTS = frozenset({"MatMul", "Gemm"})
_SMALL_VALUE = 64
"""Elements of a constant whose value may be looked at: scales, zero points, limits."""
_RUN_ON_CONSTANTS = frozenset({"DequantizeLinear"})
"""Operators that runtimes run each time although all their inputs are constant, to keep weights small in memory."""


@dataclass(frozen=True)
class Choice:
    """An extraction and its program."""

    extraction: extraction.Extraction
    program: emission.Program


def predicted_seconds(model: Model, prices: Roofline) -> float:
    """The price of a quantised model's top-level graph, its integer kernels found (``tcc.passes._quantized``).

    The model's values have their types where they are known.
    """
    imported = importing.import_graph(model.graph, annotate(model))
    choosing = Choosing(imported, freeze(imported.egraph), prices)
    problem = choosing.problem(Weights(), Budgets())
    return problem.total({c: min(found, key=_seconds_of) for c, found in problem.candidates.items()}).seconds


def _seconds_of(candidate: Candidate) -> float:
    return candidate.price.seconds


@dataclass
class Choosing:
    """The programs of one read-out, with their prices."""

    imported: Imported
    frozen: Frozen
    prices: Roofline
    _quantized: Quantized = field(init=False, repr=False)

    @cached_property
    def node_bytes(self) -> float:
        """What a node of this graph takes in a file on average, its constants left out."""
        graph = self.imported.graph
        sizes = [
            _NODE_FIELDS
            + len(n.name or "")
            + len(n.op_type)
            + sum(len(v.name or "") for v in (*n.inputs, *n.outputs) if v)
            for n in graph
        ]
        return sum(sizes) / len(sizes) if sizes else float(_NODE_FIELDS)

    def problem(
        self,
        weights: Weights,
        budgets: Budgets,
        *,
        edges: Collection[Edge] = (),
        loss: Mapping[str, float] | None = None,
    ) -> Problem:
        """The choice among all programs of the graph's outputs."""
        roots = sorted({self.frozen.of[self.imported.numbers[v]] for v in self.imported.graph.outputs})
        leaves = {
            self.frozen.of[n]
            for n, v in enumerate(self.imported.values)
            if v is not None and emission.is_leaf(self.imported.graph, v)
        }
        needed = frozenset(roots) | {edge.target for edge in edges}
        self._quantized = Quantized(self.frozen, fusions_of(self.prices.target), needed, self._operator, self._value)
        return problem.build(
            self.frozen, roots, self._price, leaves=leaves, weights=weights, budgets=budgets, stored=self._stored,
            edges=edges, loss=loss,
        )  # fmt: skip

    def extract(self, built: Problem, seconds: float) -> Choice:
        """The best program."""
        found = extraction.extract(built, seconds=seconds)
        return Choice(found, emission.Program(found.choice, built.used(found.choice)))

    def spent(self) -> Budgets:
        """What the graph takes as it is: bytes, and nodes that depend on an input."""
        graph = self.imported.graph
        values = [*graph.initializers.values(), *(v for node in graph for v in node.outputs)]
        held = sum(v.const_value.nbytes for v in values if v.const_value is not None)
        live = sum(any(not self._is_constant(v) for v in node.outputs if v.name) for node in graph)
        return Budgets(nbytes=held + self.node_bytes * len(graph), nodes=float(live))

    def _is_constant(self, v: onnx_ir.Value) -> bool:
        number = self.imported.numbers.get(v)
        return number is not None and self.frozen.classes[self.frozen.of[number]].constant

    @cached_property
    def _projected(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for p, eclass in enumerate(self.frozen.classes):
            for node in eclass.nodes:
                if node.operator == "project":
                    found.setdefault(node.inputs[0], []).append(p)
        return found

    def _stored(self, c: int) -> float | None:
        eclass = self.frozen.classes[c]
        if eclass.several:
            return None
        if eclass.original_constant:
            values = [self.imported.values[n] for n in eclass.numbers]
            held = next((v for v in values if v is not None and v.const_value is not None), None)
            if held is not None and held.const_value is not None:
                outer = held.graph is not None and held.graph is not self.imported.graph
                return 0.0 if outer else float(held.const_value.nbytes)
        if eclass.known is not None and eclass.known.is_fixed:
            return float(eclass.kind.nbytes({})) if eclass.kind else 64.0
        if not eclass.constant or eclass.kind is None or not eclass.kind.is_static or eclass.kind.dtype == "string":
            return None
        # Kernels read a weight's integers: written out as floats it would be larger and no kernel's weight.
        if any(node.operator == "DequantizeLinear" for node in eclass.nodes):
            return None
        return float(eclass.kind.nbytes({}))

    def _operator(self, node: ENode) -> str:
        return self.imported.nodes[node.attributes].op_type if node.operator == "opaque" else node.operator

    def _value(self, c: int) -> np.ndarray[Any, Any] | None:
        """A small constant's value."""
        eclass = self.frozen.classes[c]
        if eclass.known is not None and eclass.known.is_fixed:
            return eclass.known.array()
        values = (self.imported.values[n] for n in eclass.numbers)
        held = next((v.const_value for v in values if v is not None and v.const_value is not None), None)
        return None if held is None or held.size > _SMALL_VALUE else held.numpy()

    def _price(self, c: int, node: ENode) -> Price | None:
        if node.operator in {"project", "absent", "value", "literal"}:
            return Price()
        if self._is_refused(self._operator(node)):
            return None
        quantized = self._quantized
        constants = [self.frozen.classes[i].constant for i in node.inputs]
        # What depends on no input is computed when the model is loaded, whoever runs it.
        if all(constants) and is_pure(node.attributes) and self._operator(node) not in _RUN_ON_CONSTANTS:
            return Price(self._seconds(c, node, constants), self.node_bytes, 0.0)
        if quantized.is_empty:
            return Price(self._seconds(c, node, constants), self.node_bytes, 1.0)
        if quantized.is_free(c, node):
            return Price(FOLDED, self.node_bytes, 1.0)
        fused = quantized.price(self.prices, c, node, self._attributes(node))
        if fused is not None:
            return Price(fused, self.node_bytes, 1.0)
        owed = sum(self._seconds(i, other, [False] * len(other.inputs)) for i, other in quantized.owed(c, node))
        return Price(self._seconds(c, node, constants) + owed, self.node_bytes, 1.0)

    def _attributes(self, node: ENode) -> Mapping[str, Any]:
        if node.operator == "opaque":
            return attributes.plain(self.imported.nodes[node.attributes]) or {}
        return attributes.parse(node.attributes)

    def _seconds(self, c: int, node: ENode, constants: list[bool]) -> float:
        """What a node takes that runs as it is."""
        operator = self._operator(node)
        if operator in _RUN_ON_CONSTANTS:
            constants = [False] * len(constants)
        if operator == "Add" and self._is_bias(node):
            # Runtimes fuse a bias into the product before it: what is left of the Add is its dispatch.
            return self.prices.target.launch_overhead
        kinds = [self.frozen.classes[i].kind for i in node.inputs]
        return self.prices.price(operator, self._attributes(node), kinds, self._outputs(c, node), constants).seconds

    def _is_refused(self, operator: str) -> bool:
        """Whether the target does not take an operator that only rules would bring in."""
        return operator in self.prices.target.illegal_operators and operator not in self._held

    @cached_property
    def _held(self) -> frozenset[str]:
        return frozenset(node.op_type for node in self.imported.graph)

    def _is_bias(self, node: ENode) -> bool:
        """Whether an Add only adds a constant vector to a matrix product."""
        for product, bias in (node.inputs, node.inputs[::-1]):
            kind = self.frozen.classes[bias].kind
            is_vector = self.frozen.classes[bias].constant and kind is not None and kind.rank == 1
            if is_vector and any(n.operator in _PRODUCTS for n in self.frozen.classes[product].nodes):
                return True
        return False

    def _outputs(self, c: int, node: ENode) -> list[TensorType | None]:
        if not self.frozen.classes[c].several:
            return [self.frozen.classes[c].kind]
        count = int(attributes.parse(node.attributes).get(OUTPUTS_MARK, 1)) if node.operator != "opaque" else 1
        return [self.frozen.classes[p].kind for p in self._projected.get(c, ())] or [None] * count
