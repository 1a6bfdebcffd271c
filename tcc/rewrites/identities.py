"""Operators that do nothing, and pairs that undo each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from egglog import RewriteOrRule, String, eq, rewrite

from tcc.ir.host import given
from tcc.ir.language import (
    Abs,
    Add,
    Cast,
    Concat,
    Div,
    Dropout,
    Expand,
    Identity,
    Max,
    Mean,
    Min,
    Mul,
    Neg,
    Not,
    Pad,
    Pow,
    Relu,
    Slice,
    Split,
    Sub,
    Sum,
    Tensor,
    Tensors,
    Tile,
    Where,
    absent,
    cons,
    kind,
    known,
    literal,
    nil,
    project,
)  # fmt: skip
from tcc.rewrites import _conditions as when
from tcc.rewrites import _slices as slices
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
ONNX = "ONNX operator specification"
IEEE = "IEEE 754-2019, section 6.3"


@exact(Equality.BITS, ONNX, "Identity")
def identity(x: Tensor, a: String) -> Rewrites:
    """Identity(x) = x."""
    yield rewrite(Identity(x, a)).to(x)


@exact(Equality.BITS, f"{ONNX}, Dropout: inference mode", "Dropout")
def dropout(x: Tensor, r: Tensor, a: String) -> Rewrites:
    """Dropout(x) = x outside training."""
    yield rewrite(Dropout(x, r, absent(), a)).to(x)


@exact(Equality.BITS, ONNX, "Cast")
def cast_to_own_type(x: Tensor, a: String, k: String) -> Rewrites:
    """Cast(x, T) = x if x is a T already."""
    yield rewrite(Cast(x, a)).to(x, eq(k).to(kind(x)), when.casts_to(a, k))


@exact(Equality.BITS, ONNX, "Cast")
def cast_there_and_back(x: Tensor, a: String, b: String, k: String) -> Rewrites:
    """Cast(Cast(x, W), T) = x if x is a T and W holds every T."""
    yield rewrite(Cast(Cast(x, a), b)).to(x, eq(k).to(kind(x)), when.widens_and_returns(k, a, b))


@exact(Equality.BITS, ONNX, "Expand")
def expand_to_own_shape(x: Tensor, s: Tensor, a: String, k: String, m: String) -> Rewrites:
    """Expand(x, s) = x if the result has x's shape."""
    t = Expand(x, s, a)
    yield rewrite(t).to(x, eq(k).to(kind(x)), eq(m).to(kind(t)), when.same_kind(k, m))


@exact(Equality.BITS, ONNX, "Tile")
def tile_once(x: Tensor, s: Tensor, a: String, k: String) -> Rewrites:
    """Tile(x, 1) = x."""
    yield rewrite(Tile(x, s, a)).to(x, eq(k).to(known(s)), when.all_equal_to(k, 1))


@exact(Equality.BITS, ONNX, "Slice", first_opset=10)
def slice_everything(x: Tensor, s: Tensor, e: Tensor, c: Tensor, p: Tensor, a: String, k: String,
                     ks: String, ke: String, kc: String, kp: String) -> Rewrites:  # fmt: skip
    """Slice(x, 0, size) = x."""
    facts = eq(k).to(kind(x)), eq(ks).to(known(s)), eq(ke).to(known(e)), eq(kc).to(known(c)), eq(kp).to(known(p))
    yield rewrite(Slice(x, s, e, c, p, a)).to(x, *facts, slices.takes_everything(k, ks, ke, kc, kp))


@exact(Equality.BITS, ONNX, "Slice", first_opset=10)
def slice_of_slice(x: Tensor, s: Tensor, e: Tensor, c: Tensor, p: Tensor, t: Tensor, f: Tensor, d: Tensor, q: Tensor,
                   a: String, k: String, ks: String, ke: String, kc: String, kp: String, kt: String, kf: String,
                   kd: String, kq: String, m0: String, m1: String, m2: String, m3: String) -> Rewrites:  # fmt: skip
    """Slice(Slice(x, on axes A), on axes B) = Slice(x, on A and B), if no bound depends on an unknown size."""
    inner = eq(ks).to(known(s)), eq(ke).to(known(e)), eq(kc).to(known(c)), eq(kp).to(known(p)), eq(k).to(kind(x))
    outer = eq(kt).to(known(t)), eq(kf).to(known(f)), eq(kd).to(known(d)), eq(kq).to(known(q))
    parts = m0, m1, m2, m3
    made = [g for i, m in enumerate(parts) for g in given(m, slices.merged(i, k, ks, ke, kc, kp, kt, kf, kd, kq))]
    yield rewrite(Slice(Slice(x, s, e, c, p, a), t, f, d, q, a)).to(
        Slice(x, *(literal(m) for m in parts), a), *inner, *outer, *made
    )


