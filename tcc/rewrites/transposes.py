"""Transpositions sunk towards the outputs, where they meet others that undo them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from egglog import RewriteOrRule, String, eq, rule, union

from tcc.ir.host import given
from tcc.ir.language import (
    WANTED,
    Add,
    Clip,
    Concat,
    Div,
    Gelu,
    HardSigmoid,
    HardSwish,
    LayerNormalization,
    Log,
    Mish,
    Mul,
    Not,
    Pad,
    Reciprocal,
    ReduceMax,
    ReduceMean,
    ReduceSum,
    Reshape,
    RMSNormalization,
    Slice,
    Softmax,
    Softplus,
    Split,
    Sub,
    Swish,
    Tensor,
    Tensors,
    Transpose,
    absent,
    cons,
    constant,
    form,
    kind,
    known,
    literal,
    nil,
    project,
)  # fmt: skip
from tcc.rewrites import _transposes as order
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
ONNX = "ONNX operator specification"
BINARY = Add, Sub, Mul, Div
ACTIVATIONS = Log, Reciprocal, Softplus, Not, Gelu, HardSigmoid, HardSwish, Mish, Swish
REQUIRED = 1000
"""The default of an axis that has to be given: none that a tensor has."""


MOVED = "elements move, values do not change"


def _wanted(t: Tensor, w: String, p: String, x: Tensor, k: String) -> tuple[Any, ...]:
    """The facts that x is transposed by p, which moves elements, and that what undoes p stands behind t."""
    return form(t, t, String(WANTED), w), eq(k).to(kind(x)), order.undoes(w, p, k)


@exact(Equality.BITS, MOVED, "Transpose", "Add|Sub|Mul|Div", first_opset=7)
def transpose_past_operand(
    t: Tensor, x: Tensor, y: Tensor, p: String, w: String, a: String, k: String, m: String, n: String
) -> Rewrites:
    """f(Transpose(x), y) = Transpose(f(x, y moved back)) for a y that is constant or moved by a view.

    Like all here where a transposition that undoes the first follows, with nothing in between that bars the way.
    """
    back = Transpose(Reshape(y, literal(n)), w)
    fixed = constant(y), eq(m).to(kind(y)), *given(n, order.full(m, k))
    alike = constant(y), eq(m).to(kind(y)), order.is_single(m, k)
    seen = eq(m).to(kind(y)), order.is_view(w, m, k)
    for f in BINARY:
        for facts, other in ((fixed, back), (alike, y), (seen, Transpose(y, w))):
            for whole, made in ((f(Transpose(x, p), y, a), f(x, other, a)), (f(y, Transpose(x, p), a), f(other, x, a))):
                yield rule(eq(t).to(whole), *_wanted(t, w, p, x, k), *facts).then(union(t).with_(Transpose(made, p)))


@exact(Equality.BITS, MOVED, "Transpose", "Add|Sub|Mul|Div", first_opset=7)
def transpose_of_operands(
    t: Tensor, x: Tensor, y: Tensor, p: String, w: String, a: String, k: String, m: String
) -> Rewrites:
    """f(Transpose(x), Transpose(y)) = Transpose(f(x, y)) for one permutation, undone behind it."""
    for f in BINARY:
        yield rule(
            eq(t).to(f(Transpose(x, p), Transpose(y, p), a)), *_wanted(t, w, p, x, k), eq(m).to(kind(y)),
            order.have_one_rank(k, m),
        ).then(union(t).with_(Transpose(f(x, y, a), p)))  # fmt: skip


@exact(Equality.BITS, MOVED, "Transpose",
       "Log|Reciprocal|Softplus|Not|Gelu|HardSigmoid|HardSwish|Mish|Swish|Clip")  # fmt: skip
def transpose_through_activation(
    t: Tensor, x: Tensor, low: Tensor, high: Tensor, p: String, w: String, a: String, k: String
) -> Rewrites:
    """f(Transpose(x)) = Transpose(f(x)) for activations, undone behind it."""
    pairs = [(f(Transpose(x, p), a), f(x, a)) for f in ACTIVATIONS]
    pairs += [(Clip(Transpose(x, p), low, high, a), Clip(x, low, high, a))]
    for whole, made in pairs:
        yield rule(eq(t).to(whole), *_wanted(t, w, p, x, k)).then(union(t).with_(Transpose(made, p)))


@exact(Equality.BITS, ONNX, "Transpose", "Concat")
def transpose_through_concat(
    t: Tensor, x: Tensor, y: Tensor, z: Tensor, u: Tensor, p: String, w: String, a: String, b: String, k: String
) -> Rewrites:
    """Concat(Transpose(x), Transpose(y), ...) = Transpose(Concat(x, y, ...)), two to four of them, undone behind it."""
    for inputs in ((x, y), (x, y, z), (x, y, z, u)):
        whole = Concat(_list(Transpose(one, p) for one in inputs), a)
        yield rule(eq(t).to(whole), *_wanted(t, w, p, x, k), *given(b, order.axis(a, p, k, REQUIRED))).then(
            union(t).with_(Transpose(Concat(_list(inputs), b), p))
        )


def _list(inputs: Iterable[Tensor]) -> Tensors:
    made = nil()
    for one in reversed(list(inputs)):
        made = cons(one, made)
    return made


@exact(Equality.BITS, ONNX, "Transpose", "Slice|Pad|Split", first_opset=11)
def transpose_through_parts(
    t: Tensor, x: Tensor, s: Tensor, e: Tensor, c: Tensor, d: Tensor, p: String, w: String, a: String, k: String,
    v: String, m: String, n: String,
) -> Rewrites:  # fmt: skip
    """Slice, Pad and Split of Transpose(x) are Transpose of theirs along the axes that it puts there, undone behind."""
    wanted = _wanted(t, w, p, x, k)
    sliced = eq(v).to(known(c)), eq(m).to(kind(s)), *given(n, order.axes(v, m, p, k))
    yield rule(eq(t).to(Slice(Transpose(x, p), s, e, c, d, a)), *wanted, *sliced).then(
        union(t).with_(Transpose(Slice(x, s, e, literal(n), d, a), p))
    )
    padded = eq(v).to(known(s)), *given(n, order.amounts(v, p, k))
    yield rule(eq(t).to(Pad(Transpose(x, p), s, c, absent(), a)), *wanted, *padded).then(
        union(t).with_(Transpose(Pad(x, literal(n), c, absent(), a), p))
    )
    for part in range(4):
        yield rule(
            eq(t).to(project(Split(Transpose(x, p), s, a), part)), *wanted, *given(n, order.axis(a, p, k, 0))
        ).then(union(t).with_(Transpose(project(Split(x, s, n), part), p)))


@exact(Equality.VALUE, ONNX, "Transpose", "ReduceMean|ReduceSum|ReduceMax", first_opset=18)
def transpose_through_reduction(t: Tensor, x: Tensor, s: Tensor, p: String, a: String, k: String, v: String,
                                n: String) -> Rewrites:  # fmt: skip
    """Reduce(Transpose(x)) = Reduce(x) over the axes that it puts there, if the rest keeps its order.

    With its dimensions kept, for two axes and more: the mean of the channels is a part of a normalization, which is
    computed faster where the channels are last.
    """
    for reduce in (ReduceMean, ReduceSum, ReduceMax):
        facts = (
            eq(t).to(reduce(Transpose(x, p), s, a)), eq(v).to(known(s)), eq(k).to(kind(x)),
            *given(n, order.reduced_axes(v, p, k)),
        )  # fmt: skip
        yield rule(*facts, order.leaves_order(a, v, p, k)).then(union(t).with_(reduce(x, literal(n), a)))
        yield rule(*facts, order.leaves_view(a, v, p, k)).then(union(t).with_(Transpose(reduce(x, literal(n), a), p)))


@exact(Equality.VALUE, ONNX, "Transpose", "ReduceMean|ReduceSum|ReduceMax", last_opset=17)
def transpose_through_older_reduction(
    t: Tensor, x: Tensor, p: String, a: String, k: String, v: String, n: String
) -> Rewrites:
    """The same where the axes are an attribute."""
    for reduce in (ReduceMean, ReduceSum, ReduceMax):
        made = reduce(x, absent(), n)
        facts = (
            eq(t).to(reduce(Transpose(x, p), absent(), a)), eq(k).to(kind(x)), *given(v, order.stated_axes(a)),
            *given(n, order.reduced_attributes(a, p, k)),
        )  # fmt: skip
        yield rule(*facts, order.leaves_order(a, v, p, k)).then(union(t).with_(made))
        yield rule(*facts, order.leaves_view(a, v, p, k)).then(union(t).with_(Transpose(made, p)))


@exact(Equality.VALUE, ONNX, "Transpose", "Softmax|LayerNormalization|RMSNormalization", first_opset=13)
def transpose_through_last_axis(
    t: Tensor, x: Tensor, g: Tensor, c: Tensor, p: String, w: String, a: String, k: String
) -> Rewrites:
    """Softmax and normalisations over the last axis pass a transposition that leaves it, and is undone behind it."""
    y = Transpose(x, p)
    for whole, made in (
        (Softmax(y, a), Softmax(x, a)), (LayerNormalization(y, g, c, a), LayerNormalization(x, g, c, a)),
        (RMSNormalization(y, g, a), RMSNormalization(x, g, a)),
    ):  # fmt: skip
        yield rule(eq(t).to(whole), *_wanted(t, w, p, x, k), order.keeps_last(a, p, k)).then(
            union(t).with_(Transpose(made, p))
        )
