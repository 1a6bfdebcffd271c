"""The programs that a compilation considers: one pipeline's, or those of a search over them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tcc import backends, report
from tcc.compiler import executors, levels, measuring, search
from tcc.compiler.accuracy import LossOf
from tcc.compiler.attempts import Bench, Branch, extend
from tcc.compiler.budgets import Budgets, Cost
from tcc.compiler.request import Request
from tcc.compiler.search import Point, Search
from tcc.compiler.shipping import as_written
from tcc.compiler.speed import HOWEVER_SLOW, MARGIN, PREDICTED_MARGIN
from tcc.cost_models.memory import Memory
from tcc.diagnostics import Diagnostic, Exit, TccError
from tcc.ir.inference import annotate
from tcc.ir.model import Model
from tcc.passes.base import Context, Effect, Pass
from tcc.passes.compress import Compress
from tcc.passes.manager import Outcome, Snapshot, Stages, Verifier, run_passes
from tcc.passes.pipeline import parse, unparse
from tcc.targets.native import processors

_RUNS = 3
Feeds = tuple[Mapping[str, Any], ...]


@dataclass
class Programs:
    """Makes them and picks one.

    A level that may lose is searched: exact passes first, then each of its branches; so is whatever has to keep
    a budget of bytes or time. All else is one pipeline.

    Args:
        asked: the request.
        folder: for files to measure.
        verifier: checks every pass; None for no checks.
        loss: of a form on the user's data.
        samples: calibration data.
    """

    asked: Request
    folder: Path
    verifier: Verifier | None
    loss: LossOf
    samples: Feeds | None
    points: list[Point] = field(default_factory=list)
    chosen: Point | None = None
    _written: dict[int, tuple[Snapshot, tuple[Path, ...]]] = field(default_factory=dict)
    _seen: list[float] = field(default_factory=list)
    """Seconds of the forms in the order in which they came: the input, the exact form, the others."""
    _unit: float = 0.0
    """Seconds that a run of the input takes: all latencies are ratios to it, measured in turns."""

    def best(self, model: Model, original: Snapshot, nbytes: int) -> Outcome:
        """The program to ship.

        Raises:
            TccError: what passes raise; exit INFEASIBLE where no program keeps the budgets.
        """
        passes = self._possible(original)
        at = next((i for i, step in enumerate(passes) if step.promises is Effect.LOSSY), len(passes))
        first, rest = passes[:at], passes[at:]
        limits = self.asked.budgets
        context = Context(
            self.asked.target, self.asked.symbols, (), self.samples, limits.loss,
            math.inf if limits.nbytes is None else limits.nbytes.of(nbytes), self.asked.seconds, self.asked.log,
        )  # fmt: skip
        start = run_passes(
            model, first, context, original=original, verifier=self.verifier, instruments=self.asked.instruments
        )  # fmt: skip
        self.asked.diagnostics += start.diagnostics
        bench = Bench(context, self.verifier, self.loss, self._stages())
        try:
            outcome = self._searched(bench, start, rest, nbytes)
        except TccError as error:
            # It would fail again; what ended for want of time or memory can go on.
            self._clear(bench.stages if error.exit_code is not Exit.LIMIT else None)
            raise
        self._clear(bench.stages)
        self.asked.diagnostics += [d for d in outcome.diagnostics if d not in self.asked.diagnostics]
        return outcome

    def front(self, count: int) -> list[Point]:
        """At most ``count`` of the programs that keep all budgets and that no other one beats, evenly spread."""
        found = list(search.front([point for point in self.points if not point.exceeds]))
        if count < 2 or len(found) <= count:
            return found[:count]
        return [found[round(i * (len(found) - 1) / (count - 1))] for i in range(count)]

    def report(self) -> dict[str, Any]:
        """The points, for the report."""
        if not self.points:
            return {}
        on_front = {id(point) for point in search.front(self.points)}
        entries = [
            point.entry() | {"front": id(point) in on_front, "chosen": point is self.chosen} for point in self.points
        ]
        return {"search": entries}

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
            return search.joined(start, extend(bench, start.snapshots[-1], rest, instruments=asked.instruments))
        branches, suffix = self._branches(rest)
        if asked.level and self.samples and self.loss.evaluation is None:
            message = (
                "pruned shapes are not tried: they are fitted to the calibration data, and want other data as judge"
            )
            asked.diagnostics.append(
                Diagnostic("N0203", message, start.snapshots[0].source, help="give labelled data with --eval")
            )
        jobs = min(asked.jobs or processors(), len(branches))
        with executors.executor(asked.scheduler, jobs) as pool:
            made = Search(
                bench, lambda snapshot, loss: self._cost(snapshot, loss, nbytes), asked.budgets, asked.instruments,
                pool, max(jobs, 1),
            )  # fmt: skip
            self.points = made.run(start, branches, suffix)
        asked.diagnostics += made.notes
        self.chosen = made.choose(search.OBJECTIVES[asked.objective])
        return self.chosen.outcome

    def _branches(self, rest: tuple[Pass, ...]) -> tuple[list[Branch], tuple[Pass, ...]]:
        lossy = [i for i, step in enumerate(rest) if step.promises is Effect.LOSSY]
        end = lossy[-1] + 1 if lossy else 0
        aims = [self.asked.objective]
        if self.asked.objective == "size" and self.asked.level not in HOWEVER_SLOW:
            aims.append("latency")  # the smallest may turn out to be too slow
        thens = dict.fromkeys(tuple(self._aimed(step, aim) for step in rest[:end]) for aim in aims)
        suffix = rest[end:]
        # What is left after pruning is fitted to the calibration data and looks better there than anywhere else:
        # without other data to judge it on, its loss would be a guess.
        tried = self.asked.level and self.samples and self.loss.evaluation is not None
        shapes = ["", *levels.PRUNED] if tried else [""]
        shares = (0.125, 0.25, 0.5, 1.0) if self.asked.pareto else (1.0,)
        branches = [
            Branch(parse(shape), then, share) for shape in shapes for then in thens if shape or then
            for share in (shares if not shape else (1.0,))
        ]  # fmt: skip
        return branches, suffix

    def _aimed(self, step: Pass, objective: str) -> Pass:
        """The pass with this objective; one that was named with its options keeps them."""
        if not self.asked.level or not isinstance(step, Compress):
            return step
        return replace(step, objective=objective)

    def _cost(self, snapshot: Snapshot, loss: float, nbytes: int) -> Cost:
        """What a form costs; the input's bytes are those of its own files."""
        files = self._files(snapshot)
        size = sum(file.stat().st_size for file in files) if snapshot.label else nbytes
        model = snapshot.model()
        annotate(model)
        seconds = report.predicted_seconds(model, self.asked.target, self.asked.symbols)
        memory = Memory(self.asked.symbols).peak(model).total
        if not self._is_measurable():
            return self._compared(Cost(loss, size, seconds, memory=memory), PREDICTED_MARGIN, "predicted")
        assert self.verifier is not None
        backend = backends.backend("onnxruntime")
        original = self._files(self.loss.original)[0]
        # A busy machine makes slow, never fast: the least of three is the nearest to what there is.
        found = [
            measuring.measure(original, files[0], self.verifier.feeds, self.asked.target, backend) for _ in range(_RUNS)
        ]
        pair = min(found, key=lambda run: run.ratio)
        self._unit = self._unit or pair.latency_a
        made = Cost(loss, size, seconds, pair.ratio * self._unit, memory=memory)
        return self._compared(made, max(MARGIN, pair.noise, pair.high / pair.ratio - 1), "measured")

    def _compared(self, cost: Cost, margin: float, how: str) -> Cost:
        """The cost, saying so where the form is slower than the input or the exact form, which are seen first."""
        self._seen.append(cost.run)
        # The exact form is what there is to fall back on; the gate holds it against the input when it ships.
        is_first = len(self._seen) <= 2
        if is_first or not self.asked.level or self.asked.level in HOWEVER_SLOW:
            return cost
        for before, name in zip(self._seen[:2], ("the input", "the exact form"), strict=False):
            if cost.run > before * (1 + margin):
                slower = f"it is {how} to take {1e6 * cost.run:.4g} µs, {name} {1e6 * before:.4g} µs"
                return replace(cost, slower=slower)
        return cost

    def _files(self, snapshot: Snapshot) -> tuple[Path, ...]:
        if not snapshot.label and snapshot.files:
            return snapshot.files
        if (known := self._written.get(id(snapshot))) is None:
            folder = self.folder / f"point{len(self._written)}"
            folder.mkdir()
            model = as_written(self.loss.original, snapshot)
            known = self._written[id(snapshot)] = (snapshot, model.save(folder / "model.onnx"))
        return known[1]

    def _is_measurable(self) -> bool:
        return (
            self.asked.measure and not measuring.unmeasurable(self.asked.target)
            and self.verifier is not None and bool(self.verifier.feeds)
        )  # fmt: skip
