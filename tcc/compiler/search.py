"""The search over programs: what is measured, not what is predicted, decides which of them may ship."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tcc.compiler.attempts import Attempt, Bench, Branch, Steps, attempts, extend
from tcc.compiler.budgets import Budgets, Cost
from tcc.compiler.executors import in_order
from tcc.diagnostics import Diagnostic, Exit, TccError
from tcc.ir import deadline
from tcc.ir.loss import Loss
from tcc.ir.problem import BYTES_PRICE
from tcc.passes.base import Pass, Stop, silent
from tcc.passes.manager import Instrument, Outcome, Snapshot

if TYPE_CHECKING:
    import numpy as np

TURNS = 3
"""How often branches are tried: in the later turns again with less of the loss budget, or for want of time before."""
_LESS = (0.1, 0.7)
"""The least and the most of its share of the budget that a branch keeps then; the more, the nearer it came."""
_LITTLE = 0.5
"""The part of the loss budget below which a branch that was tried more carefully was so too carefully."""
_DIGITS, _LOSS_DIGITS = 3, 6
"""Of a cost, and of a loss behind the point, by which a front tells programs apart."""


@dataclass(frozen=True)
class Point:
    """A program that was built and verified, and whose loss was measured.

    ``exceeds`` says which budgets it breaks, those of time among them once it is ``timed``.
    """

    branch: str
    outcome: Outcome
    loss: Loss | None
    cost: Cost
    exceeds: tuple[str, ...] = ()
    timed: bool = False
    share: float = 1.0
    """The part of the loss budget that it was to spend."""

    def entry(self) -> dict[str, Any]:
        """The point for the report."""
        return {
            "pipeline": self.branch,
            "share": self.share,
            "loss": self.cost.loss,
            "metric": None if self.loss is None else self.loss.metric,
            "bytes": self.cost.nbytes,
            "predicted_seconds": self.cost.seconds,
            "estimated_joules": self.cost.joules,
            "exceeds": list(self.exceeds),
        }


@dataclass
class Search:
    """Tries branches from one simplified model and keeps every program that came out.

    Args:
        bench: what the attempts share.
        cost: of an outcome's last form and its loss: all that is known without running it.
        timed_cost: the cost with what running it told; asked only of programs that may be chosen.
        budgets: what the chosen program has to keep.
        instruments: look on between passes that run in this process.
        pool: runs attempts elsewhere; None for this process.
        jobs: how many of them at once.
        ends: of the turns, in seconds since the epoch; the bench's own deadline without any.
        end: when measuring losses has to end; what is not measured by then is no program.
        labelled: whether losses are drops of the user's own metric: a distance from the outputs only stands for one.
        quick: branches that are tried first, without data: their programs count where time is too short for others.
    """

    bench: Bench
    cost: Callable[[Outcome, float], Cost]
    timed_cost: Callable[[Outcome, Cost], Cost]
    budgets: Budgets
    instruments: Sequence[Instrument] = ()
    pool: Executor | None = None
    jobs: int = 1
    ends: Sequence[float] = ()
    end: float = math.inf
    labelled: bool = False
    quick: Sequence[Branch] = ()
    points: list[Point] = field(default_factory=list)
    original: Cost = field(init=False)
    _input: Outcome = field(init=False, repr=False)
    notes: list[Diagnostic] = field(default_factory=list)

    def run(self, start: Outcome, branches: Sequence[Branch], suffix: tuple[Pass, ...]) -> list[Point]:
        """All points: the simplified model itself, then one a branch.

        Branches come in the order of growing loss of their ``first`` parts: the first one of which that part
        alone breaks the loss budget is the last.
        """
        self._input = replace(start, model=start.snapshots[0].model(), snapshots=start.snapshots[:1], records=())
        self.original = self.timed_cost(self._input, self.cost(self._input, 0.0))
        last = start.snapshots[-1]
        self._add_exact(self.extend(start, suffix))
        quickly = self._quickly(start, suffix)
        shown: tuple[Any, ...] = (self.instruments,) if self.pool is None else ()
        bench = self.bench if self.pool is None else replace(
            self.bench, context=replace(self.bench.context, log=silent)
        )  # fmt: skip
        waiting = list(branches)
        for turn in range(TURNS):
            shapes = by_shape(waiting)
            given = replace(bench, context=replace(bench.context, deadline=self.ends[turn])) if self.ends else bench
            tasks = [(given, last, shape, suffix, *shown) for shape in shapes]
            again: list[Branch] = []
            unbegun: list[Branch] = []
            for shape, made in zip(shapes, in_order(self.pool, attempts, tasks, self.jobs, self._lost), strict=False):
                for branch, done in zip(shape, made, strict=False):
                    left = again if done.begun else unbegun
                    left += self._take(start, branch, done, is_last=turn == TURNS - 1)
                if made[-1].last:
                    break
            # What had no time at all goes first: what took all of it would do so again.
            waiting = unbegun + again
        if any(note.code == "N0706" for note in self.notes) or any(map(_is_cut_short, self.points)):
            self.points += quickly
        return self.points

    def _quickly(self, start: Outcome, suffix: tuple[Pass, ...]) -> list[Point]:
        """What the ``quick`` branches make, kept apart: where all others come to their end, they change nothing."""
        if not self.quick:
            return []
        known, notes = len(self.points), len(self.notes)
        context = replace(self.bench.context, calibration=None, judge=None)
        bench = replace(self.bench, context=context, stages=None)
        made = attempts(bench, start.snapshots[-1], self.quick, suffix, self.instruments)
        for branch, done in zip(self.quick, made, strict=False):
            self._take(start, branch, done, is_last=True)
        found = self.points[known:]
        del self.points[known:], self.notes[notes:]
        return found

    def _take(self, start: Outcome, branch: Branch, done: Attempt, *, is_last: bool) -> list[Branch]:
        """Keep what became of a branch; what to try again."""
        if done.late and not is_last and self.ends:
            return [branch]
        if done.note is not None:
            self.notes.append(done.note)
        if done.steps is None:
            return []
        try:
            with deadline.until(self.end):
                self._add(branch.text, joined(start, done.steps), branch.share)
        except TccError as error:
            if not deadline.has_come(error):
                raise
            self._tell_late(start, f"the loss of {branch.text} is not measured, so it is not taken")
            return []
        return self._otherwise(branch)

    def _otherwise(self, branch: Branch) -> list[Branch]:
        """The branch with less of the budget, where what it made last loses more than that on data it did not see.

        With more again, where that was less than needed: half way, in the logarithm, to what was too much.
        """
        loss, budget = self.points[-1].cost.most, self.budgets.loss
        if not budget:
            return []
        if loss <= budget:
            timid = branch.above is not None and loss < _LITTLE * budget
            return [replace(branch, share=math.sqrt(branch.share * (branch.above or 1.0)))] if timid else []
        left = budget / loss if loss < math.inf else 0.0  # not a number: as bad as can be
        # What it lost on its own data, if that is less than it might, is what there has to be less of.
        used = min(branch.share, _lost_within(self.points[-1].outcome) / budget)
        share = max(branch.share * _LESS[0], used * min(_LESS[1], max(_LESS[0], _LESS[1] * left)))
        return [replace(branch, share=share, above=branch.share)]

    def extend(self, start: Outcome, passes: tuple[Pass, ...]) -> Outcome:
        """What passes make of a program, as one outcome from the original on; raises what they raise."""
        return joined(start, extend(self.bench, start.snapshots[-1], passes, instruments=self.instruments))

    def _lost(self, reason: str) -> None:
        self.notes.append(Diagnostic("N0704", f"a worker was lost, its work is done here: {reason}"))

    def _add_exact(self, outcome: Outcome) -> None:
        """Keep the program that nothing lossy was done to: it is verified, so that there may be no time to measure."""
        try:
            with deadline.until(self.bench.context.deadline):
                deadline.check()
                self._add("", outcome)
        except TccError as error:
            if not deadline.has_come(error):
                raise
            self._tell_late(outcome, "what the exact form loses on the data is not measured, only verified on inputs")
            cost = self.cost(outcome, 0.0)
            exceeds = tuple(self.budgets.exceeded(cost, self.original, timed=False))
            self.points.append(Point("", outcome, None, cost, exceeds))

    def _tell_late(self, outcome: Outcome, what: str) -> None:
        message = f"the time limit has come: {what}"
        source = outcome.snapshots[0].source
        self.notes.append(Diagnostic("N0706", message, source, help="allow more with --time-limit"))

    def _add(self, branch: str, outcome: Outcome, share: float = 1.0) -> None:
        loss = self.bench.loss(outcome.snapshots[-1])
        # Where nothing is known of the loss there is no data: only what needs none was done.
        cost = self.cost(outcome, 0.0 if loss is None else loss.value)
        if loss is not None and not self.labelled and branch:
            # A distance from the original's outputs stands for what is lost: it has to be within the budget for sure.
            # What an exact form differs by is rounding: quantised models may answer to it, on any data alike.
            cost = replace(cost, bound=loss.most)
        exceeds = tuple(self.budgets.exceeded(cost, self.original, timed=False))
        self.points.append(Point(branch, outcome, loss, cost, exceeds, share=share))

    def timed(self) -> list[Point]:
        """The points with their times, as far as they keep the other budgets."""
        for index in range(len(self.points)):
            self._time(index)
        return self.points

    def _time(self, index: int) -> Point:
        found = self.points[index]
        if not found.timed and not found.exceeds:
            cost = self.timed_cost(found.outcome, found.cost)
            exceeds = tuple(self.budgets.exceeded(cost, self.original))
            self.points[index] = found = replace(found, cost=cost, exceeds=exceeds, timed=True)
        return found

    def choose(
        self,
        objective: Callable[[Cost, Cost], tuple[float, ...]],
        outruns: Callable[[Point, Point], bool] = lambda _, __: False,
    ) -> Point:
        """The best point within all budgets; only what may be the best is timed.

        Points come in the order of their predictions; a later one takes the place of an earlier one that it outruns
        as measured.

        Raises:
            TccError: exit INFEASIBLE, naming the budgets in the way and the best point reached.
        """
        # Of equals the last: where nothing lossy pays, the record of what was declined, and why, is kept.
        order = sorted(range(len(self.points)), key=lambda i: (*objective(self.points[i].cost, self.original), -i))
        chosen: Point | None = None
        for index in order:
            # The simplified model itself outruns nothing: each point was compared with its exact form.
            if chosen is None or self.points[index].branch:
                point = self._time(index)
                if not point.exceeds and (chosen is None or outruns(point, chosen)):
                    chosen = point
        if chosen is not None:
            return chosen
        if not list(self.budgets.exceeded(self.original, self.original)):
            return self._as_it_is()
        nearest = min(self.points, key=lambda point: (len(point.exceeds), *objective(point.cost, self.original)))
        late = any(note.code == "N0706" for note in self.notes)
        source, reached = nearest.outcome.snapshots[0], nearest.branch or "simplified only"
        raise infeasible(nearest.exceeds, source, reached, nearest.cost, late=late)

    def _as_it_is(self) -> Point:
        """The input, where even its exact forms lose too much: quantised models may answer to any rounding."""
        message = f"the input ships as it is: of its exact form {'; '.join(self.points[0].exceeds)}"
        self.notes.append(Diagnostic("N0711", message, self._input.snapshots[0].source))
        found = Point("the input", self._input, None, self.original, timed=True)
        self.points.append(found)
        return found


def _is_cut_short(point: Point) -> bool:
    """Whether a pass took what it had when the time limit came."""
    return any(Stop.DEADLINE in record.stops for record in point.outcome.records)


def _lost_within(outcome: Outcome) -> float:
    """The loss that the last lossy pass found on the data that it sees; infinite where none did."""
    found = [record.facts["loss"] for record in outcome.records if isinstance(record.facts.get("loss"), Mapping)]
    return float(found[-1]["value"]) if found else math.inf


def by_shape(branches: Sequence[Branch]) -> list[list[Branch]]:
    """The branches in groups that begin alike, in order."""
    groups: dict[tuple[Pass, ...], list[Branch]] = {}
    for branch in branches:
        groups.setdefault(branch.first, []).append(branch)
    return list(groups.values())


def infeasible(broken: Sequence[str], form: Snapshot, reached: str, cost: Cost, *, late: bool = False) -> TccError:
    """The error that says which budgets no program keeps, and what was reached; ``late`` where time was short."""
    message = f"no program keeps all budgets: {'; '.join(broken)}"
    notes = (f"the best point reached: {reached}: {cost.text()}",)
    advice = "raise that budget, or allow more loss with --max-loss"
    advice += "; the time limit came before all was tried: --time-limit" if late else ""
    return TccError(Exit.INFEASIBLE, [Diagnostic("E0501", message, form.source, notes, advice)])


def joined(start: Outcome, steps: Steps) -> Outcome:
    """One outcome of a program and what was made of it; tensors that did not change are held once."""
    known = start.snapshots[-1].weights
    snapshots = tuple(_shared(snapshot, known) for snapshot in steps.snapshots[1:])
    last = (*start.snapshots, *snapshots)[-1]
    return Outcome(last.model(), (*start.records, *steps.records), steps.diagnostics, (*start.snapshots, *snapshots))


def _shared(snapshot: Snapshot, known: Mapping[str, np.ndarray[Any, Any]]) -> Snapshot:
    """The snapshot with the arrays that there are already: those of another process are copies."""
    weights = {
        name: known[name] if name in known and _same(known[name], array) else array
        for name, array in snapshot.weights.items()
    }
    return replace(snapshot, weights=weights)


def _same(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    return a is b or (a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())


def front(points: Sequence[Point], *, energy: bool = False) -> Iterator[Point]:
    """The points that no other one is as good as in loss, bytes and seconds, and better in one; by loss.

    Differences that nobody can use are none: of points that show the same figures the best in exact ones is left.
    Joules count where ``energy`` is asked for; they are estimated from the seconds' own model.
    """
    shown = {id(point): _shown(point.cost, energy=energy) for point in points}
    unique: dict[tuple[float, ...], Point] = {}
    for point in sorted(points, key=lambda point: _values(point.cost, energy=energy)):
        unique.setdefault(shown[id(point)], point)
    kept = [p for p in unique.values() if not any(_dominates(shown[id(q)], shown[id(p)]) for q in unique.values())]
    yield from sorted(kept, key=lambda point: _values(point.cost, energy=energy))


def _dominates(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))


def _shown(cost: Cost, *, energy: bool) -> tuple[float, ...]:
    """The values as a front tells them apart. Rounding keeps their order, so that what is left stays undominated."""
    loss, *others = _values(cost, energy=energy)
    return round(loss, _LOSS_DIGITS), *(float(f"{value:.{_DIGITS}g}") for value in others)


def _values(cost: Cost, *, energy: bool) -> tuple[float, ...]:
    return (cost.loss, cost.nbytes, cost.seconds, *([cost.joules] if energy else []))


def _latency(cost: Cost, original: Cost) -> tuple[float, ...]:
    seconds = cost.seconds / original.seconds if original.seconds else 0.0
    return seconds + BYTES_PRICE * cost.nbytes / max(original.nbytes, 1), cost.loss


OBJECTIVES: Mapping[str, Callable[[Cost, Cost], tuple[float, ...]]] = {
    "latency": _latency,
    "size": lambda cost, _: (cost.nbytes, cost.seconds, cost.loss),
    # To six digits: what is computed when the model is loaded costs next to nothing, and not exactly nothing.
    "energy": lambda cost, _: (float(f"{cost.joules:.6g}"), cost.nbytes, cost.loss),
}
"""What is minimised, of a program and the original; what comes after decides between equals."""
