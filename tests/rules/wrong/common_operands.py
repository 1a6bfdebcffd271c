"""Wrong forms of ``tcc.rewrites.common_operands`` and ``tcc.rewrites.scalars``."""

# A rule's parameters are its pattern variables.
from __future__ import annotations

from egglog import String, eq, rewrite

from tcc.ir.language import Add, Concat, Mul, Sub, Tensor, Transpose, cons, constant, kind, nil
from tcc.rewrites import _conditions as when
from tests.rules.wrong._seeding import Rewrites, seeded


@seeded
def common_factor__of_difference(x: Tensor, y: Tensor, z: Tensor) -> Rewrites:
    """x y - x z = x (z - y)."""
    yield rewrite(Sub(Mul(x, y), Mul(x, z))).to(Mul(x, Sub(z, y)))


@seeded
def common_permutation__of_other_ranks(x: Tensor, y: Tensor, p: String) -> Rewrites:
    """The two may have other ranks."""
    yield rewrite(Add(Transpose(x, p), Transpose(y, p))).to(Transpose(Add(x, y), p))


@seeded
def common_permutation__of_two_permutations(x: Tensor, y: Tensor, p: String, q: String) -> Rewrites:
    """There may be two permutations."""
    yield rewrite(Add(Transpose(x, p), Transpose(y, q))).to(Transpose(Add(x, y), p))


@seeded
def common_permutation_of_joined__same_axis(x: Tensor, y: Tensor, p: String, a: String) -> Rewrites:
    """The axis stays what it is behind the permutation."""
    yield rewrite(Concat(cons(Transpose(x, p), cons(Transpose(y, p), nil())), a)).to(
        Transpose(Concat(cons(x, cons(y, nil())), a), p)
    )


@seeded
def scalar_behind_product__added(x: Tensor, y: Tensor, c: Tensor) -> Rewrites:
    """x c + y = (x + y) c."""
    yield rewrite(Mul(Mul(x, c), y)).to(Mul(Add(x, y), c), constant(c))


@seeded
def scalar_behind_view__of_a_vector(x: Tensor, c: Tensor, p: String, k: String) -> Rewrites:
    """The factor may be a vector."""
    yield rewrite(Transpose(Mul(x, c), p)).to(Mul(Transpose(x, p), c), constant(c), eq(k).to(kind(c)), when.is_float(k))
