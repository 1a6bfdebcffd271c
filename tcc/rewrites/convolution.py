"""Constants around convolutions and Gemm become part of their weights and biases."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import Fact, RewriteOrRule, String, Unit, eq, rewrite

from tcc.ir.host import given
from tcc.ir.language import (
    Add,
    BatchNormalization,
    Conv,
    ConvTranspose,
    Div,
    Expand,
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
from tcc.rewrites.rule import Equality, exact

FactLike = Fact | Unit
Rewrites = Iterator[RewriteOrRule]
FOLDING = "Jacob et al., CVPR 2018, section 3.2"
LINEAR = "linearity of the convolution in its weights"


def _gain(scale: Tensor, variance: Tensor, epsilon: String) -> Tensor:
    return Div(scale, Sqrt(Add(variance, literal(epsilon))))


@exact(Equality.VALUE, FOLDING, "Conv", "BatchNormalization")
def batchnorm_into_conv(x: Tensor, w: Tensor, b: Tensor, s: Tensor, o: Tensor, m: Tensor, v: Tensor, a: String,
                        n: String, e: String, k: String, r: String, q: String) -> Rewrites:  # fmt: skip
    """BN(Conv(x, w) + b) = Conv(x, w g) + (b - mean) g + beta with g = scale / sqrt(var + eps), all constant."""
    g = _gain(s, v, e)
    facts = (
        constant(w), constant(s), constant(o), constant(m), constant(v), eq(k).to(kind(w)), eq(q).to(kind(s)),
        when.same_dtype(k, q), *given(e, when.epsilon(n, q)), *given(r, when.on_axis(k, 0)),
    )  # fmt: skip
    weight = Mul(w, Reshape(g, literal(r)))
    yield rewrite(BatchNormalization(Conv(x, w, absent(), a), s, o, m, v, n)).to(
        Conv(x, weight, Sub(o, Mul(m, g)), a), *facts
    )
    yield rewrite(BatchNormalization(Conv(x, w, b, a), s, o, m, v, n)).to(
        Conv(x, weight, Add(Mul(Sub(b, m), g), o), a), *facts, *_given_bias(b)
    )


def _given_bias(b: Tensor) -> tuple[FactLike, ...]:
    """The bias is there and constant: an absent one has the empty type."""
    return constant(b), when.is_present(kind(b))


@exact(Equality.VALUE, FOLDING, "ConvTranspose", "BatchNormalization")
def batchnorm_into_transposed_conv(x: Tensor, w: Tensor, b: Tensor, s: Tensor, o: Tensor, m: Tensor, v: Tensor,
                                   a: String, n: String, e: String, k: String, r: String, q: String,
                                   ) -> Rewrites:  # fmt: skip
    """BN(ConvTranspose(x, w) + b), one group: as for Conv, with the output channels on the weight's axis 1."""
    g = _gain(s, v, e)
    facts = (
        constant(w), constant(s), constant(o), constant(m), constant(v), eq(k).to(kind(w)), eq(q).to(kind(s)),
        when.same_dtype(k, q), linear.is_ungrouped(a), *given(e, when.epsilon(n, q)), *given(r, when.on_axis(k, 1)),
    )  # fmt: skip
    weight = Mul(w, Reshape(g, literal(r)))
    yield rewrite(BatchNormalization(ConvTranspose(x, w, absent(), a), s, o, m, v, n)).to(
        ConvTranspose(x, weight, Sub(o, Mul(m, g)), a), *facts
    )
    yield rewrite(BatchNormalization(ConvTranspose(x, w, b, a), s, o, m, v, n)).to(
        ConvTranspose(x, weight, Add(Mul(Sub(b, m), g), o), a), *facts, *_given_bias(b)
    )


