"""Activation functions written out, as the operators that ONNX has for them."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import RewriteOrRule, String, eq, rewrite, rule, union

from tcc.ir.host import given
from tcc.ir.language import (
    Add,
    Clip,
    Div,
    Erf,
    Exp,
    Gelu,
    HardSigmoid,
    HardSwish,
    Log,
    Mish,
    Mul,
    Neg,
    PRelu,
    Reciprocal,
    Relu,
    Sigmoid,
    Softplus,
    Sub,
    Swish,
    Tanh,
    Tensor,
    constant,
    form,
    kind,
    known,
)  # fmt: skip
from tcc.rewrites import _activations as activation
from tcc.rewrites import _conditions as when
from tcc.rewrites import _numbers as number
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
GELU = "Hendrycks and Gimpel, Gaussian error linear units, 2016; ONNX operator specification, Gelu"
ERF, TANH = map(String, ("{}", '{"approximate":"tanh"}'))

GATE, SQUARE, CUBE, INNER = map(String, ("gelu gate", "gelu square", "gelu cube", "gelu inner"))
"""Steps to Gelu: 1 + erf(x / sqrt(2)) or its approximation, 0.044715 x ** 2 and x ** 3, what tanh is taken of."""


def _gated(t: Tensor, x: Tensor, g: Tensor, h: Tensor, a: String, z: String, k: String, m: String) -> Rewrites:
    """x g / 2 in every order, for a gate g of x."""
    for product in (
        Mul(Mul(x, g), h), Mul(Mul(g, x), h), Mul(Mul(x, h), g), Mul(g, Mul(x, h)), Mul(x, Mul(g, h)),
        Mul(Mul(g, h), x),
    ):  # fmt: skip
        yield rule(
            form(g, x, GATE, a), eq(t).to(product), eq(z).to(known(h)), number.is_about(z, "0.5"), eq(k).to(kind(x)),
            eq(m).to(kind(t)), when.same_kind(k, m), when.is_single(k),
        ).then(union(t).with_(Gelu(x, a)))  # fmt: skip


@exact(Equality.VALUE, GELU, "Erf", "Mul", first_opset=20)
def gelu_of_erf(
    t: Tensor, x: Tensor, g: Tensor, e: Tensor, h: Tensor, o: Tensor, c: Tensor, a: String, z: String, y: String,
    k: String, m: String,
) -> Rewrites:  # fmt: skip
    """x (1 + erf(x / sqrt(2))) / 2 = Gelu(x) in single precision, the constants exact up to their rounding."""
    root = eq(e).to(Erf(Mul(x, c))), eq(z).to(known(c)), number.is_about(z, "0.7071067811865476")
    ratio = eq(e).to(Erf(Div(x, c))), eq(z).to(known(c)), number.is_about(z, "1.4142135623730951")
    for scaled in (root, ratio):
        one = eq(y).to(known(o)), number.is_about(y, "1")
        yield rule(*scaled, eq(g).to(Add(e, o)), *one).then(form(g, x, GATE, ERF))
        yield rule(*scaled, eq(g).to(Add(o, e)), *one).then(form(g, x, GATE, ERF))
        half = eq(y).to(known(h)), number.is_about(y, "0.5"), eq(m).to(known(o)), number.is_about(m, "0.5")
        for product in (Mul(x, Add(Mul(e, h), o)), Mul(Add(Mul(e, h), o), x)):
            yield rule(
                *scaled,
                eq(t).to(product),
                *half,
                eq(k).to(kind(x)),
                eq(a).to(kind(t)),
                when.same_kind(k, a),
                when.is_single(k),
            ).then(union(t).with_(Gelu(x)))
    yield from _gated(t, x, g, h, a, z, k, m)


@exact(Equality.VALUE, GELU, "Tanh", "Mul", first_opset=20)
def gelu_of_tanh(
    t: Tensor, x: Tensor, g: Tensor, u: Tensor, q: Tensor, h: Tensor, o: Tensor, c: Tensor, a: String, z: String,
    y: String, k: String, m: String,
) -> Rewrites:  # fmt: skip
    """x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x ** 3))) / 2 = Gelu(x, approximate=tanh) in single precision."""
    small = eq(z).to(known(c)), number.is_about(z, "0.044715")
    for square in (Mul(Mul(x, c), x), Mul(x, Mul(x, c)), Mul(Mul(x, x), c)):
        yield rule(eq(q).to(square), *small).then(form(q, x, SQUARE, ERF))
    for cube in (Mul(Mul(Mul(x, x), x), c), Mul(Mul(x, Mul(x, x)), c)):
        yield rule(eq(q).to(cube), *small).then(form(q, x, CUBE, ERF))
    for cube in (Mul(q, x), Mul(x, q)):
        yield rule(eq(u).to(cube), form(q, x, SQUARE, ERF)).then(form(u, x, CUBE, ERF))
    root, one = number.is_about(z, "0.7978845608028654"), number.is_about(y, "1")
    for total in (Add(x, q), Add(q, x)):
        yield rule(eq(u).to(Mul(total, c)), form(q, x, CUBE, ERF), eq(z).to(known(c)), root).then(
            form(u, x, INNER, ERF)
        )
    shifted = Add(q, o)
    facts = form(q, x, SQUARE, ERF), eq(z).to(known(c)), root, eq(y).to(known(o)), one
    for product in (Mul(Mul(x, c), shifted), Mul(shifted, Mul(x, c)), Mul(Mul(x, shifted), c), Mul(x, Mul(shifted, c))):
        yield rule(eq(u).to(product), *facts).then(form(u, x, INNER, ERF))
    for gate in (Add(Tanh(u), o), Add(o, Tanh(u))):
        yield rule(eq(g).to(gate), form(u, x, INNER, ERF), eq(y).to(known(o)), one).then(form(g, x, GATE, TANH))
    yield from _gated(t, x, g, h, a, z, k, m)


@exact(Equality.VALUE, "definition of the logistic function", "Exp", "Reciprocal|Div")
def sigmoid_written_out(x: Tensor, o: Tensor, y: String, k: String, m: String) -> Rewrites:
    """1 / (1 + exp(-x)) = Sigmoid(x)."""
    for total in (Add(Exp(Neg(x)), o), Add(o, Exp(Neg(x)))):
        t = Reciprocal(total)
        yield rewrite(t).to(
            Sigmoid(x), eq(y).to(known(o)), when.all_equal_to(y, 1), eq(k).to(kind(x)), eq(m).to(kind(t)),
            when.same_kind(k, m),
        )  # fmt: skip


@exact(
    Equality.VALUE, "Ramachandran et al., Searching for activation functions, 2017", "Sigmoid", "Mul", first_opset=24
)
def swish(x: Tensor, c: Tensor, z: String, n: String, k: String, m: String) -> Rewrites:
    """x sigmoid(alpha x) = Swish(x) for a constant scalar alpha that does not widen x, in single precision."""
    scaled = Mul(x, c)
    single = eq(k).to(kind(x)), when.is_single(k)
    facts = (
        *single, eq(z).to(known(c)), *given(n, activation.swish(z)), eq(m).to(kind(scaled)), when.same_kind(k, m),
    )  # fmt: skip
    yield rewrite(Mul(x, Sigmoid(x))).to(Swish(x), *single)
    yield rewrite(Mul(Sigmoid(x), x)).to(Swish(x), *single)
    yield rewrite(Mul(x, Sigmoid(scaled))).to(Swish(x, n), *facts)
    yield rewrite(Mul(Sigmoid(scaled), x)).to(Swish(x, n), *facts)


@exact(Equality.VALUE, "ONNX operator specification, HardSigmoid", "Clip", "Add", first_opset=11)
def hard_sigmoid(
    x: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, za: String, zb: String, zc: String, zd: String, n: String,
    k: String, m: String,
) -> Rewrites:  # fmt: skip
    """clip(x + b, 0, c) / c and clip(a x + b, 0, 1) are HardSigmoid(x) for constant scalars, in single precision."""
    values = eq(za).to(known(a)), eq(zb).to(known(b)), eq(zc).to(known(c)), eq(zd).to(known(d))
    whole = Mul(Clip(Add(x, b), c, d), a)
    yield rewrite(whole).to(
        HardSigmoid(x, n), *values, *given(n, activation.hard_sigmoid(zb, zc, zd, za)), eq(k).to(kind(x)),
        eq(m).to(kind(whole)), when.same_kind(k, m), when.is_single(k),
    )  # fmt: skip
    line = Clip(Add(Mul(x, a), b), c, d)
    yield rewrite(line).to(
        HardSigmoid(x, n), *values, *given(n, activation.clipped_line(za, zb, zc, zd)), eq(k).to(kind(x)),
        eq(m).to(kind(line)), when.same_kind(k, m), when.is_single(k),
    )  # fmt: skip


@exact(Equality.VALUE, "Howard et al., Searching for MobileNetV3, 2019", "HardSigmoid|Clip", "Mul", first_opset=14)
def hard_swish(
    x: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, n: String, za: String, zb: String, zc: String, zd: String,
    k: String, m: String,
) -> Rewrites:  # fmt: skip
    """x HardSigmoid(x) = HardSwish(x) for alpha = 1 / 6, beta = 1 / 2, in single precision; its form with Clip too."""
    gate = activation.is_hard_swish_gate(n)
    single = eq(k).to(kind(x)), when.is_single(k)
    yield rewrite(Mul(x, HardSigmoid(x, n))).to(HardSwish(x), gate, *single)
    yield rewrite(Mul(HardSigmoid(x, n), x)).to(HardSwish(x), gate, *single)
    clipped = Clip(Add(x, b), c, d)
    for whole in (Mul(Mul(x, clipped), a), Mul(Mul(clipped, x), a), Mul(Mul(x, a), clipped), Mul(clipped, Mul(x, a))):
        yield rewrite(whole).to(
            HardSwish(x), eq(za).to(known(a)), eq(zb).to(known(b)), eq(zc).to(known(c)), eq(zd).to(known(d)),
            *given(n, activation.hard_sigmoid(zb, zc, zd, za)), gate, eq(k).to(kind(x)), eq(m).to(kind(whole)),
            when.same_kind(k, m), when.is_single(k),
        )  # fmt: skip


@exact(Equality.VALUE, "definition: the smooth maximum of x and 0", "Exp", "Log", "Add")
def softplus_written_out(x: Tensor, o: Tensor, y: String, k: String, m: String) -> Rewrites:
    """log(1 + exp(x)) = Softplus(x)."""
    for total in (Add(Exp(x), o), Add(o, Exp(x))):
        t = Log(total)
        yield rewrite(t).to(
            Softplus(x), eq(y).to(known(o)), when.all_equal_to(y, 1), eq(k).to(kind(x)), eq(m).to(kind(t)),
            when.same_kind(k, m),
        )  # fmt: skip


@exact(Equality.VALUE, "Misra, Mish, BMVC 2020", "Softplus|Log", "Tanh", "Mul", first_opset=18)
def mish(x: Tensor, k: String) -> Rewrites:
    """x tanh(softplus(x)) = Mish(x) in single precision."""
    yield rewrite(Mul(x, Tanh(Softplus(x)))).to(Mish(x), eq(k).to(kind(x)), when.is_single(k))
    yield rewrite(Mul(Tanh(Softplus(x)), x)).to(Mish(x), eq(k).to(kind(x)), when.is_single(k))


@exact(Equality.VALUE, "He et al., Delving deep into rectifiers, 2015", "Relu", "Neg", "Mul", "Add|Sub", first_opset=9)
def prelu_written_out(x: Tensor, c: Tensor, k: String, m: String) -> Rewrites:
    """relu(x) - c relu(-x) = PRelu(x, c) for a constant c that does not widen x; with a sum, the slope is -c."""
    single = constant(c), eq(k).to(kind(x)), when.is_single(k)
    for scaled in (Mul(c, Relu(Neg(x))), Mul(Relu(Neg(x)), c)):
        same = eq(m).to(kind(scaled)), when.same_kind(k, m)
        yield rewrite(Sub(Relu(x), scaled)).to(PRelu(x, c), *single, *same)
        for total in (Add(Relu(x), scaled), Add(scaled, Relu(x))):
            yield rewrite(total).to(PRelu(x, Neg(c)), *single, *same)
