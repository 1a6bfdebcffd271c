"""Checks that a pass kept its promise: ONNX's checker, the signature, equality on inputs that exercise the graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tcc.diagnostics import Diagnostic, Exit, TccError, fail
from tcc.ir import checks, feeds, heap
from tcc.ir.equality import Comparison, compare
from tcc.ir.execution import Runner
from tcc.passes._divergence import first_difference
from tcc.passes._drawn import DRAWS, drawing, unlike
from tcc.passes._snapshot import Snapshot
from tcc.passes.base import Effect

Feed = Mapping[str, Any]
Outputs = list[list[Any]]
"""One list of outputs for each feed."""

TOLERANCE = 1e-5
"""How much of each output's scale a pass that keeps the value may change."""
_FEW = 8
"""Inputs up to which what each run leaves is given back before the next: the largest of them is what it takes then."""
_SAMPLES = 4
"""Samples that are taken in place of generated inputs."""
_AMPLIFICATION = 2.0
"""Two roundings of one computation differ from the exact one by as much as from each other: twice that is allowed."""


@dataclass(frozen=True)
class Verification:
    """What was found out about one pass.

    ``outcome`` is the equality that holds, ``unchanged`` for a pass that did nothing, or ``unverified``.
    ``tolerance`` is relative to each output's scale; ``note`` says what a reader has to know besides.
    """

    outcome: Literal["bits", "value", "lossy", "unchanged", "unverified"]
    comparison: Comparison | None = None
    tolerance: float | None = None
    note: str = ""


