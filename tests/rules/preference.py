"""Chooses, from an e-graph before and after a rule, a program that only the rule allows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from tcc.ir import emission, extraction, folding
from tcc.ir import problem as problems
from tcc.ir.frozen import ENode, Frozen
from tcc.ir.importing import Imported
from tcc.ir.problem import STORED, Candidate, Price, Problem, Weights

_IMPORTED, _MADE = 1000.0, 1.0
"""Prices of a node that was imported and of one that the rule made: one of the latter beats any of the former."""
_COMPUTED = 0.3
"""How often constants that the rule made are computed at run time instead of folded."""


def preferring(imported: Imported, before: Frozen, after: Frozen, rng: np.random.Generator) -> emission.Program | None:
    """A program of the graph's outputs with a node or a merged class that the rule made.

    Args:
        imported: the graph.
        before: the e-graph without the rule.
        after: the e-graph with it.
        rng: chooses among several such programs.

    Returns:
        None where the rule made nothing that the outputs can use.
    """
    place = _places(before, after)
    old = {(place[c], _moved(node, place)) for c, e in enumerate(before.classes) if c in place for node in e.nodes
           if all(i in place for i in node.inputs)}  # fmt: skip
    constant = {place[c] for c, e in enumerate(before.classes) if c in place and e.constant}
    held = {
        place[c]
        for c, e in enumerate(before.classes)
        if c in place and (e.original_constant or (e.known is not None and e.known.is_fixed))
    }
    held |= {c for c in constant if after.classes[c].known is None}
    counts = np.bincount(list(place.values()), minlength=len(after.classes))
    problem = _problem(imported, after, old, compute=bool(rng.random() < _COMPUTED))
    sites = [(c, candidate) for c, found in problem.candidates.items() for candidate in found
             if counts[c] > 1 or _is_new(c, candidate, old, held)]  # fmt: skip
    for i in rng.permutation(len(sites)):
        c, candidate = sites[i]
        forced = Problem(problem.roots, {**problem.candidates, c: [candidate]}, problem.weights)
        choice = extraction.greedy(forced)
        if choice is not None and c in (used := forced.used(choice)):
            return emission.Program(choice, used)
    return None


def _is_new(c: int, candidate: Candidate, old: set[tuple[int, ENode]], held: set[int]) -> bool:
    if candidate.node.operator == STORED:
        return c not in held
    return candidate.node != problems.LEAF and candidate.node.operator != "absent" and (c, candidate.node) not in old


def _moved(node: ENode, place: dict[int, int]) -> ENode:
    return ENode(node.operator, node.attributes, tuple(place[i] for i in node.inputs), node.output)


def _places(before: Frozen, after: Frozen) -> dict[int, int]:
    """Where each class of the first read-out is in the second: by its imported values, else by one of its nodes."""
    place = {c: after.of[e.numbers[0]] for c, e in enumerate(before.classes) if e.numbers}
    home = {node: c for c, e in enumerate(after.classes) for node in e.nodes}
    found = True
    while found:
        found = False
        for c, node in _unplaced(before, place):
            if c not in place and (at := home.get(_moved(node, place))) is not None:
                place[c], found = at, True
    return place


def _unplaced(before: Frozen, place: dict[int, int]) -> Iterator[tuple[int, ENode]]:
    for c, e in enumerate(before.classes):
        if c not in place:
            yield from ((c, node) for node in e.nodes if all(i in place for i in node.inputs))


def _problem(imported: Imported, after: Frozen, old: set[tuple[int, ENode]], *, compute: bool) -> Problem:
    """All programs of the outputs; no candidate is better than another in every respect, so that none is dropped."""
    serial = itertools.count()

    def price(c: int, node: ENode) -> Price:
        i = float(next(serial))
        return Price(_IMPORTED if (c, node) in old else _MADE, i, -i)

    def stored(c: int) -> float | None:
        eclass = after.classes[c]
        if eclass.several or (eclass.kind is not None and not eclass.kind.is_static):
            return None
        made = folding.tensor_at_hand(imported, after, c) is None
        return None if made and (compute or eclass.kind is None) else 0.0

    values = enumerate(imported.values)
    leaves = {after.of[n] for n, v in values if v is not None and emission.is_leaf(imported.graph, v)}
    roots = sorted({after.of[imported.numbers[v]] for v in imported.graph.outputs})
    return problems.build(after, roots, price, leaves=leaves, weights=Weights(1.0), stored=stored)
