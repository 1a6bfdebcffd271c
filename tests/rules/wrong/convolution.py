"""Wrong forms of ``tcc.rewrites.convolution``."""

# A rule's parameters are its pattern variables.
# ruff: noqa: PLR0917
from __future__ import annotations

from egglog import String, eq, rewrite

from tcc.ir.host import given
from tcc.ir.language import (
    Add,
    BatchNormalization,
    Conv,
    ConvTranspose,
    Div,
    Gemm,
    Mul,
    Pad,
    Reshape,
    Sqrt,
    Sub,
    Tensor,
    absent,
    constant,
    kind,
    known,
    literal,
)  # fmt: skip
from tcc.rewrites import _conditions as when
from tcc.rewrites import _linear as linear
from tests.rules.wrong import _conditions as flawed
from tests.rules.wrong._seeding import Rewrites, seeded


@seeded
def batchnorm_into_conv__without_mean(x: Tensor, w: Tensor, s: Tensor, o: Tensor, m: Tensor, v: Tensor, a: String,
                                      n: String, e: String, k: String, r: String) -> Rewrites:  # fmt: skip
    """The mean is forgotten."""
    g = Div(s, Sqrt(Add(v, literal(e))))
    yield rewrite(BatchNormalization(Conv(x, w, absent(), a), s, o, m, v, n)).to(
        Conv(x, Mul(w, Reshape(g, literal(r))), o, a),
        constant(w), eq(k).to(kind(w)), *given(e, when.epsilon(n, k)), *given(r, when.on_axis(k, 0)),
    )  # fmt: skip


@seeded
def batchnorm_into_conv__without_epsilon(x: Tensor, w: Tensor, b: Tensor, s: Tensor, o: Tensor, m: Tensor, v: Tensor,
                                         a: String, n: String, k: String, r: String) -> Rewrites:  # fmt: skip
    """Epsilon is forgotten."""
    g = Div(s, Sqrt(v))
    yield rewrite(BatchNormalization(Conv(x, w, b, a), s, o, m, v, n)).to(
        Conv(x, Mul(w, Reshape(g, literal(r))), Add(Mul(Sub(b, m), g), o), a),
        constant(w), constant(b), when.is_present(kind(b)), eq(k).to(kind(w)), *given(r, when.on_axis(k, 0)),
    )  # fmt: skip


@seeded
def batchnorm_into_conv__on_inputs(x: Tensor, w: Tensor, s: Tensor, o: Tensor, m: Tensor, v: Tensor, a: String,
                                   n: String, e: String, k: String, r: String) -> Rewrites:  # fmt: skip
    """The gain lies on the weight's input channels."""
    g = Div(s, Sqrt(Add(v, literal(e))))
    yield rewrite(BatchNormalization(Conv(x, w, absent(), a), s, o, m, v, n)).to(
        Conv(x, Mul(w, Reshape(g, literal(r))), Sub(o, Mul(m, g)), a),
        constant(w), eq(k).to(kind(w)), *given(e, when.epsilon(n, k)), *given(r, when.on_axis(k, 1)),
    )  # fmt: skip


@seeded
def batchnorm_into_transposed_conv__grouped(x: Tensor, w: Tensor, s: Tensor, o: Tensor, m: Tensor, v: Tensor,
                                            a: String, n: String, e: String, k: String, r: String,
                                            ) -> Rewrites:  # fmt: skip
    """The weight of several groups holds the output channels of one."""
    g = Div(s, Sqrt(Add(v, literal(e))))
    yield rewrite(BatchNormalization(ConvTranspose(x, w, absent(), a), s, o, m, v, n)).to(
        ConvTranspose(x, Mul(w, Reshape(g, literal(r))), Sub(o, Mul(m, g)), a),
        constant(w), eq(k).to(kind(w)), *given(e, when.epsilon(n, k)), *given(r, when.on_axis(k, 1)),
    )  # fmt: skip


