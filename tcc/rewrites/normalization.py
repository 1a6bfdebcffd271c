"""Normalisations written out, as the operators that ONNX has for them."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import RewriteOrRule, String, eq, rewrite, rule, union

from tcc.ir.host import given
from tcc.ir.language import (
    Add,
    Div,
    Expand,
    InstanceNormalization,
    LayerNormalization,
    Mul,
    Reciprocal,
    ReduceMean,
    Reshape,
    RMSNormalization,
    Sqrt,
    Sub,
    Tensor,
    Transpose,
    absent,
    form,
    kind,
    known,
    literal,
)  # fmt: skip
from tcc.rewrites import _normalized as normal
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
LAYER = "Ba et al., Layer normalization, 2016; ONNX operator specification, LayerNormalization"
RMS = "Zhang and Sennrich, Root mean square layer normalization, 2019; ONNX operator specification, RMSNormalization"
INSTANCE = "Ulyanov et al., Instance normalization, 2016; ONNX operator specification, InstanceNormalization"
LINEAR = "distributive law"

STANDARD, ROOT, CHANNEL, ACROSS = map(
    String, ("standardised", "over root mean square", "standardised channels", "standardised across channels")
)
"""Steps to the normalisations: (x - mean) / sqrt(var + epsilon), x / sqrt(mean of x ** 2 + epsilon), the first for
each channel of each sample, the first over the channels of each place; with the attributes of the operator."""


@exact(Equality.VALUE, LAYER, "ReduceMean", "Sqrt|Pow", first_opset=17)
def layer_normalization(
    t: Tensor, x: Tensor, d: Tensor, s: Tensor, i: Tensor, j: Tensor, e: Tensor, g: Tensor, a: String, b: String,
    k: String, v: String, w: String, z: String, n: String, r: String, q: String, o: String,
) -> Rewrites:  # fmt: skip
    """(x - mean) / sqrt(var + epsilon) * g = LayerNormalization(x, g), mean and variance over the last axes."""
    deviation = eq(d).to(Sub(x, ReduceMean(x, i, a)))
    facts = (
        eq(k).to(kind(x)), eq(v).to(known(i)), eq(w).to(known(j)), eq(z).to(known(e)),
        *given(n, normal.layer(k, a, v, b, w, z)),
    )  # fmt: skip
    for total in (Add(ReduceMean(Mul(d, d), j, b), e), Add(e, ReduceMean(Mul(d, d), j, b))):
        for whole in (Div(d, s), Mul(d, Reciprocal(s)), Mul(Reciprocal(s), d)):
            yield rule(eq(t).to(whole), eq(s).to(Sqrt(total)), deviation, *facts).then(form(t, x, STANDARD, n))
    affine = form(d, x, STANDARD, n), eq(k).to(kind(x))
    scale = eq(q).to(kind(g)), *given(r, normal.affine_shape(q, k, n))
    for whole in (Mul(d, g), Mul(g, d)):
        made = LayerNormalization(x, Reshape(g, literal(r)), absent(), n)
        yield rule(eq(t).to(whole), *affine, *scale).then(union(t).with_(made))
    ones = Expand(literal(o), literal(r))
    yield rule(*affine, *given(r, normal.ones_shape(k, n)), *given(o, normal.one_of(k))).then(
        union(d).with_(LayerNormalization(x, ones, absent(), n))
    )


@exact(Equality.VALUE, LINEAR, "LayerNormalization|ReduceMean", "Add", first_opset=17)
def shift_into_layer_normalization(
    x: Tensor, g: Tensor, c: Tensor, n: String, k: String, q: String, r: String
) -> Rewrites:
    """LayerNormalization(x, g) + c = LayerNormalization(x, g, c) for a c of the scale's shape."""
    plain = LayerNormalization(x, g, absent(), n)
    facts = eq(k).to(kind(x)), eq(q).to(kind(c)), *given(r, normal.affine_shape(q, k, n))
    shift = Reshape(c, literal(r))
    yield rewrite(Add(plain, c)).to(LayerNormalization(x, g, shift, n), *facts)
    yield rewrite(Add(c, plain)).to(LayerNormalization(x, g, shift, n), *facts)


@exact(Equality.VALUE, RMS, "ReduceMean", "Sqrt|Pow", first_opset=23)
def rms_normalization(
    t: Tensor, x: Tensor, d: Tensor, s: Tensor, j: Tensor, e: Tensor, g: Tensor, b: String, k: String, w: String,
    z: String, n: String, r: String, q: String, o: String,
) -> Rewrites:  # fmt: skip
    """x / sqrt(mean of x ** 2 + epsilon) * g = RMSNormalization(x, g), the mean over the last axes."""
    facts = (
        eq(k).to(kind(x)), eq(w).to(known(j)), eq(z).to(known(e)), *given(n, normal.root_mean_square(k, b, w, z)),
    )  # fmt: skip
    for total in (Add(ReduceMean(Mul(x, x), j, b), e), Add(e, ReduceMean(Mul(x, x), j, b))):
        for whole in (Div(x, s), Mul(x, Reciprocal(s)), Mul(Reciprocal(s), x)):
            yield rule(eq(t).to(whole), eq(s).to(Sqrt(total)), *facts).then(form(t, x, ROOT, n))
    affine = form(d, x, ROOT, n), eq(k).to(kind(x))
    for whole in (Mul(d, g), Mul(g, d)):
        yield rule(eq(t).to(whole), *affine, eq(q).to(kind(g)), *given(r, normal.affine_shape(q, k, n))).then(
            union(t).with_(RMSNormalization(x, Reshape(g, literal(r)), n))
        )
    ones = Expand(literal(o), literal(r))
    yield rule(*affine, *given(r, normal.ones_shape(k, n)), *given(o, normal.one_of(k))).then(
        union(d).with_(RMSNormalization(x, ones, n))
    )


