"""A rule's commands as what they ask of the graph and on which conditions, and the matches of each in an e-graph."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from tcc.ir import translated
from tcc.ir.engine import ASIDE, EGraph
from tcc.ir.frozen import ReadOut
from tcc.ir.queries import FORM, Query, parsed

Binding = Mapping[str, Any]
"""What a command's variables stand for: numbers of classes, lists of them, texts, integers."""

ROOT = "_root"
"""The variable for the left side of a rewrite."""
_FACTS_OF_CONSTANTS = frozenset({'"coefficient"', '"moderate"'})
_STRUCTURAL = frozenset({FORM, "view", "tcc_ir_language_masked", "tcc_ir_language_turned"})


@dataclass(frozen=True)
class Command:
    """One command of a rule: ``structure`` is its pattern, ``conditions`` are in an order that can be checked.

    ``sorts`` are those of the variables that stand in the pattern or in what is made.
    """

    rule: str
    structure: tuple[Any, ...]
    conditions: tuple[Any, ...]
    actions: tuple[Any, ...]
    sorts: Mapping[str, str]

    @property
    def root(self) -> str:
        """The variable of what is rewritten."""
        joined = [a[1] for a in self.actions if a[0] == "union" and isinstance(a[1], str)]
        return joined[0] if joined else next(iter(self.sorts), ROOT)

    @property
    def size(self) -> int:
        """The operators in its pattern."""
        return len({repr(term) for fact in self.structure for term in _operators(fact)})

    @property
    def pattern_variables(self) -> tuple[str, ...]:
        """The variables of the pattern."""
        found = dict.fromkeys(v for fact in self.structure for v in variables(fact))
        return tuple(v for v in found if v in self.sorts)


def command(query: Query) -> Command:
    """What a rule's text says, taken apart."""
    read = parsed(query.text)
    if read[0] == "rule":
        facts, actions = list(read[1]), list(read[2])
    else:
        given = read[read.index(":when") + 1] if ":when" in read else []
        facts, actions = [["=", ROOT, read[1]], *given], [["union", ROOT, read[2]]]
    computed: list[Any] = []
    actions = [_named(action, computed) for action in actions]
    facts += computed
    structure = tuple(fact for fact in facts if _is_structural(fact))
    conditions = _checkable([fact for fact in facts if not _is_structural(fact)], structure)
    known = _sorts(facts, actions)
    wanted = dict.fromkeys(v for part in (*structure, *actions) for v in variables(part))
    return Command(
        query.name.partition(".")[0], structure, conditions, tuple(actions), {v: known[v] for v in wanted if v in known}
    )


def _named(part: Any, computed: list[Any]) -> Any:
    """What is made, each text that it computes on the spot as a variable of its own."""
    if isinstance(part, str):
        return part
    if part[0].startswith("py-") or part[0] == "+":
        name = f"_computed{len(computed)}"
        computed.append(["=", name, part])
        return name
    return [part[0], *(_named(inner, computed) for inner in part[1:])]


def _operators(part: Any) -> Iterator[Any]:
    if isinstance(part, list):
        if part[0] in translated.language().operators:
            yield part
        for inner in part[1:]:
            yield from _operators(inner)


def _is_structural(fact: Any) -> bool:
    if fact[0] == "=":
        return any(isinstance(side, list) and _result(side[0]) in _TERMS for side in fact[1:])
    if fact[0] == FORM:
        return fact[3] not in _FACTS_OF_CONSTANTS
    return fact[0] in _STRUCTURAL or _result(fact[0]) in _TERMS


def _checkable(conditions: list[Any], structure: Iterable[Any]) -> tuple[Any, ...]:
    """The conditions in their order, each after what gives a value to what it computes with."""
    bound = {v for fact in structure for v in variables(fact)}
    ordered: list[Any] = []
    waiting = list(conditions)
    while waiting:
        following = next((c for c in waiting if _computes_with(c) <= bound), waiting[0])
        waiting.remove(following)
        ordered.append(following)
        bound |= set(variables(following))
    return tuple(ordered)


