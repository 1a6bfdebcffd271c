"""The search over programs: what is measured, not what is predicted, decides which of them may ship."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tcc.compiler.budgets import Budgets, Cost
from tcc.diagnostics import Diagnostic, Exit, TccError
from tcc.ir.loss import Loss
from tcc.passes.base import Context, Pass
from tcc.passes.manager import Instrument, Outcome, Snapshot, Stages, Verifier, run_passes
from tcc.passes.pipeline import unparse

_CLOSE = 1e-9
"""A part of a cost that is no difference: sums are rounded."""


@dataclass(frozen=True)
class Branch:
    """One way to compress: ``first`` shapes the model (pruning), ``then`` chooses within that shape.

    ``share`` is the part of the loss budget that it may spend: smaller ones give the front more points.
    """

    first: tuple[Pass, ...]
    then: tuple[Pass, ...]
    share: float = 1.0

    @property
    def text(self) -> str:
        """Its pipeline."""
        return unparse((*self.first, *self.then))


@dataclass(frozen=True)
class Point:
    """A program that was built, verified and measured. ``exceeds`` says which budgets it breaks."""

    branch: str
    outcome: Outcome
    loss: Loss | None
    cost: Cost
    exceeds: tuple[str, ...] = ()

    def entry(self) -> dict[str, Any]:
        """The point for the report."""
        return {
            "pipeline": self.branch,
            "loss": self.cost.loss,
            "metric": None if self.loss is None else self.loss.metric,
            "bytes": self.cost.nbytes,
            "predicted_seconds": self.cost.seconds,
            "exceeds": list(self.exceeds),
        }


@dataclass
class Search:
    """Runs branches from one simplified model and keeps every program that came out.

    Args:
        context: of the passes; each branch's own loss budget is what its ``first`` part left.
        verifier: checks every pass; None for no checks.
        loss: of a form of the model on the user's data, None where there is no data.
        cost: bytes and seconds of a form.
        budgets: what the chosen program has to keep.
        instruments: look on between passes.
        stages: what was made before.
    """

    context: Context
    verifier: Verifier | None
    loss: Callable[[Snapshot], Loss | None]
    cost: Callable[[Snapshot, float], Cost]
    budgets: Budgets
    instruments: Sequence[Instrument] = ()
    stages: Stages | None = None
    points: list[Point] = field(default_factory=list)
    notes: list[Diagnostic] = field(default_factory=list)

    def run(self, start: Outcome, branches: Sequence[Branch], suffix: tuple[Pass, ...]) -> list[Point]:
        """All points: the simplified model itself, then one a branch.

        Branches come in the order of growing loss of their ``first`` parts: the first one of which that part
        alone breaks the loss budget is the last.
        """
        self.original = self.cost(start.snapshots[0], 0.0)
        self._add("", self.extend(start, suffix))
        for branch in branches:
            if not self._branch(start, branch, suffix):
                break
        return self.points

    def _branch(self, start: Outcome, branch: Branch, suffix: tuple[Pass, ...]) -> bool:
        spent = 0.0
        shaped = start
        if branch.first:
            try:
                shaped = self.extend(start, branch.first)
            except TccError as error:
                return self._declined(branch, error)
            found = self.loss(shaped.snapshots[-1])
            spent = 0.0 if found is None else found.value
            if spent > self.budgets.loss:
                message = f"{branch.text} alone loses {spent:.3g}, the budget is {self.budgets.loss:.3g}"
                self.notes.append(Diagnostic("N0703", message, start.snapshots[0].source))
                return False
            if shaped.snapshots[-1] is start.snapshots[-1]:
                return True  # nothing was pruned: the program is one that there is already
        context = replace(self.context, max_loss=self.budgets.loss * branch.share - spent)
        try:
            self._add(branch.text, self.extend(shaped, (*branch.then, *suffix), context))
        except TccError as error:
            return self._declined(branch, error)
        return True

    def _declined(self, branch: Branch, error: TccError) -> bool:
        """Whether to go on: one technique that cannot do a model leaves the others; a broken promise ends all."""
        if error.exit_code not in (Exit.UNSUPPORTED, Exit.INFEASIBLE):
            raise error
        notes = tuple(d.message for d in error.diagnostics)
        self.notes.append(Diagnostic("N0703", f"{branch.text} is left out", notes=notes))
        return True

    def extend(self, start: Outcome, passes: tuple[Pass, ...], context: Context | None = None) -> Outcome:
        """What passes make of a program, as one outcome from the original on; raises what they raise."""
        last = start.snapshots[-1]
        if self.verifier is not None:
            self.verifier.back_to(last)
        done = run_passes(
            start.model.clone(), passes, context or self.context, original=last, verifier=self.verifier,
            instruments=self.instruments, stages=self.stages,
        )  # fmt: skip
        return Outcome(
            done.model, (*start.records, *done.records), done.diagnostics, (*start.snapshots, *done.snapshots[1:])
        )

    def _add(self, branch: str, outcome: Outcome) -> None:
        last = outcome.snapshots[-1]
        loss = self.loss(last)
        cost = self.cost(last, math.nan if loss is None else loss.value)
        # Where nothing is known of the loss there is no data: only what needs none was done.
        known = replace(cost, loss=0.0) if math.isnan(cost.loss) else cost
        self.points.append(Point(branch, outcome, loss, known, tuple(self.budgets.exceeded(known, self.original))))

    def choose(self, objective: Callable[[Cost], tuple[float, ...]]) -> Point:
        """The best point within all budgets.

        Raises:
            TccError: exit INFEASIBLE, naming the budgets in the way and the best point reached.
        """
        feasible = [point for point in self.points if not point.exceeds]
        if feasible:
            # Of equals the last: where nothing lossy pays, the record of what was declined, and why, is kept.
            return min(reversed(feasible), key=lambda point: objective(point.cost))
        nearest = min(self.points, key=lambda point: (len(point.exceeds), *objective(point.cost)))
        reached = f"the best point reached: {nearest.branch or 'simplified only'}"
        raise TccError(
            Exit.INFEASIBLE,
            [Diagnostic("E0501", f"no program keeps all budgets: {'; '.join(nearest.exceeds)}",
                        nearest.outcome.snapshots[0].source, notes=(reached,),
                        help="raise that budget, or allow more loss with --max-loss")],
        )  # fmt: skip


def front(points: Sequence[Point]) -> Iterator[Point]:
    """The points that no other one is as good as in loss, bytes and seconds, and better in one; by loss."""
    kept = [p for p in points if not any(_dominates(q.cost, p.cost) for q in points)]
    unique: dict[tuple[float, ...], Point] = {}
    for point in kept:
        unique.setdefault(_values(point.cost), point)
    yield from sorted(unique.values(), key=lambda point: _values(point.cost))


def _dominates(a: Cost, b: Cost) -> bool:
    pairs = list(zip(_values(a), _values(b), strict=True))
    return all(x <= y * (1 + _CLOSE) for x, y in pairs) and any(x < y * (1 - _CLOSE) for x, y in pairs)


def _values(cost: Cost) -> tuple[float, ...]:
    return cost.loss, cost.nbytes, cost.seconds


OBJECTIVES: Mapping[str, Callable[[Cost], tuple[float, ...]]] = {
    "latency": lambda cost: (cost.seconds, cost.nbytes, cost.loss),
    "size": lambda cost: (cost.nbytes, cost.seconds, cost.loss),
}
"""What is minimised; what comes after decides between equals."""
