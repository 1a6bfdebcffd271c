"""Two models side by side on the same data: what was lost, what was won, and how sure that is."""

from __future__ import annotations

import contextlib
import math
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from tcc import backends, frontends, report
from tcc.compiler import energy, paired, sizing
from tcc.compiler.evaluation import Evaluation, read
from tcc.cost_models.roofline import Roofline
from tcc.diagnostics import Diagnostic, Exit, TccError
from tcc.ir.execution import Runner
from tcc.ir.fixed_sizes import with_made_up
from tcc.ir.inference import annotate
from tcc.ir.loss import relative_l2
from tcc.ir.model import Model
from tcc.passes.manager import Snapshot
from tcc.targets import Target

SCHEMA = 1
_CHUNK = 1 << 20
_FEWEST_FOR_P99 = 100
_CLASSES = 2
_MOST_FEATURES = 1024
"""Dimensions of the outputs by which samples are called neighbours: more would only cost time."""

Outputs = list[list[Any]]
Array = np.ndarray[Any, Any]


def compare(
    first: Path, second: Path, given: Any, target: Target, *, metric: str = "", seconds: float = 4.0, threads: int = 1
) -> dict[str, Any]:
    """Everything that can be said of model B against model A, as plain values.

    Args:
        first: A's file.
        second: B's file.
        given: data to run both on, as ``tcc.compiler.evaluation.read`` takes it; None: only what the files say.
        target: whose cost model prices the operations.
        metric: of the data.
        seconds: how long latencies are measured; 0 for not at all.
        threads: of the runtime.

    Raises:
        TccError: bad models, bad data; E0612 where the models do not take the same inputs.
    """
    models = [frontends.load(path) for path in (first, second)]
    evaluation = None if given is None else read(given, models[0], metric)
    feeds = () if evaluation is None else evaluation.feeds
    made: dict[str, Any] = {
        "schema": SCHEMA,
        "a": _static(models[0], first, target, feeds),
        "b": _static(models[1], second, target, feeds),
    }
    if evaluation is None or not evaluation.feeds:
        return made
    _require_same_inputs(models)
    a, b = ([runner.run(feed) for feed in evaluation.feeds] for runner in map(_runner, (first, second)))
    made["divergence"] = _divergence(models[0], a, b)
    made["agreement"] = _agreement(a, b)
    if evaluation.metric is not None:
        made["task"] = _task(evaluation, a, b)
    if seconds:
        made["latency"] = latency(first, second, evaluation.feeds, seconds=seconds, threads=threads)
        made["energy"] = _energy(first, second, evaluation.feeds[0], seconds=seconds, threads=threads)
    return made


def _energy(first: Path, second: Path, feed: Mapping[str, Any], *, seconds: float, threads: int) -> dict[str, Any]:
    """Joules of a run of both by the processor's counters, or why there are none."""
    if reason := energy.unmeasurable():
        return {"unmeasured": reason}
    loaded = [backends.backend("onnxruntime").load(path, threads=threads) for path in (first, second)]
    a, b = energy.measured([partial(runner.run, feed) for runner in loaded], seconds)
    return {"joules_a": a, "joules_b": b, "source": "the processor's counters (RAPL), less what it takes at rest"}


def _static(model: Model, path: Path, target: Target, feeds: sizing.Feeds) -> dict[str, Any]:
    """What can be said without timing: bytes on disk, deflated and of the tensors, nodes, operations.

    Sizes that the model leaves open are those of the data, or usual ones.
    """
    annotate(model)
    with contextlib.suppress(TccError):  # what cannot run is priced as it stands
        feeds = feeds or sizing.deployed(Snapshot.of(model), {})
    symbols = sizing.sizes(model, {}, feeds)
    roofline = Roofline(target, with_made_up(model, symbols))
    return {
        "path": str(path),
        "nodes": model.node_count,
        "parameters": model.parameter_count,
        "bytes_on_disk": sum(file.stat().st_size for file in model.files),
        "bytes_compressed": sum(_deflated(file) for file in model.files),
        "bytes_of_tensors": model.parameter_bytes,
        "operations": math.fsum(roofline.price_of(node).operations for node in model.nodes()),
        "predicted_seconds": report.predicted_seconds(model, target, symbols),
        "estimated_joules": report.predicted_joules(model, target, symbols),
    }


def _deflated(path: Path) -> int:
    packer, total = zlib.compressobj(6), 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            total += len(packer.compress(chunk))
    return total + len(packer.flush())


def _runner(path: Path) -> Runner:
    return Runner(path, optimise=True)


def _require_same_inputs(models: Sequence[Model]) -> None:
    a, b = (dict(model.signature.inputs) for model in models)
    if a.keys() != b.keys():
        message = f"inputs are {', '.join(b)}, should be those of the first model: {', '.join(a)}"
        advice = "compare a model with one that was compiled from it"
        raise TccError(Exit.DATA, [Diagnostic("E0612", message, models[1].source, help=advice)])


