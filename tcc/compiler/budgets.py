"""What the user allows a program to cost: loss, bytes, latency; absolute, or as a part of the input's."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tcc.diagnostics import Exit, fail

_SIZES = {"": 1.0, "b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30}
_TIMES = {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}
_AMOUNT = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*([a-zA-Zµ%]*)\s*")

_ROUNDING = 1e-10
"""The loss that is none: the square of what exact passes may differ by."""


@dataclass(frozen=True)
class Limit:
    """An upper limit: ``value`` in the quantity's own unit, or a part of the input's where ``relative``."""

    value: float
    relative: bool = False

    def of(self, original: float) -> float:
        """The limit for an input that costs ``original``."""
        return self.value * original if self.relative else self.value


@dataclass(frozen=True)
class Budgets:
    """Limits on a program; None where there is none.

    ``loss`` is a part of the whole, ``seconds`` a run's, ``memory`` the peak of activations and weights in bytes.
    """

    loss: float = 0.01
    nbytes: Limit | None = None
    seconds: Limit | None = None
    memory: Limit | None = None

    def exceeded(self, cost: Cost, original: Cost, *, timed: bool = True) -> Iterator[str]:
        """What a program exceeds, in words; not ``timed``: all but the budget of time."""
        if not cost.most <= max(self.loss, _ROUNDING):
            end = "" if cost.most == cost.loss else f", {cost.most:.3g} at the end of its interval"
            yield f"its loss is {cost.loss:.3g}{end}, the budget {self.loss:.3g}"
        if self.nbytes is not None and cost.nbytes > (limit := self.nbytes.of(original.nbytes)):
            yield f"it takes {cost.nbytes:,.0f} bytes, the budget is {limit:,.0f}"
        if timed and self.seconds is not None and cost.run > (limit := self.seconds.of(original.run)):
            yield f"a run takes {cost.run * 1e6:.4g} µs ({cost.how}), the budget is {limit * 1e6:.4g} µs"
        if self.memory is not None and cost.memory > (limit := self.memory.of(original.memory)):
            yield f"it needs {cost.memory:,.0f} bytes of memory (predicted), the budget is {limit:,.0f}"
        if cost.slower:
            yield f"no-speedup: {cost.slower}"


@dataclass(frozen=True)
class Cost:
    """What a program costs.

    ``seconds`` a run are predicted: they rank programs, so that the same command gives the same file.
    ``measured`` seconds (the far end of their interval), where there are any, decide whether a program may ship:
    budgets are kept as measured; ``slower`` says why the gate of speed refuses one. ``memory`` is the predicted
    peak in bytes, ``joules`` the estimated energy of a run. ``bound`` is the far end of the loss's interval, where
    that decides.
    """

    loss: float
    nbytes: float
    seconds: float
    measured: float | None = None
    slower: str = ""
    memory: float = 0.0
    joules: float = 0.0
    bound: float | None = None

    @property
    def most(self) -> float:
        """What is held against the budget of loss."""
        return self.loss if self.bound is None else max(self.loss, self.bound)

    @property
    def run(self) -> float:
        """Seconds a run: measured, or else predicted."""
        return self.seconds if self.measured is None else self.measured

    @property
    def how(self) -> str:
        """Where the seconds come from."""
        return "predicted" if self.measured is None else "as measured, at most"

    def text(self) -> str:
        """All of it in a line."""
        run = f"{self.run * 1e6:.4g} µs a run ({self.how})"
        return f"loss {self.loss:.3g}, {self.nbytes:,.0f} bytes, {run}, {self.memory:,.0f} bytes of memory (predicted)"


def size(text: str) -> Limit:
    """``500kB``, ``2MiB``, ``1000`` (bytes), ``50%`` or ``0.5x`` as a limit.

    Raises:
        TccError: exit USAGE.
    """
    return _limit(text, _SIZES, "size", "500kB, 2MiB, 50% or 0.5x")


def latency(text: str) -> Limit:
    """``5ms``, ``300us``, ``70%`` or ``0.7x`` as a limit.

    Raises:
        TccError: exit USAGE.
    """
    return _limit(text, _TIMES, "latency", "5ms, 300us, 70% or 0.7x")


def _limit(text: str, units: dict[str, float], what: str, examples: str) -> Limit:
    found = _AMOUNT.fullmatch(text)
    value, unit = (float(found[1]), found[2].lower()) if found else (0.0, "?")
    scales = {"%": 0.01, "x": 1.0}
    if not value > 0 or not math.isfinite(value) or unit not in {**units, **scales}:
        raise fail(Exit.USAGE, "E0241", f"{text!r} is no {what}", help=f"write {examples}")
    return Limit(value * scales[unit], relative=True) if unit in scales else Limit(value * units[unit])