@exact(Equality.BITS, ONNX, "Pad")
def pad_nothing(x: Tensor, s: Tensor, v: Tensor, c: Tensor, a: String, k: String) -> Rewrites:
    """Pad(x, 0) = x."""
    yield rewrite(Pad(x, s, v, c, a)).to(x, eq(k).to(known(s)), slices.pads_nothing(a, k))


@exact(Equality.BITS, ONNX, "Concat|Max|Min|Sum|Mean")
def of_one_input(x: Tensor, a: String) -> Rewrites:
    """Concat(x) = Max(x) = Min(x) = Sum(x) = Mean(x) = x."""
    yield rewrite(Concat(cons(x, nil()), a)).to(x)
    yield rewrite(Max(cons(x, nil()), a)).to(x)
    yield rewrite(Min(cons(x, nil()), a)).to(x)
    yield rewrite(Sum(cons(x, nil()), a)).to(x)
    yield rewrite(Mean(cons(x, nil()), a)).to(x)


@exact(Equality.BITS, "idempotence of a lattice's meet and join", "Max|Min")
def extremum_of_the_same(x: Tensor, a: String) -> Rewrites:
    """Max(x, x) = Min(x, x) = x."""
    for extremum in (Max, Min):
        yield rewrite(extremum(cons(x, cons(x, nil())), a)).to(x)


@exact(Equality.BITS, ONNX, "Concat", "Split")
def concat_of_split(x: Tensor, s: Tensor, a: String, b: String) -> Rewrites:
    """Concat(Split(x)) = x along one axis, for all parts in order (two to four of them)."""
    for parts in (2, 3, 4):
        inputs = nil()
        for i in reversed(range(parts)):
            inputs = cons(project(Split(x, s, a), i), inputs)
        yield rewrite(Concat(inputs, b)).to(x, when.splits_as_concat(a, b, parts))


@exact(Equality.BITS, ONNX, "Concat")
def concat_of_concat(x: Tensor, y: Tensor, z: Tensor, u: Tensor, p: Tensors, a: String) -> Rewrites:
    """Concat(Concat(x, y), z) = Concat(x, Concat(y, z)) = Concat(x, y, z), two to four at the front, the last one."""
    for heads in ((x, y), (x, y, z), (x, y, z, u)):
        inner = Concat(_before(heads, nil()), a)
        yield rewrite(Concat(cons(inner, p), a)).to(Concat(_before(heads, p), a))
    for others in ((x,), (x, y), (x, y, z)):
        yield rewrite(Concat(_before(others, cons(Concat(p, a), nil())), a)).to(Concat(_before(others, p), a))


def _before(heads: Iterable[Tensor], tail: Tensors) -> Tensors:
    for head in reversed(tuple(heads)):
        tail = cons(head, tail)
    return tail


@exact(Equality.VALUE, f"{IEEE}: x + 0 loses the sign of -0", "Add")
def add_zero(x: Tensor, c: Tensor, k: String, m: String, z: String) -> Rewrites:
    """x + 0 = x if the sum has x's type."""
    # Subsumed, here and below: x would be computed of itself, and what takes in a term or a factor would never end.
    t = Add(x, c)
    yield rewrite(t, subsume=True).to(x, eq(z).to(known(c)), when.all_equal_to(z, 0), eq(k).to(kind(x)),
                        eq(m).to(kind(t)), when.same_kind(k, m))  # fmt: skip


@exact(Equality.BITS, ONNX, "Add")
def add_zero_integer(x: Tensor, c: Tensor, k: String, m: String, z: String) -> Rewrites:
    """x + 0 = x for integers, if the sum has x's type."""
    t = Add(x, c)
    yield rewrite(t, subsume=True).to(x, eq(z).to(known(c)), when.all_equal_to(z, 0), eq(k).to(kind(x)),
                        eq(m).to(kind(t)), when.is_integer(k), when.same_kind(k, m))  # fmt: skip


@exact(Equality.BITS, IEEE, "Sub")
def subtract_zero(x: Tensor, c: Tensor, k: String, m: String, z: String) -> Rewrites:
    """x - (+0) = x if the difference has x's type."""
    t = Sub(x, c)
    yield rewrite(t, subsume=True).to(x, eq(z).to(known(c)), when.all_positive_zero(z), eq(k).to(kind(x)),
                        eq(m).to(kind(t)), when.same_kind(k, m))  # fmt: skip


