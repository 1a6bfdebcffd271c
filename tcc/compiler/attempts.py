"""One attempt at compressing a model: a function of values that can be sent to another process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tcc.compiler.accuracy import Judged
from tcc.diagnostics import Diagnostic, Exit, TccError
from tcc.ir import deadline
from tcc.ir.loss import Loss
from tcc.passes.base import Context, Pass
from tcc.passes.manager import Instrument, Record, Snapshot, Stages, Verifier, run_passes
from tcc.passes.pipeline import unparse


@dataclass(frozen=True)
class Branch:
    """One way to compress: ``first`` shapes the model (pruning), ``then`` chooses within that shape.

    ``share`` is the part of the loss budget that it may spend: smaller ones give the front more points. ``above`` is
    the least share of which it is known that what it made lost more than the budget on data it did not see.
    """

    first: tuple[Pass, ...]
    then: tuple[Pass, ...]
    share: float = 1.0
    above: float | None = None

    @property
    def text(self) -> str:
        """Its pipeline."""
        return unparse((*self.first, *self.then))


@dataclass(frozen=True)
class Bench:
    """What all attempts share.

    Args:
        context: of the passes; each branch's own loss budget is what its ``first`` part left.
        verifier: checks every pass; None for no checks.
        loss: of a form of the model on the user's data, None where there is no data.
        stages: what was made before.
    """

    context: Context
    verifier: Verifier | None
    loss: Callable[[Snapshot], Loss | None]
    stages: Stages | None = None


@dataclass(frozen=True)
class Steps:
    """What passes made of a snapshot: a record for each, the snapshots after it, and what has to be said."""

    records: tuple[Record, ...] = ()
    snapshots: tuple[Snapshot, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()


@dataclass(frozen=True)
class Attempt:
    """What became of a branch: its steps, or None and why; ``last`` where branches that lose more are hopeless.

    ``late`` says that there was no time for it, ``begun`` whether there was some.
    """

    steps: Steps | None
    note: Diagnostic | None = None
    last: bool = False
    late: bool = False
    begun: bool = True


def attempts(
    bench: Bench,
    start: Snapshot,
    branches: Sequence[Branch],
    suffix: tuple[Pass, ...],
    instruments: Sequence[Instrument] = (),
) -> list[Attempt]:
    """Try branches of one shape, one after another: what is measured of the shape is measured once for all.

    The first one that is the ``last`` ends the list; raises what ``attempt`` raises.
    """
    made: list[Attempt] = []
    for branch in branches:
        begun = not deadline.is_over(bench.context.deadline)
        try:
            with deadline.until(bench.context.deadline):
                deadline.check()
                made.append(attempt(bench, start, branch, suffix, instruments))
        except TccError as error:
            if not deadline.has_come(error):
                raise
            message = f"the time limit has come: {branch.text} is not tried to its end"
            note = Diagnostic("N0706", message, start.source, help=error.diagnostics[0].help)
            made.append(Attempt(None, note, late=True, begun=begun))
        if made[-1].last:
            break
    return made


def attempt(
    bench: Bench, start: Snapshot, branch: Branch, suffix: tuple[Pass, ...], instruments: Sequence[Instrument] = ()
) -> Attempt:
    """Try a branch from a snapshot, exact passes last.

    Raises:
        TccError: where a pass breaks its promise; one that cannot do the model is a note instead.
    """
    budget = bench.context.max_loss
    shaped, spent = Steps(snapshots=(start,)), 0.0
    try:
        if branch.first:
            shaped = extend(bench, start, branch.first, instruments=instruments)
            found = bench.loss(shaped.snapshots[-1])
            spent = 0.0 if found is None else found.value
            if spent > budget:
                message = f"{branch.text} alone loses {spent:.3g}, the budget is {budget:.3g}"
                return Attempt(None, Diagnostic("N0703", message, start.source), last=True)
            if len(shaped.snapshots) == 1:
                return Attempt(None)  # nothing was pruned: the program is one that there is already
        context = replace(bench.context, max_loss=max(0.0, budget * branch.share - spent))
        if isinstance(context.judge, Judged):
            context = replace(context, judge=replace(context.judge, spent=spent))
        done = extend(bench, shaped.snapshots[-1], (*branch.then, *suffix), context, instruments)
    except TccError as error:
        # One technique that cannot do a model leaves the others; a broken promise ends all.
        if error.exit_code not in (Exit.UNSUPPORTED, Exit.INFEASIBLE):
            raise
        notes = tuple(d.message for d in error.diagnostics)
        return Attempt(None, Diagnostic("N0703", f"{branch.text} is left out", start.source, notes=notes))
    records, diagnostics = (*shaped.records, *done.records), (*shaped.diagnostics, *done.diagnostics)
    return Attempt(Steps(records, (*shaped.snapshots, *done.snapshots[1:]), diagnostics))


def extend(
    bench: Bench,
    start: Snapshot,
    passes: tuple[Pass, ...],
    context: Context | None = None,
    instruments: Sequence[Instrument] = (),
) -> Steps:
    """What passes make of a snapshot, which is the first of the steps' own; raises what they raise."""
    # A verifier of its own: what one attempt finds must not depend on those before it.
    verifier = None if bench.verifier is None else bench.verifier.fork(start)
    done = run_passes(
        start.model(), passes, context or bench.context, original=start, verifier=verifier,
        instruments=instruments, stages=bench.stages,
    )  # fmt: skip
    return Steps(done.records, done.snapshots, done.diagnostics)
