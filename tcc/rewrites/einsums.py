"""Einsum as the matrix product, the product or the transposition that it is."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import RewriteOrRule, String, eq, rewrite

from tcc.ir.host import given
from tcc.ir.language import Einsum, MatMul, Mul, ReduceSum, Reshape, Tensor, Transpose, cons, kind, literal, nil
from tcc.rewrites import _einsums as sums
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
ONNX = "ONNX operator specification, Einsum"


@exact(Equality.VALUE, ONNX, "Einsum", first_opset=12)
def einsum_is_matmul(
    x: Tensor, y: Tensor, a: String, k: String, m: String, px: String, py: String, po: String, sx: String, sy: String,
    so: String,
) -> Rewrites:  # fmt: skip
    """Einsum(x, y) that sums over letters in both = MatMul of both as stacks of matrices, letters in all stacked."""
    steps = [fact for at, n in enumerate((px, sx, py, sy, so, po)) for fact in given(n, sums.matmul(at, a, k, m))]
    left = Reshape(Transpose(x, px), literal(sx))
    right = Reshape(Transpose(y, py), literal(sy))
    yield rewrite(Einsum(cons(x, cons(y, nil())), a)).to(
        Transpose(Reshape(MatMul(left, right), literal(so)), po), eq(k).to(kind(x)), eq(m).to(kind(y)), *steps
    )


@exact(Equality.VALUE, ONNX, "Einsum", first_opset=12)
def einsum_is_mul(
    x: Tensor, y: Tensor, a: String, k: String, m: String, px: String, py: String, po: String, sx: String, sy: String
) -> Rewrites:
    """Einsum(x, y) that sums over no letter = x y, each with ones for the letters of the other."""
    steps = [fact for at, n in enumerate((px, sx, py, sy, po)) for fact in given(n, sums.mul(at, a, k, m))]
    left, right = Reshape(Transpose(x, px), literal(sx)), Reshape(Transpose(y, py), literal(sy))
    yield rewrite(Einsum(cons(x, cons(y, nil())), a)).to(
        Transpose(Mul(left, right), po), eq(k).to(kind(x)), eq(m).to(kind(y)), *steps
    )


@exact(Equality.VALUE, ONNX, "Einsum", first_opset=13)
def einsum_of_one(x: Tensor, a: String, k: String, n: String, p: String) -> Rewrites:
    """Einsum(x) is a Transpose of x, or of its sums over the letters that are left out."""
    one, typed = Einsum(cons(x, nil()), a), eq(k).to(kind(x))
    yield rewrite(one).to(Transpose(x, p), typed, *given(p, sums.moved(0, a, k)))
    yield rewrite(one).to(
        Transpose(ReduceSum(x, literal(n), '{"keepdims":0}'), p), typed, *given(n, sums.moved(1, a, k)),
        *given(p, sums.moved(2, a, k)),
    )  # fmt: skip
