"""Matrix products: biases, scales and constant factors."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import RewriteOrRule, String, eq, rewrite

from tcc.ir.host import given
from tcc.ir.language import (
    Add,
    Gemm,
    MatMul,
    Mul,
    Reshape,
    Tensor,
    Transpose,
    absent,
    coefficients,
    constant,
    kind,
    literal,
)  # fmt: skip
from tcc.rewrites import _conditions as when
from tcc.rewrites import _linear as linear
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
TASO = "TASO, SOSP 2019"
LINEAR = "linearity of the matrix product"


@exact(Equality.VALUE, "ONNX operator specification, Gemm", "MatMul", "Add")
def matmul_bias_is_gemm(x: Tensor, w: Tensor, c: Tensor, k: String, m: String, q: String, t: String) -> Rewrites:
    """MatMul(x, w) + c = Gemm(x, w, c) for matrices, if c broadcasts one way to the product."""
    product = MatMul(x, w)
    facts = (
        eq(k).to(kind(x)), when.rank_is(k, 2), when.is_float(k), eq(m).to(kind(w)), when.rank_is(m, 2),
        eq(q).to(kind(c)), eq(t).to(kind(product)), linear.fits_gemm_bias(q, t),
    )  # fmt: skip
    yield rewrite(Add(product, c)).to(Gemm(x, w, c), *facts)
    yield rewrite(Add(c, product)).to(Gemm(x, w, c), *facts)


@exact(Equality.VALUE, "ONNX operator specification, Gemm; rows are independent", "MatMul", "Add", first_opset=5)
def batched_linear_is_gemm(
    x: Tensor, w: Tensor, c: Tensor, k: String, m: String, q: String, t: String, r: String, s: String
) -> Rewrites:
    """MatMul(x, w) + c = Reshape(Gemm(Reshape(x, [-1, K]), w, c)) for a batch x of rows and a constant matrix w."""
    product = MatMul(x, w)
    facts = (
        constant(w), constant(c), eq(k).to(kind(x)), when.is_float(k), eq(m).to(kind(w)), when.rank_is(m, 2),
        eq(q).to(kind(c)), when.rank_is(q, 1), eq(t).to(kind(product)), linear.along_last(q, t),
        *given(r, linear.rows_shape(k, m)), *given(s, linear.inferable_shape(t)),
    )  # fmt: skip
    flat = Reshape(Gemm(Reshape(x, literal(r)), w, c), literal(s))
    yield rewrite(Add(product, c)).to(flat, *facts)


@exact(Equality.VALUE, LINEAR, "Gemm", "Add")
def shift_into_gemm(x: Tensor, w: Tensor, b: Tensor, c: Tensor, a: String, t: String, q: String, n: String) -> Rewrites:
    """Gemm(x, w, b) + c = Gemm(x, w, b + c) for constants b and c, if c broadcasts one way to the product."""
    plain, biased = Gemm(x, w, absent(), a), Gemm(x, w, b, a)
    facts = constant(c), eq(q).to(kind(c))
    # The factor of a bias that is not there says nothing.
    yield rewrite(Add(plain, c)).to(
        Gemm(x, w, c, n), *facts, *given(n, linear.without_beta(a)), eq(t).to(kind(plain)), linear.fits_gemm_bias(q, t)
    )
    yield rewrite(Add(biased, c)).to(
        Gemm(x, w, Add(b, c), a), *facts, linear.is_plain_gemm(a), constant(b), when.is_present(kind(b)),
        eq(t).to(kind(biased)), linear.fits_gemm_bias(q, t),
    )  # fmt: skip


@exact(Equality.VALUE, LINEAR, "Gemm", "Mul")
def scale_into_gemm(x: Tensor, w: Tensor, b: Tensor, c: Tensor, a: String, t: String, q: String, r: String) -> Rewrites:
    """c Gemm(x, w, b) = Gemm(x, c w, c b) for constants w, b and c, c along the columns."""
    plain, biased = Gemm(x, w, absent(), a), Gemm(x, w, b, a)
    facts = constant(w), constant(c), eq(q).to(kind(c)), *given(r, linear.gemm_weight_shape(q, a))
    weight = Mul(w, Reshape(c, literal(r)))
    yield rewrite(Mul(plain, c)).to(
        Gemm(x, weight, absent(), a), *facts, eq(t).to(kind(plain)), linear.along_last(q, t)
    )
    yield rewrite(Mul(biased, c)).to(
        Gemm(x, weight, Mul(b, c), a),
        *facts, constant(b), when.is_present(kind(b)), eq(t).to(kind(biased)), linear.along_last(q, t),
    )  # fmt: skip


@exact(Equality.VALUE, TASO, "MatMul")
def reassociate_constants(x: Tensor, v: Tensor, w: Tensor, k: String, m: String) -> Rewrites:
    """MatMul(MatMul(x, v), w) = MatMul(x, MatMul(v, w)) for constant matrices v and w, and with x on the right."""
    matrices = (
        constant(v), constant(w), eq(k).to(kind(v)), eq(m).to(kind(w)), when.rank_is(k, 2), when.rank_is(m, 2),
    )  # fmt: skip
    yield rewrite(MatMul(MatMul(x, v), w)).to(MatMul(x, MatMul(v, w)), *matrices)
    yield rewrite(MatMul(v, MatMul(w, x))).to(MatMul(MatMul(v, w), x), *matrices)


@exact(Equality.VALUE, LINEAR, "MatMul", "Mul")
def scale_into_weight(x: Tensor, w: Tensor, c: Tensor, k: String, q: String, t: String) -> Rewrites:
    """c MatMul(x, w) = MatMul(x, c w) for a constant matrix w and a constant c along the columns."""
    product = MatMul(x, w)
    yield rewrite(Mul(product, c)).to(
        MatMul(x, Mul(w, c)),
        constant(w), constant(c), eq(k).to(kind(w)), when.rank_is(k, 2), eq(q).to(kind(c)), eq(t).to(kind(product)),
        linear.along_last(q, t), when.rank_at_most(q, 2),
    )  # fmt: skip


@exact(Equality.VALUE, LINEAR, "MatMul", "Mul")
def scale_of_operand(x: Tensor, y: Tensor, c: Tensor, t: String, q: String) -> Rewrites:
    """c MatMul(x, y) = MatMul(c x, y) for a constant scalar c, not 1, that does not widen it, and the same for y."""
    product = MatMul(x, y)
    scalar = (
        *coefficients(c), eq(q).to(kind(c)), when.is_scalar(q), when.rank_at_most(q, 1), eq(t).to(kind(product)),
        when.rank_at_least_that_of(t, q),
    )  # fmt: skip
    yield rewrite(Mul(product, c)).to(MatMul(Mul(x, c), y), *scalar)
    yield rewrite(Mul(product, c)).to(MatMul(x, Mul(y, c)), *scalar)


@exact(Equality.VALUE, "commutes with a scalar: elements move, values do not change", "Mul", "Transpose")
def scale_through_transpose(x: Tensor, c: Tensor, p: String, q: String, k: String) -> Rewrites:
    """c Transpose(x) = Transpose(c x) for a constant scalar c that does not widen x."""
    yield rewrite(Mul(Transpose(x, p), c)).to(
        Transpose(Mul(x, c), p),
        constant(c), eq(q).to(kind(c)), when.is_scalar(q), when.rank_at_most(q, 1), eq(k).to(kind(x)),
        when.rank_at_least_that_of(k, q),
    )  # fmt: skip


@exact(Equality.VALUE, "commutes with a scalar: elements move, values do not change", "Mul", "Reshape")
def scale_through_reshape(x: Tensor, s: Tensor, c: Tensor, a: String, q: String, k: String, t: String) -> Rewrites:
    """c Reshape(x) = Reshape(c x) for a constant scalar c that widens neither."""
    shaped = Reshape(x, s, a)
    yield rewrite(Mul(shaped, c)).to(
        Reshape(Mul(x, c), s, a),
        constant(c), eq(q).to(kind(c)), when.is_scalar(q), eq(k).to(kind(x)), when.rank_at_least_that_of(k, q),
        when.rank_at_most(q, 1), eq(t).to(kind(shaped)), when.rank_at_least_that_of(t, q),
    )  # fmt: skip


@exact(Equality.VALUE, "distributive law", "Mul", "Add")
def scale_of_shifted(x: Tensor, d: Tensor, c: Tensor, q: String, k: String, t: String) -> Rewrites:
    """c (x + d) = c x + c d for a constant d and a constant scalar c, neither 0 nor 1."""
    total = Add(x, d)
    yield rewrite(Mul(total, c)).to(
        Add(Mul(x, c), Mul(d, c)),
        *coefficients(c, d), eq(q).to(kind(c)), when.is_scalar(q), when.rank_at_most(q, 1), eq(k).to(kind(x)),
        eq(t).to(kind(total)), when.same_kind(k, t), when.is_float(k),
    )  # fmt: skip
