"""Powers, roots and scalar constants in the one form that the fusions' patterns are written in."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import RewriteOrRule, String, eq, rewrite, rule, set_

from tcc.ir.host import given
from tcc.ir.language import Div, Mul, Neg, Pow, Reciprocal, Sqrt, Tensor, constant, kind, known
from tcc.rewrites import _conditions as when
from tcc.rewrites import _numbers as number
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
IEEE = "IEEE 754-2019"
POWERS = "ISO C, annex F.10.4.4"


@exact(Equality.VALUE, POWERS, "Pow")
def power_is_root(x: Tensor, c: Tensor, z: String, k: String, m: String) -> Rewrites:
    """x ** 0.5 = sqrt(x), x ** -0.5 = 1 / sqrt(x) and x ** -1 = 1 / x for a constant exponent that does not widen x."""
    t = Pow(x, c)
    types = eq(z).to(known(c)), eq(k).to(kind(x)), eq(m).to(kind(t)), when.same_kind(k, m), when.is_float(k)
    yield rewrite(t).to(Sqrt(x), *types, number.is_about(z, "0.5"))
    yield rewrite(t).to(Reciprocal(Sqrt(x)), *types, number.is_about(z, "-0.5"))
    yield rewrite(t).to(Reciprocal(x), *types, number.is_about(z, "-1"))


@exact(Equality.VALUE, POWERS, "Pow")
def power_is_product(x: Tensor, c: Tensor, z: String, k: String, m: String) -> Rewrites:
    """x ** 2 = x x and x ** 3 = (x x) x for a constant exponent that does not widen x."""
    t = Pow(x, c)
    types = eq(z).to(known(c)), eq(k).to(kind(x)), eq(m).to(kind(t)), when.same_kind(k, m), when.is_float(k)
    yield rewrite(t).to(Mul(x, x), *types, when.all_equal_to(z, 2))
    yield rewrite(t).to(Mul(Mul(x, x), x), *types, when.all_equal_to(z, 3))


@exact(Equality.VALUE, "1 / y is y's reciprocal", "Div")
def one_over(y: Tensor, c: Tensor, z: String, k: String, m: String) -> Rewrites:
    """c / y = c (1 / y) for c = 1, if it does not widen y."""
    t = Div(c, y)
    yield rewrite(t).to(
        Reciprocal(y), eq(z).to(known(c)), when.all_equal_to(z, 1), eq(k).to(kind(y)), eq(m).to(kind(t)),
        when.same_kind(k, m), when.is_float(k),
    )  # fmt: skip


@exact(Equality.VALUE, f"{IEEE}: one correctly rounded operation", "Reciprocal|Neg|Mul|Div|Sub")
def constant_scalar(t: Tensor, c: Tensor, d: Tensor, z: String, y: String, n: String) -> Rewrites:
    """1 / c, -c and c d are known where the constants are."""
    yield rule(eq(t).to(Reciprocal(c)), eq(z).to(known(c)), *given(n, number.reciprocal(z))).then(set_(known(t)).to(n))
    yield rule(eq(t).to(Neg(c)), eq(z).to(known(c)), *given(n, number.negated(z))).then(set_(known(t)).to(n))
    yield rule(
        eq(t).to(Mul(c, d)), constant(c), constant(d), eq(z).to(known(c)), eq(y).to(known(d)),
        *given(n, number.product(z, y)),
    ).then(set_(known(t)).to(n))  # fmt: skip
