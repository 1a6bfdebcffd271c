"""One compilation, step by step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tcc import backends, frontends, report
from tcc.backends import Backend, PairedLatency
from tcc.compiler import accuracy, data, legality, levels, measuring, shipping, warnings
from tcc.compiler.accuracy import Loss
from tcc.compiler.result import Result
from tcc.compiler.shipping import Shipped, Shipping
from tcc.diagnostics import Diagnostic, Exit, TccError, fail
from tcc.ir.feeds import exercise_feeds
from tcc.ir.model import Model
from tcc.passes.base import Context, Effect, Pass
from tcc.passes.manager import Instrument, Outcome, Snapshot, Verifier, run_passes
from tcc.passes.pipeline import unparse
from tcc.targets import Target

_SYNTHETIC = "synthetic:"
_SYNTHETIC_SAMPLES = 16


@dataclass
class Compilation:
    """What was asked for (see ``tcc.compile``), and what is found out on the way."""

    source: object
    level: str
    target: Target
    passes: tuple[Pass, ...]
    output: Path | None
    calibration: Any
    inputs: Any
    max_loss: float
    symbols: Mapping[str, int]
    seconds: float
    verify: bool
    measure: bool
    warnings_as_errors: Sequence[str]
    instruments: Sequence[Instrument]
    log: Callable[[str, int], None]
    diagnostics: list[Diagnostic] = field(default_factory=list)

    def run(self) -> Result:
        """Compile; raises ``TccError`` before anything is written where something is wrong."""
        started = time.perf_counter()
        self._check_arguments()
        model = frontends.load(self.source)
        if self.output is not None:
            shipping.require_writable(self.output, model.files)
        with shipping.workspace(self.output) as folder:
            self.diagnostics += [*_target_notes(self.target), *model.notes]
            original = Snapshot.of(model)
            nbytes = _size(self.source, model)
            facts = report.Facts.of(model, nbytes)
            calibration = self._calibration(model)
            verifier = self._verifier(model, original)
            outcome = self._passes(model, original, verifier, calibration)
            shipped = self._ship(folder, nbytes, outcome, verifier, calibration)
            before = original.model()
            predicted = [
                report.predicted_seconds(m, self.target, self.symbols) for m in (before, shipped.model.clone())
            ]
            latency = self._latency(folder, before, shipped, verifier)
            warnings.raise_errors(self.diagnostics, self.warnings_as_errors)
            result = self._report(facts, shipped, outcome, verifier, predicted)
            result["measured"] = _measured(outcome, latency, time.perf_counter() - started)
            files = () if self.output is None else shipping.publish(shipped.files, self.output)
        plain = report.plain(result)
        return Result(shipped.model, outcome.records, tuple(self.diagnostics), plain, files, shipped.verbatim)

    def _check_arguments(self) -> None:
        warnings.check_names(self.warnings_as_errors)
        if not 0 <= self.max_loss <= 1:
            raise fail(Exit.USAGE, "E0238", f"the loss budget is {self.max_loss:g}, should be between 0 and 1",
                       help="write 1% or 0.01")  # fmt: skip
        if self.output is not None and isinstance(self.source, str | Path):
            shipping.require_writable(self.output, [Path(self.source)])

    def _calibration(self, model: Model) -> tuple[Mapping[str, Any], ...] | None:
        if self.calibration is None:
            return None
        if isinstance(self.calibration, str) and self.calibration.startswith(_SYNTHETIC):
            return self._synthetic(model, self.calibration.removeprefix(_SYNTHETIC))
        read = data.read(self.calibration, model)
        self.diagnostics += read.notes
        return read.feeds

    def _synthetic(self, model: Model, count: str) -> tuple[Mapping[str, Any], ...]:
        if count and not count.isdecimal():
            raise fail(
                Exit.USAGE, "E0239", f"{count!r} is no number of samples", help="write synthetic: or synthetic:64"
            )
        snapshot = Snapshot.of(model)
        feeds = exercise_feeds(
            snapshot.proto, snapshot.runner(), seed=1, symbols=self.symbols, count=int(count or _SYNTHETIC_SAMPLES)
        )
        return tuple(feeds)

    def _verifier(self, model: Model, original: Snapshot) -> Verifier | None:
        given: Sequence[Mapping[str, Any]] = ()
        if isinstance(self.inputs, str | Path):
            given = data.whole(self.inputs, model)
        elif self.inputs is not None:
            given = tuple(self.inputs)
        if not self.verify:
            self.diagnostics.append(Diagnostic("W0701", "unverified: verification is off", original.source))
            return None
        return Verifier(original, given, self.symbols)

    def _passes(
        self,
        model: Model,
        original: Snapshot,
        verifier: Verifier | None,
        calibration: tuple[Mapping[str, Any], ...] | None,
    ) -> Outcome:
        # A level's passes that need data are left out where there is none; what was named explicitly is an error.
        passes = self.passes
        if self.level and calibration is None:
            passes = tuple(step for step in passes if "calibration" not in step.needs)
            if left_out := unparse([step for step in self.passes if step not in passes]):
                message = f"no calibration data: {left_out} is left out of -O{self.level}"
                self.diagnostics.append(Diagnostic("N0202", message, original.source, help="give data with --calib"))
        context = Context(self.target, self.symbols, (), calibration, self.max_loss, self.seconds, self.log)
        outcome = run_passes(model, passes, context, original=original, verifier=verifier, instruments=self.instruments)
        self.diagnostics += outcome.diagnostics
        return outcome

    def _ship(
        self, folder: Path, nbytes: int, outcome: Outcome, verifier: Verifier | None, calibration: Any
    ) -> Shipped:
        original = outcome.snapshots[0]
        backend = self._backend(outcome.model, original)
        name = "model.onnx" if self.output is None else self.output.resolve().name
        measured = _LossOf(original, calibration) if calibration and outcome.promise is Effect.LOSSY else None
        done = Shipping(
            original, nbytes, folder / name, backend, verifier, measured or (lambda _snapshot: None), self.max_loss
        ).ship(outcome.snapshots)
        self.diagnostics += done.notes
        return done

    def _backend(self, model: Model, original: Snapshot) -> Backend | None:
        """The first back end of the target's chain that takes the model; None where it was illegal before already."""
        before = original.model()
        known = legality.problems(_annotated(before), self.target)
        problems = dict(legality.problems(_annotated(model), self.target))
        for backend in self._chain(model.source):
            reasons = backend.unsupported(model)
            if not reasons:
                break
            known = {**known, **{d.message: d for d in backend.unsupported(before)}}
            # The target's own reason for the same thing is enough.
            covered = any(d.code == r.code for d in problems.values() for r in reasons)
            problems |= {} if covered else {d.message: d for d in reasons}
        else:
            backend = None
        tolerated = self.level in levels.EXACT or not self.level
        errors = [d for key, d in problems.items() if not (tolerated and key in known)]
        if errors:
            raise TccError(Exit.UNSUPPORTED, errors)
        self.diagnostics += map(legality.as_warning, problems.values())
        return backend

    def _chain(self, source: str) -> Iterator[Backend]:
        there = backends.names()
        for name in self.target.backends:
            if name in there:
                yield from backends.fallbacks(name)
                return
            message = f"back end {name} of {self.target.text} is not part of this tcc; the next of its chain is taken"
            self.diagnostics.append(Diagnostic("W0801", message, source, help="the result is an ONNX file"))
        yield backends.backend("onnxruntime")

    def _latency(self, folder: Path, before: Model, shipped: Shipped, verifier: Verifier | None) -> PairedLatency | str:
        if not self.measure:
            return "not asked for"
        if reason := measuring.unmeasurable(self.target):
            return reason
        if verifier is None or not verifier.feeds:
            return "no inputs run through the model"
        path = folder / "original"
        path.mkdir()
        original = before.files[0] if before.files else before.save(path / "original.onnx")[0]
        latency = measuring.measure(
            original, shipped.files[0], verifier.feeds, self.target, backends.backend("onnxruntime")
        )
        if latency.verdict == "slower":
            self.diagnostics.append(Diagnostic("W0705", f"the result is slower: {latency.text()}", before.source))
        return latency

    def _report(
        self, facts: report.Facts, shipped: Shipped, outcome: Outcome, verifier: Verifier | None, predicted: list[float]
    ) -> dict[str, Any]:
        promise = outcome.promise
        difference = None if verifier is None else verifier.against_original(promise)
        exact = promise is not Effect.LOSSY
        tolerance = {Effect.BITS: 0.0, Effect.VALUE: verifier.tolerance if verifier else None}.get(promise)
        return {
            "schema": report.SCHEMA,
            "source": outcome.snapshots[0].source,
            "output": None if self.output is None else str(self.output),
            "target": self.target.text,
            "level": self.level or None,
            "pipeline": unparse(self.passes),
            "shipped": shipped.what,
            "input": facts,
            "result": report.Facts.of(shipped.model, shipped.nbytes),
            "passes": [report.pass_entry(record) for record in outcome.records],
            "predicted": {"model": "roofline", "seconds_before": predicted[0], "seconds_after": predicted[1]},
            "verification": {
                "promise": promise.value,
                "verified": verifier is not None and not verifier.reason,
                "reason": "" if verifier is None else verifier.reason,
                "tolerance": tolerance,
                "difference": report.difference_entry(difference),
            },
            "accuracy": _accuracy(shipped.loss, self.calibration, exact=exact),
            "diagnostics": report.diagnostic_entries(self.diagnostics),
        }


