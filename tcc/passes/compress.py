"""Takes lossy alternatives (integers, half precision, small weights) where they pay, within the loss budget."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from tcc.diagnostics import Exit, TccError, fail
from tcc.ir import covariance, deadline
from tcc.ir.loss import CONFIDENCE, Loss, measure
from tcc.ir.model import Model
from tcc.ir.opsets import raised
from tcc.passes._attempt import Attempt
from tcc.passes._hoisting import hoisted
from tcc.passes._prepared import Prepared, prepare
from tcc.passes._sensitivity import Answers, Measuring
from tcc.passes._tried import Tried, dependent, technique_of
from tcc.passes.base import Context, Effect, Pass, PassResult, Stop
from tcc.rewrites.lossy import SMALLEST, names
from tcc.rewrites.lossy._ranges import KEY
from tcc.rewrites.lossy._repairs import RANGES

_ROUNDS = 5
"""Programs that are measured before the pass gives up on lossy alternatives."""
_LOSSLESS_ROUNDS = 8
"""The same where nothing may be lost: how much may be predicted is then found by bisection."""
_TRUSTED = 0.01
"""The predicted loss that is tried first where none may be measured."""
_OPSET = 13
"""The first opset with a scale for each channel."""
_UNIT = {CONFIDENCE: 0.1}
"""What of the unexplained variance a classifier's loss is, before it is measured: small errors change no prediction."""
_SURPRISE = 3.0
"""How much more than predicted a program has to lose before its techniques are measured one by one."""
_HOPELESS = 1.5
"""How much of the budget a program has to lose on part of the data, for the rest to be left out."""
_ENOUGH, _LOOK = 32, 8
"""Samples after which that can be said, and the runs between two looks."""
_OBSERVING, _GATHERING, _MEASURING = 0.3, 0.6, 0.85
"""Parts of the time after which values are no longer observed, techniques no longer measured, and a program is
judged by what was measured of it: each leaves time for what comes after it."""
_SAME = 1.05
"""Cautions that are nearer than this choose the same program."""
_FULL = 0.75
"""The part of the budget from which on a program counts as having used it."""
_RIGHT = 0.9
"""The part of the predicted loss from which on what was measured corrects nothing."""
_TWICE, _DEAR = 2.0, 0.1
"""How much more than predicted, and which part of the budget, has to be lost for it to be asked by what."""
_HUGE = 1e6
"""The factor of what is worse than any prediction."""
_NOTHING, _STATIC = "nothing", "static-int8"
"""No technique's name, and that of the one that fixes ranges of activations."""
_CLOSE = 0.5
"""The part of the budget below which the prediction did not stand in a program's way."""


@dataclass(frozen=True)
class Compress(Pass):
    """Lossy alternatives as priced edges, chosen together under the loss budget.

    The loss of each site is predicted to first order: with calibration data, from the slope that a probe model
    measures at it and from its local error. The chosen program's loss is measured, on the calibration data where
    there is some and on generated inputs otherwise, and the prediction corrected until it keeps the budget.
    A budget of 0 asks that no prediction of a classifier changes on the calibration data; of other models' outputs
    any change is a loss.

    Args:
        techniques: names joined by ``+``; empty for all. A technique's own options follow it, each after a colon.
        objective: ``latency``, ``size`` or ``energy``.
        slower: whether the program may be predicted slower than its input, as only ``-Oz`` allows.
        only: those of them that may be taken, joined by ``+``; empty for all. What is measured is measured for all.
        without: what is left out, to see what it contributes, joined by ``+``: techniques and their repairs,
            ``hardware-prices`` (bit operations then), ``program`` (greedy then, in place of the integer program).
    """

    techniques: str = ""
    objective: str = "latency"
    slower: bool = False
    only: str = ""
    without: str = ""

    effect: ClassVar[Effect] = Effect.LOSSY

    def __post_init__(self) -> None:
        """Check the names.

        Raises:
            ValueError: where one is no technique's.
        """
        given = [text.partition(":")[0] for text in f"{self.techniques}+{self.only}".split("+")]
        if unknown := sorted({name for name in given if name} - set(names())):
            message = f"{', '.join(unknown)} is no technique; there are {', '.join(names())}"
            raise ValueError(message)

    def run(self, model: Model, context: Context) -> PassResult:
        """Compress the top-level graph."""
        if not model.opset:
            return PassResult(model, changed=False, facts={"declined": {"all": "no operator of the default domain"}})
        newer = raised(model, min(_OPSET, context.target.max_opset)) or model
        newer = hoisted(newer, SMALLEST)  # what lies in bodies can lie in fewer bits as well
        asked = [text.split(":") for text in self.techniques.split("+") if text]
        search = _Search(self, newer, context, {name: tuple(words) for name, *words in asked})
        try:
            search.look()
        except TccError as error:
            if deadline.has_come(error):
                raise
            search.record["declined"] = {"all": error.diagnostics[0].message}
            return PassResult(model, changed=False, facts=search.record)
        best = search.best()
        stops = frozenset(search.stops) | ({Stop.DEADLINE} if search.known.hurried else set())
        if best is None:
            return PassResult(model, False, search.record, stops)
        return PassResult(best, True, search.record, stops)


