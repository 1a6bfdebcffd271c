"""Runs rules over an e-graph to a fixpoint or a limit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from egglog import EGraph, Ruleset, run, seq, unstable_combine_rulesets


@dataclass(frozen=True)
class Limits:
    """Where saturation stops: e-nodes, iterations, seconds."""

    nodes: int = 200_000
    iterations: int = 12
    seconds: float = 20.0


@dataclass(frozen=True)
class Saturation:
    """How saturation ended: ``saturated``, ``iterations``, ``nodes`` or ``seconds``."""

    ended: str
    iterations: int

    @property
    def saturated(self) -> bool:
        """Whether no rule had anything left to add."""
        return self.ended == "saturated"


def saturate(egraph: EGraph, rules: Sequence[Ruleset], analysis: Sequence[Ruleset], limits: Limits) -> Saturation:
    """Run the rules, the analysis to its fixpoint after each iteration, until nothing changes or a limit is met.

    The time limit only guards against a runaway: within it the outcome does not depend on speed.
    """
    facts = run(_combined(analysis)).saturate()
    egraph.run(facts)
    if not rules:
        return Saturation("saturated", 0)
    step = seq(run(_combined(rules)), facts)
    start = time.monotonic()
    for iteration in range(1, limits.iterations + 1):
        report = egraph.run(step)
        if not report.updated:
            return Saturation("saturated", iteration)
        if time.monotonic() - start > limits.seconds:
            return Saturation("seconds", iteration)
        if sum(size for _, size in egraph.all_function_sizes()) > limits.nodes:
            return Saturation("nodes", iteration)
    return Saturation("iterations", limits.iterations)


def _combined(rules: Sequence[Ruleset]) -> Ruleset:
    # egglog runs a combination like a rule set, its signature of run names only the latter.
    combined: Any = unstable_combine_rulesets(*rules)
    return cast("Ruleset", combined)
