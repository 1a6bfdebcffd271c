"""Prices the programs of an e-graph read-out for a target and extracts the best one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from tcc.cost_models.roofline import Roofline
from tcc.ir import emission, extraction, problem
from tcc.ir.frozen import ENode, Frozen
from tcc.ir.importing import Imported
from tcc.ir.problem import Budgets, Edge, Price, Problem, Weights
from tcc.passes._kernel_tiles import KernelTiles, Marked
from tcc.passes._pricing import RUN_ON_CONSTANTS, Pricing

if TYPE_CHECKING:
    import onnx_ir

_NODE_FIELDS = 24
"""Bytes of a node's field headers and of a typical attribute in a file, besides its names."""


@dataclass(frozen=True)
class Choice:
    """An extraction and its program, in the classes of ``frozen``; ``tiles`` are those of kernels that have one."""

    extraction: extraction.Extraction
    program: emission.Program
    frozen: Frozen
    tiles: Mapping[int, Marked] = field(default_factory=dict)


@dataclass
class Choosing:
    """The programs of one read-out, with their prices."""

    imported: Imported
    frozen: Frozen
    prices: Roofline
    _pricing: Pricing = field(init=False, repr=False)
    _tiles: KernelTiles | None = field(init=False, default=None, repr=False)

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
        instead: dict[int, list[int]] = {}
        for edge in edges:
            instead.setdefault(edge.target, []).append(edge.source)
        self._pricing = Pricing(
            self.frozen, self.prices, self.imported.nodes, self.imported.values, needed, instead=instead
        )  # fmt: skip
        self._tiles = self._pricing.tiles(self.prices.target)
        frozen = self.frozen if self._tiles is None else self._tiles.frozen
        return problem.build(
            frozen, roots, self._price, leaves=leaves, weights=weights, budgets=budgets, stored=self._stored,
            edges=edges, loss=loss,
        )  # fmt: skip

    def extract(self, built: Problem, seconds: float, *, program: bool = True) -> Choice:
        """The best program; without the integer ``program`` a greedy one."""
        found = extraction.extract(built, seconds=seconds) if program else extraction.extract_greedily(built)
        used = built.used(found.choice)
        if self._tiles is None:
            return Choice(found, emission.Program(found.choice, used), self.frozen)
        choice, used, marks = self._tiles.folded(found.choice, used)
        return Choice(found, emission.Program(choice, used), self._tiles.frozen, marks)

    def spent(self) -> Budgets:
        """What the graph takes as it is: bytes, and nodes that depend on an input."""
        graph = self.imported.graph
        values = [*graph.initializers.values(), *(v for node in graph for v in node.outputs)]
        held = sum(v.const_value.nbytes for v in values if v.const_value is not None)
        live = sum(
            node.op_type in RUN_ON_CONSTANTS or any(not self._is_constant(v) for v in node.outputs if v.name)
            for node in graph
        )
        return Budgets(nbytes=held + self.node_bytes * len(graph), nodes=float(live))

    def _is_constant(self, v: onnx_ir.Value) -> bool:
        # What nothing reads that an output needs is in no class.
        number = self.imported.numbers.get(v)
        place = None if number is None else self.frozen.of.get(number)
        return place is not None and self.frozen.classes[place].constant

    def _stored(self, c: int) -> float | None:
        eclass = (self.frozen if self._tiles is None else self._tiles.frozen).classes[c]
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

    def _price(self, c: int, node: ENode) -> Price | None:
        if node.operator in {"project", "absent", "value", "literal"}:
            return Price()
        if self._is_refused(self._pricing.operator(node)):
            return None
        if self._tiles is not None and (tiled := self._tiles.seconds.get((c, node))) is not None:
            return Price(tiled, self.node_bytes, 1.0) if tiled else Price(0.0, self.node_bytes, 1.0, ties=1.0)
        # What depends on no input is computed when the model is loaded, whoever runs it.
        nodes = 0.0 if self._pricing.is_folded(node) else 1.0
        seconds = self._pricing.seconds(c, node)
        if seconds <= self.prices.folded:
            return Price(0.0, self.node_bytes, nodes, ties=1.0)
        return Price(seconds, self.node_bytes, nodes)

    def _is_refused(self, operator: str) -> bool:
        """Whether the target does not take an operator that only rules would bring in."""
        return operator not in self._held and self.prices.target.avoids(operator)

    @cached_property
    def _held(self) -> frozenset[str]:
        return frozenset(node.op_type for node in self.imported.graph)
