"""The compiler: load, pipeline, lower, report; owns the -O levels."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcc.compiler import levels
from tcc.targets import Target, parse_target

if TYPE_CHECKING:
    from tcc.compiler.budgets import Budgets
    from tcc.compiler.result import Result
    from tcc.passes.base import Pass
    from tcc.passes.manager import Instrument

__all__ = ["PassManager", "compile"]

TIME_LIMIT = 900.0
"""Seconds of a search that nobody limits: a model for which they do not do is one for a cluster."""
Log = Callable[[str, int], None]
Calibration = str | Path | Mapping[str, Any] | Sequence[Mapping[str, Any]]


def compile(  # noqa: A001 - what a compiler does
    source: object,
    opt_level: int | str = 2,
    target: str | Target = "native",
    *,
    passes: str | Sequence[str | Pass] | None = None,
    output: str | Path | None = None,
    calibration: Calibration | None = None,
    inputs: str | Path | Sequence[Mapping[str, Any]] | None = None,
    evaluation: str | Path | Mapping[str, Any] | None = None,
    metric: str = "",
    max_loss: float = 0.01,
    max_size: float | str | None = None, max_latency: float | str | None = None, max_memory: float | str | None = None,
    objective: str = "",
    without: Collection[str] = (),
    pareto: int = 0,
    jobs: int = 0,
    scheduler: str = "local",
    symbols: Mapping[str, int] | None = None,
    seconds: float = 60.0, time_limit: float = TIME_LIMIT,
    verify: bool = True,
    measure: bool = False,
    warnings_as_errors: Collection[str] = (),
    instruments: Sequence[Instrument] = (),
    log: Log = lambda _line, _verbosity: None,
    emit: str = "onnx", explain: Collection[str] = (),
) -> Result:  # fmt: skip
    """Compile a model: the result is verified, no larger than the input, and has no more nodes.

    Args:
        source: a path, or whatever else holds a model (``tcc.frontends.load``); never changed.
        opt_level: 0 to 3, ``"s"`` or ``"z"``.
        target: what is compiled for: ``name[@stack][+feature|-feature][,key=value]``.
        passes: a pipeline in place of the level's.
        output: the file to write, atomically and only after everything else succeeded; none where not given.
        calibration: the user's data: see ``tcc.compiler.data.read``; ``synthetic:COUNT`` for generated inputs.
        inputs: what equality is verified on, in place of generated inputs: an ``.npz``, or one mapping a run.
        evaluation: labelled data whose metric is the loss in place of the calibration data's proxy: see
            ``tcc.compiler.evaluation.read``.
        metric: of the evaluation: ``top1``, ``module:function`` or ``file.py:function``.
        max_loss: the loss budget of lossy passes, a part of the whole (0.01: one point of accuracy); 0: no prediction
            of a classifier may change on the calibration data, no other output may, and no metric may fall.
        max_size: the budget of bytes on disk: a number, or text as ``"2MiB"`` or ``"50%"`` of the input's.
        max_latency: the budget of seconds a run: a number, or text as ``"5ms"`` or ``"0.7x"`` of the input's.
        max_memory: the budget of bytes at the peak, activations and weights as predicted: as ``max_size``.
        objective: ``latency``, ``size`` or ``energy``, minimised within the budgets; the level's own by default.
        without: techniques and parts of the search (``tcc.compiler.ablation.known``) that a level leaves out, to see
            what they contribute.
        pareto: how many programs of the front (loss, bytes, predicted latency and energy) to write beside the output,
            as ``<stem>.pareto<i>.onnx``.
        jobs: how many programs are tried at once, each in a process of its own; 0: as many as processors.
        scheduler: ``local``, or ``HOST:PORT`` of a dask scheduler.
        symbols: sizes of symbolic dimensions, for generated inputs and for prices.
        seconds: the limit on each solver's time: a guard, which is far from what they take.
        time_limit: seconds after which a level that searches takes the best program that there is, and says so.
        verify: whether every pass and the written file are checked.
        measure: whether original and result are timed against each other, where the target is this machine.
        warnings_as_errors: names of warnings (``tcc.compiler.warnings.NAMES``) that stop the compilation; ``all``.
        instruments: what looks on between passes.
        log: called with lines of text and their verbosity.
        emit: the kind of artefact to write at ``output``, as the back ends name theirs (``tcc.backends.kinds``).
        explain: what the report says besides: ``origins`` for the rules that made each node, ``declines`` for why rules
            that matched declined. The model is the same.

    Raises:
        TccError: whatever a user can act on; nothing has been written then.
    """
    from tcc.compiler.compilation import Compilation

    return Compilation(
        source=source, level=str(opt_level) if passes is None else "",
        target=parse_target(target) if isinstance(target, str) else target,
        passes=_passes(levels.pipeline_text(opt_level) if passes is None else passes),
        output=None if output is None else Path(output), calibration=calibration, evaluation=evaluation,
        metric=metric, inputs=inputs, budgets=_budgets(max_loss, max_size, max_latency, max_memory),
        objective=levels.objective(objective, opt_level), without=tuple(without), pareto=pareto, jobs=jobs,
        scheduler=scheduler, symbols=dict(symbols or {}), seconds=seconds, time_limit=time_limit, verify=verify,
        measure=measure, warnings_as_errors=tuple(warnings_as_errors), instruments=tuple(instruments), log=log,
        emit=emit, asked=frozenset(explain),
    ).run()  # fmt: skip


@dataclass(frozen=True)
class PassManager:
    """Runs passes on a model; each is verified before the next one starts.

    Args:
        passes: a pipeline's text, or passes and texts.
        target: what is compiled for.
        verify: whether every pass is checked.
        instruments: what looks on between passes.
        symbols: sizes of symbolic dimensions.
        calibration: inputs of the user's, one mapping a sample, for passes that need them.
    """

    passes: str | Sequence[str | Pass]
    target: str | Target = field(default="native", kw_only=True)
    verify: bool = field(default=True, kw_only=True)
    instruments: Sequence[Instrument] = field(default=(), kw_only=True)
    symbols: Mapping[str, int] = field(default_factory=dict, kw_only=True)
    calibration: Sequence[Mapping[str, Any]] | None = field(default=None, kw_only=True)

    def run(self, source: object) -> Result:
        """Run the passes on whatever holds a model, which is never changed.

        Raises:
            TccError: bad models, bad pipelines, and exit VERIFICATION where a pass breaks its promise.
        """
        from tcc import frontends
        from tcc.compiler.result import Result
        from tcc.passes.base import Context
        from tcc.passes.manager import Snapshot, Verifier, run_passes

        target = parse_target(self.target) if isinstance(self.target, str) else self.target
        passes = _passes(self.passes)
        model = frontends.load(source)
        original = Snapshot.of(model)
        data = None if self.calibration is None else tuple(self.calibration)
        context = Context(target, dict(self.symbols), calibration=data)
        verifier = Verifier(original, symbols=self.symbols, samples=data or ()) if self.verify else None
        done = run_passes(model, passes, context, original=original, verifier=verifier, instruments=self.instruments)
        return Result(done.model, done.records, (*model.notes, *done.diagnostics))


def _budgets(loss: float, size: float | str | None, latency: float | str | None, memory: float | str | None) -> Budgets:
    from tcc.compiler import budgets

    nbytes, peak = (None if text is None else budgets.size(str(text)) for text in (size, memory))
    return budgets.Budgets(loss, nbytes, None if latency is None else budgets.latency(str(latency)), peak)


def _passes(wanted: str | Sequence[str | Pass]) -> tuple[Pass, ...]:
    from tcc.passes.pipeline import parse

    if isinstance(wanted, str):
        return parse(wanted)
    return tuple(found for item in wanted for found in (parse(item) if isinstance(item, str) else (item,)))
