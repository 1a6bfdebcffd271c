"""Takes lossy alternatives (integers, half precision, small weights) where they pay, within the loss budget."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tcc.diagnostics import TccError
from tcc.ir.calibration import Observation, observe
from tcc.ir.execution import Runner
from tcc.ir.inference import Annotation, annotate
from tcc.ir.loss import CONFIDENCE, Judge, Loss, measure
from tcc.ir.model import Model
from tcc.ir.opsets import raised
from tcc.passes import _sensitivity
from tcc.passes._attempt import Attempt
from tcc.passes.base import Context, Effect, Pass, PassResult
from tcc.rewrites.lossy import Evidence

_ROUNDS = 5
"""Programs that are measured before the pass gives up on lossy alternatives."""
_OPSET = 13
"""The first opset with a scale for each channel."""
_HELD = 64_000_000
"""Bytes of outputs that are kept; more are computed again for each program."""
_UNIT = {CONFIDENCE: 0.1}
"""What of the unexplained variance a classifier's loss is, before it is measured: small errors change no prediction."""
_CLOSE = 0.5
"""The part of the budget that a program may leave unused before a less cautious one is tried."""


@dataclass(frozen=True)
class Compress(Pass):
    """Lossy alternatives as priced edges, chosen together under the loss budget.

    The loss of each site is predicted to first order: with calibration data, from the slope that a probe model
    measures at it and from its local error. The chosen program's loss is measured, on the calibration data where
    there is some and on generated inputs otherwise, and the prediction corrected until it keeps the budget.

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
        newer = raised(model, min(_OPSET, context.target.max_opset)) or model
        asked = [text.split(":") for text in self.techniques.split("+") if text]
        search = _Search(self, newer, context, {name: tuple(words) for name, *words in asked})
        try:
            search.look()
        except TccError as error:
            search.record["declined"] = {"all": error.diagnostics[0].message}
            return PassResult(model, changed=False, facts=search.record)
        best = search.best()
        if best is None:
            return PassResult(model, changed=False, facts=search.record)
        return PassResult(best, changed=True, facts=search.record)


@dataclass
class _Search:
    """Programs at growing caution (or less of it), each measured; the best one within the budget is kept."""

    options: Compress
    model: Model
    context: Context
    wanted: Mapping[str, Sequence[str]]
    record: dict[str, Any] = field(default_factory=dict)
    slopes: dict[str, float] | None = None
    unit: float = 1.0
    """The loss, in the budget's unit, of an unexplained variance of 1."""

    @property
    def feeds(self) -> Sequence[Mapping[str, Any]]:
        """What the loss is measured on."""
        return self.context.calibration or self.context.feeds

    def look(self) -> None:
        """Run the original; raises where it does not run."""
        self.found: Annotation = annotate(self.model)
        data = "calibration" if self.context.calibration else "generated inputs"
        self.record |= {"objective": self.options.objective, "data": data, "rounds": []}
        self.expected = _Expected(self.model, self.feeds)
        self.observed: Mapping[str, Observation] = observe(self.model, self.feeds, outputs=self.expected.keep)
        self.unit = _UNIT.get(self.expected.judge.loss().metric, 1.0)
        self.evidence = Evidence(self.model, tuple(self.feeds), self.context.calibration is not None)

    def _attempt(self) -> Attempt:
        return Attempt(
            self.model.clone(), self.context, self.found, self.observed, self.evidence, self.wanted,
            self.options.objective, self.options.slower,
        )  # fmt: skip

    def best(self) -> Model | None:
        """The best program found within the budget; None where none pays or none keeps it."""
        best: tuple[float, Model, dict[str, Any]] | None = None
        for _ in range(_ROUNDS):
            attempt = self._attempt()
            if self.slopes is None:
                self.slopes = self._measured_slopes(attempt)
            loss = {site: self.unit * e for site, e in attempt.errors(self.slopes).items()}
            choice = attempt.choose(loss)
            sites, facts = choice.extraction.sites, attempt.record(choice)
            if best is None:
                self.record |= facts
            if not sites:
                break
            attempt.emit(choice)
            found = self._measure(attempt.model)
            predicted = sum(loss[s] for s in sites)
            self.record["rounds"].append({"sites": len(sites), "predicted": predicted, "measured": found.value})
            facts["loss"] = {
                "metric": found.metric, "value": found.value, "upper": found.upper, "data": self.record["data"],
            }  # fmt: skip
            fits = found.value <= self.context.max_loss
            if fits and (best is None or choice.extraction.price.seconds < best[0]):
                best = (choice.extraction.price.seconds, attempt.model, facts)
            if not self._goes_on(found, predicted, fits=fits, left=len(loss) > len(sites)):
                break
        if best is None:
            self._give_up()
            return None
        self.record |= best[2]
        return best[1]

    def _goes_on(self, found: Loss, predicted: float, *, fits: bool, left: bool) -> bool:
        """Correct the prediction by what was measured; whether another program is worth trying."""
        budget = self.context.max_loss
        if not fits:
            # A prediction that was right within the budget's rounding must still move, or the next round is the same.
            known = predicted and math.isfinite(found.value)
            self.unit *= max(1.5, found.value / predicted) if known else 1e6
            return True
        if not left or predicted < _CLOSE * budget or found.value > _CLOSE * budget or not predicted:
            return False
        self.unit *= max(found.value / predicted, 0.25)
        return True

    def _measure(self, model: Model) -> Loss:
        # A processor's integer kernels are what is deployed; they are also the faster way to run them.
        return measure(model, self.feeds, self.expected, optimise=self.context.target.kind == "cpu")

    def _measured_slopes(self, attempt: Attempt) -> dict[str, float]:
        if not self.context.calibration:
            return {}
        values = [name for name in attempt.offer.where.values() if name]
        return _sensitivity.slopes(self.model, values, self.observed, self.feeds, self.context)

    def _give_up(self) -> None:
        if self.record["rounds"]:
            message = f"no program kept the loss budget of {self.context.max_loss:g} in {_ROUNDS} rounds"
            self.record.setdefault("declined", {})["all"] = message
        self.record["sites"] = []


@dataclass
class _Expected:
    """The original's outputs, kept where they are small and computed again where they are not."""

    model: Model
    feeds: Sequence[Mapping[str, Any]]
    judge: Judge = field(default_factory=Judge)
    """What would be said of a program without any loss."""
    _kept: list[Sequence[Any]] = field(default_factory=list)
    _held: int = 0

    def keep(self, outputs: Sequence[Any]) -> None:
        """Take the outputs of the next run."""
        self.judge.add(outputs, outputs)
        self._held += sum(getattr(output, "nbytes", 0) for output in outputs)
        if self._held <= _HELD:
            self._kept.append(outputs)
        else:
            self._kept.clear()

    def __iter__(self) -> Iterator[Sequence[Any]]:
        if len(self._kept) == len(self.feeds):
            yield from self._kept
            return
        proto, weights = self.model.stripped_proto()
        runner = Runner(proto, weights=weights)
        yield from (runner.run(feed) for feed in self.feeds)
