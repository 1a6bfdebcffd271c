"""Wrong forms of ``tcc.rewrites.absorption``."""

# A rule's parameters are its pattern variables.
# ruff: noqa: PLR0917
from __future__ import annotations

from egglog import String, eq, rewrite

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
    constant,
    kind,
    literal,
)  # fmt: skip
from tcc.rewrites import _absorbed as absorbed
from tcc.rewrites import _conditions as when
from tcc.rewrites import _linear as linear
from tests.rules.wrong._seeding import Rewrites, seeded


@seeded
def scale_before_conv__grouped(x: Tensor, w: Tensor, b: Tensor, c: Tensor, a: String, k: String, q: String, p: String,
                               r: String) -> Rewrites:  # fmt: skip
    """Groups do not matter: the constant lies along the weight's outputs."""
    yield rewrite(Conv(Mul(x, c), w, b, a)).to(
        Conv(x, Mul(w, Reshape(c, literal(r))), b, a),
        constant(w), constant(c), eq(k).to(kind(x)), eq(q).to(kind(c)), eq(p).to(kind(w)),
        linear.along_channels(q, k), *given(r, linear.weight_shape(q, p, 0)),
    )  # fmt: skip


@seeded
def scale_before_conv__any_axis(x: Tensor, w: Tensor, b: Tensor, c: Tensor, a: String, q: String, p: String, r: String,
                                ) -> Rewrites:  # fmt: skip
    """The constant lies along any axis."""
    yield rewrite(Conv(Mul(x, c), w, b, a)).to(
        Conv(x, Mul(w, Reshape(c, literal(r))), b, a),
        constant(w), constant(c), eq(q).to(kind(c)), eq(p).to(kind(w)), *given(r, absorbed.operand_shape(q, p, a)),
    )  # fmt: skip


@seeded
def shift_before_conv__padded(x: Tensor, w: Tensor, c: Tensor, a: String, k: String, q: String, p: String, r: String,
                              s: String, t: String, u: String, o: String) -> Rewrites:  # fmt: skip
    """The padding does not matter."""
    spread = Reshape(Expand(Reshape(c, literal(r)), literal(s)), literal(t))
    shapes = zip((s, t, u, o), ("channels", "column", "rows", "vector"), strict=True)
    yield rewrite(Conv(Add(x, c), w, absent(), a)).to(
        Conv(x, w, Reshape(MatMul(Reshape(w, literal(u)), spread), literal(o)), a),
        constant(w), constant(c), eq(k).to(kind(x)), eq(q).to(kind(c)), eq(p).to(kind(w)), when.same_dtype(k, q),
        linear.along_channels(q, k), linear.is_ungrouped(a), *given(r, absorbed.column_shape(q)),
        *(fact for name, what in shapes for fact in given(name, absorbed.window_shape(p, what))),
    )  # fmt: skip


@seeded
def shift_before_conv__kept(x: Tensor, w: Tensor, b: Tensor, c: Tensor, a: String) -> Rewrites:
    """The shift makes no difference."""
    yield rewrite(Conv(Add(x, c), w, b, a)).to(Conv(x, w, b, a), constant(w), constant(c))


@seeded
def scale_before_product__along_rows(x: Tensor, w: Tensor, c: Tensor, q: String, r: String) -> Rewrites:
    """The constant lies along any axis."""
    yield rewrite(MatMul(Mul(x, c), w)).to(
        MatMul(x, Mul(w, Reshape(c, literal(r)))),
        constant(w), constant(c), eq(q).to(kind(c)), *given(r, absorbed.column_shape(q)),
    )  # fmt: skip


@seeded
def scale_before_product__as_column(x: Tensor, w: Tensor, b: Tensor, c: Tensor, a: String, k: String, q: String,
                                    r: String) -> Rewrites:  # fmt: skip
    """A Gemm's second operand is never transposed."""
    yield rewrite(Gemm(Mul(x, c), w, b, a)).to(
        Gemm(x, Mul(w, Reshape(c, literal(r))), b, a),
        constant(w), constant(c), eq(k).to(kind(x)), eq(q).to(kind(c)), linear.along_last(q, k),
        *given(r, absorbed.column_shape(q)),
    )  # fmt: skip
