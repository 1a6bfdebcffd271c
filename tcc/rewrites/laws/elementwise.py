"""Sums and products of elements: commutative, associative, distributive."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import RewriteOrRule, String, birewrite, eq, rewrite

from tcc.ir.language import Add, Mul, Tensor, kind
from tcc.rewrites import _conditions as when
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
TASO = "TASO, SOSP 2019, table 2"


@exact(Equality.VALUE, TASO, "Add|Mul")
def commute(x: Tensor, y: Tensor) -> Rewrites:
    """x + y = y + x and x y = y x."""
    for f in (Add, Mul):
        yield rewrite(f(x, y)).to(f(y, x))


@exact(Equality.VALUE, TASO, "Add|Mul")
def associate(x: Tensor, y: Tensor, z: Tensor) -> Rewrites:
    """(x + y) + z = x + (y + z) and (x y) z = x (y z)."""
    for f in (Add, Mul):
        yield birewrite(f(f(x, y), z)).to(f(x, f(y, z)))


@exact(Equality.VALUE, TASO, "Add", "Mul")
def distribute(x: Tensor, y: Tensor, z: Tensor, k: String, m: String) -> Rewrites:
    """x (y + z) = x y + x z for y and z of one type."""
    types = eq(k).to(kind(y)), eq(m).to(kind(z)), when.same_kind(k, m)
    yield birewrite(Mul(x, Add(y, z))).to(Add(Mul(x, y), Mul(x, z)), *types)
