"""Wrong forms of ``tcc.rewrites.normalization``."""

# A rule's parameters are its pattern variables.
# ruff: noqa: PLR0917
from __future__ import annotations

from egglog import String, eq, rewrite

from tcc.ir.host import given
from tcc.ir.language import (
    Add,
    Div,
    Expand,
    InstanceNormalization,
    LayerNormalization,
    Mul,
    ReduceMean,
    RMSNormalization,
    Sqrt,
    Sub,
    Tensor,
    absent,
    kind,
    known,
    literal,
)  # fmt: skip
from tcc.rewrites import _normalized as normal
from tests.rules.wrong import _conditions as flawed
from tests.rules.wrong._seeding import Rewrites, seeded


@seeded
def layer_normalization__any_axes(x: Tensor, i: Tensor, j: Tensor, e: Tensor, a: String, b: String, k: String,
                                  r: String, o: String) -> Rewrites:  # fmt: skip
    """Mean and variance may run over any axes."""
    d = Sub(x, ReduceMean(x, i, a))
    ones = Expand(literal(o), literal(r))
    yield rewrite(Div(d, Sqrt(Add(ReduceMean(Mul(d, d), j, b), e)))).to(
        LayerNormalization(x, ones, absent()), eq(k).to(kind(x)), *given(r, normal.ones_shape(k, "{}")),
        *given(o, normal.one_of(k)),
    )  # fmt: skip


@seeded
def layer_normalization__epsilon_lost(x: Tensor, i: Tensor, j: Tensor, e: Tensor, g: Tensor, a: String, b: String,
                                      k: String, v: String, w: String, n: String) -> Rewrites:  # fmt: skip
    """The epsilon is taken for the default one."""
    d = Sub(x, ReduceMean(x, i, a))
    yield rewrite(Mul(Div(d, Sqrt(Add(ReduceMean(Mul(d, d), j, b), e))), g)).to(
        LayerNormalization(x, g, absent(), n), eq(k).to(kind(x)), eq(v).to(known(i)), eq(w).to(known(j)),
        *given(n, flawed.layer(k, a, v, b, w)),
    )  # fmt: skip


@seeded
def layer_normalization__other_deviation(x: Tensor, y: Tensor, i: Tensor, j: Tensor, e: Tensor, a: String, b: String,
                                         k: String, v: String, w: String, z: String, n: String, r: String, o: String,
                                         ) -> Rewrites:  # fmt: skip
    """What is squared need not be what is divided."""
    total = Add(ReduceMean(Mul(y, y), j, b), e)
    yield rewrite(Div(Sub(x, ReduceMean(x, i, a)), Sqrt(total))).to(
        LayerNormalization(x, Expand(literal(o), literal(r)), absent(), n),
        eq(k).to(kind(x)), eq(v).to(known(i)), eq(w).to(known(j)), eq(z).to(known(e)),
        *given(n, normal.layer(k, a, v, b, w, z)), *given(r, normal.ones_shape(k, n)), *given(o, normal.one_of(k)),
    )  # fmt: skip


@seeded
def shift_into_layer_normalization__flattened(x: Tensor, g: Tensor, c: Tensor, n: String, k: String) -> Rewrites:
    """The summand may have any shape."""
    yield rewrite(Add(LayerNormalization(x, g, absent(), n), c)).to(
        LayerNormalization(x, g, Expand(c, literal('["int64",[1],[4]]')), n), eq(k).to(kind(c))
    )


@seeded
def rms_normalization__centred(x: Tensor, j: Tensor, e: Tensor, g: Tensor, b: String, k: String, w: String, z: String,
                               n: String) -> Rewrites:  # fmt: skip
    """The mean is subtracted."""
    yield rewrite(Mul(Div(x, Sqrt(Add(ReduceMean(Mul(x, x), j, b), e))), g)).to(
        LayerNormalization(x, g, absent(), n), eq(k).to(kind(x)), eq(w).to(known(j)), eq(z).to(known(e)),
        *given(n, normal.root_mean_square(k, b, w, z)),
    )  # fmt: skip


@seeded
def rms_normalization__any_axes(
    x: Tensor, j: Tensor, e: Tensor, b: String, k: String, r: String, o: String
) -> Rewrites:
    """The mean may run over any axes."""
    yield rewrite(Div(x, Sqrt(Add(ReduceMean(Mul(x, x), j, b), e)))).to(
        RMSNormalization(x, Expand(literal(o), literal(r))), eq(k).to(kind(x)), *given(r, normal.ones_shape(k, "{}")),
        *given(o, normal.one_of(k)),
    )  # fmt: skip


@seeded
def instance_normalization__any_axes(x: Tensor, i: Tensor, j: Tensor, e: Tensor, a: String, b: String, k: String,
                                     r: String, o: String, z: String) -> Rewrites:  # fmt: skip
    """Mean and variance may run over any axes."""
    d = Sub(x, ReduceMean(x, i, a))
    ones, zeros = Expand(literal(o), literal(r)), Expand(literal(z), literal(r))
    yield rewrite(Div(d, Sqrt(Add(ReduceMean(Mul(d, d), j, b), e)))).to(
        InstanceNormalization(x, ones, zeros), eq(k).to(kind(x)), *given(r, normal.channels_of(k)),
        *given(o, normal.one_of(k)), *given(z, normal.zero_of(k)),
    )  # fmt: skip
