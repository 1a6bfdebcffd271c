"""Wrong forms of ``tcc.rewrites.groups``."""

# A rule's parameters are its pattern variables.
# ruff: noqa: PLR0917
from __future__ import annotations

from egglog import String, eq, rewrite, rule, union

from tcc.ir.host import given
from tcc.ir.language import (
    Expand,
    GroupNormalization,
    InstanceNormalization,
    Mul,
    Reshape,
    Tensor,
    constant,
    kind,
    literal,
    view,
)  # fmt: skip
from tcc.rewrites import _normalized as normal
from tests.rules.wrong._seeding import Rewrites, seeded


@seeded
def group_normalization__tiled(t: Tensor, x: Tensor, y: Tensor, s: Tensor, b: Tensor, a: String, k: String, m: String,
                               n: String, n1: String, n2: String) -> Rewrites:  # fmt: skip
    """A group's factors are those of every so many channels."""
    scale, bias = (Reshape(Expand(Reshape(each, literal('["int64",[2],[1,-1]]')), literal(n1)), literal(n2))
                   for each in (s, b))  # fmt: skip
    yield rule(
        view(t, InstanceNormalization(y, s, b, a)), view(y, x), eq(k).to(kind(x)), eq(k).to(kind(t)),
        eq(m).to(kind(y)), *given(n, normal.group(k, m, a)), *given(n1, normal.spread(0, k, m)),
        *given(n2, normal.spread(2, k, m)),
    ).then(union(t).with_(GroupNormalization(x, scale, bias, n)))  # fmt: skip


@seeded
def instance_normalization_of_view__any(t: Tensor, x: Tensor, y: Tensor, s: Tensor, b: Tensor, a: String, k: String,
                                        ) -> Rewrites:  # fmt: skip
    """The view may see other channels."""
    yield rule(
        view(t, InstanceNormalization(y, s, b, a)), view(y, x), eq(k).to(kind(x)), eq(k).to(kind(t))
    ).then(union(t).with_(InstanceNormalization(x, s, b, a)))  # fmt: skip


@seeded
def factor_of_channels_into_instance_normalization__bias_left(x: Tensor, s: Tensor, b: Tensor, c: Tensor, a: String,
                                                              k: String, q: String, r: String) -> Rewrites:  # fmt: skip
    """The bias is not multiplied."""
    made = InstanceNormalization(x, s, b, a)
    for product in (Mul(made, c), Mul(c, made)):
        yield rewrite(product).to(
            InstanceNormalization(x, Mul(s, Reshape(c, literal(r))), b, a), constant(c), eq(k).to(kind(made)),
            eq(q).to(kind(c)), *given(r, normal.channel_shape(q, k)),
        )  # fmt: skip


@seeded
def factor_of_channels_into_group_normalization__any_axis(x: Tensor, s: Tensor, b: Tensor, c: Tensor, a: String,
                                                          ) -> Rewrites:  # fmt: skip
    """Any four numbers are those of the channels."""
    flat = Reshape(c, literal('["int64",[1],[-1]]'))
    for product in (Mul(GroupNormalization(x, s, b, a), c), Mul(c, GroupNormalization(x, s, b, a))):
        yield rewrite(product).to(GroupNormalization(x, Mul(s, flat), Mul(b, flat), a), constant(c))
