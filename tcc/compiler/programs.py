"""The programs that a compilation considers: one pipeline's, or those of a search over them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tcc import report
from tcc.compiler import ablation, executors, levels, pipelines, search
from tcc.compiler.accuracy import FEWEST, Judged, LossOf
from tcc.compiler.attempts import Bench, Branch, extend
from tcc.compiler.budgets import Budgets, Cost
from tcc.compiler.lowering import TypedForms
from tcc.compiler.provenance import Provenance
from tcc.compiler.request import Request
from tcc.compiler.search import Point, Search
from tcc.compiler.speed import HOWEVER_SLOW, MARGIN, SLIGHT, SpeedGate
from tcc.cost_models.memory import Memory
from tcc.diagnostics import Diagnostic, Exit, TccError
from tcc.ir import deadline
from tcc.ir.inference import annotate
from tcc.ir.model import Model
from tcc.ir.problem import BYTES_PRICE
from tcc.passes.base import Context, Effect, Pass, Stop
from tcc.passes.compress import Compress
from tcc.passes.manager import Outcome, Snapshot, Stages, Verifier, run_passes
from tcc.passes.pipeline import parse, unparse
from tcc.passes.simplify import Simplify
from tcc.rewrites.lossy import at_load_time, offered_for, techniques
from tcc.targets.native import processors

Feeds = tuple[Mapping[str, Any], ...]

_TURNS = (0.5, 0.65, 0.75)
"""The parts of the time limit at which the turns of a search end: the first leaves time for less lossy programs, the
last for measuring and writing what there is."""
_MUCH = 0.05
"""The part of the time limit after which, with the exact form made, there may be too little for a search."""
_CAREFULLY = 0.5
"""The part of the loss budget for programs that are made without data: it is the data that judge them."""
_ONE_SIZE = 0.01
"""The part of the input's bytes by which files of one size differ at most."""