@dataclass
class Verifier:
    """Compares every form of a model with what it started from, on the same inputs.

    The original runs once: its outputs are kept. ``value`` is measured against the last exact ancestor, the
    original or what the last lossy pass made, so that small differences cannot add up over passes; ``bits``
    against the form before the pass. Outputs that depend on random numbers may come out as other draws: then their
    types, shapes and statistics are compared.

    Args:
        original: what is compared against.
        given: inputs of the user's; generated where there are none.
        symbols: sizes of symbolic dimensions.
        samples: of data that is for something else, taken where generated inputs do not run or make no difference.
    """

    original: Snapshot
    given: Sequence[Feed] = ()
    symbols: Mapping[str, int] = field(default_factory=dict)
    samples: Sequence[Feed] = ()

    def __post_init__(self) -> None:
        self.diagnostics: list[Diagnostic] = []
        self.feeds: tuple[Feed, ...] = tuple(self.given)
        self.reason = ""
        self._current = self._reference = self.original
        self._tolerance: float | None = None
        self._first: Outputs = []
        self._drawn = drawing(self.original.proto)
        self.note = ""
        self._misdeclared: dict[str, tuple[int, str]] = {}
        try:
            self._start()
            heap.give_back()
        except TccError as error:
            if error.exit_code == Exit.LIMIT or self.given:
                raise
            self._unverifiable(error.diagnostics[0])
        self._outputs = self._expected = self._first

    def _start(self) -> None:
        runner = self.original.runner()
        if not self.feeds:
            self.feeds = self._generated(runner)
            # What has drawn before draws other numbers than what has not.
            runner = self.original.runner() if self._drawn else runner
        if not self._first or self._drawn:
            self._first = [runner.run(feed) for feed in self.feeds]
        for outputs in self._first:
            self._misdeclared |= checks.misdeclared(self.original.proto, outputs)
        for sentence in (sentence for _, sentence in self._misdeclared.values() if sentence):
            message = f"{sentence}: the declaration is kept as it is"
            self.diagnostics.append(Diagnostic("W0707", message, self.original.source))
        if _insensitive(self._first) and self.original.signature.inputs:
            message = "the outputs do not depend on the inputs that were tried, so that equal outputs prove little"
            advice = "give inputs that matter with --inputs"
            self.diagnostics.append(Diagnostic("W0702", message, self.original.source, help=advice))

    def _generated(self, runner: Runner) -> tuple[Feed, ...]:
        """Generated inputs, and the outputs on them; samples where those do not run or make no difference."""
        try:
            made, self._first = feeds.exercised(self.original.proto, runner, symbols=self.symbols)
        except TccError as error:
            if error.exit_code == Exit.LIMIT or not self.samples:
                raise
            made, self._first = [], []
        if self.samples and (not made or _insensitive(self._first)):
            some = self.samples[:_SAMPLES]
            outputs = [runner.run(feed) for feed in some]
            if not made or not _insensitive(outputs):
                self._first = outputs
                return tuple(some)
        return tuple(made)

    def _unverifiable(self, reason: Diagnostic) -> None:
        self.reason, self.feeds = reason.message, ()
        message = f"unverified: {reason.message}"
        advice = reason.help or "compare the outputs where the model runs"
        self.diagnostics.append(
            Diagnostic("W0701", message, reason.where or self.original.source, reason.notes, advice)
        )

    @property
    def tolerance(self) -> float:
        """The tolerance of ``value`` as it stands now."""
        return self._tolerance or TOLERANCE

    def verify(self, after: Snapshot, effect: Effect) -> Verification:
        """Check what a pass made.

        Raises:
            TccError: exit VERIFICATION, naming the pass and, where it can be found, the node.
        """
        _check(after, self._misdeclared)
        _check_signature(self._current, after)
        if self.reason:
            self._current = after
            return Verification("unverified", note=self.reason)
        # Where only the types of inner values differ, say, the outputs are those that are known already.
        outputs = self._outputs if after.computes_what(self._current) else self._run(after)
        verdict = self._judge(after, effect, outputs)
        if effect is Effect.LOSSY:
            # What follows is measured against this: a lossy pass has no error of its own left to spend.
            self._reference, self._expected, self._tolerance = after, outputs, None
        self._current, self._outputs = after, outputs
        return verdict

    def verify_file(self, path: Path) -> Verification:
        """Check that a written file is the form that was verified last, bit for bit.

        Raises:
            TccError: exit VERIFICATION.
        """
        if self.reason:
            return Verification("unverified", note=self.reason)
        try:
            outputs = self._run_all(lambda: Runner(path))
            found = self._compared(self._outputs, outputs, lambda: Runner(path), bits=True, rtol=0.0)
        except TccError as error:
            raise _broken("E0705", "the written file does not run", self._current, error) from error
        if not found.equal:
            raise fail(Exit.VERIFICATION, "E0705", f"the written file differs from the model: {found.text()}",
                       where=self.original.source, help=_REPORT)  # fmt: skip
        return Verification("bits", found, 0.0, self.note)

    def against_original(self, outcome: Effect) -> Comparison | None:
        """How far the form that was verified last is from the original; None where nothing runs."""
        if self.reason:
            return None
        first, outputs = (self._steady(found) if self.note else found for found in (self._first, self._outputs))
        return _worst(first, outputs, bits=outcome is Effect.BITS, rtol=self.tolerance)

    def fork(self, earlier: Snapshot) -> Verifier:
        """A verifier that goes on from an earlier form and gathers diagnostics of its own."""
        made = copy(self)
        made.diagnostics = []
        made.back_to(earlier)
        return made

    def back_to(self, earlier: Snapshot) -> None:
        """Take an earlier form for the one that was verified last."""
        if earlier is self._current:
            return
        self._current = earlier
        if not self.reason:
            self._outputs = self._first if earlier is self.original else self._run(earlier)

    def _run_all(self, make: Callable[[], Runner]) -> Outputs:
        runner, outputs = make(), []
        for feed in self.feeds:
            outputs.append(runner.run(feed))
            if len(self.feeds) <= _FEW:
                heap.give_back()
        del runner
        heap.give_back()
        return outputs

    def _run(self, after: Snapshot) -> Outputs:
        try:
            return self._run_all(after.runner)
        except TccError as error:
            if error.exit_code == Exit.LIMIT:
                raise
            raise _broken("E0704", "the model no longer runs", after, error) from error

    def _judge(self, after: Snapshot, effect: Effect, outputs: Outputs) -> Verification:
        bits = effect is Effect.BITS
        expected = self._outputs if bits else self._expected
        found = self._compared(expected, outputs, after.runner, bits=bits, rtol=self.tolerance)
        note = ""
        if effect is Effect.LOSSY:
            if problem := _unsound(expected, outputs):
                raise self._differs(after, effect, problem)
            return Verification("lossy", found, note=self.note)
        if not found.equal and not bits:
            found, note = self._widened(found, outputs, after.runner)
        if not found.equal:
            raise self._differs(after, effect, found.text())
        notes = "; ".join(filter(None, (note, self.note)))
        return Verification("bits" if bits else "value", found, 0.0 if bits else self.tolerance, notes)

    def _compared(
        self, expected: Outputs, outputs: Outputs, runner: Callable[[], Runner], *, bits: bool, rtol: float
    ) -> Comparison:
        """Compare the outputs; those that are other draws by their statistics."""
        found = _worst(expected, outputs, bits=bits, rtol=rtol)
        if found.equal or not self._drawn:
            return found
        steady = _worst(self._steady(expected), self._steady(outputs), bits=bits, rtol=rtol)
        if not steady.equal:
            return steady
        if problem := unlike(self._reference.runner(), runner(), self.feeds, self._drawn):
            return replace(found, reason=problem)
        if not self.note:
            operators = sorted({operator for found in self._drawn.values() for operator in found})
            names = [name for i, (name, _) in enumerate(self.original.signature.outputs) if i in self._drawn]
            self.note = (
                f"the model draws random numbers ({', '.join(operators)}): {', '.join(names)} are compared by type, "
                f"shape and statistics of {DRAWS} draws only"
            )
            self.diagnostics.append(Diagnostic("W0706", self.note, self.original.source))
        return steady

    def _steady(self, outputs: Outputs) -> Outputs:
        """The outputs, with nothing in the place of those that depend on draws."""
        return [[None if i in self._drawn else value for i, value in enumerate(found)] for found in outputs]

    def _widened(self, found: Comparison, outputs: Outputs, runner: Callable[[], Runner]) -> tuple[Comparison, str]:
        """Compare again at the tolerance that the graph's own conditioning asks for."""
        if self._tolerance is None:
            fused = self._reference.runner(optimise=True)
            pair = self._steady(self._expected), self._steady([fused.run(feed) for feed in self.feeds])
            again = _worst(*pair, bits=False, rtol=TOLERANCE)
            self._tolerance = TOLERANCE if again.equal else max(TOLERANCE, _AMPLIFICATION * again.largest_scaled)
        if self._tolerance <= TOLERANCE:
            return found, ""
        note = (
            f"the graph amplifies rounding: the original differs from itself by "
            f"{self._tolerance / _AMPLIFICATION:.3g} of its scale between onnxruntime with and without optimisations; "
            f"the tolerance is {self._tolerance:.3g} instead of {TOLERANCE:g}"
        )
        self.diagnostics.append(Diagnostic("W0703", note, self.original.source))
        return self._compared(self._expected, outputs, runner, bits=False, rtol=self._tolerance), note

    def _differs(self, after: Snapshot, effect: Effect, problem: str) -> TccError:
        where = first_difference(
            self._current, after, self.feeds, bits=effect is Effect.BITS, rtol=self.tolerance,
        )  # fmt: skip
        return fail(
            Exit.VERIFICATION, "E0703", f"pass {after.label} changed the outputs: {problem}",
            where=where or after.source, notes=[f"it promises {effect.value}"], help=_REPORT,
        )  # fmt: skip


