"""Tables of rows that egglog reads at once, and the rule a table that makes an e-graph of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from egglog import EGraph, RewriteOrRule, String, i64, relation, rule, ruleset, set_, union, var

from tcc.ir.language import (
    OPERATORS,
    absent,
    cons,
    constant,
    kind,
    known,
    list_value,
    nil,
    opaque,
    original_constant,
    project,
    results_value,
    value,
)

ABSENT = 0
"""The number of an optional input that is not given."""
NIL = 0
"""The number of the empty list."""


@dataclass
class Tables:
    """Rows by relation, written as tab-separated files that egglog reads at once."""

    rows: dict[str, list[str]] = field(default_factory=dict)
    lists: dict[tuple[int, ...], int] = field(default_factory=lambda: {(): NIL})

    def further(self) -> Tables:
        """Empty tables whose lists go on where these end."""
        return Tables({}, self.lists)

    def add(self, table: str, *cells: object) -> None:
        """Add a row."""
        self.rows.setdefault(table, []).append("\t".join(map(str, cells)))

    def list_of(self, numbers: tuple[int, ...]) -> int:
        """The number of a list of inputs; equal lists are one, and share their tails."""
        if numbers not in self.lists:
            tail = self.list_of(numbers[1:])
            self.lists[numbers] = len(self.lists)
            self.add("cell", self.lists[numbers], numbers[0], tail)
        return self.lists[numbers]

    def load(self, egraph: EGraph) -> None:
        """Add the rows to an e-graph."""
        rules = ruleset(name=f"import_{'_'.join(self.rows)}")
        egraph.register(union(value(ABSENT)).with_(absent()), union(list_value(NIL)).with_(nil()))
        with tempfile.TemporaryDirectory(prefix="tcc-") as folder:
            for name, rows in self.rows.items():
                path = Path(folder) / f"{name}.tsv"
                path.write_text("\n".join(rows) + "\n", encoding="utf-8")
                table, make = _table(name)
                egraph.input(table, str(path))
                rules.append(make)
        egraph.run(rules)


_NUMBERS = [var(name, i64) for name in "nabcdef"]
_TEXT = var("s", String)
_Row = Callable[..., Any]


def _fact(
    make: Callable[[_Row], RewriteOrRule], *types: type
) -> tuple[tuple[type, ...], Callable[[_Row], RewriteOrRule]]:
    return types, make


def _columns() -> dict[str, tuple[tuple[type, ...], Callable[[_Row], RewriteOrRule]]]:
    """The tables that are not operators': the types of their columns and the rule that reads a row."""
    n, a, b, *_ = _NUMBERS
    s, this = _TEXT, value(n)
    return {
        "type": _fact(lambda row: rule(row(n, s)).then(set_(kind(this)).to(s)), i64, String),
        "known": _fact(lambda row: rule(row(n, s)).then(set_(known(this)).to(s)), i64, String),
        "constant": _fact(lambda row: rule(row(n)).then(constant(this), original_constant(this)), i64),
        "alias": _fact(lambda row: rule(row(n, a)).then(union(this).with_(value(a))), i64, i64),
        "cell": _fact(
            lambda row: rule(row(n, a, b)).then(union(list_value(n)).with_(cons(value(a), list_value(b)))),
            i64, i64, i64,
        ),
        "opaque": _fact(
            lambda row: rule(row(n, s, a)).then(union(results_value(n)).with_(opaque(s, list_value(a)))),
            i64, String, i64,
        ),
        "project": _fact(
            lambda row: rule(row(n, a, b)).then(union(this).with_(project(results_value(a), b))), i64, i64, i64
        ),
    }  # fmt: skip


def _relation(name: str, types: tuple[type, ...]) -> _Row:
    # egglog types relations of up to four columns only.
    rows: _Row = relation(f"rows_{name}", *types)
    return rows


@cache
def _table(name: str) -> tuple[_Row, RewriteOrRule]:
    """A table's relation and its rule, made when a model first needs them."""
    if (operator := OPERATORS.get(name)) is None:
        types, make = _columns()[name]
        rows = _relation(name, types)
        return rows, make(rows)
    n, *inputs = _NUMBERS[: operator.inputs + 1]
    rows = _relation(name, (i64, *[i64] * operator.inputs, String))
    made = operator.function(*(list_value(i) if operator.variadic else value(i) for i in inputs), _TEXT)
    target = results_value(n) if operator.several else value(n)
    return rows, rule(rows(n, *inputs, _TEXT)).then(union(target).with_(made))