@dataclass
class _Search:
    """Programs at growing caution (or less of it), each measured; the best one within the budget is kept."""

    options: Compress
    model: Model
    context: Context
    wanted: Mapping[str, Sequence[str]]
    record: dict[str, Any] = field(default_factory=dict)
    stops: set[Stop] = field(default_factory=set)
    unit: float = 1.0
    """The loss, in the budget's unit, of an unexplained variance of 1."""
    factors: dict[str, float] = field(default_factory=dict)
    """How much more than predicted each technique was found to lose."""

    known: Prepared = field(init=False)
    gathered: float = field(init=False, default=math.inf)
    """When to be content with what is known of the techniques, in seconds since the epoch."""
    measured: float = field(init=False, default=math.inf)
    """When to be content with what was measured of a program."""
    allowed: float = field(init=False, default=0.0)
    """The loss that may be predicted: the budget, or where that is 0 what was found to lose nothing."""
    failed: float = 0.0
    """The largest ``unit`` at which something was lost that must not be."""
    kept: float = math.inf
    """The smallest ``unit`` at which it was not."""
    found: Tried | None = None
    """The best program within the budget so far."""
    divided: bool = False
    """Whether what was lost was divided between techniques and those that work on what they made."""

    def look(self) -> None:
        """Run the original; raises where it does not run."""
        data = "calibration" if self.context.calibration else "generated inputs"
        self.record |= {"objective": self.options.objective, "data": data, "rounds": []}
        end = self.context.deadline
        self.gathered, self.measured = deadline.share(end, _GATHERING), deadline.share(end, _MEASURING)
        self.known = prepare(self.model, self.context, deadline.share(end, _OBSERVING))
        metric, self.allowed = self.known.expected.judge.loss().metric, self.context.max_loss
        self.unit = _UNIT.get(metric, 1.0)
        if not self.allowed and self.context.calibration:
            if metric != CONFIDENCE:
                message = "no loss is allowed, and any change of outputs that are no classifier's scores is one"
                raise fail(Exit.UNSUPPORTED, "E0431", message, where=self.model.source)
            self.allowed = _TRUSTED
        kept = self.known.evidence.kept
        if self.context.calibration and KEY not in kept and self._is_ranged():
            with self._gathering():
                kept[KEY], self.known.slopes = self._measuring().ranges()

    @contextmanager
    def _gathering(self) -> Iterator[None]:
        """What is found out within has its part of the time; what it was too short for goes on without."""
        with deadline.until(self.gathered) as span:
            yield
        self.known.hurried |= span.struck

    def _is_ranged(self) -> bool:
        """Whether ranges of activations are fixed, and chosen by what the outputs lose."""
        return not {_STATIC, RANGES} & set(self.options.without.split("+")) and _STATIC in (self.wanted or {_STATIC})

    def _attempt(self) -> Attempt:
        context, known = replace(self.context, max_loss=self.allowed), self.known
        return Attempt(
            known.model.clone(), context, known.found, known.observed, known.evidence, self.wanted,
            self.options.objective, self.options.slower, frozenset(self.options.without.split("+")),
        )  # fmt: skip

    def best(self) -> Model | None:
        """The best program found within the budget; None where none pays or none keeps it."""
        for _ in range(_ROUNDS if self.context.max_loss else _LOSSLESS_ROUNDS):
            try:
                tried = self._try()
            except TccError as error:
                if self.found is None or not deadline.has_come(error):
                    raise
                self.stops.add(Stop.DEADLINE)
                break
            if self.found is None:
                self.record |= tried.facts
            if tried.loss is None:
                break
            self.record["rounds"].append(tried.entry())
            if not self._continues(tried, fits=self._keep(tried, tried.loss)):
                break
        if self.found is None:
            self._give_up()
            return None
        self.record |= self.found.facts
        return self.found.model

    def _keep(self, tried: Tried, found: Loss) -> bool:
        """Keep a program that is the best so far within the budget; whether it keeps that."""
        fits = found.value <= self.context.max_loss
        if fits and (self.found is None or tried.objective < self.found.objective):
            self.found = tried
        return fits

    def _try(self, only: str = "") -> Tried:
        """Choose, write and measure a program at the present prediction; ``only`` names what may be used."""
        with self._gathering():
            attempt = self._attempt()
            answers = self._answers(attempt)
        usable = {name for name in (only or self.options.only).split("+") if name}
        loss = {
            site: self.unit * self.factors.get(technique_of(site), 1.0) * e
            for site, e in answers.losses(attempt.offer).items()
            if not usable or technique_of(site) in usable
        }
        choice = attempt.choose(loss)
        self.stops |= {Stop.SOLVER} if choice.extraction.stopped else set()
        sites, facts = choice.extraction.sites, attempt.record(choice)
        if not sites:
            return Tried(attempt.model, facts, choice.extraction.objective, {}, None, left=bool(loss))
        attempt.emit(choice)
        truncating = {technique_of(site) for site in attempt.offer.projections}
        found = self._measure(attempt.model, fitted=any(technique_of(site) in truncating for site in sites))
        facts["loss"] = {
            "metric": found.metric, "value": found.value, "upper": found.upper, "data": self.record["data"],
        }  # fmt: skip
        predicted = {site: loss[site] for site in sites}
        # What is known of its loss by now counts, and not what was thought of it.
        objective = choice.extraction.objective + attempt.loss_price * (found.value - sum(predicted.values()))
        tried = Tried(attempt.model, facts, objective, predicted, found, left=len(loss) > len(sites))
        self.context.log(tried.text(), 1)
        return tried

    def _continues(self, tried: Tried, *, fits: bool) -> bool:
        """As ``_goes_on``, with nothing more to try once the time has come."""
        assert tried.loss is not None
        try:
            return self._goes_on(tried, tried.loss, fits=fits)
        except TccError as error:
            if not deadline.has_come(error):
                raise
            self.stops.add(Stop.DEADLINE)
            return False

    def _goes_on(self, tried: Tried, found: Loss, *, fits: bool) -> bool:
        """Correct the prediction by what was measured; whether another program is worth trying."""
        if not self.context.max_loss:
            return self._bisects(left=tried.left, fits=fits)
        budget, predicted = self.context.max_loss, tried.predicted
        used = sorted({technique_of(site) for site in tried.loss_of})
        if not self.divided and found.value > max(_TWICE * predicted, _DEAR * budget) and dependent(used):
            self._divide(tried, found, used)
            return True
        if not fits:
            if predicted and found.value > _SURPRISE * predicted and len(used) > 1:
                self._blame(used)
                self.failed, self.kept = 0.0, math.inf
                return True
            self.failed = max(self.failed, self.unit)
            # A prediction that was right within rounding must still move, or the next round is the same.
            known = predicted and math.isfinite(found.value)
            return self._moves(self.unit * (max(1.5, found.value / predicted) if known else _HUGE))
        self.kept = min(self.kept, self.unit)
        if not tried.left or found.value > _FULL * budget or not predicted:
            return False
        if predicted < _CLOSE * budget and self.context.judge is None:
            return False
        if found.value > _RIGHT * predicted:
            return False  # the prediction was right: with it the same program would be chosen again
        return self._moves(self.unit * max(found.value / predicted, 0.25))

    def _moves(self, unit: float) -> bool:
        """Go on with another caution, between what lost too much and what did not where both are known."""
        between = 0 < self.failed < self.kept < math.inf
        self.unit = math.sqrt(self.failed * self.kept) if between else unit
        return not between or self.kept > _SAME * self.failed

    def _bisects(self, *, left: bool, fits: bool) -> bool:
        """Search the largest predicted loss at which nothing is lost; whether to go on."""
        if fits:
            self.kept = self.unit
        else:
            self.failed = self.unit
        if not self.failed:
            self.unit /= 4
            return left
        if math.isinf(self.kept):
            self.unit *= 4
            return True
        self.unit = math.sqrt(self.failed * self.kept)
        return self.kept > 2 * self.failed

    def _divide(self, tried: Tried, found: Loss, used: Sequence[str]) -> None:
        """Find what is lost by the techniques that work on what others made: what the others alone do not lose."""
        self.divided = True
        rest = self._try(only="+".join(name for name in used if name not in dependent(used)) or _NOTHING)
        if rest.loss is not None:
            self._keep(rest, rest.loss)
            self.record["rounds"].append(rest.entry() | {"without": list(dependent(used))})
        lost = found.value - (0.0 if rest.loss is None else rest.loss.value)
        for name in dependent(used):
            alone = sum(loss for site, loss in tried.loss_of.items() if technique_of(site) == name)
            if alone:
                self.factors[name] = self.factors.get(name, 1.0) * max(1.0, min(lost / alone, _HUGE))

    def _blame(self, used: Sequence[str]) -> None:
        """Find which technique lost so much more than predicted, each measured without the others."""
        for name in used:
            tried = self._try(only=name)
            if tried.loss is not None:
                self._keep(tried, tried.loss)
            if tried.loss is not None and tried.predicted:
                ratio = tried.loss.value / tried.predicted if math.isfinite(tried.loss.value) else _HUGE
                self.factors[name] = self.factors.get(name, 1.0) * max(1.0, ratio)
                self.record["rounds"].append(tried.entry() | {"technique": name})

    def _measure(self, model: Model, *, fitted: bool) -> Loss:
        # A processor's integer kernels are what is deployed; they are also the faster way to run them.
        known, fused = self.known, self.context.target.kind == "cpu"
        found = measure(
            model, known.feeds, known.expected, optimise=fused, threads=self.context.threads,
            every=_LOOK, enough=self._is_told,
        )  # fmt: skip
        if fitted:
            found = self._on_new_data(model, found)
        if self.context.judge is None:
            return found
        judged = self.context.judge(model)
        # What the distance from the original does not vouch for, the user's own metric has to, noise and all.
        return replace(judged, value=max(judged.value, min(judged.upper, found.value)))

    def _on_new_data(self, model: Model, found: Loss) -> Loss:
        """The loss on what nothing was fitted to, where that is more than chance explains."""
        known = self.known
        feeds = covariance.held_out(known.feeds)
        if not feeds:
            return found
        expected = covariance.held_out(list(known.expected))
        new = measure(model, feeds, expected, optimise=self.context.target.kind == "cpu", threads=self.context.threads)
        return new if new.metric == found.metric and new.value > found.upper else found

    def _is_told(self, found: Loss) -> bool:
        """Whether part of the data says already that a program loses too much, or has to do."""
        if found.metric != self.known.expected.judge.loss().metric or found.samples < _ENOUGH:
            return False
        if deadline.is_over(self.measured):
            self.known.hurried = True
            return True
        # What is below the value is as far from it as what is above.
        return not math.isfinite(found.value) or 2 * found.value - found.upper > _HOPELESS * self.context.max_loss

    def _answers(self, attempt: Attempt) -> Answers:
        known = self.known
        if not self.context.calibration:
            return Answers()
        key = tuple(sorted(self.wanted.items())), attempt.offering
        if key not in known.answers:
            known.answers[key] = self._measuring().answers(attempt.offer)
        return known.answers[key]

    def _measuring(self) -> Measuring:
        known, judge = self.known, self.known.expected.judge
        about = judge.varied, judge.samples, self.context, known.evidence.operations, known.slopes
        return Measuring(known.model, known.observed, known.feeds, *about)

    def _give_up(self) -> None:
        if self.record["rounds"]:
            rounds = len(self.record["rounds"])
            message = f"no program kept the loss budget of {self.context.max_loss:g} in {rounds} rounds"
            self.record.setdefault("declined", {})["all"] = message
        self.record["sites"] = []