@exact(Equality.VALUE, FOLDING, "Gemm", "BatchNormalization")
def batchnorm_into_gemm(x: Tensor, w: Tensor, b: Tensor, s: Tensor, o: Tensor, m: Tensor, v: Tensor, a: String,
                        n: String, e: String, k: String, r: String, q: String, d: String) -> Rewrites:  # fmt: skip
    """BN(Gemm(x, w, b)) = Gemm(x, w g, (b - mean) g + beta) with g = scale / sqrt(var + eps), all constant."""
    g = _gain(s, v, e)
    facts = (
        constant(w), constant(b), constant(s), constant(o), constant(m), constant(v), eq(k).to(kind(w)),
        eq(q).to(kind(s)), when.same_dtype(k, q), linear.is_plain_gemm(a), *given(e, when.epsilon(n, q)),
        *given(r, linear.gemm_weight_shape(q, a)),
    )  # fmt: skip
    weight = Mul(w, Reshape(g, literal(r)))
    yield rewrite(BatchNormalization(Gemm(x, w, absent(), a), s, o, m, v, n)).to(
        Gemm(x, weight, Sub(o, Mul(m, g)), a), *facts
    )
    yield rewrite(BatchNormalization(Gemm(x, w, b, a), s, o, m, v, n)).to(
        Gemm(x, weight, Add(Mul(Sub(b, m), g), o), a), *facts, *_given_bias(b), eq(d).to(kind(b)),
    )  # fmt: skip


@exact(Equality.VALUE, LINEAR, "Conv", "Mul")
def scale_into_conv(x: Tensor, w: Tensor, b: Tensor, c: Tensor, a: String, k: String, q: String, m: String,
                    r: String, s: String) -> Rewrites:  # fmt: skip
    """c Conv(x, w, b) = Conv(x, c w, c b) for a constant c along the channels."""
    facts = constant(w), constant(c), eq(k).to(kind(w)), eq(q).to(kind(c)), when.same_dtype(k, q)
    plain, biased = Conv(x, w, absent(), a), Conv(x, w, b, a)
    shape = *given(r, linear.weight_shape(q, k, 0)), *given(s, linear.vector_shape(q))
    weight = Mul(w, Reshape(c, literal(r)))
    yield rewrite(Mul(plain, c)).to(
        Conv(x, weight, absent(), a), *facts, *shape, eq(m).to(kind(plain)), linear.along_channels(q, m)
    )
    yield rewrite(Mul(biased, c)).to(
        Conv(x, weight, Mul(b, Reshape(c, literal(s))), a),
        *facts, *shape, *_given_bias(b), eq(m).to(kind(biased)), linear.along_channels(q, m),
    )  # fmt: skip


@exact(Equality.VALUE, LINEAR, "Conv|ConvTranspose", "Add")
def shift_into_conv(x: Tensor, w: Tensor, b: Tensor, c: Tensor, a: String, k: String, q: String, m: String,
                    s: String, n: String) -> Rewrites:  # fmt: skip
    """Conv(x, w, b) + c = Conv(x, w, b + c) for a constant c along the channels."""
    for conv in (Conv, ConvTranspose):
        facts = constant(c), eq(k).to(kind(w)), eq(q).to(kind(c)), when.same_dtype(k, q)
        plain, biased = conv(x, w, absent(), a), conv(x, w, b, a)
        vector = Reshape(c, literal(s))
        shape = given(s, linear.vector_shape(q))
        yield rewrite(Add(plain, c)).to(
            conv(x, w, Expand(vector, literal(n)), a),
            *facts, *shape, eq(m).to(kind(plain)), linear.along_channels(q, m), *given(n, linear.channels(m)),
        )  # fmt: skip
        yield rewrite(Add(biased, c)).to(
            conv(x, w, Add(b, vector), a),
            *facts, *shape, *_given_bias(b), eq(m).to(kind(biased)), linear.along_channels(q, m),
        )  # fmt: skip


@exact(Equality.VALUE, "ONNX operator specification, Conv: pads", "Pad", "Conv")
def pad_into_conv(x: Tensor, p: Tensor, v: Tensor, w: Tensor, b: Tensor, a: String, n: String, k: String, s: String,
                  z: String, c: String) -> Rewrites:  # fmt: skip
    """Conv(Pad(x, zeros around the spatial axes)) = Conv(x) with these pads."""
    yield rewrite(Conv(Pad(x, p, v, absent(), n), w, b, a)).to(
        Conv(x, w, b, c),
        eq(k).to(kind(x)), eq(s).to(known(p)), eq(z).to(known(v)), *given(c, linear.padded(n, s, z, a, k)),
    )  # fmt: skip
