"""Dimensions of size 1 kept out of the way: moved past what stands between two views, so that these become one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from egglog import RewriteOrRule, String, eq, rule

from tcc.ir.host import given
from tcc.ir.language import (
    Add,
    Clip,
    Conv,
    ConvTranspose,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    Mul,
    Pad,
    Relu,
    Reshape,
    Sigmoid,
    Tanh,
    Tensor,
    Transpose,
    absent,
    constant,
    form,
    kind,
    known,
    literal,
    view,
)
from tcc.rewrites import _unit_dimensions as units
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
ONNX = "ONNX operator specification"
VIEWS = "Reshape|Flatten|Squeeze|Unsqueeze"


CONVOLVED, PLAIN = String("convolved"), String("")
"""The form of what follows from a convolution: constants, of which there would be ever new views, do not."""


def _squeezed(v: Tensor, y: Tensor, m: String, k: String) -> tuple[Any, ...]:
    """The facts that v is y with other dimensions of size 1, and no more of them."""
    return form(y, y, CONVOLVED, PLAIN), view(v, y), eq(m).to(kind(v)), eq(k).to(kind(y)), units.is_squeezed(m, k)


def _convolutions(y: Tensor, x: Tensor, w: Tensor, b: Tensor, a: String) -> Rewrites:
    for convolution in (Conv(x, w, b, a), ConvTranspose(x, w, b, a)):
        yield rule(eq(y).to(convolution)).then(form(y, y, CONVOLVED, PLAIN))


def _moved(t: Tensor, made: Tensor) -> tuple[Any, ...]:
    return view(t, made), form(made, made, CONVOLVED, PLAIN)


@exact(Equality.BITS, ONNX, "Transpose", VIEWS, first_opset=5)
def transpose_of_unit_dimensions(
    t: Tensor, v: Tensor, y: Tensor, p: String, q: String, k: String, s: String
) -> Rewrites:
    """Transpose of a view with dimensions of size 1 is a view of the Transpose of the view without them."""
    yield rule(
        eq(t).to(Transpose(v, p)), view(v, y), eq(k).to(kind(v)), *given(q, units.order_of_rest(p, k)),
        *given(s, units.rest(k)),
    ).then(view(t, Transpose(Reshape(v, literal(s)), q)))  # fmt: skip


@exact(
    Equality.BITS,
    ONNX,
    VIEWS,
    "Conv|ConvTranspose",
    "Relu|LeakyRelu|Sigmoid|Tanh|HardSigmoid|HardSwish|Clip",
    first_opset=5,
)
def activation_past_squeeze(
    t: Tensor, v: Tensor, y: Tensor, x: Tensor, w: Tensor, b: Tensor, c: Tensor, a: String, m: String, k: String
) -> Rewrites:
    """f(v) = a view of f(y) for a view v of a convolution's y that drops or moves dimensions of size 1."""
    yield from _convolutions(y, x, w, b, a)
    pairs = [(f(v, a), f(y, a)) for f in (Relu, LeakyRelu, Sigmoid, Tanh, HardSigmoid, HardSwish)]
    for whole, made in (*pairs, (Clip(v, b, c, a), Clip(y, b, c, a))):
        yield rule(eq(t).to(whole), *_squeezed(v, y, m, k)).then(*_moved(t, made))


@exact(Equality.BITS, ONNX, VIEWS, "Conv|ConvTranspose", "Add|Mul", first_opset=7)
def constant_past_squeeze(
    t: Tensor, v: Tensor, y: Tensor, x: Tensor, w: Tensor, b: Tensor, c: Tensor, a: String, m: String, k: String,
    q: String, n: String,
) -> Rewrites:  # fmt: skip
    """v + c = a view of y + c' for a view v of a convolution's y that drops or moves dimensions of size 1; v c too."""
    yield from _convolutions(y, x, w, b, a)
    facts = *_squeezed(v, y, m, k), constant(c), eq(q).to(kind(c)), *given(n, units.shape_before(q, m, k))
    own = Reshape(c, literal(n))
    for f in (Add, Mul):
        for whole, made in ((f(v, c, a), f(y, own, a)), (f(c, v, a), f(own, y, a))):
            yield rule(eq(t).to(whole), *facts).then(*_moved(t, made))


@exact(Equality.BITS, ONNX, VIEWS, "Conv|ConvTranspose", "Pad", first_opset=11)
def pad_past_squeeze(
    t: Tensor, v: Tensor, y: Tensor, x: Tensor, w: Tensor, b: Tensor, p: Tensor, c: Tensor, a: String, m: String,
    k: String, s: String, n: String,
) -> Rewrites:  # fmt: skip
    """Pad(v) = a view of Pad(y) for a view v of a convolution's y that drops or moves dimensions of size 1."""
    yield from _convolutions(y, x, w, b, a)
    yield rule(
        eq(t).to(Pad(v, p, c, absent(), a)), *_squeezed(v, y, m, k), eq(s).to(known(p)),
        *given(n, units.pads_before(s, m, k)),
    ).then(*_moved(t, Pad(y, literal(n), c, absent(), a)))  # fmt: skip
