"""Normalisations of groups of channels, from those of instances that see each group as a channel."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from egglog import RewriteOrRule, String, eq, ne, rewrite, rule, union

from tcc.ir.host import given
from tcc.ir.language import (
    Add,
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
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
GROUP = "Wu and He, Group normalization, 2018; ONNX operator specification, GroupNormalization"
INSTANCE = "Ulyanov et al., Instance normalization, 2016; ONNX operator specification, InstanceNormalization"
LINEAR = "distributive law"
FIRST = 21
"""From here on GroupNormalization's scale and bias are of channels; before they were of groups."""


@exact(Equality.VALUE, GROUP, "InstanceNormalization|ReduceMean", "Reshape", first_opset=FIRST)
def group_normalization(
    t: Tensor, x: Tensor, y: Tensor, s: Tensor, b: Tensor, a: String, k: String, m: String, n: String, n0: String,
    n1: String, n2: String,
) -> Rewrites:  # fmt: skip
    """InstanceNormalization of x with G of its groups as channels = GroupNormalization(x), their factors repeated."""
    scale, bias = (Reshape(Expand(Reshape(each, literal(n0)), literal(n1)), literal(n2)) for each in (s, b))
    shapes = (fact for i, each in enumerate((n0, n1, n2)) for fact in given(each, normal.spread(i, k, m)))
    yield rule(
        view(t, InstanceNormalization(y, s, b, a)), view(y, x), constant(s), constant(b), eq(k).to(kind(x)),
        eq(k).to(kind(t)), eq(m).to(kind(y)), *given(n, normal.group(k, m, a)), *shapes,
    ).then(union(t).with_(GroupNormalization(x, scale, bias, n)))  # fmt: skip


@exact(Equality.VALUE, INSTANCE, "InstanceNormalization|ReduceMean", "Reshape|Flatten|Squeeze|Unsqueeze")
def instance_normalization_of_view(
    t: Tensor, x: Tensor, y: Tensor, s: Tensor, b: Tensor, a: String, k: String, m: String
) -> Rewrites:
    """InstanceNormalization of a view that keeps samples and channels, viewed back, is that of what is viewed."""
    yield rule(
        view(t, InstanceNormalization(y, s, b, a)), view(y, x), eq(k).to(kind(x)), eq(k).to(kind(t)),
        eq(m).to(kind(y)), normal.is_normalized_alike(k, m),
    ).then(union(t).with_(InstanceNormalization(x, s, b, a)))  # fmt: skip


def _factor(normalized: Callable[..., Tensor], x: Tensor, s: Tensor, b: Tensor, c: Tensor, a: String, k: String,
            q: String, r: String) -> Rewrites:  # fmt: skip
    made, own = normalized(x, s, b, a), Reshape(c, literal(r))
    facts = (
        constant(s), constant(b), constant(c), eq(k).to(kind(made)), eq(q).to(kind(c)),
        *given(r, normal.channel_shape(q, k)),
    )  # fmt: skip
    # A neutral c leaves what it meets as it is: taken in, it would be there to be taken in again, for ever.
    for product in (Mul(made, c), Mul(c, made)):
        yield rewrite(product).to(normalized(x, Mul(s, own), Mul(b, own), a), *facts, ne(product).to(made))
    for total in (Add(made, c), Add(c, made)):
        yield rewrite(total).to(normalized(x, s, Add(b, own), a), *facts, ne(total).to(made))


@exact(Equality.VALUE, LINEAR, "InstanceNormalization|ReduceMean", "Mul|Add")
def factor_of_channels_into_instance_normalization(
    x: Tensor, s: Tensor, b: Tensor, c: Tensor, a: String, k: String, q: String, r: String
) -> Rewrites:
    """c InstanceNormalization(x, s, b) = InstanceNormalization(x, c s, c b), c + it: b + c; c a number a channel."""
    yield from _factor(InstanceNormalization, x, s, b, c, a, k, q, r)


@exact(
    Equality.VALUE, LINEAR, "InstanceNormalization|GroupNormalization|ReduceMean", "Mul|Add", first_opset=FIRST
)  # fmt: skip
def factor_of_channels_into_group_normalization(
    x: Tensor, s: Tensor, b: Tensor, c: Tensor, a: String, k: String, q: String, r: String
) -> Rewrites:
    """c GroupNormalization(x, s, b) = GroupNormalization(x, c s, c b), c + it: b + c; c a number a channel."""
    yield from _factor(GroupNormalization, x, s, b, c, a, k, q, r)