def _computes_with(condition: Any) -> set[str]:
    if isinstance(condition, str):
        return set()
    if condition[0] in _PRIMITIVE or condition[0].startswith("py-"):
        return set(variables(condition))
    return {v for part in condition[1:] for v in _computes_with(part)}


_PRIMITIVE = frozenset({"!=", "+", "-", "*", "<", ">"})


def variables(part: Any) -> Iterator[str]:
    """The variables of an expression, in order."""
    if isinstance(part, str):
        if part[0] == "_":
            yield part
        return
    for inner in part[1:]:
        yield from variables(inner)


def _sorts(facts: Sequence[Any], actions: Sequence[Any]) -> dict[str, str]:
    found: dict[str, str] = {}

    def look(part: Any) -> None:
        if isinstance(part, str):
            return
        for inner, sort in zip(part[1:], _signatures().get(part[0], ((), ""))[0], strict=False):
            if isinstance(inner, str) and inner[0] == "_":
                found.setdefault(inner, sort)
        if part[0] in ("=", "union"):
            sides = [(a, b) for a, b in (part[1:], part[:0:-1]) if isinstance(a, str)]
            for side, other in sides:
                if side[0] == "_" and isinstance(other, list):
                    found.setdefault(side, _result(other[0]) or "String")
        for inner in part[1:]:
            look(inner)

    for part in (*facts, *actions):
        look(part)
    return found


def _result(name: str) -> str:
    return _signatures().get(name, ((), ""))[1]


@cache
def _signatures() -> dict[str, tuple[tuple[str, ...], str]]:
    """The sorts that every constructor, function and relation of the language takes, and what it gives."""
    found: dict[str, tuple[tuple[str, ...], str]] = {}
    for line in translated.language().declarations.splitlines():
        read = parsed(line)
        if read[0] in ("constructor", "function"):
            found[read[1]] = tuple(read[2]), read[3]
        elif read[0] == "relation":
            found[read[1]] = tuple(read[2]), ""
    return found


_TENSOR, _LIST, _RESULTS = (f"tcc.ir.language.{name}" for name in ("Tensor", "Tensors", "Results"))
_TERMS = frozenset({_TENSOR, _LIST, _RESULTS})


def text(part: Any) -> str:
    """An expression as the engine reads it."""
    return part if isinstance(part, str) else f"({' '.join(map(text, part))})"


@dataclass(frozen=True)
class Recording:
    """Notes the matches of commands in relations of their own, which nothing else reads.

    Args:
        egraph: what they are looked for in.
        name: of the rule set, and what the relations' names begin with.
    """

    egraph: EGraph
    name: str

    def add(self, number: int, asked: Iterable[Any], keys: Sequence[str], sorts: Mapping[str, str]) -> None:
        """Note, under a number, what the ``keys`` stand for wherever all that is asked holds."""
        relation = f"{ASIDE}{self.name}_{number}"
        body, kept = " ".join(map(text, asked)), " ".join(keys)
        self.egraph.declare(f"(relation {relation} ({' '.join(sorts[key] for key in keys)}))")
        rule = f'(rule ({body}) (({relation} {kept})) :ruleset {self.name} :name "{relation}")'
        self.egraph.extend(self.name, [rule])

    def run(self) -> None:
        """Look for all of them once."""
        self.egraph.run(f"(run {self.name})")

    def matches(self, number: int, keys: Sequence[str], sorts: Mapping[str, str], read: ReadOut) -> list[Binding]:
        """What was noted under a number, in an order that follows from the graph alone."""
        rows = read.rows(f"{ASIDE}{self.name}_{number}", [_KINDS.get(sorts[key], "class") for key in keys])
        return [dict(zip(keys, row, strict=True)) for row in sorted(rows, key=repr)]


_KINDS = {"String": "text", "i64": "integer", _LIST: "list"}


def literal_text(token: str) -> str:
    """What a text in quotes says."""
    said: str = json.loads(token, strict=False)
    return said
