"""Solves for shapes under which both sides of a claim are well typed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from tests.equalities.expressions import Claim, Expression

SAME, VALID = 0, 1


class UntypedError(ValueError):
    """There are no shapes under which a claim is well typed, or none were found."""


@dataclass(frozen=True)
class Domain:
    """The claims' instances: what kernels and groups, and how a pool counts its padding.

    Args:
        name: what distinguishes it from the plain one, as a condition reads: "odd kernels" is violated by even ones.
        kernels: sizes of convolutions' windows.
        groups: of each convolution, as far as its operands allow it.
        counts_padding: whether an average counts the padding.
    """

    name: str = ""
    kernels: tuple[int, ...] = (1, 3)
    groups: int = 1
    counts_padding: bool = True


PLAIN = Domain()
DEVIATIONS = (
    Domain("odd kernels", kernels=(2, 4)),
    Domain("one group", groups=2),
    Domain("padding counted in the average", counts_padding=False),
)
"""Each violates the condition that it is named for."""


@dataclass(eq=False)
class Unknown:
    """A size to be chosen."""

    kernel: bool = False


@dataclass(frozen=True)
class Term:
    """A size that follows from others: ``sum``, ``times`` (a number), ``same`` and ``valid`` (out of a window)."""

    operator: str
    sizes: tuple[Size, ...]
    number: int = 1


Size = int | Unknown | Term


@dataclass(frozen=True)
class Axis:
    """A dimension, and the two parts that a Concat has made it of."""

    size: Size
    parts: tuple[Axis, Axis] | None = None


@dataclass
class Types:
    """The shape of every node of a claim, first with unknown sizes, then with numbers."""

    domain: Domain
    axes: dict[Expression, list[Axis]] = field(default_factory=dict)
    variables: dict[str, list[Axis]] = field(default_factory=dict)
    bound: dict[Unknown, Size] = field(default_factory=dict)
    checks: list[Callable[[Callable[[Size], int]], bool]] = field(default_factory=list)
    ranks: dict[Expression, int] = field(default_factory=dict)

    def walk(self, size: Size) -> Size:
        """What a size is known to be."""
        while isinstance(size, Unknown) and size in self.bound:
            size = self.bound[size]
        return size

    def unify(self, a: Size, b: Size) -> bool:
        """Make two sizes equal; False where they cannot be, as far as can be told by their form."""
        a, b = self.walk(a), self.walk(b)
        if a is b:
            return True
        if isinstance(a, Unknown) or isinstance(b, Unknown):
            unknown, other = (a, b) if isinstance(a, Unknown) else (b, a)
            assert isinstance(unknown, Unknown)
            if self._occurs(unknown, other):
                return False
            if isinstance(other, Unknown):
                other.kernel |= unknown.kernel
            self.bound[unknown] = other
            return True
        if isinstance(a, int) and isinstance(b, int):
            return a == b
        if isinstance(a, Term) and isinstance(b, Term):
            a, b = self._spread(a), self._spread(b)
            if (a.operator, a.number, len(a.sizes)) == (b.operator, b.number, len(b.sizes)):
                before = dict(self.bound)
                if all(self.unify(x, y) for x, y in zip(a.sizes, b.sizes, strict=True)):
                    return True
                self.bound = before
        self.checks.append(lambda value, a=a, b=b: value(a) == value(b))  # type: ignore[misc]
        return True

    def _spread(self, term: Term) -> Term:
        """A multiple of a sum as a sum of multiples."""
        inner = self.walk(term.sizes[0])
        if term.operator == "times" and isinstance(inner, Term) and inner.operator == "sum":
            return Term("sum", tuple(Term("times", (s,), term.number) for s in inner.sizes))
        return term

    def _occurs(self, unknown: Unknown, size: Size) -> bool:
        size = self.walk(size)
        return size is unknown or (isinstance(size, Term) and any(self._occurs(unknown, s) for s in size.sizes))

    def require(self, a: Size, b: Size) -> None:
        """Make two sizes equal.

        Raises:
            UntypedError: they cannot be.
        """
        if not self.unify(a, b):
            raise UntypedError("two sizes that have to be equal cannot be")


def value_of(types: Types, chosen: dict[Unknown, int], size: Size) -> int:
    """A size as a number, once the unknown ones are chosen."""
    size = types.walk(size)
    if isinstance(size, int):
        return size
    if isinstance(size, Unknown):
        return chosen[size]
    values = [value_of(types, chosen, s) for s in size.sizes]
    if size.operator == "sum":
        return sum(values)
    if size.operator == "times":
        return size.number * values[0]
    if size.operator == "same":
        return -(-values[0] // size.number)
    return (values[0] - values[1]) // size.number + 1


@dataclass(frozen=True)
class Typed:
    """A claim with the shape of each of its nodes."""

    claim: Claim
    domain: Domain
    shapes: dict[Expression, tuple[int, ...]]
    variables: dict[str, tuple[int, ...]]
    parts: dict[Expression, tuple[int, int]]
    """Of each node that takes a part of a Concat, the sizes of both parts."""


def solve(
    claim: Claim,
    domain: Domain,
    rng: np.random.Generator,
    fixed: Mapping[str, tuple[int, ...]] | None = None,
    attempts: int = 400,
) -> Typed:
    """Shapes for a claim, at random; those of some variables may be given.

    Raises:
        UntypedError: none were found.
    """
    from tests.equalities.typing_rules import infer

    types = infer(claim, domain, rng, {name: len(shape) for name, shape in (fixed or {}).items()})
    for name, shape in (fixed or {}).items():
        for axis, size in zip(types.variables.get(name, ()), shape, strict=name in types.variables):
            types.require(axis.size, size)
    axes = [axis for found in (*types.axes.values(), *types.variables.values()) for axis in found]
    for _ in range(attempts):
        chosen: dict[Unknown, int] = {}

        def value(size: Size, chosen: dict[Unknown, int] = chosen) -> int:
            _choose(types, chosen, size, rng)
            return value_of(types, chosen, size)

        if all(value(axis.size) > 0 for axis in axes) and all(check(value) for check in types.checks):
            return _typed(claim, types, value)
    raise UntypedError("no shapes found")


def _choose(types: Types, chosen: dict[Unknown, int], size: Size, rng: np.random.Generator) -> None:
    size = types.walk(size)
    if isinstance(size, Unknown) and size not in chosen:
        options = types.domain.kernels if size.kernel else (2, 3, 4) if types.domain.groups == 1 else (2, 4)
        chosen[size] = int(rng.choice(np.array(options)))
    elif isinstance(size, Term):
        for inner in size.sizes:
            _choose(types, chosen, inner, rng)


def _typed(claim: Claim, types: Types, value: Callable[[Size], int]) -> Typed:
    shapes = {node: tuple(value(axis.size) for axis in axes) for node, axes in types.axes.items()}
    parts: dict[Expression, tuple[int, int]] = {}
    for node in types.axes:
        if node.operator.startswith("split_"):
            found = types.axes[node.operands[0]][node.numbers[0]].parts
            assert found is not None
            parts[node] = (value(found[0].size), value(found[1].size))
    variables = {name: tuple(value(axis.size) for axis in axes) for name, axes in types.variables.items()}
    return Typed(claim, types.domain, shapes, variables, parts)
