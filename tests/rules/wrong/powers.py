"""Wrong forms of ``tcc.rewrites.powers``."""

from __future__ import annotations

from egglog import String, eq, rewrite

from tcc.ir.language import Div, Mul, Pow, Reciprocal, Sqrt, Tensor, constant, kind, known
from tcc.rewrites import _conditions as when
from tcc.rewrites import _numbers as number
from tests.rules.wrong._seeding import Rewrites, seeded


@seeded
def power_is_root__sign_lost(x: Tensor, c: Tensor, z: String) -> Rewrites:
    """x ** -0.5 = sqrt(x)."""
    yield rewrite(Pow(x, c)).to(Sqrt(x), eq(z).to(known(c)), number.is_about(z, "-0.5"))


@seeded
def power_is_root__widens(x: Tensor, c: Tensor, k: String) -> Rewrites:
    """The exponent may be a larger tensor of halves."""
    yield rewrite(Pow(x, c)).to(Sqrt(x), constant(c), eq(k).to(kind(x)), when.is_float(k))


@seeded
def power_is_product__of_cube(x: Tensor, c: Tensor, z: String) -> Rewrites:
    """x ** 3 = x x."""
    yield rewrite(Pow(x, c)).to(Mul(x, x), eq(z).to(known(c)), when.all_equal_to(z, 3))


@seeded
def one_over__any_constant(y: Tensor, c: Tensor) -> Rewrites:
    """The numerator need not be 1."""
    yield rewrite(Div(c, y)).to(Reciprocal(y), constant(c))