_REPORT = "this is an error of the compiler: please report it, and leave the pass out with --passes meanwhile"


def _insensitive(outputs: Outputs) -> bool:
    """Whether several inputs have been tried and made no difference."""
    same = [compare(a, b, bits=False, rtol=feeds.SENSITIVITY).equal for a, b in pairwise(outputs)]
    return bool(same) and all(same)


def _check(after: Snapshot, misdeclared: Mapping[str, tuple[int, str]]) -> None:
    try:
        checks.check_versions(after.proto, after.source)
        checks.check_proto(after.proto, after.source, {name: rank for name, (rank, _) in misdeclared.items()})
    except TccError as error:
        raise _broken("E0701", "the model is no longer valid", after, error) from error


def _check_signature(before: Snapshot, after: Snapshot) -> None:
    if problems := checks.verify_signature(before.signature, after.signature):
        raise fail(Exit.VERIFICATION, "E0702", f"pass {after.label} changed the signature", where=after.source,
                   notes=problems, help=_REPORT)  # fmt: skip


def _broken(code: str, what: str, after: Snapshot, error: TccError) -> TccError:
    notes = [f"{d.where}: {d.message}" if d.where else d.message for d in error.diagnostics]
    where = next((d.where for d in error.diagnostics if "[" in d.where), after.source)
    maker = f"after pass {after.label} " if after.label else ""
    return fail(Exit.VERIFICATION, code, f"{maker}{what}", where=where, notes=notes, help=_REPORT)


def _worst(expected: Outputs, actual: Outputs, *, bits: bool, rtol: float) -> Comparison:
    """The comparison of the feed that differs most; one that is unequal before any that is equal."""
    found = [compare(a, b, bits=bits, rtol=rtol) for a, b in zip(expected, actual, strict=True)]
    return max(found, key=lambda c: (not c.equal, c.largest_scaled))


def _unsound(expected: Outputs, actual: Outputs) -> str:
    """What no lossy pass may do: change a type or a shape, or make a finite number infinite or none at all."""
    for before, after in zip(expected, actual, strict=True):
        for index, (a, b) in enumerate(zip(before, after, strict=True)):
            if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
                continue
            if (a.dtype, a.shape) != (b.dtype, b.shape):
                return f"output {index} is {b.dtype}{list(b.shape)}, should be {a.dtype}{list(a.shape)}"
            if a.dtype.kind in "fV":
                lost = np.isfinite(a.astype(np.float32)) & ~np.isfinite(b.astype(np.float32))
                if count := int(np.count_nonzero(lost)):
                    return f"{count} of {a.size} elements of output {index} are no longer finite"
    return ""
