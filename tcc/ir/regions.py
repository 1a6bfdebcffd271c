"""What of an extraction is decided already, and into which independent parts the rest falls."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from tcc.ir.components import connected, strongly_connected
from tcc.ir.problem import FREE, LOSSY, Candidate, Problem


@dataclass(frozen=True)
class Region:
    """The state of a problem's classes.

    ``active`` are the classes that every program computes; ``forced`` those of them that have one candidate;
    ``contested`` those to be decided on; ``cycles`` the strongly connected components they lie in.
    """

    forced: frozenset[int]
    active: frozenset[int]
    contested: tuple[int, ...]
    cycles: tuple[frozenset[int], ...]


def find(problem: Problem) -> Region:
    """Which classes every program computes, and which are to be decided on."""
    components = strongly_connected(
        {c: dict.fromkeys(n for k in problem.candidates[c] for n in k.needs) for c in sorted(problem.candidates)}
    )
    # What is free is as good as decided: to take it or not changes nothing.
    active = _active(problem, components) | {c for c in problem.candidates if problem.is_free(c)}
    forced = frozenset(c for c in active if len(problem.candidates[c]) == 1)
    reached, stack = active - forced, sorted(active - forced)
    while stack:
        for candidate in problem.candidates[stack.pop()]:
            fresh = [n for n in candidate.needs if n not in active and n not in reached]
            reached = reached | set(fresh)
            stack.extend(fresh)
    cycles = sorted((found for found in components if len(found) > 1), key=min)
    return Region(forced, active, tuple(sorted(reached)), tuple(cycles))


def without_trifles(problem: Problem, region: Region, share: float) -> tuple[Problem, Region, dict[int, Candidate]]:
    """A problem and its region in which the cheapest constants cost nothing, and so tie nobody together.

    One vector of ones that is an operand of some form of each layer makes one decision of all layers. What is left
    out costs at most this share of what every program costs: any choice of the original is one here at no higher cost,
    and any choice here is one of the original for at most so much more.

    Returns:
        Both, and how each of those constants is computed, with its price.
    """
    scale = problem.weights.of(problem.total_of(region.forced)) + sum(
        min(problem.weights.of(k.price) for k in problem.candidates[c]) for c in region.contested if c in region.active
    )
    cheap, spent = dict[int, Candidate](), 0.0
    for cost, c, candidate in _self_contained(problem, region):
        spent += cost
        if spent > share * scale:
            break
        cheap[c] = candidate
    # A need that turned out to be too dear takes those with it that stand on it.
    while gone := [c for c, k in cheap.items() if any(n not in cheap and not problem.is_free(n) for n in k.needs)]:
        for c in gone:
            del cheap[c]
    given = {c: [replace(candidate, price=FREE)] for c, candidate in cheap.items()}
    left = tuple(c for c in region.contested if c not in cheap)
    smaller = replace(region, forced=region.forced | cheap.keys(), active=region.active | cheap.keys(), contested=left)
    return replace(problem, candidates={**problem.candidates, **given}), smaller, cheap


def _self_contained(problem: Problem, region: Region) -> list[tuple[float, int, Candidate]]:
    """Undecided classes that nothing but other such ones is needed for, each with its cheapest way; cheapest first."""
    ways = {
        c: [k for k in problem.candidates[c] if k.node.operator != LOSSY and not k.price.nodes]
        for c in region.contested
        if c not in region.active
    }
    cost = {c: 0.0 for c in problem.candidates if problem.is_free(c)}
    found: dict[int, Candidate] = {}
    changed = True
    while changed:
        # Costs only fall, and none is below zero: the last ways found need each other in no circle.
        changed = False
        for c, candidates in ways.items():
            for k in candidates:
                total = problem.weights.of(k.price) + sum(cost.get(n, math.inf) for n in k.needs)
                if total < cost.get(c, math.inf):
                    cost[c], found[c], changed = total, k, True
    return sorted(((cost[c], c, k) for c, k in found.items()), key=lambda way: way[:2])


def forms(problem: Problem) -> list[list[tuple[int, Candidate]]]:
    """The ways to compute each value that every program computes in one form or another.

    A site with several sources stands for one value in several forms (types): its sources and targets are one
    group. Whichever form a program computes first, it does so from outside the group: those candidates are
    returned, with their classes. Which groups every program computes follows as for classes, on the graph in which
    each group is one class; lossy candidates that lead out of a group are among its candidates, so that what
    a site gets round is not said to be computed.
    """
    group = _groups(problem)
    members: dict[int, list[int]] = {}
    for c in problem.candidates:
        members.setdefault(group.get(c, c), []).append(c)
    base: dict[int, list[tuple[int, Candidate]]] = {}
    for g, classes in members.items():
        for c in classes:
            outside = [k for k in problem.candidates[c] if all(group.get(n, n) != g for n in k.needs)]
            base.setdefault(g, []).extend((c, k) for k in outside)
    contracted = {
        g: [replace(k, needs=tuple(dict.fromkeys(group.get(n, n) for n in k.needs))) for _, k in found]
        for g, found in base.items()
    }
    roots = tuple(sorted({group.get(r, r) for r in problem.roots}))
    active = find(replace(problem, roots=roots, candidates=contracted)).active
    return [base[g] for g in sorted(set(group.values()) & active)]


def _groups(problem: Problem) -> dict[int, int]:
    """The representative of each class that a site with several sources joins to others."""
    sites: dict[str, tuple[set[int], set[int]]] = {}
    for c, candidates in problem.candidates.items():
        for candidate in candidates:
            if candidate.node.operator == LOSSY:
                sources, targets = sites.setdefault(candidate.node.attributes, (set(), set()))
                sources.add(c)
                targets.update(candidate.needs)
    edges = [sorted(sources | targets) for sources, targets in sites.values() if len(sources) > 1]
    joined = connected({c for edge in edges for c in edge}, edges)
    return {c: min(found) for found in joined for c in found}


def _active(problem: Problem, components: list[frozenset[int]]) -> frozenset[int]:
    """Classes that each program of the roots computes.

    What computing a class always computes is the class itself and what all its candidates have in common of
    what their needs always compute: the greatest solution of these equations, sets written as bits.
    """
    always: dict[int, int] = dict.fromkeys(problem.candidates, (1 << (max(problem.candidates) + 1)) - 1)
    for component in components:
        # Components come needs first; inside one the equations are iterated to their fixpoint.
        changed = True
        while changed:
            changed = False
            for c in sorted(component):
                common = -1
                for candidate in problem.candidates[c]:
                    needed = 0
                    for n in candidate.needs:
                        needed |= always[n]
                    common &= needed
                bits = common | (1 << c)
                if bits != always[c]:
                    always[c] = bits
                    changed = len(component) > 1
    total = 0
    for root in problem.roots:
        total |= always[root]
    return frozenset(c for c in problem.candidates if total >> c & 1)


def parts(problem: Problem, region: Region) -> list[Region]:
    """The undecided classes in groups that share neither an undecided need nor a cycle.

    A need that every program computes anyway ties nobody together.
    """
    contested = set(region.contested)
    ties = [
        (c, *{n for k in problem.candidates[c] for n in k.needs if n in contested and n not in region.active})
        for c in region.contested
    ]
    # A cycle may run through decided classes, which the needs alone do not show.
    groups = connected(region.contested, [*ties, *(cycle & contested for cycle in region.cycles if cycle & contested)])
    return [
        replace(region, contested=group, cycles=tuple(cycle for cycle in region.cycles if cycle & set(group)))
        for group in groups
    ]
