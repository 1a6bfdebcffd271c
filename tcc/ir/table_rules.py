"""The tables that a graph is loaded from, and the rule a table that makes an e-graph of its rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from egglog import RewriteOrRule, Ruleset, String, i64, relation, rule, ruleset, set_, union, var

from tcc.ir.language import (
    MODERATE,
    OPERATORS,
    cons,
    constant,
    form,
    kind,
    known,
    list_value,
    opaque,
    original_constant,
    project,
    results_value,
    structure,
    value,
)

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
        "structure": _fact(lambda row: rule(row(n, s)).then(set_(structure(this)).to(s)), i64, String),
        "constant": _fact(lambda row: rule(row(n)).then(constant(this), original_constant(this)), i64),
        "moderate": _fact(lambda row: rule(row(n, s)).then(form(this, this, String(MODERATE), s)), i64, String),
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
    rows: _Row = relation(f"rows_{name}", *types, egg_fn=f"rows_{name}")
    return rows


def names() -> list[str]:
    """Every table: the operators', and the others."""
    return [*OPERATORS, *_columns()]


def table(name: str) -> Ruleset:
    """The rule that reads the table ``rows_<name>``."""
    reading = ruleset(name=f"reading_{name}")
    if (operator := OPERATORS.get(name)) is None:
        types, make = _columns()[name]
        reading.append(make(_relation(name, types)))
        return reading
    n, *inputs = _NUMBERS[: operator.inputs + 1]
    rows = _relation(name, (i64, *[i64] * operator.inputs, String))
    made = operator.function(*(list_value(i) if operator.variadic else value(i) for i in inputs), _TEXT)
    target = results_value(n) if operator.several else value(n)
    reading.append(rule(rows(n, *inputs, _TEXT)).then(union(target).with_(made)))
    return reading
