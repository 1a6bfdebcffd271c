"""Reads a rule's text: its two sides, and the facts and conditions that it asks for."""

from __future__ import annotations

import base64
import inspect
import pickle
import re
from dataclasses import dataclass

from tcc.ir.host import BETWEEN
from tcc.rewrites.rule import Stored

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[()]|[^\s()]+')


@dataclass(frozen=True)
class Call:
    """A term: an operator or a function, and what it is applied to."""

    name: str
    arguments: tuple[Term, ...]


Term = Call | str | int
"""A call, a variable (which begins with an underscore) or a text in quotes, a number."""


@dataclass(frozen=True)
class Rewriting:
    """One rewriting of a rule: the left side becomes the right one, where all facts hold."""

    left: Term
    right: Term
    facts: tuple[Call, ...]


def rewritings(rule: Stored) -> list[Rewriting] | None:
    """The rewritings of a rule; None if it does anything else, as set a fact."""
    found: list[Rewriting] = []
    for command in _commands(rule.text):
        if command.name not in {"rewrite", "birewrite"}:
            return None
        left, right, *options = command.arguments
        facts: tuple[Call, ...] = ()
        if ":when" in options:
            conditions = options[options.index(":when") + 1]
            assert isinstance(conditions, Call)
            facts = tuple(fact for fact in conditions.arguments if isinstance(fact, Call))
        found.append(Rewriting(left, right, facts))
    return found


def _commands(text: str) -> list[Call]:
    tokens, at, found = _TOKEN.findall(text), 0, []
    while at < len(tokens):
        term, at = _read(tokens, at)
        assert isinstance(term, Call)
        found.append(term)
    return found


def _read(tokens: list[str], at: int) -> tuple[Term, int]:
    word = tokens[at]
    if word != "(":
        return (int(word) if re.fullmatch(r"-?\d+", word) else word), at + 1
    at += 1
    # A list of facts has no name of its own.
    name, at = ("", at) if tokens[at] == "(" else (tokens[at], at + 1)
    arguments: list[Term] = []
    while tokens[at] != ")":
        term, at = _read(tokens, at)
        arguments.append(term)
    return Call(name, tuple(arguments)), at + 1


def asked(term: Term) -> tuple[str, tuple[Term, ...]] | None:
    """The name and the arguments of a Python function that a term calls; None where it calls none."""
    if not isinstance(term, Call) or term.name not in {"py-to-bool", "py-to-string"}:
        return None
    (call,) = term.arguments
    assert isinstance(call, Call)
    target, *arguments = call.arguments
    assert isinstance(target, Call)
    (packed,) = target.arguments
    function = pickle.loads(base64.b64decode(str(packed).strip('"')))  # noqa: S301 - the project's own texts
    (argument,) = arguments
    assert isinstance(argument, Call)
    assert argument.name == "py-from-string"
    texts = [text for text in _joined(argument.arguments[0]) if text != f'"{BETWEEN}"']
    numbers = [p.annotation in {int, "int"} for p in inspect.signature(function).parameters.values()]
    plain = [_number(text) if number else text for text, number in zip(texts, numbers, strict=True)]
    return function.__name__, tuple(plain)


def _joined(term: Term) -> list[Term]:
    """The texts that are joined to one: the arguments of a call, and what stands between them."""
    if isinstance(term, Call) and term.name == "+":
        return [text for part in term.arguments for text in _joined(part)]
    return [term]


def _number(term: Term) -> Term:
    """A number that is written as a text."""
    if isinstance(term, Call) and term.name == "to-string":
        return term.arguments[0]
    return int(term.strip('"')) if isinstance(term, str) else term