@exact(Equality.VALUE, INSTANCE, "ReduceMean", "Sqrt|Pow")
def instance_normalization(
    t: Tensor, u: Tensor, x: Tensor, d: Tensor, s: Tensor, i: Tensor, j: Tensor, e: Tensor, g: Tensor, c: Tensor,
    a: String, b: String, k: String, v: String, w: String, z: String, n: String, r: String, q: String, p: String,
    o: String, zero: String,
) -> Rewrites:  # fmt: skip
    """(x - mean) / sqrt(var + epsilon) * g + c = InstanceNormalization(x, g, c), over all axes after the channels."""
    deviation = eq(d).to(Sub(x, ReduceMean(x, i, a)))
    facts = (
        eq(k).to(kind(x)), eq(v).to(known(i)), eq(w).to(known(j)), eq(z).to(known(e)),
        *given(n, normal.instance(k, a, v, b, w, z)),
    )  # fmt: skip
    for total in (Add(ReduceMean(Mul(d, d), j, b), e), Add(e, ReduceMean(Mul(d, d), j, b))):
        for whole in (Div(d, s), Mul(d, Reciprocal(s)), Mul(Reciprocal(s), d)):
            yield rule(eq(t).to(whole), eq(s).to(Sqrt(total)), deviation, *facts).then(form(t, x, CHANNEL, n))
    affine = form(d, x, CHANNEL, n), eq(k).to(kind(x))
    scale = eq(q).to(kind(g)), *given(r, normal.channel_shape(q, k))
    shift = eq(p).to(kind(c)), *given(o, normal.channel_shape(p, k))
    for product in (Mul(d, g), Mul(g, d)):
        for whole in (Add(u, c), Add(c, u)):
            yield rule(eq(t).to(whole), eq(u).to(product), *affine, *scale, *shift).then(
                union(t).with_(InstanceNormalization(x, Reshape(g, literal(r)), Reshape(c, literal(o)), n))
            )
    ones, zeros = Expand(literal(o), literal(r)), Expand(literal(zero), literal(r))
    yield rule(
        *affine, *given(r, normal.channels_of(k)), *given(o, normal.one_of(k)), *given(zero, normal.zero_of(k))
    ).then(union(d).with_(InstanceNormalization(x, ones, zeros, n)))


@exact(Equality.VALUE, LAYER, "ReduceMean", "Sqrt|Pow", first_opset=17)
def layer_normalization_of_channels(
    t: Tensor, u: Tensor, x: Tensor, d: Tensor, s: Tensor, i: Tensor, j: Tensor, e: Tensor, g: Tensor, c: Tensor,
    a: String, b: String, k: String, v: String, w: String, z: String, n: String, r: String, q: String, p: String,
    o: String, there: String, back: String,
) -> Rewrites:  # fmt: skip
    """(x - mean) / sqrt(var + epsilon) * g + c over the channels = LayerNormalization(x, g, c), channels last."""
    deviation = eq(d).to(Sub(x, ReduceMean(x, i, a)))
    facts = (
        eq(k).to(kind(x)), eq(v).to(known(i)), eq(w).to(known(j)), eq(z).to(known(e)),
        *given(n, normal.across(k, a, v, b, w, z)),
    )  # fmt: skip
    for total in (Add(ReduceMean(Mul(d, d), j, b), e), Add(e, ReduceMean(Mul(d, d), j, b))):
        for whole in (Div(d, s), Mul(d, Reciprocal(s)), Mul(Reciprocal(s), d)):
            yield rule(eq(t).to(whole), eq(s).to(Sqrt(total)), deviation, *facts).then(form(t, x, ACROSS, n))
    affine = (
        form(d, x, ACROSS, n), eq(k).to(kind(x)), eq(q).to(kind(g)), *given(r, normal.channel_shape(q, k)),
        eq(p).to(kind(c)), *given(o, normal.channel_shape(p, k)), *given(there, normal.channels_last(k)),
        *given(back, normal.channels_first(k)),
    )  # fmt: skip
    made = LayerNormalization(Transpose(x, there), Reshape(g, literal(r)), Reshape(c, literal(o)), n)
    for product in (Mul(d, g), Mul(g, d)):
        for whole in (Add(u, c), Add(c, u)):
            yield rule(eq(t).to(whole), eq(u).to(product), *affine).then(union(t).with_(Transpose(made, back)))
