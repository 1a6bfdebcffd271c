"""Into which parts an extraction falls: a constant that costs next to nothing does not tie them together."""

from __future__ import annotations

import random

import pytest

from tcc.ir import frontier, program, regions
from tcc.ir.extraction import extract
from tcc.ir.frozen import ENode
from tcc.ir.problem import Budgets, Candidate, Price, Problem, Weights
from tests.test_extraction import programs

WEIGHTS = Weights(1.0, 1e-9, 0.0)
"""Bytes only break ties."""


def candidate(c: int, number: int, price: Price, *needs: int) -> Candidate:
    return Candidate(ENode("Op", f"{c}.{number}", needs), price, needs)


def layers(count: int, seed: int, *, nbytes: float | None = None, ones: float = 3000.0) -> Problem:
    """Layers after each other; one form of each reads a vector of ones that all share, or half of them twice."""
    draw = random.Random(seed)  # noqa: S311 - a test's data, no secret
    last = 2 * count
    shared, twin = last + 1, last + 2
    candidates = {last: [candidate(last, 0, Price())]}
    candidates[shared] = [candidate(shared, 0, Price(nbytes=ones)), candidate(shared, 1, Price(nbytes=80.0), twin)]
    candidates[twin] = [candidate(twin, 0, Price(nbytes=ones / 2))]
    for i in range(count):
        c, inner, below = 2 * i, 2 * i + 1, 2 * i + 2
        plain = candidate(c, 0, Price(draw.uniform(1, 3), 0.0, 1.0), inner)
        scaled = candidate(c, 1, Price(draw.uniform(1, 3), 0.0, 1.0), below, shared)
        candidates[c] = [plain, scaled]
        candidates[inner] = [candidate(inner, 0, Price(draw.uniform(0, 1), draw.randint(0, 9), 1.0), below)]
    return Problem((0,), candidates, WEIGHTS, Budgets(nbytes=nbytes))


def test_a_shared_vector_of_ones_ties_no_layers_together() -> None:
    problem = layers(12, 0)
    region = regions.find(problem)
    (whole,) = (part for part in regions.parts(problem, region) if len(part.contested) > 2)
    assert len(whole.contested) > 12, "the vector makes one part of all layers"
    lighter, smaller, trifles = regions.without_trifles(problem, region, program.GAP)
    assert set(trifles) == {25, 26}
    assert trifles[25].price.nbytes == 80.0, "the cheaper way, with what it needs"
    parts = regions.parts(lighter, smaller)
    assert len(parts) == 12
    assert all(frontier.cheapest(lighter, part) for part in parts), "each is small enough to need no solver"


def test_what_is_dear_stays_a_decision() -> None:
    problem = layers(12, 0, ones=1e7)
    assert not regions.without_trifles(problem, regions.find(problem), program.GAP)[2]


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("nbytes", [None, 1600.0, 60.0])
def test_the_best_is_found_and_bounded_with_trifles_too(seed: int, nbytes: float | None) -> None:
    """With a budget that the vector breaks its layers are chosen without it."""
    problem = layers(4, seed, nbytes=nbytes)
    best = min(map(problem.objective, programs(problem)))
    found = extract(problem)
    assert problem.fits(found.choice)
    assert found.objective == pytest.approx(best, rel=1e-5)
    assert found.bound <= best * (1 + 1e-12)
    assert found.gap <= program.SMALL_GAP
