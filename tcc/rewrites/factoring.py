"""Sums and joins of products that share an operand become one product of the sum or the join of the others."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import RewriteOrRule, String, eq, rewrite

from tcc.ir.host import given
from tcc.ir.language import (
    Add,
    Clip,
    Concat,
    Conv,
    HardSwish,
    LeakyRelu,
    MatMul,
    Mul,
    Pad,
    Relu,
    Sigmoid,
    Tanh,
    Tensor,
    absent,
    coefficients,
    cons,
    constant,
    kind,
    known,
    literal,
    nil,
)
from tcc.rewrites import _conditions as when
from tcc.rewrites import _joins as joins
from tcc.rewrites import _kernels as kernels
from tcc.rewrites import _numbers as numbers
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


@exact(Equality.VALUE, f"{TASO}: distributivity", "Mul", "Add")
def sum_with_scaled(x: Tensor, c: Tensor, k: String, q: String, m: String, n: String) -> Rewrites:
    """x + x c = x (c + 1) for a constant scalar c, neither 0 nor 1, that does not widen x."""
    scalar = *coefficients(c), eq(k).to(known(c)), *given(n, numbers.one_more(k))
    for total in (Add(x, Mul(x, c)), Add(Mul(x, c), x)):
        yield rewrite(total).to(
            Mul(x, literal(n)), *scalar, eq(q).to(kind(c)), eq(m).to(kind(x)), when.rank_at_least_that_of(m, q)
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


@exact(Equality.BITS, f"{TASO}: concatenation of activated convolutions", "Conv", "Concat",
       "Relu|Sigmoid|Tanh|LeakyRelu|HardSwish|Clip")  # fmt: skip
def join_of_activated_convolutions(x: Tensor, y: Tensor, v: Tensor, w: Tensor, b: Tensor, d: Tensor, low: Tensor,
                                   high: Tensor, a: String, c: String, f: String) -> Rewrites:  # fmt: skip
    """Concat(f(Conv(x, v)), f(Conv(x, w))) = f(Concat(Conv(x, v), Conv(x, w))), and for one weight and two inputs."""
    of_input = Conv(x, v, b, a), Conv(x, w, d, a), (constant(v), constant(w))
    of_weight = Conv(x, v, b, a), Conv(y, v, b, a), ()
    for first, second, facts in (of_input, of_weight):
        joined = Concat(cons(first, cons(second, nil())), c)
        for act in (Relu, Sigmoid, Tanh, LeakyRelu, HardSwish):
            made = cons(act(first, f), cons(act(second, f), nil()))
            yield rewrite(Concat(made, c)).to(act(joined, f), *facts)
        made = cons(Clip(first, low, high, f), cons(Clip(second, low, high, f), nil()))
        yield rewrite(Concat(made, c)).to(Clip(joined, low, high, f), *facts)
