"""Wrong forms of ``tcc.rewrites.factoring`` and ``tcc.rewrites.joining``."""

# A rule's parameters are its pattern variables.
# ruff: noqa: PLR0917
from __future__ import annotations

from egglog import String, eq, rewrite

from tcc.ir.host import given
from tcc.ir.language import (
    Add,
    Concat,
    Conv,
    LeakyRelu,
    MatMul,
    Mul,
    Pad,
    Split,
    Tensor,
    absent,
    cons,
    constant,
    kind,
    kinds,
    known,
    literal,
    nil,
    project,
)  # fmt: skip
from tcc.rewrites import _joins as joins
from tcc.rewrites import _kernels as kernels
from tests.rules.wrong._seeding import Rewrites, seeded


@seeded
def sum_of_products_with_weight__difference(x: Tensor, y: Tensor, w: Tensor) -> Rewrites:
    """The other operand comes out twice."""
    yield rewrite(Add(MatMul(x, w), MatMul(y, w))).to(MatMul(Add(x, y), Add(w, w)))


@seeded
def sum_of_products_of_input__broadcast(x: Tensor, v: Tensor, w: Tensor) -> Rewrites:
    """x v + x w = x (v w)."""
    yield rewrite(Add(MatMul(x, v), MatMul(x, w))).to(MatMul(x, Mul(v, w)), constant(v), constant(w))


@seeded
def sum_of_scaled__product(x: Tensor, c: Tensor, d: Tensor) -> Rewrites:
    """x c + x d = x c d."""
    yield rewrite(Add(Mul(x, c), Mul(x, d))).to(Mul(x, Mul(c, d)), constant(c), constant(d))


@seeded
def sum_with_scaled__twice(x: Tensor, c: Tensor) -> Rewrites:
    """x + x c = x (c + c)."""
    yield rewrite(Add(x, Mul(x, c))).to(Mul(x, Add(c, c)), constant(c))


@seeded
def join_of_activated_convolutions__of_two_activations(x: Tensor, y: Tensor, a: String, f: String, g: String
                                                       ) -> Rewrites:  # fmt: skip
    """The two may have different attributes."""
    made = cons(LeakyRelu(x, f), cons(LeakyRelu(y, g), nil()))
    yield rewrite(Concat(made, a)).to(LeakyRelu(Concat(cons(x, cons(y, nil())), a), f))


@seeded
def sum_of_convolutions_with_weight__other_dilations(x: Tensor, y: Tensor, w: Tensor, a: String, c: String) -> Rewrites:
    """The convolutions may have different attributes."""
    yield rewrite(Add(Conv(x, w, absent(), a), Conv(y, w, absent(), c))).to(Conv(Add(x, y), w, absent(), a))


@seeded
def sum_of_convolutions_with_weight__biased(x: Tensor, y: Tensor, w: Tensor, b: Tensor, a: String) -> Rewrites:
    """A bias may be added once."""
    yield rewrite(Add(Conv(x, w, b, a), Conv(y, w, b, a))).to(Conv(Add(x, y), w, b, a))


@seeded
def sum_of_convolutions_of_input__one_bias(x: Tensor, v: Tensor, w: Tensor, b: Tensor, d: Tensor, a: String, n: String,
                                           k: String, m: String, p: String) -> Rewrites:  # fmt: skip
    """The second bias is dropped."""
    facts = constant(v), constant(w), eq(k).to(kind(v)), eq(m).to(kind(w)), *given(p, kernels.enlarging(k, a, m, n))
    yield rewrite(Add(Conv(x, v, b, a), Conv(x, w, d, n))).to(
        Conv(x, Add(v, Pad(w, literal(p), absent(), absent())), b, a), *facts
    )


@seeded
def sum_of_convolutions_of_input__other_dilations(x: Tensor, v: Tensor, w: Tensor, a: String, n: String) -> Rewrites:
    """The second convolution's attributes do not matter."""
    yield rewrite(Add(Conv(x, v, absent(), a), Conv(x, w, absent(), n))).to(
        Conv(x, Add(v, w), absent(), a), constant(v), constant(w)
    )


@seeded
def join_of_products_with_weight__columns(x: Tensor, y: Tensor, w: Tensor, a: String) -> Rewrites:
    """The products may be joined along the columns."""
    products = cons(MatMul(x, w), cons(MatMul(y, w), nil()))
    yield rewrite(Concat(products, a)).to(MatMul(Concat(cons(x, cons(y, nil())), a), w))


@seeded
def join_of_convolutions_with_weight__places(x: Tensor, y: Tensor, w: Tensor, b: Tensor, a: String, c: String,
                                             ) -> Rewrites:  # fmt: skip
    """The convolutions may be joined along any axis."""
    made = cons(Conv(x, w, b, c), cons(Conv(y, w, b, c), nil()))
    yield rewrite(Concat(made, a)).to(Conv(Concat(cons(x, cons(y, nil())), a), w, b, c))


@seeded
def split_of_concat__elsewhere(x: Tensor, y: Tensor, s: Tensor, a: String, b: String) -> Rewrites:
    """The Split may cut anywhere."""
    taken = Split(Concat(cons(x, cons(y, nil())), a), s, b)
    yield rewrite(project(taken, 0)).to(x)
    yield rewrite(project(taken, 1)).to(y)


@seeded
def split_of_concat__exchanged(x: Tensor, y: Tensor, s: Tensor, a: String, b: String, k: String, v: String) -> Rewrites:
    """The parts are exchanged."""
    joined = cons(x, cons(y, nil()))
    facts = eq(k).to(kinds(joined)), eq(v).to(known(s)), joins.cuts_where_joined(a, k, b, v)
    yield rewrite(project(Split(Concat(joined, a), s, b), 0)).to(y, *facts)
