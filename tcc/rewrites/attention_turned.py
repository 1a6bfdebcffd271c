"""Attention written the other way round: keys times queries, a softmax over the rows, then transposed."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import RewriteOrRule, String, eq, rule, union

from tcc.ir.host import given
from tcc.ir.language import Add, MatMul, Mul, Softmax, Tensor, Transpose, constant, form, kind
from tcc.rewrites import _conditions as when
from tcc.rewrites import _folds as folds
from tcc.rewrites import _transposes as order
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
TURNED = String("scores turned")
"""The form of scores whose transpose is wanted, by this permutation."""


@exact(Equality.VALUE, "the transpose of a product is that of the transposes, the other way round",
       "Softmax", "Transpose", "MatMul", first_opset=13)  # fmt: skip
def softmax_over_rows(
    t: Tensor, s: Tensor, u: Tensor, x: Tensor, y: Tensor, c: Tensor, a: String, b: String, p: String, k: String,
    m: String,
) -> Rewrites:  # fmt: skip
    """Transpose(Softmax(K Qt, axis -2)) = Softmax(Q Kt) over the last axis, scaled and masked scores included."""
    turned = eq(t).to(Transpose(Softmax(s, a), p)), eq(k).to(kind(s)), folds.exchanges_matrices(p, k)
    yield rule(*turned, *given(b, folds.softmax_of_rows(a, k))).then(
        union(t).with_(Softmax(Transpose(s, p), b)), form(s, s, TURNED, p)
    )
    wanted = form(s, s, TURNED, p)
    both = eq(k).to(kind(x)), eq(m).to(kind(y)), order.have_one_rank(k, m)
    product, total = MatMul(Transpose(y, p), Transpose(x, p)), Add(Transpose(x, p), Transpose(y, p))
    yield rule(wanted, eq(s).to(MatMul(x, y)), *both).then(union(Transpose(s, p)).with_(product))
    yield rule(wanted, eq(s).to(Add(x, y)), *both).then(
        union(Transpose(s, p)).with_(total), form(x, x, TURNED, p), form(y, y, TURNED, p)
    )
    scalar = constant(c), eq(k).to(kind(c)), when.is_scalar(k)
    for scaled in (Mul(u, c), Mul(c, u)):
        yield rule(wanted, eq(s).to(scaled), *scalar).then(
            union(Transpose(s, p)).with_(Mul(Transpose(u, p), c)), form(u, u, TURNED, p)
        )
