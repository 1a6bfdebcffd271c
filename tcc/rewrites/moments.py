"""Normalisations as TensorFlow writes them: moments as global average pools, one factor and one summand."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import RewriteOrRule, String, eq, rule, union

from tcc.ir.host import given
from tcc.ir.language import (
    Add,
    Div,
    Expand,
    GlobalAveragePool,
    LayerNormalization,
    Mul,
    Reciprocal,
    Sqrt,
    Sub,
    Tensor,
    absent,
    form,
    kind,
    known,
    literal,
)
from tcc.rewrites import _conditions as when
from tcc.rewrites import _normalized as normal
from tcc.rewrites.normalization import LAYER, STANDARD
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]


@exact(Equality.VALUE, LAYER, "GlobalAveragePool", "Sqrt", "Sub", first_opset=17)
def layer_normalization_of_pools(
    t: Tensor, x: Tensor, d: Tensor, s: Tensor, e: Tensor, k: String, z: String, n: String, r: String, o: String
) -> Rewrites:
    """(x - mean) / sqrt(var + epsilon) = LayerNormalization(x, 1), mean and variance by GlobalAveragePool."""
    facts = (
        eq(d).to(Sub(x, GlobalAveragePool(x))), eq(k).to(kind(x)), eq(z).to(known(e)),
        *given(n, normal.layer_of_pool(k, z)),
    )  # fmt: skip
    variance = GlobalAveragePool(Mul(d, d))
    for total in (Add(variance, e), Add(e, variance)):
        for whole in (Div(d, s), Mul(d, Reciprocal(s)), Mul(Reciprocal(s), d)):
            # A scale behind it becomes its own as that of every other such normalisation does.
            yield rule(eq(t).to(whole), eq(s).to(Sqrt(total)), *facts).then(form(t, x, STANDARD, n))
    ones = Expand(literal(o), literal(r))
    yield rule(
        form(t, x, STANDARD, n), eq(k).to(kind(x)), *given(r, normal.ones_shape(k, n)), *given(o, normal.one_of(k))
    ).then(union(t).with_(LayerNormalization(x, ones, absent(), n)))


@exact(Equality.VALUE, "distributive law; TensorFlow, tf.nn.batch_normalization", "Sqrt", "Sub", "Mul", "Add")
def scale_and_shift_of_deviation(
    t: Tensor, x: Tensor, m: Tensor, d: Tensor, s: Tensor, g: Tensor, b: Tensor, q: Tensor, v: Tensor, k: String,
    l: String,  # noqa: E741 - a kind
) -> Rewrites:  # fmt: skip
    """x g / s + (b - m g / s) = (x - m) / s g + b for a root s of what follows from x - m."""
    facts = eq(q).to(Div(g, s)), eq(s).to(Sqrt(v)), eq(d).to(Sub(x, m)), eq(k).to(kind(t))
    made = Add(Mul(Div(d, s), g), b)
    for scaled in (Mul(x, q), Mul(q, x)):
        for moved in (Mul(m, q), Mul(q, m)):
            for total in (Add(scaled, Sub(b, moved)), Add(Sub(b, moved), scaled)):
                yield rule(eq(t).to(total), *facts, eq(l).to(kind(x)), when.same_kind(k, l)).then(union(t).with_(made))
