"""Which channel groups may be pruned: patterns over the names and operators that a group touches."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase

from tcc.diagnostics import Diagnostic, Exit, TccError
from tcc.ir.channels import Group, Groups

Matcher = Callable[[str, str], bool]


def allowed(groups: Groups, ignore: str, only: str) -> list[Group]:
    """The groups that no pattern of ``ignore`` touches and, where there is any, some pattern of ``only`` does.

    Patterns are separated by blanks: a glob over names of nodes and weights, ``re:`` and a regular expression, or
    ``op:`` and an operator.

    Raises:
        TccError: E0240 with all patterns that are malformed or match nothing.
    """
    problems: list[Diagnostic] = []
    names = {group: list(_names(group)) for group in groups.groups}
    every = {pair for site, _ in groups.network.sites for pair in _names_of_node(site.node)}
    every |= {pair for pairs in names.values() for pair in pairs}
    ignored, wanted = (_matchers(text, every, problems) for text in (ignore, only))
    if problems:
        raise TccError(Exit.USAGE, problems)

    def touched(group: Group, matchers: list[Matcher]) -> bool:
        return any(match(*pair) for match in matchers for pair in names[group])

    kept = [g for g in groups.groups if not touched(g, ignored)]
    return [g for g in kept if not wanted or touched(g, wanted)]


def _matchers(text: str, every: Iterable[tuple[str, str]], problems: list[Diagnostic]) -> list[Matcher]:
    found = []
    for pattern in text.split():
        try:
            match = _matcher(pattern)
        except re.error as error:
            problems.append(Diagnostic("E0240", f"{pattern!r} is no regular expression: {error}"))
            continue
        if not any(match(*pair) for pair in every):
            advice = "patterns are globs over names of nodes and weights, re:EXPRESSION, or op:OPERATOR"
            problems.append(Diagnostic("E0240", f"pattern {pattern!r} matches nothing", help=advice))
        found.append(match)
    return found


def _matcher(pattern: str) -> Matcher:
    if pattern.startswith("op:"):
        operator = pattern.removeprefix("op:")
        return lambda _name, own: own == operator
    if pattern.startswith("re:"):
        expression = re.compile(pattern.removeprefix("re:"))
        return lambda name, _own: expression.search(name) is not None
    return lambda name, _own: fnmatchcase(name, pattern)


def _names(group: Group) -> Iterable[tuple[str, str]]:
    """Names of weights, and of the nodes that read them or make the group's values, with the operator."""
    for value, _ in group.slices:
        if value.const_value is not None:
            for use in value.uses():
                yield value.name or "", use.node.op_type
                yield use.node.name or "", use.node.op_type
        elif (node := value.producer()) is not None:
            yield from _names_of_node(node)


def _names_of_node(node: object) -> Iterable[tuple[str, str]]:
    name, operator = getattr(node, "name", ""), getattr(node, "op_type", "")
    yield name or "", operator
    for value in getattr(node, "inputs", ()):
        if value is not None and value.const_value is not None:
            yield value.name or "", operator
