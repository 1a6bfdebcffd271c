"""Parts of extractions solved class by class, against all programs there are and against the solver."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tcc.ir import frontier, regions
from tcc.ir.extraction import extract
from tcc.ir.frozen import ENode
from tcc.ir.problem import LOSSY, Budgets, Candidate, Price, Problem, Weights
from tests.test_extraction import drawn, programs

SEEDS = range(200)


def exact(seed: int) -> Problem:
    """A drawn problem without lossy candidates and budgets: shared needs and cycles are left."""
    problem = drawn(seed)
    candidates = {c: [k for k in found if k.node.operator != LOSSY] for c, found in problem.candidates.items()}
    return replace(problem, candidates=candidates, loss={}, budgets=Budgets())


@pytest.mark.parametrize("seed", SEEDS)
def test_the_choice_is_the_best_there_is(seed: int) -> None:
    problem = exact(seed)
    best = min(map(problem.objective, programs(problem)))
    found = extract(problem)
    assert found.objective == pytest.approx(best, rel=1e-12)
    assert found.gap == 0 or found.gap <= 1e-12


def test_the_problems_have_cycles_and_choices() -> None:
    """The test above would say nothing if no part held a cycle, or if greedy found every choice."""
    found = [regions.find(exact(seed)) for seed in SEEDS]
    assert sum(bool(set(c) & set(region.contested)) for region in found for c in region.cycles) > 30
    answers = [extract(exact(seed)) for seed in SEEDS]
    assert sum(a.greedy is not None and a.objective < a.greedy * (1 - 1e-6) for a in answers) > 5


@pytest.mark.parametrize("limit", ["_STATES", "_TRIALS"])
@pytest.mark.parametrize("seed", SEEDS[:40])
def test_what_is_too_wide_is_left_to_the_solver(seed: int, limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = exact(seed)
    best = extract(problem).objective
    monkeypatch.setattr(frontier, limit, 0)
    region = regions.find(problem)
    assert all(frontier.cheapest(problem, part) is None for part in regions.parts(problem, region))
    assert extract(problem).objective == pytest.approx(best, rel=1e-5)


def test_the_same_cost_in_another_order_of_summing_is_the_same_cost() -> None:
    """Of equally cheap choices the first one stands, however its costs add up in floating point."""
    problem = exact(0)
    scaled = {
        c: [replace(k, price=replace(k.price, seconds=0.1 * k.price.seconds)) for k in found]
        for c, found in problem.candidates.items()
    }
    weights = replace(problem.weights, nbytes=0.0, nodes=0.0)
    whole, tenth = (
        extract(replace(problem, weights=weights, candidates=candidates)).choice
        for candidates in (problem.candidates, scaled)
    )
    assert {c: k.node for c, k in whole.items()} == {c: k.node for c, k in tenth.items()}


def test_many_layers_that_share_a_value_need_no_solver() -> None:
    """To begin all layers at once would be as wide as there are layers."""
    count = 40
    shared = 6 * count + 1
    candidates = {0: [Candidate(ENode("Op", "root", ()), Price(), tuple(range(1, count + 1)))]}
    candidates[shared] = [Candidate(ENode("Op", "shared", ()), Price(12.0), ())]
    for i in range(count):
        end, (left, right, lower, upper, product) = i + 1, range(count + 5 * i + 1, count + 5 * i + 6)
        for c, ways in {
            end: ((1.0, (left,)), (1.6, (right, shared))),
            left: ((1.0, (lower,)), (1.0, (upper, right)), (1.2, (product,))),
            right: ((0.5, (product,)), (0.1, (upper,))),
            lower: ((2.0, (product,)), (1.0, (upper, product))),
            upper: ((0.75, ()), (0.5, (product,))),
            product: ((1.0, ()),),
        }.items():
            candidates[c] = [Candidate(ENode("Op", f"{c}.{n}", w[1]), Price(w[0]), w[1]) for n, w in enumerate(ways)]
    problem = Problem((0,), candidates, Weights(1.0, 0.0, 0.0))
    region = regions.find(problem)
    (part,) = (p for p in regions.parts(problem, region) if shared in p.contested)
    found = frontier.cheapest(problem, part)
    assert found is not None
    # Each layer costs 1 + 1 + .75 + .1 by itself, and .4 less with the value that all share.
    assert extract(problem).objective == pytest.approx(2.45 * count + 12.0)
