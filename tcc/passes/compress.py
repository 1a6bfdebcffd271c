"""Takes lossy alternatives (half precision, 8-bit weights) where they pay, within the loss budget."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from tcc.cost_models.roofline import Roofline
from tcc.diagnostics import TccError
from tcc.ir import emission, importing, translated
from tcc.ir.execution import Runner
from tcc.ir.frozen import freeze
from tcc.ir.inference import Annotation, annotate
from tcc.ir.loss import Loss, measure
from tcc.ir.model import Model
from tcc.ir.probing import ranges
from tcc.ir.problem import Budgets, Edge, Weights
from tcc.ir.saturation import Limits, saturate
from tcc.passes._choosing import Choice, Choosing
from tcc.passes.base import Context, Effect, Pass, PassResult
from tcc.passes.simplify import taken_names
from tcc.rewrites import stored
from tcc.rewrites.lossy import Evidence, Offer, techniques
from tcc.rewrites.rule import made_by, relevant

_ROUNDS = 5
"""Programs that are measured before the pass gives up on lossy alternatives."""
_JOINING = frozenset({"cast_there_and_back", "cast_to_own_type"})
_OBJECTIVES = {
    # A byte counts for a little, well above the solver's gap and well below the time to read it once.
    "latency": Weights(1.0, 1e-13, 0.0),
    "size": Weights(1e-9, 1.0, 0.0),
}


@dataclass(frozen=True)
class Compress(Pass):
    """Lossy alternatives as priced edges, chosen together under the loss budget.

    Each site's loss is predicted from its local error; the chosen program's loss is measured, on the
    calibration data where there is some and on generated inputs otherwise, and the prediction corrected until
    the measured loss keeps the budget.

    Args:
        techniques: names joined by ``+``; empty for all. A technique's own options follow it, each after a colon.
        objective: ``latency`` or ``size``.
        slower: whether the program may be predicted slower than its input, as only ``-Oz`` allows.
    """

    techniques: str = ""
    objective: str = "latency"
    slower: bool = False

    effect: ClassVar[Effect] = Effect.LOSSY

    def run(self, model: Model, context: Context) -> PassResult:
        """Compress the top-level graph."""
        if not model.opset:
            return PassResult(model, changed=False, facts={"declined": {"all": "no operator of the default domain"}})
        found = annotate(model)
        feeds = tuple(context.calibration or context.feeds)
        data = "calibration" if context.calibration else "generated inputs"
        record: dict[str, Any] = {"objective": self.objective, "data": data, "rounds": []}
        try:
            proto, weights = model.stripped_proto()
            expected = [Runner(proto, weights=weights).run(feed) for feed in feeds]
            seen = ranges(model, feeds)
        except TccError as error:
            record["declined"] = {"all": error.diagnostics[0].message}
            return PassResult(model, changed=False, facts=record)
        correction = 1.0
        evidence = Evidence(model, feeds, context.calibration is not None)
        for _ in range(_ROUNDS):
            attempt = _Attempt(self, model.clone(), context, found, seen, correction, evidence)
            choice = attempt.choose()
            sites = choice.extraction.sites
            record |= attempt.record(choice)
            if not sites:
                return PassResult(model, changed=False, facts=record)
            attempt.emit(choice)
            loss = measure(attempt.model, feeds, expected)
            predicted = sum(attempt.loss[s] for s in sites)
            record["rounds"].append({"sites": len(sites), "predicted": predicted, "measured": loss.value})
            record["loss"] = {"metric": loss.metric, "value": loss.value, "data": data}
            if loss.value <= context.max_loss:
                return PassResult(attempt.model, changed=True, facts=record)
            correction *= _correction(loss, predicted)
        record["declined"]["all"] = f"no program kept the loss budget of {context.max_loss:g} in {_ROUNDS} rounds"
        record["sites"] = []
        return PassResult(model, changed=False, facts=record)


def _correction(loss: Loss, predicted: float) -> float:
    # A prediction that was right within the budget's rounding must still move, or the next round is the same.
    return max(1.5, loss.value / predicted) if predicted and math.isfinite(loss.value) else 1e6


@dataclass
class _Attempt:
    """One program: alternatives offered at the present prediction, chosen and written."""

    options: Compress
    model: Model
    context: Context
    found: Annotation
    seen: Mapping[str, float]
    correction: float
    evidence: Evidence

    def __post_init__(self) -> None:
        graph, opset = self.model.graph, self.model.opset
        self.imported = importing.import_graph(graph, self.found)
        self.offer = Offer(
            self.imported, self.imported.tables.further(), self.context.target, opset, self.seen, [], {}, {}, {},
            self.evidence,
        )  # fmt: skip
        asked = [text.split(":") for text in self.options.techniques.split("+") if text]
        wanted = {name: tuple(words) for name, *words in asked}
        for name, technique in techniques().items():
            if not wanted or name in wanted:
                self.offer.options = wanted.get(name, ())
                technique.offer(self.offer)
        self.offer.tables.load(self.imported.egraph)
        # The graph was simplified before: of the exact rules only those are needed that join neighbours of one type.
        exact = tuple(r for r in stored() if r.name in _JOINING)
        chosen, operators = relevant(exact, frozenset(self.imported.operators), opset)
        saturate(
            self.imported.egraph, [r.text for r in chosen], translated.analysis_for(operators, made_by(chosen), opset),
            Limits(iterations=4),
        )  # fmt: skip
        self.frozen = freeze(self.imported.egraph)
        self.loss = self._predicted()

    def _predicted(self) -> dict[str, float]:
        """Each site's share of the loss: independent errors add in quadrature, the budget is a plain sum."""
        total = math.sqrt(sum(error**2 for error in self.offer.error.values()))
        squares = {site: error**2 / total if total else 0.0 for site, error in self.offer.error.items()}
        return {site: share * self.correction for site, share in squares.items()}

    def choose(self) -> Choice:
        """The best program within the loss budget and no worse than the input in bytes, and in time if asked."""
        choosing = Choosing(self.imported, self.frozen, Roofline(self.context.target, self.context.symbols))
        of = self.frozen.of
        edges = [Edge(a.site, of[a.source], of[a.target]) for a in self.offer.alternatives]
        weights = _OBJECTIVES[self.options.objective]
        without = choosing.extract(choosing.problem(weights, Budgets(nbytes=None)), self.context.seconds)
        budgets = replace(
            choosing.spent(), nodes=None, loss=self.context.max_loss,
            seconds=None if self.options.slower else without.extraction.price.seconds * (1 + 1e-9),
        )  # fmt: skip
        built = choosing.problem(weights, budgets, edges=edges, loss=self.loss)
        return choosing.extract(built, self.context.seconds)

    def emit(self, choice: Choice) -> None:
        """Write the chosen program into this attempt's own model."""
        names = taken_names(self.model)
        emission.emit(self.imported, self.frozen, choice.program, self.model.opset_imports, names)

    def record(self, choice: Choice) -> dict[str, Any]:
        """Facts for the report."""
        found = choice.extraction
        return {
            "offered": len(self.offer.error),
            "declined": dict(sorted(self.offer.declined.items())),
            "sites": list(found.sites),
            "objective_value": found.objective,
            "bound": found.bound,
            "gap": found.gap,
            "method": found.method,
        }
