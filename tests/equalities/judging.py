"""Judges claims: evaluated in every domain, proved by as few rules as possible, with a counterexample where false."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tcc.rewrites.rule import Stored, relevant
from tests.equalities.encoding import OPSET
from tests.equalities.evaluating import Difference, differences, instance
from tests.equalities.expressions import Claim
from tests.equalities.proving import Prover, Proves, by_name, minimal, proved_together, searched
from tests.equalities.shapes import DEVIATIONS, PLAIN, Domain, Typed, UntypedError

ROUNDS = 8
"""Instances of each claim in each domain."""
_TRIED = 12
"""Earlier proofs that are tried before a new one is sought."""
PROVED = 2
"""Instances that one proof has to prove."""


@dataclass
class Judgement:
    """What is known of a claim.

    Args:
        claim: the claim.
        refuted: where it is false even for odd kernels, one group and counted padding.
        untyped: why it has no well-typed instance.
        conditions: what has to hold for it to be true, each with an instance that violates it.
        rules: the rules that prove it, none of which can be left out; None where no proof was found.
        constants: sets of variables which being constants ``-O2`` derives it with the rules it searches with.
    """

    claim: Claim
    refuted: Difference | None = None
    untyped: str = ""
    conditions: dict[str, Difference] = field(default_factory=dict)
    rules: list[str] | None = None
    constants: list[list[str]] = field(default_factory=list)

    @property
    def laws(self) -> list[str]:
        """The rules of the proof with which no level searches."""
        own = {rule.name for rule in searched()}
        return [name for name in self.rules or () if name not in own]

    @property
    def verdict(self) -> str:
        """The judgement in a word."""
        if self.untyped:
            return "out of scope"
        if self.refuted is not None:
            return "refuted"
        if self.conditions:
            return "conditional"
        if self.rules is None:
            return "unproven"
        if not self.rules:
            return "trivial"
        if not self.laws:
            return "implemented" if len(self.rules) == 1 else "implied"
        return "implemented for constants" if self.constants else "law"


def judge(claims: Sequence[Claim], told: Callable[[str], None] = lambda _line: None) -> list[Judgement]:
    """Judge each claim.

    Args:
        claims: the claims.
        told: what is done with a line about the progress.

    Raises:
        AssertionError: a rule proves what is false.
    """
    found = [Judgement(claim) for claim in claims]
    _evaluate(found, told)
    true = [j for j in found if not j.untyped and j.refuted is None]
    told(f"{len(true)} of {len(found)} hold; proving")
    check_soundness(found)
    prover, together = Prover(), pairs(claims)
    for number, one in enumerate(true, 1):
        _prove(prover, one, together.get(one.claim, ()))
        told(f"{number}/{len(true)} {one.claim.name}: {one.verdict} {' '.join(one.rules or ())}")
    return found


def _evaluate(found: Sequence[Judgement], told: Callable[[str], None]) -> None:
    claims = [j.claim for j in found]
    for domain, seed in itertools.product((PLAIN, *DEVIATIONS), range(ROUNDS)):
        for one, result in zip(found, differences(claims, domain, seed), strict=True):
            if isinstance(result, Difference) and domain is PLAIN:
                one.refuted = one.refuted or result
            elif isinstance(result, Difference):
                one.conditions.setdefault(domain.name, result)
            elif isinstance(result, str) and domain is PLAIN and seed == ROUNDS - 1 and one.refuted is None:
                one.untyped = result
        told(f"{domain.name or 'plain'}, round {seed + 1} of {ROUNDS}")


def check_soundness(found: Sequence[Judgement]) -> None:
    """No rule may prove an instance on which a claim is false."""
    every = tuple(by_name().values())
    for domain in (PLAIN, *DEVIATIONS):
        false = [(j, d) for j in found if (d := j.refuted if domain is PLAIN else j.conditions.get(domain.name))]
        proved = proved_together([instance(j.claim, domain, d.seed) for j, d in false], every) if false else []
        wrong = [j.claim.name for (j, _), is_proved in zip(false, proved, strict=True) if is_proved]
        assert not wrong, f"rules prove what is false ({domain.name or 'plain'}): {wrong}"


def instances(claim: Claim, domain: Domain = PLAIN, count: int = PROVED) -> list[Typed]:
    """Instances of a claim, several because what holds for one may hold by chance; first those that enlarge kernels."""
    found: list[Typed] = []
    for seed in range(ROUNDS):
        with contextlib.suppress(UntypedError):
            found.append(instance(claim, domain, seed))
    return sorted(found, key=_leaves_kernels)[:count]


def _leaves_kernels(typed: Typed) -> bool:
    enlarged = [node for node in typed.shapes if node.operator == "enlarge"]
    return any(typed.shapes[node] == typed.shapes[node.operands[0]] for node in enlarged)


def _prove(prover: Prover, one: Judgement, pair: Sequence[Claim]) -> None:
    typed = instances(one.claim)
    with prover.claim(typed) as (proves, operators):
        if proves(()):
            one.rules = []
            return
        one.rules = _fewest(prover, proves, operators)
        if one.rules:
            prover.proofs[tuple(one.rules)] += 1
    if one.rules is not None and not one.laws:
        return
    at = pair.index(one.claim) if pair else None
    shapes = instances(pair[0])[0].variables if pair else {}
    together = [instance(claim, PLAIN, 0, shapes) for claim in pair] if pair else typed[:1]

    def derived(chosen: tuple[str, ...]) -> bool:
        with prover.claim(together, chosen, pair=at) as (proves, operators):
            return proves(_applicable(searched(), operators))

    one.constants = _smallest(one.claim.variables(), derived)


def pairs(claims: Sequence[Claim]) -> dict[Claim, list[Claim]]:
    """The pair that a claim belongs to: those named ``12a`` and ``12b`` share their variables."""
    groups: dict[str, list[Claim]] = {}
    for claim in claims:
        if claim.name[-1:].isalpha() and claim.name[:-1].isdigit():
            groups.setdefault(claim.name[:-1], []).append(claim)
    return {claim: group for group in groups.values() for claim in group}


def _fewest(prover: Prover, proves: Proves, operators: frozenset[str]) -> list[str] | None:
    """As few rules as possible: those of an earlier proof first, for many claims are proved alike."""
    known = by_name()
    for names, _ in prover.proofs.most_common(_TRIED):
        if proves(earlier := [known[name] for name in names]):
            return [rule.name for rule in minimal(proves, earlier)]
    for candidates in (searched(), tuple(known.values())):
        usable = _applicable(candidates, operators)
        if proves(usable):
            return [rule.name for rule in minimal(proves, usable)]
    return None


def _applicable(candidates: tuple[Stored, ...], operators: frozenset[str]) -> tuple[Stored, ...]:
    return relevant(candidates, operators, OPSET)[0]


def _smallest(variables: Sequence[str], holds: Callable[[tuple[str, ...]], bool]) -> list[list[str]]:
    """The smallest sets of variables, one of them left out at least, for which something holds that more only help."""
    found: set[tuple[str, ...]] = set()
    front = {tuple(v for v in variables if v != left_out) for left_out in variables} - {()}
    while front:
        front = {chosen for chosen in sorted(front) if holds(chosen)}
        found |= front
        front = {tuple(v for v in chosen if v != left_out) for chosen in front for left_out in chosen} - found - {()}
    return [list(c) for c in sorted(found, key=lambda c: (len(c), c)) if not any(set(d) < set(c) for d in found)]
