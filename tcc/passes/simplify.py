"""Rewrites the graph into the cheapest equal one: e-graph, exact rules, extraction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import onnx_ir

from tcc.cost_models.roofline import Roofline
from tcc.ir import analysis, attributes, emission, extraction, importing, problem
from tcc.ir.facts import OUTPUTS_MARK
from tcc.ir.frozen import ENode, Frozen, freeze
from tcc.ir.importing import Imported
from tcc.ir.inference import annotate
from tcc.ir.model import Model
from tcc.ir.problem import Budgets, Price, Weights
from tcc.ir.saturation import Limits, saturate
from tcc.passes.base import Context, Effect, Pass, PassResult
from tcc.rewrites import Equality, rules
from tcc.rewrites.rule import Rule, relevant

_NODE_FIELDS = 24
"""Bytes of a node's field headers and of a typical attribute in a file, besides its names."""
_TIE_BYTES = 1e-15
"""Seconds that a byte counts for in the objective: enough to break ties, too little to slow anything down."""


@dataclass(frozen=True)
class Simplify(Pass):
    """Exact rewriting: never more nodes, never more bytes, never predicted slower.

    Args:
        equality: ``value`` for all exact rules, ``bits`` for those that keep every bit.
        only: names of the rules to use, joined by ``+``; empty for all.
        iterations: limit on saturation.
        nodes: limit on the e-graph's size.
    """

    equality: str = "value"
    only: str = ""
    iterations: int = 12
    nodes: int = 200_000

    effect: ClassVar[Effect] = Effect.VALUE

    @property
    def promises(self) -> Effect:
        """Bits where only such rules run."""
        return Effect(self.equality)

    def run(self, model: Model, context: Context) -> PassResult:
        """Simplify the graph and the bodies inside it."""
        symbolic = annotate(model)
        price = Roofline(context.target, context.symbols)
        facts: dict[str, Any] = {"graphs": []}
        changed = False
        for graph in [*_innermost_first(model.graph), model.graph]:
            known = symbolic if graph is model.graph else {}
            done, record = _GraphRun(self, model, graph, price, context, known).run()
            changed |= done
            facts["graphs"].append(record)
        return PassResult(model, changed, facts)


def _innermost_first(graph: onnx_ir.Graph) -> list[onnx_ir.Graph]:
    return list(reversed(list(graph.subgraphs())))


@dataclass
class _GraphRun:
    """Simplification of one graph."""

    options: Simplify
    model: Model
    graph: onnx_ir.Graph
    prices: Roofline
    context: Context
    symbolic: Mapping[str, str]

    def run(self) -> tuple[bool, dict[str, Any]]:
        opset = self.model.opset
        imported = importing.import_graph(self.graph, opset, self.symbolic)
        chosen, operators = relevant(self._rules(), frozenset(imported.operators), opset)
        limits = Limits(self.options.nodes, self.options.iterations)
        ended = saturate(
            imported.egraph, [r.ruleset for r in chosen], analysis.rules_for(operators, opset), limits
        )
        frozen = freeze(imported.egraph)
        choice = _Choosing(imported, frozen, self.prices, self.model, self.context).extract()
        used = choice.used
        emission.emit(imported, frozen, choice.extraction.choice, used, self.model.opset_imports, _names(self.model))
        record = {
            "graph": self.graph.name or "",
            "rules": len(chosen),
            "saturation": ended.ended,
            "iterations": ended.iterations,
            "classes": len(frozen.classes),
            "e_nodes": frozen.node_count,
            "method": choice.extraction.method,
            "objective": choice.extraction.objective,
            "greedy": choice.extraction.greedy,
            "bound": choice.extraction.bound,
            "gap": choice.extraction.gap,
        }
        return True, record

    def _rules(self) -> tuple[Rule, ...]:
        allowed = {Equality.BITS} if self.options.equality == "bits" else set(Equality)
        names = set(self.options.only.split("+")) if self.options.only else None
        return tuple(r for r in rules() if r.equality in allowed and (names is None or r.name in names))


