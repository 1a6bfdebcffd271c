"""Rewrites the graph into the cheapest equal one: e-graph, exact rules, extraction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from tcc.cost_models.roofline import Roofline
from tcc.diagnostics import Exit, TccError
from tcc.ir import deadline, emission, heap, importing
from tcc.ir.conversion import ConversionError
from tcc.ir.declining import Declining
from tcc.ir.derivation import Recorder
from tcc.ir.fixed_sizes import with_made_up
from tcc.ir.frozen import Frozen, read_out
from tcc.ir.importing import Imported
from tcc.ir.inference import Annotation, annotate
from tcc.ir.model import Model, tensor_type
from tcc.ir.naming import names_of_model
from tcc.ir.problem import Weights
from tcc.ir.reading import reach_of
from tcc.ir.restating import restated
from tcc.ir.saturation import Limits, Saturating
from tcc.passes import _raising
from tcc.passes._choosing import Choice, Choosing
from tcc.passes._kernel_tiles import write_tiles
from tcc.passes._origins import Origins, declines
from tcc.passes.base import DECLINES, ORIGINS, Context, Effect, Pass, PassResult, Stop
from tcc.rewrites import Equality, siblings, stored
from tcc.rewrites.rule import Stored

if TYPE_CHECKING:
    import onnx_ir

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
        newer: whether the model may be written in a newer opset, as far as the target takes it, where that lets
            rules write operators that its own opset lacks; only with ``equality=value``.
    """

    equality: str = "value"
    only: str = ""
    iterations: int = 16
    nodes: int = 200_000
    newer: bool = True

    effect: ClassVar[Effect] = Effect.VALUE

    @property
    def promises(self) -> Effect:
        """Bits where only such rules run."""
        return Effect(self.equality)

    def rules(self) -> tuple[Stored, ...]:
        """The rules that these options allow."""
        allowed = {Equality.BITS} if self.equality == "bits" else set(Equality)
        names = set(self.only.split("+")) if self.only else None
        return tuple(r for r in stored() if r.equality in allowed and (names is None or r.name in names))

    def run(self, model: Model, context: Context) -> PassResult:
        """Simplify the graph and the bodies inside it."""
        if not model.opset:
            return PassResult(
                model, changed=False, facts={"declined": "the model uses no operator of the default domain"}
            )
        if deadline.is_over(context.deadline):
            return PassResult(model, changed=False, facts={"declined": "no time"}, stops=frozenset({Stop.DEADLINE}))
        found = annotate(model)
        price = Roofline(context.target, with_made_up(model, context.symbols))
        records: list[dict[str, Any]] = []
        changed = False
        for graph in _innermost_first(model.graph):
            done, record = _GraphRun(self, model, graph, price, context, Annotation()).run()
            changed |= done
            records.append(record)
        run = _GraphRun(self, model, model.graph, price, context, found)
        raising: dict[str, Any] = {}
        if self.newer and self.equality == "value" and (made := self._in_newer_opset(run, raising)):
            return made
        done, record = run.run()
        records.append(record)
        return PassResult(model, changed | done, {"graphs": records, **raising}, _stops(records))

    def _in_newer_opset(self, run: _GraphRun, facts: dict[str, Any]) -> PassResult | None:
        """The model simplified in the lowest opset that has all that was chosen; None where a newer one gains nothing.

        The newest that rules ask for shows what is chosen, the lowest that holds it is what is written: the same
        program where that says the same in both, else the model is converted to it and simplified again.
        """
        model, context, rules = run.model, run.context, self.rules()
        wanted = self._opsets(run)
        result, left = None, list(wanted)
        while left:
            opset = left.pop(0)
            try:
                made = _raising.raised(model, opset, context)
            except ConversionError as error:
                facts["opset"] = {"from": model.opset, "declined": str(error)}
                continue
            found = annotate(made)
            prices = Roofline(context.target, with_made_up(made, context.symbols))
            _, record = _GraphRun(self, made, made.graph, prices, context, found).run()
            lowest = _raising.needed(made, rules, model.opset)
            kept = restated(made, lowest, _raising.ir_version(model, lowest))
            if lowest == model.opset:
                facts["opset"] = {"from": model.opset, "declined": f"nothing that opset {opset} brings is chosen"}
                return PassResult(made, True, {"graphs": [record], **facts}, _stops([record])) if kept else None
            raised = {"from": model.opset, "to": lowest if kept else opset}
            left = [lowest] if result is None and lowest < opset and not kept else []
            result = PassResult(made, True, {"graphs": [record], "opset": raised}, _stops([record]))
        return result

    def _opsets(self, run: _GraphRun) -> tuple[int, ...]:
        """Opsets worth a try, the newest first."""
        given = run.model.opset, self.rules(), run.context.target
        if not (newest := _raising.limit(*given)):
            return ()
        # Mostly the graph as it is tells; else what its own opset's rules make of it, if they may make more of it.
        reach = reach_of(run.imported.tables)
        wanted = _raising.candidates(*given, reach)
        if wanted and (wanted[0] == newest or wanted[0] == _raising.candidates(*given, reach, own=True)[0]):
            return wanted
        return _raising.candidates(*given, run.saturating.reach)


