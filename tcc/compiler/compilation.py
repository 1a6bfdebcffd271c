"""One compilation, step by step."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from tcc import backends, frontends, report
from tcc.backends import PairedLatency
from tcc.compiler import (
    ablation,
    collecting,
    data,
    emitting,
    evaluation,
    explaining,
    levels,
    lowering,
    measuring,
    placing,
    provenance,
    sizing,
    warnings,
)
from tcc.compiler.accuracy import LossOf, held_out
from tcc.compiler.evaluation import Evaluation
from tcc.compiler.lowering import TypedForms
from tcc.compiler.programs import Programs
from tcc.compiler.provenance import Provenance
from tcc.compiler.request import Request
from tcc.compiler.result import Result
from tcc.compiler.shipping import Shipped, Shipping
from tcc.compiler.speed import HOWEVER_SLOW, SpeedGate, Written
from tcc.diagnostics import Diagnostic, Exit, TccError, fail
from tcc.ir.batches import divided
from tcc.ir.feeds import exercise_feeds
from tcc.ir.loss import Loss
from tcc.ir.model import Model
from tcc.passes.base import ORIGINS, Effect
from tcc.passes.manager import Outcome, Snapshot, Verifier
from tcc.passes.pipeline import unparse
from tcc.report.layers import layers
from tcc.targets import Target

_MEASURING = 0.9
"""The part of the time limit after which nothing more is measured for the gate of speed."""
_SYNTHETIC = "synthetic:"
_SYNTHETIC_SAMPLES = 16

Feeds = Sequence[Mapping[str, Any]]


class Compilation(Request):
    """One run of the compiler."""

    def run(self) -> Result:
        """Compile; raises ``TccError`` before anything is written where something is wrong."""
        # What searches makes many models and drops them: there, garbage is weights.
        with collecting.seldom() if self.level in levels.EXACT else nullcontext():
            return self._run()

    def _run(self) -> Result:
        started = time.perf_counter()
        self._check_arguments()
        model = frontends.load(self.source)
        if self.output is not None:
            placing.require_writable(self.output, model.files)
        with placing.workspace(self.output) as folder:
            self.diagnostics += [*_target_notes(self.target), *model.notes]
            original = Snapshot.of(model)
            sizing.require_known(original, self.symbols)
            facts = report.Facts.of(model, _size(self.source, model))
            samples = self._samples(model, original)
            verifier = self._verifier(model, original, samples or ())
            runs = samples and divided(model, samples)
            # No loss at all is a promise about all of the data, not an estimate for other data.
            fitted, held = held_out(runs) if self.budgets.loss else (runs, runs or ())
            loss = LossOf(original, held, self._evaluation(model))
            gate = self._gate(folder, original, self._timed(model, original, samples, verifier))
            self._provenance = Provenance(self, original, samples, loss)
            programs = Programs(
                self, gate, self._provenance, verifier, loss, fitted if loss.evaluation is None else runs
            )
            outcome = programs.best(model, original, facts.bytes)
            forms = TypedForms(outcome, self.target, self.sizes)
            output = self.output if self.emit == emitting.ONNX else None
            name = "model.onnx" if output is None else output.resolve().name
            shipped = self._ship(folder / name, facts.bytes, outcome, forms, gate, verifier=verifier, loss=loss)
            programs.require_kept(outcome, shipped.snapshot, facts.bytes)
            latency = self._latency(gate, shipped)
            front = self._front(folder, programs, facts.bytes, gate, verifier=verifier, loss=loss)
            emitted = emitting.of(self, folder, shipped, () if verifier is None else verifier.feeds)
            warnings.raise_errors(self.diagnostics, self.warnings_as_errors)
            made = self._report(facts, shipped, outcome, verifier, forms) | programs.report()
            if emitted is not None:
                made["artefact"] = emitted.entry()
            made["measured"] = _measured(outcome, latency, time.perf_counter() - started)
            made["pareto"] = [entry for entry, _ in front]
            files = self._publish(shipped.files if emitted is None else emitted.files, front)
        given = outcome.records, tuple(self.diagnostics), report.plain(made), files, shipped.verbatim
        return Result(shipped.model, *given, read=tuple(model.files))

    def _check_arguments(self) -> None:
        if self.emit != emitting.ONNX:
            self.target = emitting.narrowed(self.target, self.emit)
        warnings.check_names(self.warnings_as_errors)
        ablation.check(self.without)
        if not 0 <= self.budgets.loss <= 1:
            message = f"the loss budget is {self.budgets.loss:g}, should be between 0 and 1"
            raise fail(Exit.USAGE, "E0238", message, help="write 1% or 0.01")
        if self.output is not None and isinstance(self.source, str | Path):
            placing.require_writable(self.output, [Path(self.source)])

    def _samples(self, model: Model, original: Snapshot) -> tuple[Mapping[str, Any], ...] | None:
        """The calibration data."""
        if self.calibration is None:
            return None
        if isinstance(self.calibration, str) and self.calibration.startswith(_SYNTHETIC):
            count = self.calibration.removeprefix(_SYNTHETIC) or str(_SYNTHETIC_SAMPLES)
            if not count.isdecimal() or int(count) < 1:
                advice = "write synthetic: or synthetic:64"
                raise fail(Exit.USAGE, "E0239", f"{count!r} is no number of samples", help=advice)
            # Not the seed of the inputs that equality is verified on; the sizes of those that are timed.
            first = next(iter(sizing.deployed(original, self.symbols)), {})
            sizes = sizing.sizes(model, self.symbols, [first])
            runner = original.runner()
            return tuple(exercise_feeds(original.proto, runner, seed=1, symbols=sizes, count=int(count)))
        read = data.read(self.calibration, model)
        self.diagnostics += read.notes
        return read.feeds

    def _timed(self, model: Model, original: Snapshot, samples: Feeds | None, verifier: Verifier | None) -> Feeds:
        """The inputs that prices and times are for, whose sizes are kept: the user's, else some of usual sizes."""
        generated: Feeds = () if verifier is None else verifier.feeds
        assumed = samples is None and self.inputs is None
        if assumed and generated:
            generated = sizing.deployed(original, self.symbols) or generated
        feeds = sizing.timed(samples, generated)
        self.sizes = sizing.sizes(model, self.symbols, feeds)
        if assumed:
            self.diagnostics += sizing.assumed(self.sizes, self.symbols, original)
        return feeds

    def _evaluation(self, model: Model) -> Evaluation | None:
        """The user's own metric, with its data."""
        if self.evaluation is None:
            return None
        read = evaluation.read(self.evaluation, model, self.metric)
        if read.metric is None:
            advice = f"put an array {evaluation.LABELS!r} beside the inputs, or name a metric"
            raise fail(Exit.DATA, "E0610", "the evaluation data has no labels", help=advice)
        return read

    def _verifier(self, model: Model, original: Snapshot, samples: Feeds) -> Verifier | None:
        if not self.verify:
            self.diagnostics.append(Diagnostic("W0701", "unverified: verification is off", original.source))
            return None
        if isinstance(self.inputs, str | Path):
            return Verifier(original, data.whole(self.inputs, model), self.symbols)
        return Verifier(original, tuple(self.inputs or ()), self.symbols, samples)

    def _front(
        self,
        folder: Path,
        programs: Programs,
        nbytes: int,
        gate: SpeedGate,
        *,
        verifier: Verifier | None,
        loss: LossOf,
    ) -> list[tuple[dict[str, Any], Shipped]]:
        """The programs of the front, each held to the gates like the one that is shipped, and its report entry."""
        made: list[tuple[dict[str, Any], Shipped]] = []
        if not self.pareto:
            return made
        name = Path("model.onnx" if self.output is None else self.output.name)
        (folder / "pareto").mkdir()
        for number, point in enumerate(programs.front(self.pareto), 1):
            forms = TypedForms(point.outcome, self.target, self.sizes)
            path = folder / "pareto" / f"{name.stem}.pareto{number}{name.suffix}"
            shipped = self._ship(path, nbytes, point.outcome, forms, gate, verifier=verifier, loss=loss)
            if shipped.snapshot is point.outcome.snapshots[-1]:
                made.append((point.entry() | {"file": path.name}, shipped))
        if len(made) < self.pareto:
            count = "1 program that keeps" if len(made) == 1 else f"{len(made)} programs that keep"
            message = f"the front has {count} the budgets and that no other beats, {self.pareto} were asked for"
            self.diagnostics.append(Diagnostic("N0708", message))
        return made

    def _publish(self, made: Sequence[Path], front: Sequence[tuple[Mapping[str, Any], Shipped]]) -> tuple[Path, ...]:
        files = emitting.publish(made, self.output)
        for entry, form in front if self.output is not None else ():
            assert self.output is not None
            files += placing.publish(form.files, self.output.with_name(entry["file"]))
        return files

    def _ship(
        self,
        path: Path,
        nbytes: int,
        outcome: Outcome,
        forms: TypedForms,
        gate: SpeedGate,
        *,
        verifier: Verifier | None,
        loss: LossOf,
    ) -> Shipped:
        tolerant = not self.level or self.level in levels.EXACT
        backend, said = lowering.choose(forms, self.target, tolerant=tolerant)
        # Another's artefacts are made of the file that is shipped.
        backend = backend if backend is not None and backend.emits == emitting.ONNX else None

        def is_lossy(snapshot: Snapshot) -> bool:
            return outcome.promise(snapshot) is Effect.LOSSY

        gates = Shipping(
            outcome.snapshots[0], nbytes, path, backend, verifier,
            lambda snapshot: loss(snapshot) if is_lossy(snapshot) else None, self.budgets.loss, is_lossy,
            lambda snapshot: gate.refusal(*outcome.compared(snapshot), forms.predicted_seconds),
            outcome.exact_form, lambda snapshot: self._provenance.facts(outcome, snapshot),
            lambda snapshot: outcome.compact(snapshot) is not snapshot,
        )  # fmt: skip
        shipped = gates.ship(outcome.snapshots)
        # What the target's own back end would be missing here does not matter where another artefact is asked for.
        told = [*(d for d in said if self.emit == emitting.ONNX or d.code != "W0801"), *shipped.notes]
        self.diagnostics += [d for d in told if d not in self.diagnostics]  # points of the front have the same to say
        return shipped

    def _gate(self, folder: Path, original: Snapshot, feeds: Feeds) -> SpeedGate:
        """The gate of speed; what was named pass by pass, or is asked for however slow, is measured only."""
        unmeasured = measuring.unmeasurable(self.target) or ("" if feeds else "no inputs run through the model")
        return SpeedGate(
            self.target, Written(original, folder), feeds, unmeasured if self.measure else "not asked for",
            refuses=bool(self.level) and self.level not in HOWEVER_SLOW, end=self.share_of_time(_MEASURING),
        )  # fmt: skip

    def _latency(self, gate: SpeedGate, shipped: Shipped) -> PairedLatency | str:
        """What is shipped against the input, on all threads, for the report; nothing hangs on it."""
        if gate.is_late:
            message = "the time limit has come: that the result is no slower is in part predicted, not measured"
            self.diagnostics.append(Diagnostic("N0706", message, help="allow more with --time-limit"))
            return "the time limit has come"
        if gate.unmeasured or shipped.verbatim is not None:
            return gate.unmeasured or "the input's own bytes are shipped"
        before = gate.written.files(gate.written.original)[0]
        found = measuring.measure(before, shipped.files[0], gate.feeds, self.target, backends.backend("onnxruntime"))
        if found.verdict == "slower":
            message = f"the result is {found.text()}"
            self.diagnostics.append(Diagnostic("W0705", message, shipped.model.source))
        return found

    def _accuracy(self, loss: Loss | None) -> dict[str, Any]:
        given = self.calibration if self.evaluation is None else self.evaluation
        if loss is None:
            why = "no calibration data" if given is None else "nothing lossy was done"
            return {"status": "unmeasured", "reason": why}
        synthetic = isinstance(given, str) and given.startswith(_SYNTHETIC)
        return {
            "status": "measured", "loss": loss.value, "upper": loss.upper, "metric": loss.metric,
            "samples": loss.samples, "data": "synthetic" if synthetic else "given",
        }  # fmt: skip

    def _report(
        self, facts: report.Facts, shipped: Shipped, outcome: Outcome, verifier: Verifier | None, forms: TypedForms
    ) -> dict[str, Any]:
        promise = outcome.promise(shipped.snapshot)
        before, after = map(forms.predicted_seconds, (outcome.snapshots[0], shipped.snapshot))
        if self.passes and after > before * (1 - _GAIN):
            message = f"no-speedup: the roofline expects no gain on {self.target.name}: {1e6 * after:.4g} µs"
            self.diagnostics.append(
                Diagnostic("N0702", f"{message}, the input {1e6 * before:.4g} µs", shipped.model.source)
            )
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
            "provenance": provenance.of(shipped.model),
            "passes": [
                report.pass_entry(record, explaining.without_origins(record.facts)) for record in outcome.records
            ],
            **(explaining.told(outcome, shipped.snapshot, shipped.files) if ORIGINS in self.asked else {}),
            "predicted": {"model": "roofline", "seconds_before": before, "seconds_after": after},
            "layers": layers(forms.of(shipped.snapshot), self.target, self.sizes, _sites(outcome)),
            "verification": _verification(promise, verifier),
            "accuracy": self._accuracy(shipped.loss),
            "versions": lowering.versions(shipped.model, self.target),
            "placement": lowering.placement(forms.of(shipped.snapshot), self.target),
            "diagnostics": report.diagnostic_entries(self.diagnostics),
        }


_GAIN = 0.01
"""The part of the predicted latency below which a gain is none."""


def _sites(outcome: Outcome) -> list[str]:
    """The lossy alternatives that passes took."""
    return [str(site) for record in outcome.records for site in record.facts.get("sites", ())]


def _verification(promise: Effect, verifier: Verifier | None) -> dict[str, Any]:
    if verifier is None:
        return {"promise": promise.value, "verified": False, "reason": "verification is off"}
    return {
        "promise": promise.value,
        "verified": not verifier.reason,
        "reason": verifier.reason,
        "tolerance": {Effect.BITS: 0.0, Effect.VALUE: verifier.tolerance}.get(promise),
        "difference": report.difference_entry(verifier.against_original(promise)),
        "note": verifier.note,
    }


def _measured(outcome: Outcome, latency: PairedLatency | str, seconds: float) -> dict[str, Any]:
    timed: str | dict[str, Any] = latency if isinstance(latency, str) else {
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