def _names(model: Model) -> set[str]:
    graphs = [model.graph, *model.graph.subgraphs()]
    names = {v.name or "" for g in graphs for v in (*g.inputs, *g.initializers.values())}
    for node in model.graph.all_nodes():
        names.add(node.name or "")
        names.update(v.name or "" for v in node.outputs)
    return names


class _Choosing:
    """Prices the programs of a read-out and extracts the best one."""

    def __init__(self, imported: Imported, frozen: Frozen, prices: Roofline, model: Model, context: Context) -> None:
        self.imported, self.frozen, self.prices, self.context = imported, frozen, prices, context
        self.model = model
        self.node_bytes = _mean_node_bytes(imported.graph)

    def extract(self) -> _Choice:
        roots = sorted({self.frozen.of[self.imported.numbers[v]] for v in self.imported.graph.outputs})
        leaves = {
            self.frozen.of[n]
            for n, v in enumerate(self.imported.values)
            if v is not None and emission.is_leaf(self.imported.graph, v)
        }
        # A view moves nothing, but is dispatched like any node.
        weights = Weights(1.0, _TIE_BYTES, self.context.target.launch_overhead)
        built = problem.build(
            self.frozen, roots, self._price, leaves=leaves, weights=weights, stored=self._stored
        )
        built.budgets = self._spent()
        found = extraction.extract(built, seconds=self.context.seconds)
        return _Choice(found, built.used(found.choice))

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
        return float(eclass.kind.nbytes({}))

    def _price(self, c: int, node: ENode) -> Price | None:
        if node.operator in {"project", "absent", "value", "literal"}:
            return Price()
        kinds = [self.frozen.classes[i].kind for i in node.inputs]
        constants = [self.frozen.classes[i].constant for i in node.inputs]
        if node.operator == "opaque":
            original = self.imported.nodes[node.attributes]
            operator = original.op_type
            plain: Mapping[str, Any] = attributes.plain(original) or {}
        else:
            operator = node.operator
            plain = attributes.parse(node.attributes)
        outputs = self._outputs(c, node)
        priced = self.prices.price(operator, plain, kinds, outputs, constants)
        return Price(priced.seconds, self.node_bytes, 1.0)

    def _outputs(self, c: int, node: ENode) -> list[Any]:
        if not self.frozen.classes[c].several:
            return [self.frozen.classes[c].kind]
        count = int(attributes.parse(node.attributes).get(OUTPUTS_MARK, 1)) if node.operator != "opaque" else 1
        return [self.frozen.classes[p].kind for p in self._projections().get(c, ())] or [None] * count

    def _projections(self) -> dict[int, list[int]]:
        if not hasattr(self, "_projected"):
            self._projected: dict[int, list[int]] = {}
            for p, eclass in enumerate(self.frozen.classes):
                for node in eclass.nodes:
                    if node.operator == "project":
                        self._projected.setdefault(node.inputs[0], []).append(p)
        return self._projected

    def _spent(self) -> Budgets:
        """What the graph takes as it is: the program that comes out takes no more bytes and no more nodes."""
        graph = self.imported.graph
        held = sum(v.const_value.nbytes for v in graph.initializers.values() if v.const_value is not None)
        return Budgets(nbytes=held + self.node_bytes * len(graph), nodes=float(len(graph)))


def _mean_node_bytes(graph: onnx_ir.Graph) -> float:
    """What a node of this graph takes in a file on average, its constants left out."""
    sizes = [
        _NODE_FIELDS + len(n.name or "") + len(n.op_type) + sum(len(v.name or "") for v in (*n.inputs, *n.outputs) if v)
        for n in graph
    ]
    return sum(sizes) / len(sizes) if sizes else float(_NODE_FIELDS)


@dataclass(frozen=True)
class _Choice:
    extraction: extraction.Extraction
    used: set[int]
