"""Proves claims by rules: both sides go into one e-graph and have to come out as one class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from tcc import frontends
from tcc.ir import importing, translated
from tcc.ir.engine import EGraph, bindings
from tcc.ir.inference import annotate
from tcc.ir.saturation import Limits, saturate
from tcc.rewrites import siblings, stored
from tcc.rewrites.laws import laws
from tcc.rewrites.rule import Stored
from tests.equalities.encoding import OPSET, Encoder
from tests.equalities.shapes import Typed

LIMITS = Limits(nodes=60_000, iterations=4, seconds=60.0)
"""Of one claim's e-graph."""


Proves = Callable[[Sequence[Stored]], bool]
_WRITTEN = frozenset(
    {
        "Add",
        "AveragePool",
        "Concat",
        "Conv",
        "Identity",
        "MatMul",
        "MaxPool",
        "Mul",
        "Pad",
        "Relu",
        "Split",
        "Transpose",
    }
)
"""Operators that claims are written in."""
_TABLES = frozenset({"type", "known", "structure", "constant", "alias", "cell", "opaque", "project"})


@cache
def searched() -> tuple[Stored, ...]:
    """The rules with which ``-O2`` searches."""
    return tuple(rule for rule in stored() if rule.first_opset <= OPSET <= rule.last_opset)


@cache
def by_name() -> dict[str, Stored]:
    """Every rule and every law."""
    return {rule.name: rule for rule in (*searched(), *(law.stored for law in laws()))}


class Prover:
    """One e-graph for many claims, one after the other: the rules are read once."""

    def __init__(self) -> None:
        self.egraph = EGraph()
        self.proofs: Counter[tuple[str, ...]] = Counter()
        language = translated.language()
        self.egraph.declare(language.declarations)
        for name in sorted(_WRITTEN | _TABLES):
            self.egraph.declare(language.tables[name].declarations)
        every = tuple(by_name().values())
        operators = frozenset[str]().union(*(rule.mentions for rule in every), _WRITTEN)
        # Rules that are first seen between push and pop would be read again for each claim.
        for text in (*(rule.text for rule in every), *translated.analysis_for(operators, operators, OPSET)):
            self.egraph.ruleset([text])

    @contextmanager
    def claim(
        self, instances: Sequence[Typed], constant: Collection[str] = (), *, pair: int | None = None
    ) -> Iterator[tuple[Proves, frozenset[str]]]:
        """A function that says whether rules prove all instances of a claim, and the operators that it is written in.

        Args:
            instances: the claim with shapes.
            constant: the variables that are constants; the others are inputs.
            pair: the instances are claims that share operands, of which this one is to be proved; siblings are
                joined as ``-O2`` does it.
        """
        encoder = Encoder(np.random.default_rng(0))
        shared: dict[str, str] = {}
        for typed in instances:
            found = encoder.add(typed, constant, shared)
            shared = {} if pair is None else found
        model = frontends.load(encoder.model())
        imported = importing.import_graph(model.graph, annotate(model))
        names = {v.name: n for n, v in enumerate(imported.values) if v is not None}
        sides = [(names[left], names[right]) for left, right in encoder.sides]
        wanted = sides if pair is None else [sides[pair]]

        def proves(used: Sequence[Stored]) -> bool:
            operators = imported.operators.union(*(rule.mentions for rule in used))
            facts = translated.analysis_for(operators, operators, OPSET)
            return _derives(self.egraph, [rule.text for rule in used], facts, wanted)

        before = dict(self.egraph.rulesets), set(self.egraph.declared)
        _run(self.egraph, "(push)")
        try:
            imported.tables.load(self.egraph)
            imported.egraph = self.egraph
            if pair is not None:
                siblings.join_siblings(imported, OPSET)
            yield proves, frozenset(imported.operators)
        finally:
            _run(self.egraph, "(pop)")
            self.egraph.rulesets, self.egraph.declared = before


def _derives(egraph: EGraph, used: Sequence[str], facts: Sequence[str], wanted: Sequence[tuple[int, int]]) -> bool:
    """Whether rules make one class of each pair of values; the e-graph is left as it was."""
    program = ["(push)", f"(unstable-combined-ruleset facts {_names(egraph, facts)})"]
    program.append("(run-schedule (saturate (run facts)))")
    if used:
        schedule = f"(run-schedule (repeat {LIMITS.iterations} (run used) (saturate (run facts))))"
        program += [f"(unstable-combined-ruleset used {_names(egraph, used)})", schedule]
    _run(egraph, "\n".join(program))
    try:
        return all(is_one(egraph, left, right) for left, right in wanted)
    finally:
        _run(egraph, "(pop)")


def _names(egraph: EGraph, texts: Sequence[str]) -> str:
    return " ".join(egraph.ruleset([text]) for text in texts)


def _run(egraph: EGraph, program: str) -> None:
    egraph.core.run_program(*egraph.core.parse_program(program))


def is_one(egraph: EGraph, left: int, right: int) -> bool:
    """Whether two imported values are in one class."""
    try:
        _run(egraph, f"(check (= (value {left}) (value {right})))")
    except bindings().EggSmolError:
        return False
    return True


def minimal(proves: Proves, candidates: Sequence[Stored]) -> list[Stored]:
    """A smallest set of rules that proves a claim, none of which can be left out; the first are kept before the last.

    Junker, "QuickXplain", AAAI 2004.
    """

    def explain(background: list[Stored], changed: bool, found: Sequence[Stored]) -> list[Stored]:  # noqa: FBT001
        if changed and proves(background):
            return []
        if len(found) == 1:
            return list(found)
        half = len(found) // 2
        first, second = found[:half], found[half:]
        kept = explain([*background, *first], True, second)
        return [*explain([*background, *kept], bool(kept), first), *kept]

    return explain([], True, candidates) if candidates else []


def proved_together(typed: Sequence[Typed], used: Sequence[Stored]) -> list[bool]:
    """Which of many claims these rules prove, in one e-graph: faster by far than one after the other."""
    encoder = Encoder(np.random.default_rng(0))
    for one in typed:
        encoder.add(one)
    model = frontends.load(encoder.model())
    imported = importing.import_graph(model.graph, annotate(model))
    operators = imported.operators.union(*(rule.mentions for rule in used))
    facts = translated.analysis_for(operators, operators, OPSET)
    limits = Limits(LIMITS.nodes * len(typed), LIMITS.iterations, 600.0)
    saturate(imported.egraph, [rule.text for rule in used], facts, limits)
    names: dict[Any, int] = {v.name: n for n, v in enumerate(imported.values) if v is not None}
    return [is_one(imported.egraph, names[left], names[right]) for left, right in encoder.sides]
