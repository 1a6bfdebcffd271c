"""Equalities of tensor programs as text: s-expressions over variables, read and written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_TOKEN = re.compile(r"[()]|[^\s()]+")
_VARIABLE = re.compile(r"v\d+")
CONSTANTS = {"Iconv": 2, "Cpool": 2, "Imatmul": 0, "Iewmul": 0}
"""Named constants, and how many numbers follow the name."""
OPERATORS = {
    "conv2d": (4, 2), "matmul": (0, 2), "transpose": (0, 1), "ewadd": (0, 2), "ewmul": (0, 2), "smul": (0, 2),
    "relu": (0, 1), "concat": (1, 2), "split_0": (1, 1), "split_1": (1, 1), "poolavg": (5, 1), "poolmax": (5, 1),
    "enlarge": (2, 1), "merge": (1, 1),
}  # fmt: skip
"""How many numbers and how many tensors each operator takes. ``(merge n w)`` joins each n groups of a kernel to one."""


class MalformedError(ValueError):
    """A text is no expression of this language."""


@dataclass(frozen=True, eq=False)
class Expression:
    """One node of a program; two occurrences of the same text are two nodes."""

    operator: str
    numbers: tuple[int, ...] = ()
    operands: tuple[Expression, ...] = ()

    def __str__(self) -> str:
        if not self.numbers and not self.operands:
            return self.operator
        return f"({' '.join([self.operator, *map(str, self.numbers), *map(str, self.operands)])})"

    @property
    def is_variable(self) -> bool:
        """Whether this is a variable."""
        return _VARIABLE.fullmatch(self.operator) is not None

    def walk(self) -> Iterator[Expression]:
        """All nodes, operands first."""
        for operand in self.operands:
            yield from operand.walk()
        yield self

    def variables(self) -> list[str]:
        """The variables, each once, in their order of occurrence."""
        return list(dict.fromkeys(node.operator for node in self.walk() if node.is_variable))


@dataclass(frozen=True)
class Claim:
    """That two programs are equal: what a line of a file of equalities says."""

    name: str
    left: Expression
    right: Expression

    def variables(self) -> list[str]:
        """The variables of both sides, by name."""
        return sorted({*self.left.variables(), *self.right.variables()}, key=lambda name: int(name[1:]))

    def nodes(self) -> list[Expression]:
        """The nodes of both sides."""
        return [*self.left.walk(), *self.right.walk()]

    @property
    def is_trivial(self) -> bool:
        """Whether both sides are the same text."""
        return str(self.left) == str(self.right)


def parse(text: str) -> Expression:
    """Read one expression.

    Raises:
        MalformedError: it is none.

    >>> str(parse("(relu (conv2d 1 1 0 0 v0 (Iconv 3 3)))"))
    '(relu (conv2d 1 1 0 0 v0 (Iconv 3 3)))'
    """
    tokens = _TOKEN.findall(text)
    expression, end = _parse(tokens, 0)
    if end != len(tokens):
        raise MalformedError(f"text behind the end of {expression}")
    return expression


def _parse(tokens: list[str], at: int) -> tuple[Expression, int]:
    if at >= len(tokens) or tokens[at] == ")":
        raise MalformedError("an operand is missing")
    if tokens[at] != "(":
        if _VARIABLE.fullmatch(tokens[at]) or CONSTANTS.get(tokens[at]) == 0:
            return Expression(tokens[at]), at + 1
        raise MalformedError(f"{tokens[at]} is neither a variable nor a constant")
    name, at = (tokens[at + 1] if at + 1 < len(tokens) else ""), at + 2
    if name in CONSTANTS:
        numbers, operands = CONSTANTS[name], 0
    elif name in OPERATORS:
        numbers, operands = OPERATORS[name]
    else:
        raise MalformedError(f"{name or 'nothing'} is no operator")
    given = tokens[at : at + numbers]
    if len(given) != numbers or not all(token.isdigit() for token in given):
        raise MalformedError(f"{name} takes {numbers} numbers")
    at += numbers
    found: list[Expression] = []
    for _ in range(operands):
        operand, at = _parse(tokens, at)
        found.append(operand)
    if at >= len(tokens) or tokens[at] != ")":
        raise MalformedError(f"{name} takes {operands} operands")
    return Expression(name, tuple(map(int, given)), tuple(found)), at + 1


def read(path: Path) -> list[Claim]:
    """The claims of a tab-separated file: a name and two expressions a line; a header and comments are passed over.

    Raises:
        MalformedError: a line is no claim.
    """
    claims: list[Claim] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        cells = [cell.strip() for cell in line.split("\t")]
        if not line.strip() or line.startswith("#") or cells[:3] == ["id", "lhs", "rhs"]:
            continue
        if len(cells) < 3:
            raise MalformedError(f"{path.name}:{number}: should be a name and two expressions, separated by tabs")
        try:
            claims.append(Claim(cells[0], parse(cells[1]), parse(cells[2])))
        except MalformedError as error:
            raise MalformedError(f"{path.name}:{number}: {error}") from error
    return claims
