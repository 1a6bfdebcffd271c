"""Constant scales and shifts become part of the constants of the linear operator that reads them."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import RewriteOrRule, String, eq, rewrite

from tcc.ir.host import given
from tcc.ir.language import (
    Add,
    Conv,
    Expand,
    Gemm,
    MatMul,
    Mul,
    Reshape,
    Tensor,
    absent,
    coefficients,
    constant,
    kind,
    literal,
)  # fmt: skip
from tcc.rewrites import _absorbed as absorbed
from tcc.rewrites import _conditions as when
from tcc.rewrites import _linear as linear
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
LINEAR = "linearity of the operator in its operand"


@exact(Equality.VALUE, LINEAR, "Conv", "Mul")
def scale_before_conv(x: Tensor, w: Tensor, b: Tensor, c: Tensor, a: String, k: String, q: String, p: String,
                      r: String) -> Rewrites:  # fmt: skip
    """Conv(c x, w, b) = Conv(x, c w, b) for a constant c along the channels, of one group or one channel a group."""
    yield rewrite(Conv(Mul(x, c), w, b, a)).to(
        Conv(x, Mul(w, Reshape(c, literal(r))), b, a),
        constant(w), constant(c), eq(k).to(kind(x)), eq(q).to(kind(c)), eq(p).to(kind(w)), when.same_dtype(k, q),
        linear.along_channels(q, k), *given(r, absorbed.operand_shape(q, p, a)),
    )  # fmt: skip


@exact(Equality.VALUE, LINEAR, "Conv", "Add")
def shift_before_conv(x: Tensor, w: Tensor, b: Tensor, c: Tensor, a: String, k: String, q: String, p: String,
                      r: String, s: String, t: String, u: String, o: String) -> Rewrites:  # fmt: skip
    """Conv(x + c, w, b) = Conv(x, w, b + w c) for a constant c along the channels, one group, nothing padded."""
    spread = Reshape(Expand(Reshape(c, literal(r)), literal(s)), literal(t))
    vector = Reshape(MatMul(Reshape(w, literal(u)), spread), literal(o))
    shapes = zip((s, t, u, o), ("channels", "column", "rows", "vector"), strict=True)
    facts = (
        constant(w), constant(c), eq(k).to(kind(x)), eq(q).to(kind(c)), eq(p).to(kind(w)), when.same_dtype(k, q),
        linear.along_channels(q, k), absorbed.pads_nothing(a), *given(r, absorbed.column_shape(q)),
        *(fact for name, what in shapes for fact in given(name, absorbed.window_shape(p, what))),
    )  # fmt: skip
    yield rewrite(Conv(Add(x, c), w, absent(), a)).to(Conv(x, w, vector, a), *facts)
    yield rewrite(Conv(Add(x, c), w, b, a)).to(
        Conv(x, w, Add(b, vector), a), *facts, constant(b), when.is_present(kind(b))
    )


@exact(Equality.VALUE, LINEAR, "MatMul|Gemm", "Mul")
def scale_before_product(x: Tensor, w: Tensor, b: Tensor, c: Tensor, a: String, k: String, q: String, p: String,
                         r: String) -> Rewrites:  # fmt: skip
    """MatMul(c x, w) = MatMul(x, c w) for constants w and c, c along x's last axis, not 0 nor 1; for Gemm too."""
    facts = (
        constant(w), *coefficients(c), eq(k).to(kind(x)), eq(q).to(kind(c)), eq(p).to(kind(w)), when.same_dtype(k, q),
        linear.is_stack_of_matrices(k), linear.is_stack_of_matrices(p), linear.along_last(q, k),
    )  # fmt: skip
    weight = Mul(w, Reshape(c, literal(r)))
    yield rewrite(MatMul(Mul(x, c), w)).to(MatMul(x, weight), *facts, *given(r, absorbed.column_shape(q)))
    yield rewrite(Gemm(Mul(x, c), w, b, a)).to(Gemm(x, weight, b, a), *facts, *given(r, absorbed.inner_shape(q, a)))
