"""Runs rules over an e-graph to a fixpoint or a limit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from tcc.ir.engine import EGraph


@dataclass(frozen=True)
class Limits:
    """Where saturation stops: e-nodes, iterations, seconds."""

    nodes: int = 200_000
    iterations: int = 12
    seconds: float = 20.0


_RUNAWAY = 3
"""Times that an iteration may multiply the e-graph: sums and products of constants that turn into each other grow
faster with each iteration, and the engine cannot be stopped within the one that exceeds the limit of nodes."""
_SMALL = 2000
"""Size below which growth is no danger."""


@dataclass(frozen=True)
class Saturation:
    """How saturation ended: ``saturated``, ``iterations``, ``nodes`` or ``seconds``."""

    ended: str
    iterations: int

    @property
    def saturated(self) -> bool:
        """Whether no rule had anything left to add."""
        return self.ended == "saturated"


def saturate(egraph: EGraph, rules: Sequence[str], analysis: Sequence[str], limits: Limits) -> Saturation:
    """Run the rules, the analysis to its fixpoint after each iteration, until nothing changes or a limit is met.

    The time limit only guards against a runaway: within it the outcome does not depend on speed.

    Args:
        egraph: what they run on.
        rules: texts of exact rules (``Rule.text``).
        analysis: texts of the rules that carry facts (``translated.analysis_for``).
        limits: where to stop.
    """
    facts = f"(saturate (run {egraph.ruleset(analysis)}))"
    egraph.run(facts)
    if not rules:
        return Saturation("saturated", 0)
    step = f"(seq (run {egraph.ruleset(rules)}) {facts})"
    start, before = time.monotonic(), egraph.size()
    for iteration in range(1, limits.iterations + 1):
        if not egraph.run(step):
            return Saturation("saturated", iteration)
        if time.monotonic() - start > limits.seconds:
            return Saturation("seconds", iteration)
        size = egraph.size()
        if size > limits.nodes or size > max(_SMALL, _RUNAWAY * before):
            return Saturation("nodes", iteration)
        before = size
    return Saturation("iterations", limits.iterations)
