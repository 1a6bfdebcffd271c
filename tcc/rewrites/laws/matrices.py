"""Matrix products and transpositions: associative, bilinear, turned."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import RewriteOrRule, String, birewrite, eq, rewrite

from tcc.ir.language import Add, MatMul, Mul, Relu, Tensor, Transpose, kind
from tcc.rewrites import _conditions as when
from tcc.rewrites import _linear as linear
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
TASO = "TASO, SOSP 2019, table 2"


@exact(Equality.VALUE, TASO, "MatMul")
def associate_matmul(x: Tensor, y: Tensor, z: Tensor, k: String, m: String, n: String) -> Rewrites:
    """(x y) z = x (y z) for matrices, or stacks of them."""
    facts = [f for s, t in ((k, x), (m, y), (n, z)) for f in (eq(s).to(kind(t)), linear.is_stack_of_matrices(s))]
    yield birewrite(MatMul(MatMul(x, y), z)).to(MatMul(x, MatMul(y, z)), *facts)


@exact(Equality.VALUE, TASO, "MatMul", "Add")
def distribute_matmul(x: Tensor, y: Tensor, z: Tensor, k: String, m: String) -> Rewrites:
    """x (y + z) = x y + x z and (y + z) x = y x + z x for matrix products, y and z of one type."""
    types = eq(k).to(kind(y)), eq(m).to(kind(z)), when.same_kind(k, m)
    yield birewrite(MatMul(x, Add(y, z))).to(Add(MatMul(x, y), MatMul(x, z)), *types)
    yield birewrite(MatMul(Add(y, z), x)).to(Add(MatMul(y, x), MatMul(z, x)), *types)


@exact(Equality.VALUE, TASO, "MatMul", "Mul")
def scale_matmul(x: Tensor, y: Tensor, c: Tensor, q: String) -> Rewrites:
    """c (x y) = (c x) y = x (c y) for a scalar c."""
    scalar = eq(q).to(kind(c)), when.rank_is(q, 0)
    yield birewrite(Mul(MatMul(x, y), c)).to(MatMul(Mul(x, c), y), *scalar)
    yield birewrite(Mul(MatMul(x, y), c)).to(MatMul(x, Mul(y, c)), *scalar)


@exact(Equality.VALUE, TASO, "MatMul", "Transpose")
def transpose_matmul(x: Tensor, y: Tensor, p: String, k: String, m: String) -> Rewrites:
    """Transpose(x y) = Transpose(y) Transpose(x), where the last two axes are exchanged and the ranks are the same."""
    types = eq(k).to(kind(x)), eq(m).to(kind(y)), linear.exchanges_last_two(p, k), linear.exchanges_last_two(p, m)
    yield birewrite(Transpose(MatMul(x, y), p)).to(MatMul(Transpose(y, p), Transpose(x, p)), *types)


@exact(Equality.VALUE, TASO, "Transpose", "Add|Mul|Relu")
def transpose_elementwise(x: Tensor, y: Tensor, c: Tensor, p: String, k: String, m: String, q: String) -> Rewrites:
    """Transpose(x + y) = Transpose(x) + Transpose(y) for x and y of one type; products, scalars, Relu likewise."""
    types = eq(k).to(kind(x)), eq(m).to(kind(y)), when.same_kind(k, m)
    for f in (Add, Mul):
        yield birewrite(Transpose(f(x, y), p)).to(f(Transpose(x, p), Transpose(y, p)), *types)
    scalar = eq(q).to(kind(c)), when.rank_is(q, 0)
    yield birewrite(Transpose(Mul(x, c), p)).to(Mul(Transpose(x, p), c), *scalar)
    yield rewrite(Transpose(Relu(x), p)).to(Relu(Transpose(x, p)))
