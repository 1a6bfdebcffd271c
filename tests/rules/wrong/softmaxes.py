"""Wrong forms of ``tcc.rewrites.softmaxes``."""

# A rule's parameters are its pattern variables.
# ruff: noqa: PLR0917
from __future__ import annotations

from egglog import String, eq, rewrite, rule, union

from tcc.ir.host import given
from tcc.ir.language import Div, Exp, Log, LogSoftmax, ReduceMax, ReduceSum, Softmax, Sub, Tensor, kind, known
from tcc.rewrites import _softmaxes as soft
from tests.rules.wrong._seeding import Rewrites, seeded


@seeded
def softmax_written_out__any_range(t: Tensor, x: Tensor, e: Tensor, i: Tensor, a: String, k: String, v: String,
                                   n: String) -> Rewrites:  # fmt: skip
    """The exponentials may overflow."""
    facts = eq(e).to(Exp(x)), eq(k).to(kind(x)), eq(v).to(known(i)), *given(n, soft.axis(k, a, v))
    yield rule(eq(t).to(Div(e, ReduceSum(e, i, a))), *facts).then(union(t).with_(Softmax(x, n)))


@seeded
def softmax_written_out__any_axis(t: Tensor, x: Tensor, e: Tensor, i: Tensor, a: String) -> Rewrites:
    """The sum may run over any axes."""
    yield rule(eq(t).to(Div(e, ReduceSum(e, i, a))), eq(e).to(Exp(x))).then(union(t).with_(Softmax(x)))


@seeded
def log_softmax_written_out__without_shift(x: Tensor, u: Tensor, m: Tensor, i: Tensor, a: String, k: String,
                                           v: String, n: String) -> Rewrites:  # fmt: skip
    """What is subtracted before the exponential need not be added after the logarithm."""
    total = Log(ReduceSum(Exp(Sub(u, m)), i, a))
    facts = eq(k).to(kind(u)), eq(v).to(known(i)), *given(n, soft.axis(k, a, v))
    yield rewrite(Sub(u, total)).to(LogSoftmax(u, n), *facts)


@seeded
def coerced_softmax_written_out__any_axis(t: Tensor, x: Tensor, e: Tensor, i: Tensor, a: String, k: String, v: String,
                                          n: String) -> Rewrites:  # fmt: skip
    """The axis need not be the last."""
    facts = eq(e).to(Exp(x)), eq(k).to(kind(x)), eq(v).to(known(i)), *given(n, soft.axis(k, a, v))
    yield rule(eq(t).to(Div(e, ReduceSum(e, i, a))), *facts).then(union(t).with_(Softmax(x, n)))


@seeded
def shift_of_softmax__other_axis(x: Tensor, i: Tensor, b: String, a: String) -> Rewrites:
    """The maximum may be that of another axis."""
    yield rewrite(Softmax(Sub(x, ReduceMax(x, i, b)), a)).to(Softmax(x, a))