@seeded
def batchnorm_into_gemm__scaled_bias(x: Tensor, w: Tensor, b: Tensor, s: Tensor, o: Tensor, m: Tensor, v: Tensor,
                                     a: String, n: String, e: String, k: String, r: String, q: String,
                                     ) -> Rewrites:  # fmt: skip
    """Gemm's beta multiplies the new bias too."""
    g = Div(s, Sqrt(Add(v, literal(e))))
    yield rewrite(BatchNormalization(Gemm(x, w, b, a), s, o, m, v, n)).to(
        Gemm(x, Mul(w, Reshape(g, literal(r))), Add(Mul(Sub(b, m), g), o), a),
        constant(w), constant(b), when.is_present(kind(b)), eq(k).to(kind(w)), eq(q).to(kind(s)),
        *given(e, when.epsilon(n, k)), *given(r, linear.gemm_weight_shape(q, a)),
    )  # fmt: skip


@seeded
def scale_into_conv__bias_kept(x: Tensor, w: Tensor, b: Tensor, c: Tensor, a: String, k: String, q: String,
                               m: String, r: String) -> Rewrites:  # fmt: skip
    """The bias is not scaled."""
    made = Conv(x, w, b, a)
    yield rewrite(Mul(made, c)).to(
        Conv(x, Mul(w, Reshape(c, literal(r))), b, a),
        constant(w), constant(c), eq(k).to(kind(w)), eq(q).to(kind(c)), eq(m).to(kind(made)),
        when.is_present(kind(b)), linear.along_channels(q, m), *given(r, linear.weight_shape(q, k, 0)),
    )  # fmt: skip


@seeded
def scale_into_conv__any_axis(x: Tensor, w: Tensor, c: Tensor, a: String, k: String, q: String, r: String) -> Rewrites:
    """The constant lies along any axis."""
    yield rewrite(Mul(Conv(x, w, absent(), a), c)).to(
        Conv(x, Mul(w, Reshape(c, literal(r))), absent(), a),
        constant(w), constant(c), eq(k).to(kind(w)), eq(q).to(kind(c)), *given(r, linear.weight_shape(q, k, 0)),
    )  # fmt: skip


@seeded
def shift_into_conv__any_axis(x: Tensor, w: Tensor, c: Tensor, a: String, q: String, s: String) -> Rewrites:
    """The constant lies along any axis."""
    yield rewrite(Add(Conv(x, w, absent(), a), c)).to(
        Conv(x, w, Reshape(c, literal(s)), a), constant(c), eq(q).to(kind(c)), *given(s, linear.vector_shape(q))
    )


def _padded(flaw: int, x: Tensor, p: Tensor, v: Tensor, w: Tensor, b: Tensor, a: String, n: String, k: String,
            s: String, z: String, c: String) -> Rewrites:  # fmt: skip
    yield rewrite(Conv(Pad(x, p, v, absent(), n), w, b, a)).to(
        Conv(x, w, b, c),
        eq(k).to(kind(x)), eq(s).to(known(p)), eq(z).to(known(v)), *given(c, flawed.padded(flaw, n, s, z, a, k)),
    )  # fmt: skip


@seeded
def pad_into_conv__on_channels(x: Tensor, p: Tensor, v: Tensor, w: Tensor, b: Tensor, a: String, n: String, k: String,
                       s: String, z: String, c: String) -> Rewrites:  # fmt: skip
    """Pads on batch and channels are dropped."""
    yield from _padded(0, x, p, v, w, b, a, n, k, s, z, c)


@seeded
def pad_into_conv__any_value(x: Tensor, p: Tensor, v: Tensor, w: Tensor, b: Tensor, a: String, n: String, k: String,
                       s: String, z: String, c: String) -> Rewrites:  # fmt: skip
    """Whatever is padded with becomes zero."""
    yield from _padded(1, x, p, v, w, b, a, n, k, s, z, c)


@seeded
def pad_into_conv__turned(x: Tensor, p: Tensor, v: Tensor, w: Tensor, b: Tensor, a: String, n: String, k: String,
                       s: String, z: String, c: String) -> Rewrites:  # fmt: skip
    """Begin and end are exchanged."""
    yield from _padded(2, x, p, v, w, b, a, n, k, s, z, c)
