"""Whether a target can be measured on this machine, and the measurement."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tcc.backends import Backend, PairedLatency, measure_pair
from tcc.targets import Target

_SECONDS = 1.0
_FLAGS = {"x86-64-avx2": {"avx2", "fma"}, "x86-64-vnni": {"avx512_vnni"}}
"""What the processor must have to stand for a target; one that has more is another target."""


def unmeasurable(target: Target) -> str:
    """Why latencies measured here say nothing about the target; empty where they do."""
    if target.name == "native":
        return ""
    if target.name not in _FLAGS or platform.machine() != "x86_64":
        return f"this machine is no {target.name}"
    flags = _processor_flags()
    best = "x86-64-vnni" if _FLAGS["x86-64-vnni"] <= flags else "x86-64-avx2"
    return "" if target.name == best and _FLAGS[best] <= flags else f"this processor is no {target.name}"


def _processor_flags() -> set[str]:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
            line = next((line for line in lines if line.startswith("flags")), "")
    except OSError:
        return set()
    return set(line.partition(":")[2].split())


def measure(
    before: Path,
    after: Path,
    feeds: Sequence[Mapping[str, Any]],
    target: Target,
    backend: Backend,
    *,
    seconds: float = _SECONDS,
) -> PairedLatency:
    """The latency of ``after`` against ``before`` as deployed here; raises what loading and running raise."""
    from tcc.targets.native import processors

    threads = min(target.threads, processors())
    return measure_pair(before, after, feeds, backend=backend, threads=threads, budget_seconds=seconds)
