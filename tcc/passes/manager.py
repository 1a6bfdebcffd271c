"""Runs passes one after another, with one hook between them that verifies, times, prints and counts."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tcc.diagnostics import Diagnostic, Exit, TccError
from tcc.ir.model import Model
from tcc.passes import reproducer
from tcc.passes._snapshot import Snapshot
from tcc.passes._stages import Stages
from tcc.passes.base import Context, Effect, Pass, PassResult, Stop
from tcc.passes.pipeline import unparse_one
from tcc.passes.verification import Verification, Verifier

__all__ = ["Instrument", "Outcome", "Record", "Size", "Snapshot", "Stages", "Verification", "Verifier", "run_passes"]


@dataclass(frozen=True)
class Size:
    """How large a model is: nodes without Constant ones, elements and bytes of its tensors."""

    nodes: int
    parameters: int
    nbytes: int

    @staticmethod
    def of(model: Model) -> Size:
        """The size of a model as it is now."""
        constants = list(model.constants())
        return Size(model.node_count, sum(t.size for t in constants), sum(t.nbytes for t in constants))


@dataclass(frozen=True)
class Record:
    """What one pass did. ``text`` is the pass with its options; ``seconds`` are its own, without the hook."""

    name: str
    text: str
    effect: Effect
    seconds: float
    changed: bool
    before: Size
    after: Size
    facts: Mapping[str, Any]
    verification: Verification | None
    grows: bool = False
    """Whether the pass may add nodes and work: see ``Pass.grows``."""
    stops: frozenset[Stop] = frozenset()
    """What the clock cut short: see ``PassResult.stops``."""


class Instrument:
    """Looks on between passes; a subclass overrides what it wants to see."""

    def begin(self, text: str, number: int, count: int) -> None:
        """Pass ``text`` is about to run, the ``number``-th of ``count``, from 1."""

    def after(self, record: Record, model: Model) -> None:
        """A pass has run and has been verified; the model must not be changed."""


@dataclass(frozen=True)
class Outcome:
    """What a pipeline made: the model, a record for each pass, and what has to be said.

    ``snapshots`` are the original and the model after each pass that changed it.
    """

    model: Model
    records: tuple[Record, ...]
    diagnostics: tuple[Diagnostic, ...]
    snapshots: tuple[Snapshot, ...]

    def promise(self, snapshot: Snapshot) -> Effect:
        """The weakest equality that the passes up to one of the snapshots promised."""
        changing = [record.effect for record in self.records if record.changed]
        return max(changing[: self.snapshots.index(snapshot)], key=list(Effect).index, default=Effect.BITS)

    def exact_form(self, snapshot: Snapshot) -> Snapshot | None:
        """The last exact one of the snapshots before a lossy one; None for one that is exact itself."""
        if self.promise(snapshot) is not Effect.LOSSY:
            return None
        return next(s for s in reversed(self.snapshots) if self.promise(s) is not Effect.LOSSY)

    def compact(self, snapshot: Snapshot) -> Snapshot:
        """The form before the first pass that added nodes to hold less in memory; the form itself where none did."""
        changing = [record.grows for record in self.records if record.changed]
        index = self.snapshots.index(snapshot)
        return self.snapshots[changing.index(True)] if True in changing[:index] else snapshot

    def compared(self, snapshot: Snapshot) -> tuple[Snapshot, Snapshot | None]:
        """What stands for a form where its speed is judged, and the exact form that it must be no slower than."""
        form = self.compact(snapshot)
        return form, self.exact_form(form)


@dataclass
class _Run:
    """The state of one run."""

    model: Model
    context: Context
    verifier: Verifier | None
    instruments: Sequence[Instrument]
    snapshots: list[Snapshot]
    stages: Stages | None = None
    records: list[Record] = field(default_factory=list)
    size: Size = field(init=False)
    marks: tuple[int, ...] = field(init=False)
    """What tells a model whose size may have changed from one whose size has not."""
    settled: set[Pass] = field(default_factory=set)
    """Passes that have nothing left to do."""

    def __post_init__(self) -> None:
        self.size, self.marks = Size.of(self.model), _marks(self.model)

    def step(self, step: Pass) -> None:
        """Run one pass; the hook follows."""
        started = time.perf_counter()
        result = self._result(step)
        seconds = time.perf_counter() - started
        self.model = result.model
        before = self.size
        if result.changed or _marks(self.model) != self.marks:
            self.size, self.marks = Size.of(self.model), _marks(self.model)
        # A pass that says it changed nothing is believed as far as can be seen.
        changed = result.changed or self.size != before
        self.settled = {*(() if changed else self.settled), *((step,) if step.settles else ())}
        verification = self._verify(step) if changed else Verification("unchanged")
        record = Record(
            step.name,
            unparse_one(step),
            step.promises,
            seconds,
            changed,
            before,
            self.size,
            result.facts,
            verification,
            step.grows,
            result.stops,
        )
        self.records.append(record)
        for instrument in self.instruments:
            instrument.after(record, self.model)

    def _result(self, step: Pass) -> PassResult:
        if step in self.settled:
            return PassResult(self.model, changed=False, facts={"settled": True})
        if self.stages is None or step.promises is not Effect.LOSSY:
            return step.run(self.model, self.context)
        # Only lossy passes take long enough for keeping what they made to pay.
        before = Snapshot.of(self.model)
        key = self.stages.key(before, unparse_one(step), self.context)
        found = self.stages.find(key, before.source, before.files)
        if found is None:
            found = step.run(self.model, self.context)
            # What was stopped is not what the same command makes of it with more time.
            if Stop.DEADLINE not in found.stops:
                self.stages.keep(key, found, step)
        return found

    def _verify(self, step: Pass) -> Verification | None:
        after = Snapshot.of(self.model, unparse_one(step))
        verification = self.verifier.verify(after, step.promises) if self.verifier else None
        self.snapshots.append(after)
        return verification


def _marks(model: Model) -> tuple[int, ...]:
    return (model.node_count, *map(id, model.constants()))


def run_passes(
    model: Model,
    passes: Sequence[Pass],
    context: Context,
    *,
    original: Snapshot,
    verifier: Verifier | None = None,
    instruments: Sequence[Instrument] = (),
    stages: Stages | None = None,
) -> Outcome:
    """Run the passes in order, each verified against its promise before the next one starts.

    Args:
        model: may be changed in place.
        passes: what to run.
        context: given to every pass, with the verifier's feeds where it has none of its own.
        original: the model as it is now.
        verifier: of the original; None for no verification.
        instruments: what looks on.
        stages: what lossy passes made before, and where what they make is kept.

    Raises:
        TccError: what a pass raises; exit USAGE where one needs what the context lacks; exit VERIFICATION where
            one breaks its promise. Any other exception is an error of the pass: its notes say where what
            reproduces it has been written.
    """
    _require_needs(passes, context)
    if verifier is not None and not context.feeds:
        context = replace(context, feeds=verifier.feeds)
    run = _Run(model, context, verifier, instruments, [original], stages)
    for number, step in enumerate(passes, 1):
        for instrument in instruments:
            instrument.begin(unparse_one(step), number, len(passes))
        with reproducer.kept(run.snapshots, unparse_one(step), context.target.text):
            run.step(step)
    diagnostics = () if verifier is None else tuple(verifier.diagnostics)
    return Outcome(run.model, tuple(run.records), diagnostics, tuple(run.snapshots))


def _require_needs(passes: Sequence[Pass], context: Context) -> None:
    problems = [
        Diagnostic(
            "E0235", f"pass {unparse_one(step)} needs {need} data", help=f"give it with --{_FLAGS.get(need, need)}"
        )
        for step in passes
        for need in sorted(step.needs)
        if getattr(context, need, None) is None
    ]
    if problems:
        raise TccError(Exit.USAGE, problems)


_FLAGS = {"calibration": "calib"}
