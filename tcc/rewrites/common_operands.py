"""What both operands of an operator have in common is applied once, behind it: a factor, a permutation."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from egglog import RewriteOrRule, String, eq, rewrite

from tcc.ir.host import given
from tcc.ir.language import Add, Concat, Div, Mul, Sub, Tensor, Tensors, Transpose, cons, kind, nil
from tcc.rewrites import _conditions as when
from tcc.rewrites import _transposes as order
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
TASO = "TASO, SOSP 2019, table 2"
REQUIRED = 1000
"""The default of an axis that has to be given: none that a tensor has."""


@exact(Equality.VALUE, f"{TASO}: distributivity", "Mul", "Add|Sub")
def common_factor(x: Tensor, y: Tensor, z: Tensor, k: String) -> Rewrites:
    """x y + x z = x (y + z) and x y - x z = x (y - z) in floating point."""
    for f in (Add, Sub):
        for first, second in itertools.product((Mul(x, y), Mul(y, x)), (Mul(x, z), Mul(z, x))):
            yield rewrite(f(first, second)).to(Mul(x, f(y, z)), eq(k).to(kind(x)), when.is_float(k))


@exact(Equality.BITS, f"{TASO}: transposition is linear", "Transpose", "Add|Sub|Mul|Div")
def common_permutation(x: Tensor, y: Tensor, p: String, a: String, k: String, m: String) -> Rewrites:
    """f(Transpose(x), Transpose(y)) = Transpose(f(x, y)) for one permutation of tensors of one rank."""
    for f in (Add, Sub, Mul, Div):
        yield rewrite(f(Transpose(x, p), Transpose(y, p), a)).to(
            Transpose(f(x, y, a), p), eq(k).to(kind(x)), eq(m).to(kind(y)), order.moves_both(p, k, m)
        )


@exact(Equality.BITS, f"{TASO}: concatenation of transposed", "Transpose", "Concat")
def common_permutation_of_joined(
    x: Tensor, y: Tensor, z: Tensor, u: Tensor, p: String, a: String, b: String, k: String
) -> Rewrites:
    """Concat(Transpose(x), Transpose(y), ...) = Transpose(Concat(x, y, ...)) for one permutation, two to four."""
    for inputs in ((x, y), (x, y, z), (x, y, z, u)):
        yield rewrite(Concat(_list(Transpose(one, p) for one in inputs), a)).to(
            Transpose(Concat(_list(inputs), b), p), eq(k).to(kind(x)), *given(b, order.axis(a, p, k, REQUIRED))
        )


def _list(inputs: Iterable[Tensor]) -> Tensors:
    made = nil()
    for one in reversed(list(inputs)):
        made = cons(one, made)
    return made
