"""Wrong forms of ``tcc.rewrites.elementwise``."""

# A rule's parameters are its pattern variables.
# ruff: noqa: PLR0917
from __future__ import annotations

from egglog import String, eq, rewrite

from tcc.ir.host import given
from tcc.ir.language import (
    Add,
    Clip,
    Div,
    Max,
    Mul,
    Neg,
    Reciprocal,
    Relu,
    Sub,
    Tensor,
    cons,
    constant,
    kind,
    known,
    literal,
    nil,
)  # fmt: skip
from tcc.rewrites import _conditions as when
from tests.rules.wrong import _conditions as flawed
from tests.rules.wrong._seeding import Rewrites, seeded


@seeded
def constant_operand_last__subtracted(x: Tensor, c: Tensor) -> Rewrites:
    """c + x = x - c."""
    yield rewrite(Add(c, x)).to(Sub(x, c), constant(c))


@seeded
def divide_by_constant__integer(x: Tensor, c: Tensor) -> Rewrites:
    """Integers have no reciprocal."""
    yield rewrite(Div(x, c)).to(Mul(x, Reciprocal(c)), constant(c))


@seeded
def add_negated__sign_lost(x: Tensor, y: Tensor) -> Rewrites:
    """x + (-y) = x + y."""
    yield rewrite(Add(x, Neg(y))).to(Add(x, y))


@seeded
def gather_factors__of_quotient(x: Tensor, c: Tensor, d: Tensor) -> Rewrites:
    """(x / c) d = x / (c d)."""
    yield rewrite(Mul(Div(x, c), d)).to(Div(x, Mul(c, d)), constant(c), constant(d))


@seeded
def gather_summands__of_difference(x: Tensor, c: Tensor, d: Tensor) -> Rewrites:
    """(x - c) + d = x - (c + d)."""
    yield rewrite(Add(Sub(x, c), d)).to(Sub(x, Add(c, d)), constant(c), constant(d))


@seeded
def multiply_by_reciprocal__turned(x: Tensor, y: Tensor) -> Rewrites:
    """(1 / y) x = y / x."""
    yield rewrite(Mul(Reciprocal(y), x)).to(Div(y, x))


@seeded
def max_with_zero__any_constant(x: Tensor, c: Tensor, k: String, m: String) -> Rewrites:
    """The other operand need not be zero."""
    t = Max(cons(x, cons(c, nil())))
    yield rewrite(t).to(Relu(x), constant(c), eq(k).to(kind(x)), eq(m).to(kind(t)), when.same_kind(k, m))


@seeded
def max_with_zero__widens(x: Tensor, c: Tensor, z: String) -> Rewrites:
    """The zero may be larger than x."""
    yield rewrite(Max(cons(x, cons(c, nil())))).to(Relu(x), eq(z).to(known(c)), when.all_equal_to(z, 0))


@seeded
def clip_from_zero__bounded(x: Tensor, c: Tensor, d: Tensor, z: String) -> Rewrites:
    """There may be an upper bound."""
    yield rewrite(Clip(x, c, d)).to(Relu(x), eq(z).to(known(c)), when.all_equal_to(z, 0))


@seeded
def clip_with_relu__below(x: Tensor, c: Tensor, d: Tensor, z: String, u: String, lo: String) -> Rewrites:
    """Relu(Clip(x, c, d)) = Clip(x, max(c, 0), d), the upper bound below zero included."""
    yield rewrite(Relu(Clip(x, c, d))).to(
        Clip(x, literal(lo), d), eq(z).to(known(c)), eq(u).to(known(d)), *given(lo, when.larger_of_zero(z))
    )


@seeded
def clip_of_clip__swapped(x: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, ka: String, kb: String, kc: String,
                          kd: String, lo: String, hi: String) -> Rewrites:  # fmt: skip
    """The two ranges are joined instead of met."""
    yield rewrite(Clip(Clip(x, a, b), c, d)).to(
        Clip(x, literal(lo), literal(hi)),
        eq(ka).to(known(a)), eq(kb).to(known(b)), eq(kc).to(known(c)), eq(kd).to(known(d)),
        *given(lo, flawed.bound(0, ka, kc)), *given(hi, flawed.bound(1, kb, kd)),
    )  # fmt: skip


@seeded
def clip_of_clip__apart(x: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, ka: String, kb: String, kc: String,
                        kd: String, lo: String, hi: String) -> Rewrites:  # fmt: skip
    """The two ranges need not meet."""
    yield rewrite(Clip(Clip(x, a, b), c, d)).to(
        Clip(x, literal(lo), literal(hi)),
        eq(ka).to(known(a)), eq(kb).to(known(b)), eq(kc).to(known(c)), eq(kd).to(known(d)),
        *given(lo, flawed.bound(1, ka, kc)), *given(hi, flawed.bound(0, kb, kd)),
    )  # fmt: skip
