"""Wrong forms of ``tcc.rewrites.products``."""

# A rule's parameters are its pattern variables.
# ruff: noqa: PLR0917
from __future__ import annotations

from egglog import String, eq, rewrite

from tcc.ir.host import given
from tcc.ir.language import Add, Gemm, MatMul, Mul, Reshape, Tensor, Transpose, absent, constant, kind, literal
from tcc.rewrites import _conditions as when
from tcc.rewrites import _linear as linear
from tests.rules.wrong._seeding import Rewrites, seeded


@seeded
def matmul_bias_is_gemm__widens(x: Tensor, w: Tensor, c: Tensor, k: String, m: String) -> Rewrites:
    """The bias may be larger than the product."""
    matrices = eq(k).to(kind(x)), eq(m).to(kind(w)), when.rank_is(k, 2), when.rank_is(m, 2), when.is_float(k)
    yield rewrite(Add(MatMul(x, w), c)).to(Gemm(x, w, c), *matrices)


@seeded
def batched_linear_is_gemm__of_batches(x: Tensor, w: Tensor, c: Tensor, k: String, t: String, r: String, s: String,
                                       ) -> Rewrites:  # fmt: skip
    """The bias need not lie along the columns."""
    product = MatMul(x, w)
    flat = Reshape(Gemm(Reshape(x, literal(r)), w, c), literal(s))
    yield rewrite(Add(product, c)).to(
        flat, constant(w), eq(t).to(kind(product)), eq(k).to(kind(x)), *given(r, linear.rows_shape(k, kind(w))),
        *given(s, linear.inferable_shape(t)),
    )  # fmt: skip


@seeded
def shift_into_gemm__scaled_bias(x: Tensor, w: Tensor, b: Tensor, c: Tensor, a: String) -> Rewrites:
    """Gemm's beta multiplies the new summand too."""
    yield rewrite(Add(Gemm(x, w, b, a), c)).to(
        Gemm(x, w, Add(b, c), a), constant(b), constant(c), when.is_present(kind(b))
    )


@seeded
def scale_into_gemm__along_rows(x: Tensor, w: Tensor, c: Tensor, a: String, q: String, r: String) -> Rewrites:
    """The constant lies along the rows."""
    weight = Mul(w, Reshape(c, literal(r)))
    yield rewrite(Mul(Gemm(x, w, absent(), a), c)).to(
        Gemm(x, weight, absent(), a),
        constant(w),
        constant(c),
        eq(q).to(kind(c)),
        *given(r, linear.gemm_weight_shape(q, a)),
    )


@seeded
def scale_into_gemm__bias_kept(x: Tensor, w: Tensor, b: Tensor, c: Tensor, a: String, q: String, t: String, r: String,
                               ) -> Rewrites:  # fmt: skip
    """The bias is not scaled."""
    made = Gemm(x, w, b, a)
    yield rewrite(Mul(made, c)).to(
        Gemm(x, Mul(w, Reshape(c, literal(r))), b, a), constant(w), constant(c), when.is_present(kind(b)),
        eq(q).to(kind(c)), eq(t).to(kind(made)), linear.along_last(q, t), *given(r, linear.gemm_weight_shape(q, a)),
    )  # fmt: skip


@seeded
def reassociate_constants__turned(x: Tensor, v: Tensor, w: Tensor) -> Rewrites:
    """Matrix products commute."""
    yield rewrite(MatMul(MatMul(x, v), w)).to(MatMul(x, MatMul(w, v)), constant(v), constant(w))


@seeded
def scale_into_weight__along_rows(x: Tensor, w: Tensor, c: Tensor) -> Rewrites:
    """The constant lies along the rows."""
    yield rewrite(Mul(MatMul(x, w), c)).to(MatMul(x, Mul(w, c)), constant(w), constant(c))


@seeded
def scale_of_operand__vector(x: Tensor, y: Tensor, c: Tensor) -> Rewrites:
    """The constant is a vector."""
    yield rewrite(Mul(MatMul(x, y), c)).to(MatMul(Mul(x, c), y), constant(c))


@seeded
def scale_of_operand__widens(x: Tensor, y: Tensor, c: Tensor, q: String) -> Rewrites:
    """A constant of one element makes a vector of a product without dimensions."""
    yield rewrite(Mul(MatMul(x, y), c)).to(
        MatMul(x, Mul(y, c)), constant(c), eq(q).to(kind(c)), when.is_scalar(q), when.rank_at_most(q, 1)
    )


@seeded
def scale_through_transpose__vector(x: Tensor, c: Tensor, p: String) -> Rewrites:
    """The constant is a vector."""
    yield rewrite(Mul(Transpose(x, p), c)).to(Transpose(Mul(x, c), p), constant(c))


@seeded
def scale_of_shifted__shift_kept(x: Tensor, d: Tensor, c: Tensor) -> Rewrites:
    """c (x + d) = c x + d."""
    yield rewrite(Mul(Add(x, d), c)).to(Add(Mul(x, c), d), constant(c), constant(d))
