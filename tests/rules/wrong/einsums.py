"""Wrong forms of ``tcc.rewrites.einsums``."""

# A rule's parameters are its pattern variables.
# ruff: noqa: PLR0917
from __future__ import annotations

from egglog import String, eq, rewrite

from tcc.ir.host import given
from tcc.ir.language import Einsum, MatMul, Mul, Reshape, Tensor, Transpose, cons, kind, literal, nil
from tcc.rewrites import _einsums as sums
from tests.rules.wrong._seeding import Rewrites, seeded


@seeded
def einsum_is_matmul__in_order(x: Tensor, y: Tensor, a: String) -> Rewrites:
    """The letters are not looked at."""
    yield rewrite(Einsum(cons(x, cons(y, nil())), a)).to(MatMul(x, y))


@seeded
def einsum_is_matmul__result_in_order(x: Tensor, y: Tensor, a: String, k: String, m: String, px: String, py: String,
                                      sx: String, sy: String, so: String) -> Rewrites:  # fmt: skip
    """The result's letters stand in the order in which the product leaves them."""
    steps = [fact for at, n in enumerate((px, sx, py, sy, so)) for fact in given(n, sums.matmul(at, a, k, m))]
    left, right = Reshape(Transpose(x, px), literal(sx)), Reshape(Transpose(y, py), literal(sy))
    yield rewrite(Einsum(cons(x, cons(y, nil())), a)).to(
        Reshape(MatMul(left, right), literal(so)), eq(k).to(kind(x)), eq(m).to(kind(y)), *steps
    )


@seeded
def einsum_is_mul__in_order(x: Tensor, y: Tensor, a: String) -> Rewrites:
    """The letters are not looked at."""
    yield rewrite(Einsum(cons(x, cons(y, nil())), a)).to(Mul(x, y))


@seeded
def einsum_of_one__in_order(x: Tensor, a: String) -> Rewrites:
    """The letters are not looked at."""
    yield rewrite(Einsum(cons(x, nil()), a)).to(x)
