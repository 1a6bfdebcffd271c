"""What a compilation was asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tcc.compiler.budgets import Budgets
from tcc.diagnostics import Diagnostic
from tcc.passes.base import Pass
from tcc.passes.manager import Instrument
from tcc.targets import Target


@dataclass
class Request:
    """The arguments of ``tcc.compile``, read; ``diagnostics`` gathers what is to be said of it."""

    source: object
    level: str
    target: Target
    passes: tuple[Pass, ...]
    output: Path | None
    calibration: Any
    evaluation: Any
    metric: str
    inputs: Any
    budgets: Budgets
    objective: str
    without: Sequence[str]
    pareto: int
    jobs: int
    scheduler: str
    symbols: Mapping[str, int]
    seconds: float
    time_limit: float
    verify: bool
    measure: bool
    warnings_as_errors: Sequence[str]
    instruments: Sequence[Instrument]
    log: Callable[[str, int], None]
    emit: str = "onnx"
    asked: frozenset[str] = frozenset()
    diagnostics: list[Diagnostic] = field(default_factory=list)
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Of symbolic dimensions, for prices: ``symbols``, and for the rest what the data or generated inputs have."""
    begun: float = field(default_factory=time.time)

    def share_of_time(self, part: float) -> float:
        """When that part of the time limit is over, in seconds since the epoch."""
        return self.begun + part * self.time_limit
