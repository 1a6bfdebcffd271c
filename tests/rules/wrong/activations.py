"""Wrong forms of ``tcc.rewrites.activations``."""

# A rule's parameters are its pattern variables.
# ruff: noqa: PLR0917
from __future__ import annotations

from egglog import String, eq, rewrite

from tcc.ir.language import (
    Add,
    Clip,
    Erf,
    Exp,
    Gelu,
    HardSigmoid,
    HardSwish,
    Mish,
    Mul,
    Neg,
    Reciprocal,
    Sigmoid,
    Softplus,
    Swish,
    Tanh,
    Tensor,
    constant,
    known,
)  # fmt: skip
from tcc.rewrites import _numbers as number
from tests.rules.wrong._seeding import Rewrites, seeded


@seeded
def gelu_of_erf__any_root(x: Tensor, c: Tensor, o: Tensor, h: Tensor, y: String, z: String) -> Rewrites:
    """The argument of erf may be scaled by anything."""
    yield rewrite(Mul(Mul(x, Add(Erf(Mul(x, c)), o)), h)).to(
        Gelu(x), constant(c), eq(y).to(known(o)), number.is_about(y, "1"), eq(z).to(known(h)),
        number.is_about(z, "0.5"),
    )  # fmt: skip


@seeded
def gelu_of_erf__of_another(x: Tensor, v: Tensor, c: Tensor, o: Tensor, h: Tensor, y: String) -> Rewrites:
    """What is gated need not be what the gate is computed from."""
    yield rewrite(Mul(Mul(v, Add(Erf(Mul(x, c)), o)), h)).to(
        Gelu(v), eq(y).to(known(c)), number.is_about(y, "0.7071067811865476"), constant(o), constant(h)
    )


@seeded
def gelu_of_tanh__exact(x: Tensor, u: Tensor, o: Tensor, h: Tensor, z: String) -> Rewrites:
    """Any tanh gate is the error function's."""
    yield rewrite(Mul(Mul(x, Add(Tanh(u), o)), h)).to(Gelu(x), eq(z).to(known(h)), number.is_about(z, "0.5"))


@seeded
def sigmoid_written_out__sign_lost(x: Tensor, o: Tensor) -> Rewrites:
    """1 / (1 + exp(x)) = Sigmoid(x)."""
    yield rewrite(Reciprocal(Add(Exp(x), o))).to(Sigmoid(x), constant(o))
    yield rewrite(Reciprocal(Add(Exp(Neg(x)), o))).to(Sigmoid(Neg(x)), constant(o))


@seeded
def swish__of_another(x: Tensor, y: Tensor) -> Rewrites:
    """What is gated need not be what the gate is computed from."""
    yield rewrite(Mul(x, Sigmoid(y))).to(Swish(x))


@seeded
def hard_sigmoid__any_range(x: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Rewrites:
    """The range and the scale may be anything."""
    yield rewrite(Mul(Clip(Add(x, b), c, d), a)).to(
        HardSigmoid(x, '{"alpha":0.16666666666666666}'), constant(a), constant(b), constant(c), constant(d)
    )


@seeded
def hard_swish__any_gate(x: Tensor, n: String) -> Rewrites:
    """The gate's slope may be another."""
    yield rewrite(Mul(x, HardSigmoid(x, n))).to(HardSwish(x))
    yield rewrite(Mul(HardSigmoid(x, n), x)).to(HardSwish(x))


@seeded
def mish__of_another(x: Tensor, y: Tensor) -> Rewrites:
    """What is gated need not be what the gate is computed from."""
    yield rewrite(Mul(x, Tanh(Softplus(y)))).to(Mish(x))
    yield rewrite(Mul(Tanh(Softplus(y)), x)).to(Mish(x))