def _stops(records: Sequence[Mapping[str, Any]]) -> frozenset[Stop]:
    return frozenset([Stop.SOLVER] if any(record.get("stopped") for record in records) else [])


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
    found: Annotation

    @cached_property
    def imported(self) -> Imported:
        """The graph as an e-graph, its siblings joined."""
        imported = importing.import_graph(self.graph, self.found)
        if self.options.equality == "value" and not self.options.only:
            siblings.join_siblings(imported, self.model.opset)
        return imported

    @cached_property
    def saturating(self) -> Saturating:
        """The rules at their end; the model is as it was."""
        opset = self.model.opset
        rules = [r for r in self.options.rules() if r.first_opset <= opset <= r.last_opset]
        retype = _is_symbolic(self.graph)
        recorder = Recorder(self.imported.egraph) if ORIGINS in self.context.asked else None
        made = Saturating(self.imported.egraph, self.imported.tables, rules, opset, retype=retype, recorder=recorder)
        made.run(Limits(self.options.nodes, self.options.iterations))
        return made

    def run(self) -> tuple[bool, dict[str, Any]]:
        """Write the cheapest program that the rules allow into the graph; whether it did, and what there is to say."""
        imported, saturating = self.imported, self.saturating
        told = self._declines()
        read = read_out(imported.egraph)
        frozen = read.frozen
        choosing = Choosing(imported, frozen, self.prices)
        # Every node is dispatched, views too; twice, because what a runtime fuses anyway is priced unfused here.
        weights = Weights(1.0, _TIE_BYTES, 2 * self.context.target.launch_overhead)
        try:
            choice = choosing.extract(choosing.problem(weights, choosing.spent()), self.context.seconds)
        except TccError as error:
            if error.exit_code is not Exit.INFEASIBLE:
                raise
            # The prices are estimates: where they say that not even the graph itself fits, it stays as it is.
            return False, {"graph": self.graph.name or "", "declined": "no program within the input's bytes and nodes"}
        program = replace(choice.program, wide=self.options.equality == "value")
        declined = [] if told is None else declines(imported, read, told)
        origins = None if saturating.recorder is None else Origins(imported, read, saturating.recorder, program)
        del read
        if origins is None:
            # Nobody asks the engine any more, and it holds more than the graph does.
            imported.egraph.close()
            heap.give_back()
        values = emission.emit(imported, choice.frozen, program, self.model.opset_imports, names_of_model(self.model))
        record = self._record(frozen, choice) | write_tiles(choice.tiles, values)
        if origins is not None:
            record[ORIGINS] = origins.entries(values)
        if told is not None:
            record[DECLINES] = declined
        return True, record

    def _record(self, frozen: Frozen, choice: Choice) -> dict[str, Any]:
        """What there is to say of the saturated graph and of the choice."""
        given, ended = frozenset(self.saturating.given.values()), self.saturating.ended
        return {
            "graph": self.graph.name or "",
            "rules": sum(any(query in given for query in rule.queries) for rule in self.saturating.rules),
            "saturation": ended.ended,
            "iterations": ended.iterations,
            "classes": len(frozen.classes),
            "e_nodes": frozen.node_count,
            "method": choice.extraction.method,
            "stopped": choice.extraction.stopped,
            "objective": choice.extraction.objective,
            "greedy": choice.extraction.greedy,
            "bound": choice.extraction.bound,
            "gap": choice.extraction.gap,
        }

    def _declines(self) -> Declining | None:
        """What finds out why rules declined; None where nobody asks."""
        if DECLINES not in self.context.asked:
            return None
        queries = [query for rule in self.saturating.rules for query in rule.queries]
        return Declining(self.imported.egraph, queries, frozenset(self.saturating.reach.names))


def _is_symbolic(graph: onnx_ir.Graph) -> bool:
    """Whether sizes of the inputs are symbols: what rules find out about them is carried on through all nodes."""
    kinds = [tensor_type(v) for v in graph.inputs]
    return any(kind is not None and not kind.is_static for kind in kinds)
