"""Softmax and LogSoftmax written out, as the operators that ONNX has for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from egglog import RewriteOrRule, String, eq, rewrite, rule, union

from tcc.ir.host import given
from tcc.ir.language import (
    Add,
    Clip,
    Div,
    Exp,
    HardSigmoid,
    Log,
    LogSoftmax,
    Mul,
    Reciprocal,
    ReduceLogSumExp,
    ReduceMax,
    ReduceSum,
    Sigmoid,
    Softmax,
    Sub,
    Tanh,
    Tensor,
    form,
    kind,
    known,
)  # fmt: skip
from tcc.rewrites import _softmaxes as soft
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
ONNX = "ONNX operator specification, Softmax"
COERCED = 13
"""Before this opset a Softmax makes a matrix of its input: only over the last axis it is what it is today."""
SMALL = String("small exponents")
"""The form of a tensor whose exponentials and their sums are finite and not all 0: what is written out must not
overflow where the operator does not."""
Axis = Callable[[String, String, String], String]


def _small(t: Tensor, x: Tensor, i: Tensor, c: Tensor, d: Tensor, a: String, y: String, z: String) -> Rewrites:
    found = form(t, t, SMALL, String(""))
    for f in (Tanh, Sigmoid, HardSigmoid):
        yield rule(eq(t).to(f(x, a))).then(found)
    yield rule(eq(t).to(Clip(x, c, d, a)), eq(y).to(known(c)), eq(z).to(known(d)), soft.are_small(y, z)).then(found)
    yield rule(eq(t).to(Sub(x, ReduceMax(x, i, a)))).then(found)


def _shares(t: Tensor, x: Tensor, e: Tensor, i: Tensor, a: String, k: String, v: String, n: String,
            axis: Axis) -> Rewrites:  # fmt: skip
    total = ReduceSum(e, i, a)
    facts = (
        eq(e).to(Exp(x)), form(x, x, SMALL, String("")), eq(k).to(kind(x)), eq(v).to(known(i)),
        *given(n, axis(k, a, v)),
    )  # fmt: skip
    for whole in (Div(e, total), Mul(e, Reciprocal(total)), Mul(Reciprocal(total), e)):
        yield rule(eq(t).to(whole), *facts).then(union(t).with_(Softmax(x, n)))


def _logarithms(t: Tensor, x: Tensor, u: Tensor, d: Tensor, i: Tensor, a: String, k: String, v: String, n: String,
                axis: Axis) -> Rewrites:  # fmt: skip
    total = Log(ReduceSum(Exp(x), i, a))
    facts = form(x, x, SMALL, String("")), eq(k).to(kind(x)), eq(v).to(known(i)), *given(n, axis(k, a, v))
    yield rule(eq(t).to(Sub(x, total)), *facts).then(union(t).with_(LogSoftmax(x, n)))
    for whole in (Sub(u, Add(d, total)), Sub(u, Add(total, d))):
        yield rule(eq(t).to(whole), eq(x).to(Sub(u, d)), *facts).then(union(t).with_(LogSoftmax(x, n)))


def _less_log_sum(t: Tensor, x: Tensor, i: Tensor, a: String, k: String, v: String, n: String,
                  axis: Axis) -> Rewrites:  # fmt: skip
    facts = eq(k).to(kind(x)), eq(v).to(known(i)), *given(n, axis(k, a, v))
    yield rule(eq(t).to(Sub(x, ReduceLogSumExp(x, i, a))), *facts).then(union(t).with_(LogSoftmax(x, n)))


@exact(Equality.VALUE, ONNX, "Exp", "ReduceSum", "Div|Reciprocal", first_opset=COERCED)
def softmax_written_out(
    t: Tensor, x: Tensor, e: Tensor, i: Tensor, c: Tensor, d: Tensor, a: String, k: String, v: String, y: String,
    z: String, n: String,
) -> Rewrites:  # fmt: skip
    """exp(x) / sum exp(x) = Softmax(x) where no exponential overflows: for x less its maximum, and for a bounded x."""
    yield from _small(t, x, i, c, d, a, y, z)
    yield from _shares(t, x, e, i, a, k, v, n, soft.axis)


@exact(Equality.VALUE, ONNX, "Exp", "ReduceSum", "Log", "Sub", first_opset=COERCED)
def log_softmax_written_out(
    t: Tensor, u: Tensor, x: Tensor, i: Tensor, c: Tensor, d: Tensor, a: String, k: String, v: String, y: String,
    z: String, n: String,
) -> Rewrites:  # fmt: skip
    """x - log sum exp(x) = LogSoftmax(x) where no exponential overflows; y - (m + log sum exp(y - m)) likewise."""
    yield from _small(t, x, i, c, d, a, y, z)
    yield from _logarithms(t, x, u, d, i, a, k, v, n, soft.axis)


@exact(Equality.VALUE, ONNX, "ReduceLogSumExp", "Sub", first_opset=COERCED)
def less_log_sum(t: Tensor, x: Tensor, i: Tensor, a: String, k: String, v: String, n: String) -> Rewrites:
    """x - ReduceLogSumExp(x) = LogSoftmax(x)."""
    yield from _less_log_sum(t, x, i, a, k, v, n, soft.axis)


@exact(Equality.VALUE, ONNX, "Exp|ReduceLogSumExp", "Div|Reciprocal|Sub", last_opset=COERCED - 1)
def coerced_softmax_written_out(
    t: Tensor, u: Tensor, x: Tensor, e: Tensor, i: Tensor, c: Tensor, d: Tensor, a: String, k: String, v: String,
    y: String, z: String, n: String,
) -> Rewrites:  # fmt: skip
    """Softmax and LogSoftmax written out over the last axis, in opsets that make a matrix of the input."""
    yield from _small(t, x, i, c, d, a, y, z)
    yield from _shares(t, x, e, i, a, k, v, n, soft.last_axis)
    yield from _logarithms(t, x, u, d, i, a, k, v, n, soft.last_axis)
    yield from _less_log_sum(t, x, i, a, k, v, n, soft.last_axis)


@exact(
    Equality.VALUE, "a softmax does not see what is the same along its axis", "Softmax|LogSoftmax", "Sub", "ReduceMax",
    first_opset=COERCED,
)  # fmt: skip
def shift_of_softmax(x: Tensor, i: Tensor, b: String, k: String, a: String, m: String) -> Rewrites:
    """Softmax(x - max x) = Softmax(x), the maximum along the softmax's axis; for LogSoftmax too."""
    shifted = Sub(x, ReduceMax(x, i, b))
    facts = eq(k).to(kind(x)), eq(m).to(known(i)), soft.is_along(k, b, m, a)
    yield rewrite(Softmax(shifted, a)).to(Softmax(x, a), *facts)
    yield rewrite(LogSoftmax(shifted, a)).to(LogSoftmax(x, a), *facts)


@exact(Equality.VALUE, "definition", "LogSoftmax", "Exp")
def exponential_of_log_softmax(x: Tensor, a: String) -> Rewrites:
    """exp(LogSoftmax(x)) = Softmax(x)."""
    yield rewrite(Exp(LogSoftmax(x, a))).to(Softmax(x, a))
