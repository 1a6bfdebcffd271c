"""Reads out of a rule's text what it asks of the graph: operators, who reads whom, what must be constant."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Term = tuple[str, int, tuple[tuple[int, int], ...]]
"""An operator, the class of its result, and the classes that it reads, each behind its position."""
Row = tuple[str, tuple[int, ...]]
"""A relation, with the text that its row is keyed by, and the classes in the row."""

LEAVES = frozenset({"value", "literal", "absent", "dimension", "dimension_scalar", "entry"})
"""Constructors that read no tensor."""
FORM = "tcc_ir_language_form"
"""The relation whose rows are told apart by the text in their third column."""
_CONSTANT = frozenset({"constant", "original_constant", "structure"})
_TYPES = frozenset({"kind", "kinds", "knowns", "constants"})


class Query(NamedTuple):
    """One command of a rule, its classes numbered.

    ``reads`` are the operators that have to be there, ``writes`` those of which it may make new nodes. ``terms`` and
    ``rows`` have to be there; ``constant`` and ``known`` are classes that have to be so. ``made`` are
    the terms that it adds, ``unions`` the classes that it joins, ``given`` the rows, and ``told`` the classes whose
    value it states.
    """

    text: str
    name: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    terms: tuple[Term, ...]
    rows: tuple[Row, ...]
    constant: tuple[int, ...]
    known: tuple[int, ...]
    made: tuple[Term, ...]
    unions: tuple[tuple[int, int], ...]
    given: tuple[Row, ...]
    told: tuple[int, ...]


def read(line: str, operators: Collection[str], variadic: Collection[str]) -> Query:
    """What one command of a rule's text asks for and adds.

    Args:
        line: the command.
        operators: names of the typed operators.
        variadic: those of them whose inputs are one list; all of these count as one position.
    """
    command = parsed(line)
    if command[0] == "rule":
        facts, actions = command[1], command[2]
    else:
        given = command[command.index(":when") + 1] if ":when" in command else []
        facts, actions = [command[1], *given], [["union", command[1], command[2]]]
    classes = _Classes()
    asked = _Part(classes, operators, variadic)
    for fact in facts:
        asked.fact(fact)
    added = _Part(classes, operators, variadic, dict(asked.seen))
    for action in actions:
        added.action(action)
    name = command[command.index(":name") + 1].strip('"')
    reads, writes = (dict.fromkeys(operator for operator, _, _ in part.terms) for part in (asked, added))
    unions = tuple((classes.root(a), classes.root(b)) for a, b in added.unions)
    return Query(
        line, name, tuple(reads), tuple(operator for operator in writes if operator not in LEAVES),
        asked.all_terms(), asked.all_rows(), classes.roots(asked.constant), classes.roots(asked.known),
        added.all_terms(), unions, added.all_rows(), classes.roots(added.told),
    )  # fmt: skip


_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|[()]|[^\s()]+')


def parsed(text: str) -> Any:
    """One command of the engine's text as nested lists of its words, texts in their quotes."""
    stack: list[list[Any]] = [[]]
    for token in _TOKEN.findall(text):
        if token[0] == "(":
            stack.append([])
        elif token[0] == ")":
            done = stack.pop()
            stack[-1].append(done)
        else:
            stack[-1].append(token)
    return stack[0][0]


@dataclass
class _Classes:
    """Numbers of classes; those that a command equates are one."""

    parents: list[int] = field(default_factory=list)
    variables: dict[str, int] = field(default_factory=dict)

    def fresh(self) -> int:
        self.parents.append(len(self.parents))
        return len(self.parents) - 1

    def variable(self, name: str) -> int:
        if name not in self.variables:
            self.variables[name] = self.fresh()
        return self.variables[name]

    def root(self, c: int) -> int:
        while self.parents[c] != c:
            c = self.parents[c]
        return c

    def roots(self, found: list[int]) -> tuple[int, ...]:
        return tuple(dict.fromkeys(map(self.root, found)))

    def join(self, a: int, b: int) -> None:
        self.parents[self.root(b)] = self.root(a)


@dataclass
class _Part:
    """What is collected of one side of a command."""

    classes: _Classes
    operators: Collection[str]
    variadic: Collection[str]
    seen: dict[str, int] = field(default_factory=dict)
    terms: list[Term] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    constant: list[int] = field(default_factory=list)
    known: list[int] = field(default_factory=list)
    unions: list[tuple[int, int]] = field(default_factory=list)
    told: list[int] = field(default_factory=list)

    def all_terms(self) -> tuple[Term, ...]:
        root = self.classes.root
        return tuple((op, root(c), tuple((at, root(x)) for at, x in inputs)) for op, c, inputs in self.terms)

    def all_rows(self) -> tuple[Row, ...]:
        return tuple((name, tuple(map(self.classes.root, found))) for name, found in self.rows)

    def fact(self, fact: list[Any]) -> None:
        if fact[0] != "=":
            self._read(fact)
            return
        a, b = fact[1:]
        if self._is_tensor(b) and (self._is_tensor(a) or isinstance(a, str)):
            self.classes.join(self._tensor(b), self._tensor(a))
        elif not isinstance(b, str):
            self._read(b)
        if not isinstance(a, str) and not self._is_tensor(a):
            self._read(a)

    def action(self, action: list[Any]) -> None:
        if action[0] == "union":
            self.unions.append((self._tensor(action[1]), self._tensor(action[2])))
        elif action[0] == "set" and action[1][0] == "known":
            self.told.append(self._tensor(action[1][1]))
        elif action[0] != "set":
            self._read(action)

    def _is_tensor(self, e: Any) -> bool:
        return isinstance(e, list) and (e[0] in self.operators or e[0] in LEAVES or e[0] in ("project", "opaque"))

    def _read(self, e: Any) -> None:
        """A fact about tensors, a relation's row or a computed condition."""
        if isinstance(e, str) or e[0].startswith("py-") or e[0] == "nil":
            return
        if self._is_tensor(e):
            self._tensor(e)
        elif e[0] == "cons":
            self._list(e)
        elif e[0] in _CONSTANT:
            self.constant.append(self._tensor(e[1]))
        elif e[0] == "known":
            self.known.append(self._tensor(e[1]))
        elif e[0] in _TYPES:
            self._read(e[1])
        elif e[0] == FORM:
            self.rows.append((f"{e[0]}:{e[3]}", (self._tensor(e[1]), self._tensor(e[2]))))
        elif e[0] in ("+", "!=", "-", "*", "<", ">"):
            for part in e[1:]:
                self._read(part)
        else:
            self.rows.append((e[0], tuple(self._tensor(x) for x in e[1:])))

    def _tensor(self, e: Any) -> int:
        if isinstance(e, str):
            return self.classes.variable(e)
        if e[0] == "project":
            return self._tensor(e[1])
        if (key := repr(e)) in self.seen:
            return self.seen[key]
        inputs: list[tuple[int, int]] = []
        if e[0] in self.variadic:
            inputs = [(0, x) for x in self._list(e[1])]
        elif e[0] not in LEAVES and e[0] != "opaque":
            # The last argument is the attributes'.
            inputs = [(at, self._tensor(x)) for at, x in enumerate(e[1:-1])]
        self.seen[key] = c = self.classes.fresh()
        # Inputs first: what is made of them is made after them.
        self.terms.append((e[0], c, tuple(inputs)))
        return c

    def _list(self, e: Any) -> list[int]:
        if isinstance(e, str) or e[0] == "nil":
            return []
        return [self._tensor(e[1]), *self._list(e[2])]
