"""Extraction on problems that are small enough to try every program."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter

import pytest

from tcc.diagnostics import Exit, TccError
from tcc.ir.extraction import extract
from tcc.ir.frozen import ENode
from tcc.ir.problem import LOSSY, Budgets, Candidate, Price, Problem, Weights

SITES = ("a", "b", "c")


def drawn(seed: int, *, losses: Mapping[str, float] | None = None) -> Problem:
    """A problem of a few classes: shared needs, cycles, lossy edges, budgets on some of them."""
    draw = random.Random(seed)  # noqa: S311 - a test's data, no secret
    count = draw.randint(2, 6)
    loss = dict(losses or {site: draw.choice([0.0, 0.1, 0.4, math.inf]) for site in SITES})
    candidates: dict[int, list[Candidate]] = {}
    for c in range(count):
        # The first candidate needs later classes only, so that every class has a program.
        below = tuple(sorted(draw.sample(range(c + 1, count), min(draw.randint(0, 2), count - c - 1))))
        found = [Candidate(ENode("Op", f"{c}.0", below), price(draw), below)]
        for i in range(draw.randint(0, 2)):
            needs = tuple(sorted(draw.sample([d for d in range(count) if d != c], draw.randint(0, min(2, count - 1)))))
            found.append(Candidate(ENode("Op", f"{c}.{i + 1}", needs), price(draw), needs))
        if c + 1 < count and draw.random() < 0.5:
            target = draw.choice([d for d in range(count) if d != c])
            found.append(Candidate(ENode(LOSSY, draw.choice(SITES), (target,)), Price(), (target,)))
        candidates[c] = found
    budgets = Budgets(
        nbytes=draw.choice([None, 12.0]), seconds=draw.choice([None, 9.0]), loss=draw.choice([0.0, 0.2, 0.6])
    )
    return Problem((0,), candidates, Weights(1.0, 0.1, 0.01, 0.5), budgets, loss)


def price(draw: random.Random) -> Price:
    return Price(float(draw.randint(0, 5)), float(draw.randint(0, 8)), 1.0)


def programs(problem: Problem) -> Iterator[dict[int, Candidate]]:
    """Every choice of one candidate a class that can be computed and keeps the budgets."""
    classes = sorted(problem.candidates)
    for picked in itertools.product(*(problem.candidates[c] for c in classes)):
        choice = dict(zip(classes, picked, strict=True))
        try:
            tuple(TopologicalSorter({c: choice[c].needs for c in problem.used(choice)}).static_order())
        except CycleError:
            continue
        if problem.fits(choice):
            yield choice


@pytest.mark.parametrize("seed", range(150))
def test_the_program_found_is_the_best_there_is(seed: int) -> None:
    problem = drawn(seed)
    best = min((problem.objective(choice) for choice in programs(problem)), default=None)
    if best is None:
        with pytest.raises(TccError) as caught:
            extract(problem)
        assert caught.value.exit_code is Exit.INFEASIBLE
        return
    found = extract(problem)
    assert found.objective == pytest.approx(best, rel=1e-5, abs=1e-6)
    assert found.bound <= found.objective
    assert found.gap <= 1e-3
    assert problem.fits(found.choice)
    if found.greedy is not None:
        assert found.objective <= found.greedy


def test_the_problems_tell_programs_apart() -> None:
    """The test above would say nothing if most problems had one program, or greedy always found the best."""
    chosen = [list(programs(drawn(seed))) for seed in range(150)]
    assert sum(len(found) > 1 for found in chosen) > 100
    assert sum(not found for found in chosen) > 3
    greedy = [extract(drawn(seed)) for seed, found in enumerate(chosen) if found]
    assert sum(found.greedy is None or found.objective < found.greedy * (1 - 1e-6) for found in greedy) > 10


def test_a_site_without_a_finite_loss_leaves_the_others_to_choose_from() -> None:
    def options(c: int) -> list[Candidate]:
        plain = Candidate(ENode("Op", str(c), ()), Price(10.0, 10.0, 1.0), ())
        return [plain, *(Candidate(ENode(LOSSY, site, (2,)), Price(), (2,)) for site in ("good", "endless")[c:])]

    cheap = Candidate(ENode("Op", "cheap", ()), Price(1.0, 1.0, 1.0), ())
    problem = Problem(
        (0, 1), {0: options(0), 1: options(1), 2: [cheap]}, Weights(1.0, 0.0, 0.0, 1.0), Budgets(loss=0.5),
        {"good": 0.1, "endless": math.inf},
    )  # fmt: skip
    found = extract(problem)
    assert found.sites == ("good",)
    assert found.objective == pytest.approx(11.1)
    assert found.method == "milp"
