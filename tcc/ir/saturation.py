"""Runs rules over an e-graph to a fixpoint or a limit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from tcc.ir import reading, translated
from tcc.ir.engine import RULESET, EGraph
from tcc.ir.queries import Query
from tcc.ir.reach import Reach
from tcc.ir.symbolic import BROADCAST
from tcc.ir.tables import Tables

if TYPE_CHECKING:
    from tcc.ir.derivation import Recorder


@dataclass(frozen=True)
class Limits:
    """Where saturation stops: e-nodes, iterations, seconds."""

    nodes: int = 200_000
    iterations: int = 12
    seconds: float = 20.0

    def exceeded(self, size: int, before: int) -> bool:
        """Whether an e-graph of this size, and of that one an iteration ago, is too large."""
        return size > self.nodes or size > max(_SMALL, _RUNAWAY * before)


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
        if limits.exceeded(size, before):
            return Saturation("nodes", iteration)
        before = size
    return Saturation("iterations", limits.iterations)


class Commands(Protocol):
    """A rule: what one operator of each group has to be there for, and its commands."""

    @property
    def needs(self) -> Sequence[frozenset[str]]:
        """Groups of operators."""

    @property
    def queries(self) -> Sequence[Query]:
        """The commands."""


@dataclass
class Saturating:
    """Runs the rules of which something can match, and no others: a rule costs time even where it matches nothing.

    A command is given to the engine once what stands in the e-graph lets it match, and what a command may have
    added is known once the engine has matched it (``tcc.ir.reach``).

    Args:
        egraph: what they run on.
        tables: what it was loaded from.
        rules: the exact rules that are allowed.
        opset: the model's version of the default domain.
        retype: whether the types of imported values may become more precise.
        recorder: notes what commands match; None where nobody asks.
    """

    egraph: EGraph
    tables: Tables
    rules: Sequence[Commands]
    opset: int
    retype: bool
    recorder: Recorder | None = None
    reach: Reach = field(init=False)
    ended: Saturation = field(init=False)
    given: dict[str, Query] = field(default_factory=dict)
    """The commands that the engine has."""
    _facts: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.reach = reading.reach_of(self.tables)
        self._waiting = [(rule.needs, query) for rule in self.rules for query in rule.queries]
        self.egraph.extend(_RULES, ())
        self.egraph.extend(_FACTS, ())

    def run(self, limits: Limits) -> None:
        """Run to a fixpoint or a limit, as ``saturate`` does."""
        self.ended = self._run(limits)

    def _run(self, limits: Limits) -> Saturation:
        self._give()
        facts = f"(saturate (run {_FACTS}))"
        self.egraph.run(facts)
        if not self.given:
            return Saturation("saturated", 0)
        start, before = time.monotonic(), self.egraph.size()
        for iteration in range(1, limits.iterations + 1):
            if self.recorder is not None:
                self.recorder.note()
            changed, matched = self.egraph.matched(f"(seq (run {_RULES}) {facts})")
            if not changed:
                return Saturation("saturated", iteration)
            for name in sorted(matched & self.given.keys()):
                self.reach.apply(self.given[name])
            self.reach.settle()
            self._give()
            if time.monotonic() - start > limits.seconds:
                return Saturation("seconds", iteration)
            size = self.egraph.size()
            if limits.exceeded(size, before):
                return Saturation("nodes", iteration)
            before = size
        return Saturation("iterations", limits.iterations)

    def _give(self) -> None:
        """Give the engine every command that can match by now, and the analysis of what it may add."""
        names = self.reach.names
        fresh, waiting = list[Query](), list[tuple[Sequence[frozenset[str]], Query]]()
        for needs, query in self._waiting:
            if all(group & names for group in needs) and self.reach.is_useful(query):
                fresh.append(query)
            else:
                waiting.append((needs, query))
        self._waiting = waiting
        self.given |= {query.name.replace(RULESET, _RULES): query for query in fresh}
        written = {name for query in self.given.values() for name in query.writes}
        typed = written | names
        inferred = typed if self.retype else written | BROADCAST & typed
        parts = translated.analysis_parts(typed, inferred, self.opset)
        self.egraph.extend(_FACTS, [text for name, text in parts.items() if name not in self._facts])
        self._facts |= parts.keys()
        self.egraph.extend(_RULES, [query.text for query in fresh])
        if self.recorder is not None:
            self.recorder.add(fresh)


_RULES, _FACTS = "rewriting", "analysis"
