"""Scalar factors brought to where something takes them in: behind products and views, before matrix products."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import RewriteOrRule, String, eq, rewrite

from tcc.ir.language import Conv, Gemm, MatMul, Mul, Reshape, Tensor, Transpose, coefficients, constant, kind
from tcc.rewrites import _conditions as when
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
FIELD = "associative and commutative laws of the real numbers"


@exact(Equality.VALUE, FIELD, "Mul")
def scalar_behind_product(x: Tensor, y: Tensor, c: Tensor, k: String, m: String) -> Rewrites:
    """(x c) y = (x y) c for a constant c of one element, neither 0 nor 1, and a y of more."""
    facts = *coefficients(c), eq(k).to(kind(c)), when.is_one_float(k), eq(m).to(kind(y)), when.is_many(m)
    for whole in (Mul(Mul(x, c), y), Mul(y, Mul(x, c))):
        yield rewrite(whole).to(Mul(Mul(x, y), c), *facts)


@exact(Equality.VALUE, FIELD, "Mul", "MatMul|Gemm|Conv")
def scalar_before_product(x: Tensor, y: Tensor, w: Tensor, b: Tensor, c: Tensor, a: String, k: String) -> Rewrites:
    """(x W y) c = ((x W) c) y for a constant c of one element and a constant weight W, which takes it in."""
    facts = *coefficients(c), eq(k).to(kind(c)), when.is_one_float(k), constant(w)
    for product in (MatMul(x, w, a), Gemm(x, w, b, a), Conv(x, w, b, a)):
        for whole in (Mul(product, y), Mul(y, product)):
            yield rewrite(Mul(whole, c)).to(Mul(Mul(product, c), y), *facts)


@exact(Equality.BITS, "elements move, values do not change", "Mul", "Transpose|Reshape")
def scalar_behind_view(x: Tensor, s: Tensor, c: Tensor, p: String, k: String, m: String, t: String) -> Rewrites:
    """Transpose(x c) = Transpose(x) c and Reshape(x c) = Reshape(x) c for a constant c of one element, not 0 or 1."""
    for made, other in ((Transpose(Mul(x, c), p), Transpose(x, p)), (Reshape(Mul(x, c), s, p), Reshape(x, s, p))):
        yield rewrite(made).to(
            Mul(other, c),
            *coefficients(c), eq(k).to(kind(c)), when.is_one_float(k), eq(m).to(kind(x)), eq(t).to(kind(made)),
            when.rank_at_least_that_of(m, k), when.rank_at_least_that_of(t, k),
        )  # fmt: skip
