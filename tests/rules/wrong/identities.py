"""Wrong forms of ``tcc.rewrites.identities``."""

# A rule's parameters are its pattern variables.
# ruff: noqa: PLR0917
from __future__ import annotations

from egglog import String, eq, rewrite

from tcc.ir.language import (
    Abs,
    Add,
    Cast,
    Concat,
    Div,
    Expand,
    Mul,
    Neg,
    Pad,
    Slice,
    Split,
    Sub,
    Tensor,
    Tensors,
    Where,
    cons,
    kind,
    known,
    nil,
    project,
)  # fmt: skip
from tcc.rewrites import _conditions as when
from tests.rules.wrong import _conditions as flawed
from tests.rules.wrong._seeding import Rewrites, seeded


@seeded
def cast_there_and_back__loses(x: Tensor, a: String, b: String, k: String) -> Rewrites:
    """The type between may hold less."""
    yield rewrite(Cast(Cast(x, a), b)).to(x, eq(k).to(kind(x)), when.casts_to(b, k))


@seeded
def expand_to_own_shape__widens(x: Tensor, s: Tensor, a: String) -> Rewrites:
    """The shape is not looked at."""
    yield rewrite(Expand(x, s, a)).to(x)


@seeded
def slice_everything__from_anywhere(x: Tensor, s: Tensor, e: Tensor, c: Tensor, p: Tensor, a: String, k: String,
                                    ke: String) -> Rewrites:  # fmt: skip
    """Start and step are not looked at."""
    yield rewrite(Slice(x, s, e, c, p, a)).to(x, eq(k).to(kind(x)), eq(ke).to(known(e)), flawed.reaches_end(k, ke))


@seeded
def slice_of_slice__same_axis(x: Tensor, s: Tensor, e: Tensor, c: Tensor, p: Tensor, t: Tensor, f: Tensor, q: Tensor,
                              a: String) -> Rewrites:  # fmt: skip
    """The outer ranges replace the inner ones on the same axes."""
    yield rewrite(Slice(Slice(x, s, e, c, p, a), t, f, c, q, a)).to(Slice(x, t, f, c, q, a))


@seeded
def pad_nothing__in_total(x: Tensor, s: Tensor, v: Tensor, c: Tensor, a: String, k: String) -> Rewrites:
    """What is added on one side is cut off on the other."""
    yield rewrite(Pad(x, s, v, c, a)).to(x, eq(k).to(known(s)), flawed.pads_nothing_in_total(a, k))


@seeded
def concat_of_split__any_axis(x: Tensor, s: Tensor, a: String, b: String) -> Rewrites:
    """The axes need not be the same."""
    node = Split(x, s, a)
    yield rewrite(Concat(cons(project(node, 0), cons(project(node, 1), nil())), b)).to(x)


@seeded
def concat_of_split__turned(x: Tensor, s: Tensor, a: String, b: String) -> Rewrites:
    """The parts come in another order."""
    node = Split(x, s, a)
    parts = cons(project(node, 1), cons(project(node, 0), cons(project(node, 2), nil())))
    yield rewrite(Concat(parts, b)).to(x, when.splits_as_concat(a, b, 3))


@seeded
def concat_of_concat__any_axis(x: Tensor, y: Tensor, p: Tensors, a: String, b: String) -> Rewrites:
    """The axes need not be the same."""
    yield rewrite(Concat(cons(Concat(cons(x, cons(y, nil())), a), p), b)).to(Concat(cons(x, cons(y, p)), b))


@seeded
def add_zero__widens(x: Tensor, c: Tensor, z: String) -> Rewrites:
    """The zero may be larger than x."""
    yield rewrite(Add(x, c)).to(x, eq(z).to(known(c)), when.all_equal_to(z, 0))


@seeded
def subtract_zero__of_either_sign(x: Tensor, c: Tensor, k: String, m: String, z: String) -> Rewrites:
    """-0 - (-0) is +0."""
    t = Sub(x, c)
    yield rewrite(t).to(x, eq(z).to(known(c)), when.all_equal_to(z, 0), eq(k).to(kind(x)), eq(m).to(kind(t)),
                        when.same_kind(k, m))  # fmt: skip


@seeded
def multiply_by_one__in_part(x: Tensor, c: Tensor, k: String, m: String, z: String) -> Rewrites:
    """One of the factors is one."""
    t = Mul(x, c)
    yield rewrite(t).to(x, eq(z).to(known(c)), flawed.some_equal_to(z, 1), eq(k).to(kind(x)), eq(m).to(kind(t)),
                        when.same_kind(k, m))  # fmt: skip


@seeded
def divide_by_one__turned(x: Tensor, c: Tensor, k: String, m: String, z: String) -> Rewrites:
    """1 / x = x."""
    t = Div(c, x)
    yield rewrite(t).to(x, eq(z).to(known(c)), when.all_equal_to(z, 1), eq(k).to(kind(x)), eq(m).to(kind(t)),
                        when.same_kind(k, m))  # fmt: skip


@seeded
def negate_twice__once(x: Tensor) -> Rewrites:
    """-(-x) = -x."""
    yield rewrite(Neg(Neg(x))).to(Neg(x))


@seeded
def absolute_of_absolute__negated(x: Tensor) -> Rewrites:
    """|-x| = -|x|."""
    yield rewrite(Abs(Neg(x))).to(Neg(Abs(x)))


@seeded
def where_same__widens(c: Tensor, x: Tensor) -> Rewrites:
    """The condition may be larger than x."""
    yield rewrite(Where(c, x, x)).to(x)


@seeded
def where_decided__swapped(c: Tensor, x: Tensor, y: Tensor, v: String, k: String, m: String) -> Rewrites:
    """Where(False, x, y) = x."""
    t = Where(c, x, y)
    yield rewrite(t).to(x, eq(v).to(known(c)), when.all_equal_to(v, 0), eq(k).to(kind(x)), eq(m).to(kind(t)),
                        when.same_kind(k, m))  # fmt: skip