def _divergence(model: Model, a: Outputs, b: Outputs) -> list[dict[str, Any]]:
    """How far each output of B is from A's, over all samples."""
    found = []
    for index, name in enumerate(dict(model.signature.outputs)):
        pairs = [(np.asarray(x[index]), np.asarray(y[index])) for x, y in zip(a, b, strict=True)]
        numeric = all(x.dtype.kind in "fiu" and x.shape == y.shape for x, y in pairs)
        largest = max((_largest(x, y) for x, y in pairs), default=0.0) if numeric else math.nan
        found.append(
            {"output": name, "relative_l2": relative_l2(*zip(*pairs, strict=True)), "largest_absolute": largest}
        )
    return found


def _largest(x: Array, y: Array) -> float:
    return float(np.abs(x.astype(np.float64) - y.astype(np.float64)).max()) if x.size else 0.0


def _agreement(a: Outputs, b: Outputs) -> dict[str, Any] | None:
    """How often the predicted class is the same, for a first output of scores; None for other models."""
    if not all(_is_scores(run[0]) for run in (*a, *b)):
        return None
    first, second = (np.concatenate([run[0].argmax(-1).reshape(-1) for run in runs]) for runs in (a, b))
    if first.shape != second.shape:
        return None
    disagrees = first != second
    statistic, p = paired.systematic(first, disagrees)
    return {
        "samples": int(first.size), "agreement": float(1 - disagrees.mean()), "chi_squared": statistic, "p": p,
        "systematic": p < paired.SIGNIFICANT,
    }  # fmt: skip


def _is_scores(value: Any) -> bool:
    return (
        isinstance(value, np.ndarray) and value.dtype.kind == "f"
        and value.ndim >= _CLASSES and value.shape[-1] >= _CLASSES
    )  # fmt: skip


def _task(evaluation: Evaluation, a: Outputs, b: Outputs) -> dict[str, Any]:
    first, second = evaluation.scores(a), evaluation.scores(b)
    found: dict[str, Any] = {
        "metric": evaluation.name, "samples": int(first.size), "a": float(first.mean()), "b": float(second.mean()),
        "difference": asdict(paired.difference(first, second)),
    }  # fmt: skip
    if set(np.unique(first)) | set(np.unique(second)) <= {0.0, 1.0}:
        found["mcnemar_p"] = paired.mcnemar(first, second)
    features = _features(a, len(first))
    if features is not None:
        found["degradation"] = asdict(paired.degradation(features, first, second))
    return found


def _features(outputs: Outputs, samples: int) -> Array | None:
    """A's first outputs as one vector a sample; None where they are not one a sample."""
    rows = [np.asarray(run[0]) for run in outputs]
    if not all(row.dtype.kind == "f" and row.ndim and row.shape[1:] == rows[0].shape[1:] for row in rows):
        return None
    stacked = np.concatenate(rows).astype(np.float64)
    if len(stacked) != samples or not np.isfinite(stacked).all():
        return None
    return stacked.reshape(samples, -1)[:, :_MOST_FEATURES]


def latency(
    first: Path, second: Path, feeds: Sequence[Mapping[str, Any]], *, seconds: float, threads: int
) -> dict[str, Any]:
    """Latencies of both on ONNX Runtime: the paired ratio, and each one's percentiles (seconds a run)."""
    backend = backends.backend("onnxruntime")
    pair = backends.measure_pair(
        first, second, feeds, backend=backend, threads=threads, budget_seconds=seconds / 2
    )  # fmt: skip
    loaded = [backend.load(path, threads=threads) for path in (first, second)]
    times = _times([runner.run for runner in loaded], feeds, seconds / 2)
    return {
        "threads": threads,
        "ratio": pair.ratio, "low": pair.low, "high": pair.high, "noise": pair.noise, "verdict": pair.verdict,
        "a": _percentiles(times[0]), "b": _percentiles(times[1]),
    }  # fmt: skip


def _times(runs: Sequence[Any], feeds: Sequence[Mapping[str, Any]], seconds: float) -> list[list[float]]:
    """Seconds of each run, in turns, so that a machine that slows down does so for both."""
    found: list[list[float]] = [[] for _ in runs]
    for run in runs:
        run(feeds[0])
    stop = time.perf_counter() + seconds
    for feed in cycle(feeds):
        for taken, run in zip(found, runs, strict=True):
            started = time.perf_counter()
            run(feed)
            taken.append(time.perf_counter() - started)
        if time.perf_counter() > stop and len(found[0]) >= 3:
            return found
    return found


def _percentiles(times: Sequence[float]) -> dict[str, Any]:
    p50, p95, p99 = (float(x) for x in np.percentile(times, [50, 95, 99]))
    # What else the machine does makes a few runs many times as long: not the model's throughput.
    usual = [taken for taken in times if taken <= p95]
    enough = len(times) >= _FEWEST_FOR_P99
    return {
        "runs": len(times), "p50": p50, "p95": p95, "p99": p99 if enough else None,
        "runs_per_second": len(usual) / math.fsum(usual),
    }  # fmt: skip


def plain(made: Mapping[str, Any]) -> dict[str, Any]:
    """The comparison in JSON's types."""
    found: dict[str, Any] = report.plain(made)
    return found
