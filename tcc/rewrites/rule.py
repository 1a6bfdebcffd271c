"""What a rewrite rule is: its patterns, and the equality that it promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from types import FunctionType
from typing import TYPE_CHECKING, Any

from tcc.ir import queries, translated
from tcc.ir.attributes import CARRIED
from tcc.ir.queries import Query

if TYPE_CHECKING:
    from egglog import RewriteOrRule, Ruleset

Patterns = Callable[..., Iterator["RewriteOrRule"]]
NEWEST_OPSET = 10_000


class Equality(Enum):
    """How equal a rule's two sides are."""

    BITS = "bits"
    """The same bits for every input, signed zeros, infinities and NaN positions included."""
    VALUE = "value"
    """Equal in real arithmetic; rounding may differ within the pass's tolerance."""


@dataclass(frozen=True)
class Stored:
    """A rule as compilations use it: where it can match, and its text for the engine."""

    name: str
    equality: Equality
    needs: tuple[frozenset[str], ...]
    first_opset: int
    last_opset: int
    mentions: frozenset[str]
    queries: tuple[Query, ...]

    @cached_property
    def text(self) -> str:
        """All its commands."""
        return "\n".join(query.text for query in self.queries)

    def applies(self, operators: frozenset[str], opset: int) -> bool:
        """Whether the rule can match a graph of these operators."""
        return self.first_opset <= opset <= self.last_opset and all(group & operators for group in self.needs)


@dataclass(frozen=True)
class Rule:
    """One exact rewrite.

    Args:
        name: unique among all rules.
        equality: what it promises.
        algebra: the equality in a line, and the condition under which it holds.
        source: paper, specification section or project that states it.
        patterns: egglog rules over typed pattern variables.
        needs: operators of which one of each group has to occur for the rule to match.
        first_opset, last_opset: versions of the default domain whose operators it is written for.
        group: the file it stands in.
    """

    name: str
    equality: Equality
    algebra: str
    source: str
    patterns: Patterns
    needs: tuple[frozenset[str], ...]
    first_opset: int
    last_opset: int
    group: str

    @cached_property
    def ruleset(self) -> Ruleset:
        """The rule in egglog's Python language."""
        from egglog import ruleset

        return ruleset(self.patterns, name=self.name)

    @cached_property
    def stored(self) -> Stored:
        """The rule as compilations use it."""
        operators = translated.language().operators
        variadic = {name for name, operator in operators.items() if operator.variadic}
        lines = translated.rule_text(self.ruleset).splitlines()
        return Stored(
            self.name, self.equality, self.needs, self.first_opset, self.last_opset, self.mentions,
            tuple(queries.read(line, operators.keys(), variadic) for line in lines),
        )  # fmt: skip

    @cached_property
    def mentions(self) -> frozenset[str]:
        """Operators that the rule names, on either side, its module's helpers included."""
        names = set(self.patterns.__code__.co_names)
        for name in sorted(names):
            helper = self.patterns.__globals__.get(name)
            if isinstance(helper, FunctionType) and helper.__module__ == self.patterns.__module__:
                names.update(helper.__code__.co_names)
        return frozenset(names & translated.language().operators.keys())

    def applies(self, operators: frozenset[str], opset: int) -> bool:
        """Whether the rule can match a graph of these operators."""
        return self.stored.applies(operators, opset)


def exact(
    equality: Equality, source: str, *needs: str, first_opset: int = 1, last_opset: int = NEWEST_OPSET
) -> Callable[[Patterns], Rule]:
    """Declare a rule; its docstring is its algebra.

    Args:
        equality: what the rule promises.
        source: where the equality is stated.
        needs: operators on its left side; alternatives are joined by ``|``.
        first_opset: first version of the default domain in which both sides are written this way.
        last_opset: the last one.
    """

    def declare(patterns: Patterns) -> Rule:
        from tcc.ir.language import OPERATORS

        groups = tuple(frozenset(group.split("|")) for group in needs)
        unknown = frozenset().union(*groups) - OPERATORS.keys() - CARRIED
        if unknown:
            message = f"rule {patterns.__name__} names operators without a constructor: {sorted(unknown)}"
            raise ValueError(message)
        return Rule(
            patterns.__name__, equality, " ".join((patterns.__doc__ or "").split()), source, patterns, groups,
            first_opset, last_opset, patterns.__module__.rpartition(".")[2],
        )  # fmt: skip

    return declare


def relevant(
    rules: tuple[Stored, ...], operators: frozenset[str], opset: int
) -> tuple[tuple[Stored, ...], frozenset[str]]:
    """The rules that can match a graph, those that others enable included, and all operators they may bring in."""
    present = operators
    chosen: dict[str, Stored] = {}
    while True:
        fresh = [r for r in rules if r.name not in chosen and r.applies(present, opset)]
        if not fresh:
            return tuple(r for r in rules if r.name in chosen), present
        for r in fresh:
            chosen[r.name] = r
            present |= r.mentions


def made_by(chosen: tuple[Stored, ...]) -> frozenset[str]:
    """Operators of which these rules may make new nodes."""
    return frozenset[str]().union(*(r.mentions for r in chosen))


def is_rule(thing: Any) -> bool:
    """Whether a module's attribute is a rule."""
    return isinstance(thing, Rule)
