"""Algebra of elementwise operators: constants gathered, activations merged."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import RewriteOrRule, String, eq, rewrite

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
    absent,
    coefficients,
    cons,
    constant,
    kind,
    known,
    literal,
    nil,
)  # fmt: skip
from tcc.rewrites import _conditions as when
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
IEEE = "IEEE 754-2019"
ONNX = "ONNX operator specification"
FIELD = "associative and distributive laws of the real numbers"


@exact(Equality.BITS, IEEE, "Add|Mul")
def constant_operand_last(x: Tensor, c: Tensor) -> Rewrites:
    """c + x = x + c and c x = x c for a constant c."""
    yield rewrite(Add(c, x)).to(Add(x, c), constant(c))
    yield rewrite(Mul(c, x)).to(Mul(x, c), constant(c))


@exact(Equality.BITS, IEEE, "Sub")
def subtract_constant(x: Tensor, c: Tensor, k: String) -> Rewrites:
    """x - c = x + (-c) for a constant floating-point c."""
    yield rewrite(Sub(x, c)).to(Add(x, Neg(c)), constant(c), eq(k).to(kind(c)), when.is_float(k))


@exact(Equality.VALUE, FIELD, "Div")
def divide_by_constant(x: Tensor, c: Tensor, k: String) -> Rewrites:
    """x / c = x (1 / c) for a constant floating-point c."""
    yield rewrite(Div(x, c)).to(Mul(x, Reciprocal(c)), constant(c), eq(k).to(kind(c)), when.is_float(k))


@exact(Equality.BITS, IEEE, "Add|Sub", "Neg")
def add_negated(x: Tensor, y: Tensor) -> Rewrites:
    """x + (-y) = x - y and x - (-y) = x + y."""
    yield rewrite(Add(x, Neg(y))).to(Sub(x, y))
    yield rewrite(Sub(x, Neg(y))).to(Add(x, y))


@exact(Equality.VALUE, FIELD, "Mul")
def gather_factors(x: Tensor, c: Tensor, d: Tensor, k: String) -> Rewrites:
    """(x c) d = x (c d) for constants c and d, neither 0 nor 1."""
    yield rewrite(Mul(Mul(x, c), d)).to(Mul(x, Mul(c, d)), *coefficients(c, d), eq(k).to(kind(c)), when.is_float(k))


@exact(Equality.VALUE, FIELD, "Add")
def gather_summands(x: Tensor, c: Tensor, d: Tensor, k: String) -> Rewrites:
    """(x + c) + d = x + (c + d) for constants c and d."""
    yield rewrite(Add(Add(x, c), d)).to(
        Add(x, Add(c, d)), constant(c), constant(d), eq(k).to(kind(c)), when.is_float(k)
    )


@exact(Equality.VALUE, FIELD, "Mul", "Reciprocal")
def multiply_by_reciprocal(x: Tensor, y: Tensor) -> Rewrites:
    """x (1 / y) = x / y."""
    yield rewrite(Mul(x, Reciprocal(y))).to(Div(x, y))
    yield rewrite(Mul(Reciprocal(y), x)).to(Div(x, y))


@exact(Equality.VALUE, f"{ONNX}, Max", "Max")
def max_with_zero(x: Tensor, c: Tensor, z: String, k: String, m: String) -> Rewrites:
    """Max(x, 0) = Relu(x) if the zero does not widen x."""
    for inputs in (cons(x, cons(c, nil())), cons(c, cons(x, nil()))):
        t = Max(inputs)
        yield rewrite(t).to(
            Relu(x), eq(z).to(known(c)), when.all_equal_to(z, 0), eq(k).to(kind(x)), eq(m).to(kind(t)),
            when.same_kind(k, m), when.is_float(k),
        )  # fmt: skip


@exact(Equality.VALUE, f"{ONNX}, Clip", "Clip", first_opset=11)
def clip_from_zero(x: Tensor, c: Tensor, z: String, k: String) -> Rewrites:
    """Clip(x, 0, no upper bound) = Relu(x)."""
    yield rewrite(Clip(x, c, absent())).to(
        Relu(x), eq(z).to(known(c)), when.all_equal_to(z, 0), eq(k).to(kind(x)), when.is_float(k)
    )


@exact(Equality.VALUE, "max and min are a lattice", "Clip", "Relu", first_opset=11)
def clip_with_relu(x: Tensor, c: Tensor, d: Tensor, z: String, u: String, lo: String, hi: String) -> Rewrites:
    """Clip(Relu(x), c, d) = Clip(x, max(c, 0), d) and Relu(Clip(x, c, d)) = Clip(x, max(c, 0), max(d, 0))."""
    bounds = eq(z).to(known(c)), eq(u).to(known(d))
    yield rewrite(Clip(Relu(x), c, d)).to(
        Clip(x, literal(lo), d), *bounds, *given(lo, when.larger_of_zero(z)), when.not_below_zero(u)
    )
    yield rewrite(Relu(Clip(x, c, d))).to(
        Clip(x, literal(lo), literal(hi)),
        *bounds, *given(lo, when.larger_of_zero(z)), *given(hi, when.larger_of_zero(u)),
    )  # fmt: skip


@exact(Equality.VALUE, "max and min are a lattice", "Clip", first_opset=11)
def clip_of_clip(x: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, ka: String, kb: String, kc: String, kd: String,
                 lo: String, hi: String) -> Rewrites:  # fmt: skip
    """Clip(Clip(x, a, b), c, d) = Clip(x, max(a, c), min(b, d)) if the two ranges meet."""
    yield rewrite(Clip(Clip(x, a, b), c, d)).to(
        Clip(x, literal(lo), literal(hi)),
        eq(ka).to(known(a)), eq(kb).to(known(b)), eq(kc).to(known(c)), eq(kd).to(known(d)),
        *given(lo, when.meeting(0, ka, kb, kc, kd)), *given(hi, when.meeting(1, ka, kb, kc, kd)),
    )  # fmt: skip