@exact(Equality.BITS, IEEE, "Mul")
def multiply_by_one(x: Tensor, c: Tensor, k: String, m: String, z: String) -> Rewrites:
    """x * 1 = x if the product has x's type."""
    t = Mul(x, c)
    yield rewrite(t, subsume=True).to(x, eq(z).to(known(c)), when.all_equal_to(z, 1), eq(k).to(kind(x)),
                        eq(m).to(kind(t)), when.same_kind(k, m))  # fmt: skip


@exact(Equality.BITS, IEEE, "Div")
def divide_by_one(x: Tensor, c: Tensor, k: String, m: String, z: String) -> Rewrites:
    """x / 1 = x if the quotient has x's type."""
    t = Div(x, c)
    yield rewrite(t, subsume=True).to(x, eq(z).to(known(c)), when.all_equal_to(z, 1), eq(k).to(kind(x)),
                        eq(m).to(kind(t)), when.same_kind(k, m))  # fmt: skip


@exact(Equality.VALUE, "ISO C, annex F.10.4.4", "Pow")
def power_of_one(x: Tensor, c: Tensor, k: String, m: String, z: String) -> Rewrites:
    """x ** 1 = x if the power has x's type."""
    t = Pow(x, c)
    yield rewrite(t).to(x, eq(z).to(known(c)), when.all_equal_to(z, 1), eq(k).to(kind(x)), eq(m).to(kind(t)),
                        when.same_kind(k, m))  # fmt: skip


@exact(Equality.BITS, IEEE, "Neg")
def negate_twice(x: Tensor) -> Rewrites:
    """-(-x) = x."""
    yield rewrite(Neg(Neg(x))).to(x)


@exact(Equality.BITS, ONNX, "Not")
def not_twice(x: Tensor) -> Rewrites:
    """Not(Not(x)) = x."""
    yield rewrite(Not(Not(x))).to(x)


@exact(Equality.BITS, IEEE, "Abs")
def absolute_of_absolute(x: Tensor) -> Rewrites:
    """|(|x|)| = |-x| = |x|."""
    yield rewrite(Abs(Abs(x))).to(Abs(x))
    yield rewrite(Abs(Neg(x))).to(Abs(x))


@exact(Equality.BITS, ONNX, "Relu")
def relu_of_relu(x: Tensor) -> Rewrites:
    """Relu(Relu(x)) = Relu(x)."""
    yield rewrite(Relu(Relu(x))).to(Relu(x))


@exact(Equality.VALUE, f"{ONNX}; ONNX Runtime's Where turns -0 into +0", "Where")
def where_same(c: Tensor, x: Tensor, k: String, m: String) -> Rewrites:
    """Where(c, x, x) = x if the condition does not widen x."""
    t = Where(c, x, x)
    yield rewrite(t).to(x, eq(k).to(kind(x)), eq(m).to(kind(t)), when.same_kind(k, m))


@exact(Equality.BITS, ONNX, "Where")
def where_same_integer(c: Tensor, x: Tensor, k: String, m: String) -> Rewrites:
    """Where(c, x, x) = x for integers, if the condition does not widen x."""
    t = Where(c, x, x)
    yield rewrite(t).to(x, eq(k).to(kind(x)), eq(m).to(kind(t)), when.is_integer(k), when.same_kind(k, m))


@exact(Equality.VALUE, f"{ONNX}; ONNX Runtime's Where turns -0 into +0", "Where")
def where_decided(c: Tensor, x: Tensor, y: Tensor, v: String, k: String, m: String) -> Rewrites:
    """Where(True, x, y) = x and Where(False, x, y) = y if the result has that one's type."""
    t = Where(c, x, y)
    yield rewrite(t).to(x, eq(v).to(known(c)), when.all_equal_to(v, 1), eq(k).to(kind(x)), eq(m).to(kind(t)),
                        when.same_kind(k, m))  # fmt: skip
    yield rewrite(t).to(y, eq(v).to(known(c)), when.all_equal_to(v, 0), eq(k).to(kind(y)), eq(m).to(kind(t)),
                        when.same_kind(k, m))  # fmt: skip


@exact(Equality.BITS, ONNX, "Where")
def where_decided_integer(c: Tensor, x: Tensor, y: Tensor, v: String, k: String, m: String) -> Rewrites:
    """Where(True, x, y) = x and Where(False, x, y) = y for integers, if the result has that one's type."""
    t = Where(c, x, y)
    yield rewrite(t).to(x, eq(v).to(known(c)), when.all_equal_to(v, 1), eq(k).to(kind(x)), eq(m).to(kind(t)),
                        when.is_integer(k), when.same_kind(k, m))  # fmt: skip
    yield rewrite(t).to(y, eq(v).to(known(c)), when.all_equal_to(v, 0), eq(k).to(kind(y)), eq(m).to(kind(t)),
                        when.is_integer(k), when.same_kind(k, m))  # fmt: skip