@dataclass
class Programs:
    """Makes them and picks one.

    A level that may lose is searched: exact passes first, then each of its branches; so is whatever has to keep
    a budget of bytes or time. All else is one pipeline.

    Args:
        asked: the request.
        gate: of speed; it has the forms as files.
        provenance: what will be written into a form besides.
        verifier: checks every pass; None for no checks.
        loss: of a form on the user's data.
        samples: calibration data.
    """

    asked: Request
    gate: SpeedGate
    provenance: Provenance
    verifier: Verifier | None
    loss: LossOf
    samples: Feeds | None
    chosen: Point | None = None
    _search: Search | None = None

    def best(self, model: Model, original: Snapshot, nbytes: int) -> Outcome:
        """The program to ship.

        Raises:
            TccError: what passes raise; exit INFEASIBLE where no program keeps the budgets.
        """
        passes = self._possible(original)
        if self.asked.level and self.asked.budgets.memory is not None:
            passes = pipelines.tiled(passes)
        at = next((i for i, step in enumerate(passes) if step.promises is Effect.LOSSY), len(passes))
        first, rest = passes[:at], passes[at:]
        limits = self.asked.budgets
        context = Context(
            self.asked.target, self.asked.sizes, (), self.samples, limits.loss,
            math.inf if limits.nbytes is None else limits.nbytes.of(nbytes), self.asked.seconds, self.asked.log,
            None if self.loss.evaluation is None else Judged(self.loss), self.asked.asked,
            max_memory=self._most_memory(original), deadline=self.asked.share_of_time(_TURNS[-1]),
        )  # fmt: skip
        start = run_passes(
            model, first, context, original=original, verifier=self.verifier, instruments=self.asked.instruments
        )  # fmt: skip
        if rest:
            self._tell_data(original)
            start = self._no_slower(start, first, context, original)
        self.asked.diagnostics += start.diagnostics
        bench = Bench(context, self.verifier, self.loss, self._stages())
        try:
            outcome = self._searched(bench, start, rest, nbytes)
        except TccError as error:
            # It would fail again; what ended for want of time or memory can go on.
            self._clear(bench.stages if error.exit_code is not Exit.LIMIT else None)
            raise
        self._clear(bench.stages)
        self._tell_stops(outcome, original)
        self.asked.diagnostics += [d for d in outcome.diagnostics if d not in self.asked.diagnostics]
        return outcome

    def _no_slower(self, start: Outcome, first: tuple[Pass, ...], context: Context, original: Snapshot) -> Outcome:
        """The exact form, not simplified where that is predicted slower: all that is made of it would be refused too.

        Extraction prices a node without knowing which of its readers will be chosen, and so misjudges some fusions.
        """
        plain = tuple(step for step in first if not isinstance(step, Simplify))
        if not self.gate.unmeasured or len(plain) == len(first):
            return start
        forms = TypedForms(start, self.asked.target, self.asked.sizes)
        reason = self.gate.refusal(start.snapshots[-1], None, forms.predicted_seconds)
        if not reason:
            return start
        message = f"no-speedup: the simplified form is left: {reason}"
        self.asked.diagnostics.append(Diagnostic("N0702", message, original.source))
        # A verifier of its own: the one there is has followed the other form.
        verifier = None if self.verifier is None else self.verifier.fork(original)
        return run_passes(
            original.model(), plain, context, original=original, verifier=verifier, instruments=self.asked.instruments
        )  # fmt: skip

    def _tell_data(self, original: Snapshot) -> None:
        """A note where there is no data to choose by, or too little to hold any of it out."""
        if self.loss.evaluation is not None:
            return
        if self.samples is None:
            message = "without calibration data only what needs none is tried, and what it costs is not measured"
            help_ = "--calib DATA.npz also allows integer kernels (static-int8) and low-rank, and the loss is measured"
            self.asked.diagnostics.append(Diagnostic("N0206", message, original.source, help=help_))
        elif 0 < len(self.samples) == len(self.loss.feeds) < FEWEST:
            message = (
                f"there is little calibration data ({len(self.loss.feeds)} of {FEWEST} runs): "
                "the loss is measured on what programs were fitted to"
            )
            help_ = "give more with --calib, or labelled data with --eval"
            self.asked.diagnostics.append(Diagnostic("N0205", message, original.source, help=help_))

    def _tell_stops(self, outcome: Outcome, original: Snapshot) -> None:
        """Notes on what the clock cut short of the program that was chosen, and on where a pass did less than asked."""
        for record in outcome.records:
            if message := record.facts.get("missed"):
                self.asked.diagnostics.append(Diagnostic("N0709", f"{record.text}: {message}", original.source))
        stops = {stop: record for record in outcome.records for stop in record.stops}
        if Stop.SOLVER in stops:
            message = f"a solver was stopped after {self.asked.seconds:g} s: a faster machine may choose better"
            self.asked.diagnostics.append(Diagnostic("N0707", message, original.source))
        if Stop.DEADLINE in stops:
            message = f"the time limit has come: {stops[Stop.DEADLINE].text} took the best it had by then"
            help_ = "allow more with --time-limit"
            self.asked.diagnostics.append(Diagnostic("N0706", message, original.source, help=help_))

    def front(self, count: int) -> list[Point]:
        """At most ``count`` of the programs that keep all budgets and that no other one beats, evenly spread."""
        if not count or self._search is None:
            return []
        found = self._front([point for point in self._search.timed() if not point.exceeds])
        if count < 2 or len(found) <= count:
            return found[:count]
        return [found[round(i * (len(found) - 1) / (count - 1))] for i in range(count)]

    def _front(self, points: Sequence[Point]) -> list[Point]:
        return list(search.front(points, energy=self.asked.objective == "energy"))

    def report(self) -> dict[str, Any]:
        """The points, for the report."""
        points = [] if self._search is None else self._search.points
        if not points:
            return {}
        on_front = {id(point) for point in self._front(points)}
        entries = [point.entry() | {"front": id(point) in on_front, "chosen": point is self.chosen} for point in points]
        return {"search": entries}

    def require_kept(self, outcome: Outcome, shipped: Snapshot, nbytes: int) -> None:
        """Check the budgets of what ships, where a gate sent back the form that was chosen.

        Raises:
            TccError: exit INFEASIBLE, naming the budgets in the way.
        """
        budgets = self.asked.budgets
        if shipped is outcome.snapshots[-1] or budgets == Budgets(budgets.loss) or self._search is None:
            return
        kept = outcome.snapshots[: outcome.snapshots.index(shipped) + 1]
        form = replace(outcome, model=shipped.model(), snapshots=kept)
        cost = self._timed(form, self._cost(form, 0.0, nbytes))
        if broken := list(replace(budgets, loss=1.0).exceeded(cost, self._search.original)):
            reached = f"the form after {shipped.label}" if shipped.label else "the input"
            raise search.infeasible(broken, shipped, reached, cost)

    def _is_searched(self, rest: Sequence[Pass]) -> bool:
        budgets = self.asked.budgets
        return bool(self.asked.level and rest) or budgets != Budgets(budgets.loss)

    def _possible(self, original: Snapshot) -> tuple[Pass, ...]:
        """A level's passes that need data are left out where there is none; what was named explicitly is an error."""
        passes, level = self.asked.passes, self.asked.level
        kept = tuple(step for step in passes if not level or self.samples or "calibration" not in step.needs)
        if left_out := unparse(step for step in passes if step not in kept):
            message = f"no calibration data: {left_out} is left out of -O{level}"
            self.asked.diagnostics.append(Diagnostic("N0202", message, original.source, help="give data with --calib"))
        return kept

    def _most_memory(self, original: Snapshot) -> float:
        """The budget of memory in bytes."""
        if (limit := self.asked.budgets.memory) is None:
            return math.inf
        model = original.model()
        annotate(model, original.proto)
        return limit.of(Memory(self.asked.sizes).peak(model).total)

    def _stages(self) -> Stages | None:
        """Kept beside the output until that is written, so that a stopped command goes on where it was."""
        if self.asked.output is None:
            return None
        output = self.asked.output.resolve()
        return Stages(output.with_name(f".{output.name}.stages"))

    def _clear(self, stages: Stages | None) -> None:
        if stages is not None:
            stages.clear()

    def _searched(self, bench: Bench, start: Outcome, rest: tuple[Pass, ...], nbytes: int) -> Outcome:
        asked = self.asked
        if not self._is_searched(rest):
            if not rest:
                return start
            return search.joined(start, extend(bench, start.snapshots[-1], rest, instruments=asked.instruments))
        branches, suffix = self._branches(rest)
        if asked.level and self.samples and self.loss.evaluation is None:
            message = (
                "pruned shapes are not tried: they are fitted to the calibration data, and want other data as judge"
            )
            asked.diagnostics.append(
                Diagnostic("N0203", message, start.snapshots[0].source, help="give labelled data with --eval")
            )
        total = asked.jobs or processors()
        jobs = min(total, len(search.by_shape(branches)))
        self.loss.threads = max(1, total // max(jobs, 1))
        bench = replace(bench, context=replace(bench.context, threads=self.loss.threads))
        with executors.executor(asked.scheduler, jobs) as pool:
            made = self._search = Search(
                bench, lambda outcome, loss: self._cost(outcome, loss, nbytes), self._timed, asked.budgets,
                asked.instruments, pool, max(jobs, 1), [asked.share_of_time(part) for part in _TURNS],
                end=asked.share_of_time(1.0), labelled=self.loss.evaluation is not None, quick=self._quick(rest),
            )  # fmt: skip
            made.run(start, branches, suffix)
        try:
            self.chosen = made.choose(search.OBJECTIVES[asked.objective], self._outruns)
        finally:
            asked.diagnostics += made.notes
        return self.chosen.outcome

    def _branches(self, rest: tuple[Pass, ...]) -> tuple[list[Branch], tuple[Pass, ...]]:
        lossy = [i for i, step in enumerate(rest) if step.promises is Effect.LOSSY]
        end = lossy[-1] + 1 if lossy else 0
        aims = [self.asked.objective]
        if self.asked.objective == "size" and self.asked.level not in HOWEVER_SLOW:
            aims.append("latency")  # the smallest may turn out to be too slow
        if self.asked.objective == "energy":
            aims.append("latency")  # and so may what is estimated to take the least energy
        if self.asked.budgets.memory is not None:
            aims.append("size")  # the fastest may hold too much
        if self.asked.pareto:
            aims += ["latency", "size"]  # the ends of the front
        thens = dict.fromkeys(tuple(self._aimed(step, aim) for step in rest[:end]) for aim in aims)
        suffix = rest[end:]
        # What is left after pruning is fitted to the calibration data and looks better there than anywhere else:
        # without other data to judge it on, its loss would be a guess.
        tried = self.asked.level and self.samples and self.loss.evaluation is not None
        shapes = ["", *levels.PRUNED] if tried and ablation.PRUNING not in self.asked.without else [""]
        shares = (0.125, 0.25, 0.5, 1.0) if self.asked.pareto else (1.0,)
        branches = [
            Branch(parse(shape), then, share) for shape in shapes for then in thens if shape or then
            for share in (shares if not shape and then == next(iter(thens)) else (1.0,))
        ]  # fmt: skip
        gated = self.asked.level and self.asked.level not in HOWEVER_SLOW
        if branches and gated and self.asked.target.storage:
            # Kernels that were to be faster may measure slower; what runs as before does not.
            branches.append(Branch((), tuple(self._stored(step) for step in rest[:end])))
        if branches and gated and self.samples and not self.gate.unmeasured and self.asked.objective != "size":
            # Prices of kernels err: the most compressed program may measure faster than it is predicted.
            branches.append(Branch((), tuple(self._smallest(step) for step in rest[:end])))
        return branches, suffix

    def _quick(self, rest: Sequence[Pass]) -> list[Branch]:
        """What is soon made and likely to pay, where the exact form has taken much of the time: data makes it long."""
        asked, lossy = self.asked, [step for step in rest if step.promises is Effect.LOSSY]
        if not (asked.level and self.samples and lossy and deadline.is_over(asked.share_of_time(_MUCH))):
            return []
        bounded, known = asked.budgets.nbytes is not None, techniques()
        names = "+".join(n for n in at_load_time() if offered_for(known[n], asked.objective, bounded=bounded))
        soonest = [replace(s, techniques=s.techniques or names) if isinstance(s, Compress) else s for s in lossy]
        thens = [tuple(self._aimed(step, asked.objective) for step in steps) for steps in (soonest, lossy)]
        return [Branch((), then, _CAREFULLY) for then in thens]

    def _aimed(self, step: Pass, objective: str) -> Pass:
        """The pass with this objective; one that was named with its options keeps them."""
        return pipelines.aimed(step, objective, self.asked.without) if self.asked.level else step

    def _stored(self, step: Pass) -> Pass:
        """The pass with those techniques only that change the file and not what runs."""
        if not isinstance(step, Compress) or step.techniques:
            return step
        return self._aimed(replace(step, only="+".join(at_load_time())), self.asked.objective)

    def _smallest(self, step: Pass) -> Pass:
        """The pass that compresses most, however slow that is predicted to be."""
        aimed = self._aimed(step, "size")
        if not isinstance(aimed, Compress):
            return aimed
        # What the objective does not ask for stays out: it would spend the loss budget on bytes.
        asked, bounded = self.asked.objective, self.asked.budgets.nbytes is not None
        left_out = [n for n, module in techniques().items() if not offered_for(module, asked, bounded=bounded)]
        without = "+".join(dict.fromkeys(name for name in (*aimed.without.split("+"), *left_out) if name))
        return replace(aimed, slower=True, without=without)

    def _outruns(self, one: Point, other: Point) -> bool:
        """Whether a program measures so much faster than another one that it is better, bytes counted as ever.

        A smaller one is better already where it cannot be told to be slower.
        """
        if self.gate.unmeasured or self.asked.objective != "latency" or self._search is None:
            return False
        larger = (one.cost.nbytes - other.cost.nbytes) / max(self._search.original.nbytes, 1)
        a, b = one.outcome.snapshots[-1], other.outcome.snapshots[-1]
        if larger < -_ONE_SIZE and self.gate.is_as_fast(a, b):
            return True
        # Of two of one size the faster one is better, be it by little; what is given up for it has to pay.
        margin = SLIGHT if abs(larger) <= _ONE_SIZE else MARGIN
        part = 1 - BYTES_PRICE * max(larger, 0.0)
        return self.gate.is_faster(a, b, part, margin)

    def _cost(self, outcome: Outcome, loss: float, nbytes: int) -> Cost:
        """What is known of a program's last form without running it; the input's bytes are those of its own files."""
        snapshot = outcome.snapshots[-1]
        files = self.gate.written.files(snapshot)
        size = sum(file.stat().st_size for file in files) + self.provenance.nbytes(outcome, snapshot)
        forms = TypedForms(outcome, self.asked.target, self.asked.sizes)
        memory = Memory(self.asked.sizes).peak(forms.last).total
        joules = report.predicted_joules(forms.last, self.asked.target, self.asked.sizes)
        seconds = forms.predicted_seconds(snapshot)
        return Cost(loss, size if snapshot.label else nbytes, seconds, memory=memory, joules=joules)

    def _timed(self, outcome: Outcome, cost: Cost) -> Cost:
        """The cost with what the gate of speed says of the program's last form."""
        snapshot = outcome.snapshots[-1]
        form, exact = outcome.compared(snapshot)
        slower = ""
        if exact is not None:  # the exact form is what there is to fall back on; its gate is where it ships
            forms = TypedForms(outcome, self.asked.target, self.asked.sizes)
            slower = self.gate.refusal(form, exact, forms.predicted_seconds)
        return replace(cost, measured=self.gate.seconds(snapshot, self.asked.budgets.seconds), slower=slower)