@dataclass
class _LossOf:
    """The loss of a form of the model on calibration data; the original runs once, when it is first needed."""

    original: Snapshot
    feeds: Sequence[Mapping[str, Any]]
    expected: accuracy.Outputs = field(default_factory=list)

    def __call__(self, snapshot: Snapshot) -> Loss | None:
        """None for the original, which loses nothing."""
        if snapshot is self.original:
            return None
        self.expected = self.expected or accuracy.outputs(self.original.runner(), self.feeds)
        return accuracy.loss(self.expected, accuracy.outputs(snapshot.runner(), self.feeds))


def _annotated(model: Model) -> Model:
    from tcc.ir.inference import annotate

    annotate(model)
    return model


def _accuracy(loss: Loss | None, calibration: Any, *, exact: bool) -> dict[str, Any]:
    if loss is None:
        why = "no calibration data" if calibration is None else "nothing lossy was done" if exact else ""
        return {"status": "unmeasured", "reason": why}
    synthetic = isinstance(calibration, str) and calibration.startswith(_SYNTHETIC)
    return {
        "status": "measured", "loss": loss.value, "metric": loss.metric, "samples": loss.samples,
        "data": "synthetic" if synthetic else "given",
    }  # fmt: skip


def _measured(outcome: Outcome, latency: PairedLatency | str, seconds: float) -> dict[str, Any]:
    timed = latency if isinstance(latency, str) else {
        "seconds_before": latency.latency_a, "seconds_after": latency.latency_b, "ratio": latency.ratio,
        "low": latency.low, "high": latency.high, "noise": latency.noise, "rounds": latency.rounds,
        "verdict": latency.verdict,
    }  # fmt: skip
    return {
        "seconds": seconds,
        "passes": [{"pass": record.text, "seconds": record.seconds} for record in outcome.records],
        "latency": timed,
    }


def _target_notes(target: Target) -> Iterator[Diagnostic]:
    for note in target.notes:
        yield Diagnostic("N0201", note.removeprefix("warning: "), target.text)


def _size(source: object, model: Model) -> int:
    """Bytes of what the model came from; where that is no file, those that it takes as one."""
    if model.files:
        return sum(path.stat().st_size for path in model.files)
    if isinstance(source, bytes | bytearray):
        return len(source)
    try:
        return len(model.to_bytes())
    except TccError:  # larger than one file may be
        return model.parameter_bytes
