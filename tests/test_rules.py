"""Every rewrite rule fires on random instances, and what it makes is equal; wrong rules are caught."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tcc.rewrites import rules
from tcc.rewrites.laws import laws
from tcc.rewrites.rule import Rule
from tests.rules import harness
from tests.rules.harness import FIRING, SEEDS, Verdict, case_name, judge, reproduction, seeds
from tests.rules.instances import instances
from tests.rules.wrong import wrong_rules

RULES = {rule.name: rule for rule in (*rules(), *laws())}
CASES = [
    pytest.param(rule, miss, seed, id=f"{case_name(rule, miss)}seed{seed:04d}")
    for rule in RULES
    if rule in instances()
    for miss, _ in instances()[rule].items()
    for seed in seeds(miss)
]
WRONG = wrong_rules()
ROUNDS = 40
"""Seeds within which a wrong rule has to be caught."""
FEWEST_WRONG = 30


@cache
def verdict(rule: str, miss: str, seed: int) -> Verdict:
    own = instances()[rule]
    return judge(RULES[rule], dict(own.items())[miss], seed, own.companions)


@pytest.fixture(scope="session")
def found(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Rule], str]:
    """What catches a wrong rule, found out once for all of the processes that tests are spread over."""
    base = tmp_path_factory.getbasetemp()
    folder = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def caught(wrong: Rule) -> str:
        place = folder / f"{wrong.name}.caught"
        if not place.exists():
            told = harness.caught(wrong, ROUNDS)
            with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as file:
                file.write(told)
            Path(file.name).replace(place)
        return place.read_text()

    return caught


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_has_instances(rule: str) -> None:
    where = f"tests/rules/instances/{RULES[rule].group}.py"
    assert rule in instances(), f"write {rule}(draw), which draws models with the rule's left side, in {where}"
    own = instances()[rule]
    assert own.fitting is not None, f"{rule} has near misses only: write {rule}(draw) in {where}"
    assert own.near_misses or own.unconditional, (
        f"write {rule}__<condition>(draw), which violates a condition, or name {rule} in UNCONDITIONAL of {where}"
    )


def test_instances_are_of_rules() -> None:
    assert set(instances()) <= set(RULES)
    assert {name for own in instances().values() for name in own.companions} <= set(RULES)


@pytest.mark.parametrize(("rule", "miss", "seed"), CASES)
def test_equality_holds(rule: str, miss: str, seed: int) -> None:
    problem = verdict(rule, miss, seed).problem
    assert not problem, f"{rule}: {RULES[rule].algebra}\n{problem}\nagain: {reproduction(rule, miss, seed)}"


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule in instances() and instances()[rule].fitting])
def test_a_rule_fires(rule: str) -> None:
    fired = sum(verdict(rule, "", seed).fired for seed in seeds(""))
    assert fired >= FIRING * SEEDS, f"{rule} fires on {fired} of {SEEDS} instances, should on {FIRING:.0%}"


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
def test_a_wrong_rule_is_caught(wrong: Rule, found: Callable[[Rule], str]) -> None:
    assert found(wrong), f"{wrong.name} ({wrong.algebra}) passed {ROUNDS} rounds"


def test_the_harness_catches_all_wrong_rules(capsys: pytest.CaptureFixture[str], found: Callable[[Rule], str]) -> None:
    number = sum(bool(found(wrong)) for wrong in WRONG)
    with capsys.disabled():
        print(f"\ncaught {number} of {len(WRONG)} wrong rules")  # noqa: T201 - the catch rate is for the reader
    assert len(WRONG) >= FEWEST_WRONG
    assert number == len(WRONG)
