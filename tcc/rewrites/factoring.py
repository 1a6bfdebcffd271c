"""Sums and joins of products that share an operand become one product of the sum or the join of the others."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import RewriteOrRule, String, eq, rewrite

from tcc.ir.host import given
from tcc.ir.language import (
    Add,
    Concat,
    Conv,
    MatMul,
    Mul,
    Pad,
    Tensor,
    absent,
    coefficients,
    cons,
    constant,
    kind,
    literal,
    nil,
)
from tcc.rewrites import _conditions as when
from tcc.rewrites import _joins as joins
from tcc.rewrites import _kernels as kernels
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
TASO = "TASO, SOSP 2019, table 2"
REPARAMETERISED = "Ding et al., RepVGG, CVPR 2021, section 3.3"


@exact(Equality.VALUE, f"{TASO}: distributivity", "MatMul", "Add")
def sum_of_products_with_weight(x: Tensor, y: Tensor, w: Tensor, k: String, m: String) -> Rewrites:
    """MatMul(x, w) + MatMul(y, w) = MatMul(x + y, w) for x and y of one type."""
    yield rewrite(Add(MatMul(x, w), MatMul(y, w))).to(
        MatMul(Add(x, y), w), eq(k).to(kind(x)), eq(m).to(kind(y)), when.same_kind(k, m)
    )


@exact(Equality.VALUE, f"{TASO}: distributivity", "MatMul", "Add")
def sum_of_products_of_input(x: Tensor, v: Tensor, w: Tensor, k: String, m: String) -> Rewrites:
    """MatMul(x, v) + MatMul(x, w) = MatMul(x, v + w) for constants v and w of one type."""
    yield rewrite(Add(MatMul(x, v), MatMul(x, w))).to(
        MatMul(x, Add(v, w)), constant(v), constant(w), eq(k).to(kind(v)), eq(m).to(kind(w)), when.same_kind(k, m)
    )


@exact(Equality.VALUE, f"{TASO}: distributivity", "Mul", "Add")
def sum_of_scaled(x: Tensor, c: Tensor, d: Tensor, k: String) -> Rewrites:
    """x c + x d = x (c + d) for floating-point constants c and d, neither 0 nor 1."""
    yield rewrite(Add(Mul(x, c), Mul(x, d))).to(
        Mul(x, Add(c, d)), *coefficients(c, d), eq(k).to(kind(c)), when.is_float(k)
    )


@exact(Equality.VALUE, f"{TASO}: distributivity", "Conv", "Add")
def sum_of_convolutions_with_weight(x: Tensor, y: Tensor, w: Tensor, a: String, k: String, m: String) -> Rewrites:
    """Conv(x, w) + Conv(y, w) = Conv(x + y, w) for x and y of one type, without biases."""
    yield rewrite(Add(Conv(x, w, absent(), a), Conv(y, w, absent(), a))).to(
        Conv(Add(x, y), w, absent(), a), eq(k).to(kind(x)), eq(m).to(kind(y)), when.same_kind(k, m)
    )


@exact(Equality.VALUE, REPARAMETERISED, "Conv", "Add")
def sum_of_convolutions_of_input(x: Tensor, v: Tensor, w: Tensor, b: Tensor, d: Tensor, a: String, n: String, k: String,
                                 m: String, p: String) -> Rewrites:  # fmt: skip
    """Conv(x, v, b) + Conv(x, w, d) = Conv(x, v + Pad(w), b + d) for constants, w padded to the window of v."""
    facts = (
        constant(v), constant(w), constant(b), constant(d), eq(k).to(kind(v)), eq(m).to(kind(w)),
        when.same_dtype(k, m), *given(p, kernels.enlarging(k, a, m, n)),
    )  # fmt: skip
    weight = Add(v, Pad(w, literal(p), absent(), absent()))
    given_biases = when.is_present(kind(b)), when.is_present(kind(d))
    for biases, bias, besides in (((absent(), absent()), absent(), ()), ((b, d), Add(b, d), given_biases)):
        large, small = Conv(x, v, biases[0], a), Conv(x, w, biases[1], n)
        for total in (Add(large, small), Add(small, large)):
            yield rewrite(total).to(Conv(x, weight, bias, a), *facts, *besides)


@exact(Equality.VALUE, f"{TASO}: concatenation", "MatMul", "Concat")
def join_of_products_with_weight(x: Tensor, y: Tensor, w: Tensor, a: String, k: String, m: String, q: String,
                                 ) -> Rewrites:  # fmt: skip
    """Concat(MatMul(x, w), MatMul(y, w)) = MatMul(Concat(x, y), w) along the rows, for a matrix w."""
    products = cons(MatMul(x, w), cons(MatMul(y, w), nil()))
    yield rewrite(Concat(products, a)).to(
        MatMul(Concat(cons(x, cons(y, nil())), a), w),
        eq(k).to(kind(x)), eq(m).to(kind(y)), eq(q).to(kind(w)), joins.is_along_rows(a, k, m, q),
    )  # fmt: skip


@exact(Equality.VALUE, f"{TASO}: concatenation", "Conv", "Concat")
def join_of_convolutions_with_weight(x: Tensor, y: Tensor, w: Tensor, b: Tensor, a: String, c: String, k: String,
                                     m: String) -> Rewrites:  # fmt: skip
    """Concat(Conv(x, w, b), Conv(y, w, b)) = Conv(Concat(x, y), w, b) along the batch, if x and y differ there only."""
    made = cons(Conv(x, w, b, c), cons(Conv(y, w, b, c), nil()))
    yield rewrite(Concat(made, a)).to(
        Conv(Concat(cons(x, cons(y, nil())), a), w, b, c), eq(k).to(kind(x)), eq(m).to(kind(y)),
        joins.is_along_batch(a, k, m),
    )  # fmt: skip
