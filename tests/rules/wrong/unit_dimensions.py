"""Wrong forms of ``tcc.rewrites.unit_dimensions``, ``moments``, ``flattened`` and ``attention_turned``."""

# A rule's parameters are its pattern variables.
# ruff: noqa: PLR0917
from __future__ import annotations

from egglog import String, eq, rewrite, rule, union

from tcc.ir.language import (
    Add,
    Div,
    MatMul,
    Mul,
    Neg,
    PRelu,
    Relu,
    Softmax,
    Sub,
    Tensor,
    Transpose,
    constant,
    view,
)
from tests.rules.wrong._seeding import Rewrites, seeded


@seeded
def activation_past_squeeze__any_view(t: Tensor, v: Tensor, y: Tensor, c: Tensor, k: String, m: String) -> Rewrites:
    """The view is dropped with the dimensions."""
    yield rule(eq(t).to(Relu(v)), view(v, y)).then(union(t).with_(Relu(y)))


@seeded
def constant_past_squeeze__same_constant(t: Tensor, v: Tensor, y: Tensor, c: Tensor) -> Rewrites:
    """The constant keeps its shape."""
    yield rule(eq(t).to(Add(v, c)), view(v, y), constant(c)).then(view(t, Add(y, c)))


@seeded
def bias_of_split_columns__any_rows(t: Tensor, v: Tensor, y: Tensor, c: Tensor) -> Rewrites:
    """The constant is added before the view as it is."""
    yield rule(eq(t).to(Add(v, c)), view(v, y), constant(c)).then(view(t, Add(y, c)))


@seeded
def product_of_flattened_rows__any_stack(t: Tensor, p: Tensor, v: Tensor, x: Tensor, w: Tensor) -> Rewrites:
    """The shape of the result does not count."""
    yield rule(view(t, p), eq(p).to(MatMul(v, w)), view(v, x)).then(union(t).with_(MatMul(x, w)))


@seeded
def softmax_over_rows__same_order(t: Tensor, x: Tensor, y: Tensor, a: String, p: String) -> Rewrites:
    """The factors keep their order."""
    yield rule(eq(t).to(Transpose(Softmax(MatMul(x, y), a), p))).then(
        union(t).with_(Softmax(MatMul(Transpose(y, p), Transpose(x, p)), a))
    )


@seeded
def scale_and_shift_of_deviation__any_mean(t: Tensor, x: Tensor, m: Tensor, n: Tensor, d: Tensor, g: Tensor, b: Tensor,
                                           q: Tensor, s: Tensor) -> Rewrites:  # fmt: skip
    """What is subtracted may be another mean."""
    facts = eq(q).to(Div(g, s)), eq(d).to(Sub(x, m))
    yield rule(eq(t).to(Add(Mul(x, q), Sub(b, Mul(n, q)))), *facts).then(union(t).with_(Add(Mul(Div(d, s), g), b)))


@seeded
def prelu_written_out__other_sign(x: Tensor, c: Tensor) -> Rewrites:
    """The slope has the other sign."""
    yield rewrite(Add(Relu(x), Mul(c, Relu(Neg(x))))).to(PRelu(x, c), constant(c))


@seeded
def prelu_written_out__of_another(x: Tensor, y: Tensor, c: Tensor) -> Rewrites:
    """The two parts may be of different tensors."""
    yield rewrite(Sub(Relu(x), Mul(c, Relu(Neg(y))))).to(PRelu(x, c), constant(c))
