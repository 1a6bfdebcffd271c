"""Finds the point on a path that meets a budget: of cost, of measured latency, or of loss."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from tcc.diagnostics import Exit, TccError, fail
from tcc.ir.execution import Runner
from tcc.ir.model import Model
from tcc.passes._prune_path import Step
from tcc.passes._prune_taps import Feed

_RUNS = 24
_SECONDS = 1.0


def by_cost(steps: Sequence[Step], part: float, measure: Callable[[Step], float], what: str) -> int:
    """The first point whose cost is at most ``part`` of the whole model's.

    Raises:
        TccError: E0502 where there is none, with the best.
    """
    whole = measure(steps[0])
    found = next((i for i, step in enumerate(steps) if measure(step) <= part * whole * (1 + 1e-9)), None)
    if found is None:
        raise infeasible(what, part, measure(steps[-1]) / whole)
    return found


def infeasible(what: str, part: float, best: float) -> TccError:
    """What is said where no point meets the budget."""
    message = f"pruning cannot bring {what} to {part:.3g} of the model's; the best point is {best:.3g}"
    return fail(Exit.INFEASIBLE, "E0502", message, help="allow more, or leave fewer groups out")


def by_latency(steps: Sequence[Step], part: float, ratio: Callable[[Step], float], tolerance: float = 0.03) -> int:
    """The point whose measured latency is nearest to ``part`` of the whole model's, by bisection.

    Args:
        steps: the path.
        part: what is asked for.
        ratio: measures a point: its latency over the whole model's.
        tolerance: relative distance at which the search ends.

    Raises:
        TccError: E0502 where even the last point is slower, with its ratio.
    """
    low, high = 0, len(steps) - 1
    best = ratio(steps[high])
    if best > part * (1 + tolerance):
        raise infeasible("latency", part, best)
    nearest, distance = high, abs(best / part - 1)
    while high - low > 1 and distance > tolerance:
        middle = (low + high) // 2
        found = ratio(steps[middle])
        if abs(found / part - 1) < distance:
            nearest, distance = middle, abs(found / part - 1)
        low, high = (middle, high) if found > part else (low, middle)
    return nearest


def by_loss(steps: Sequence[Step], most: float, loss: Callable[[Step], float]) -> int:
    """The last point, as bisection finds it, whose measured loss is within the budget; 0 where none is."""
    low, high = 0, len(steps)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if loss(steps[middle]) <= most else (low, middle)
    return low


def latency_ratio(before: Model, after: Model, feeds: Sequence[Feed]) -> float:
    """Latency of one model over another's, as deployed: one thread, interleaved runs, the medians' ratio."""
    runners = []
    for model in (before, after):
        proto, weights = model.stripped_proto()
        runners.append(Runner(proto, weights=weights, optimise=True))
    for runner in runners:
        runner.run(feeds[0])
    seconds: list[list[float]] = [[], []]
    started = time.perf_counter()
    while len(seconds[0]) < _RUNS or time.perf_counter() - started < _SECONDS:
        feed = feeds[len(seconds[0]) % len(feeds)]
        for own, runner in zip(seconds, runners, strict=True):
            began = time.perf_counter()
            runner.run(feed)
            own.append(time.perf_counter() - began)
        if time.perf_counter() - started > 10 * _SECONDS:
            break
    return float(np.median(seconds[1]) / np.median(seconds[0]))
