"""Joins of tensors: what commutes with them, and products of them by parts."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import RewriteOrRule, String, birewrite, eq, rewrite

from tcc.ir.host import given
from tcc.ir.language import (
    Add,
    AveragePool,
    Concat,
    Conv,
    MatMul,
    MaxPool,
    Mul,
    Relu,
    Tensor,
    Tensors,
    Transpose,
    absent,
    cons,
    kind,
    nil,
)
from tcc.rewrites import _conditions as when
from tcc.rewrites import _joins as joins
from tcc.rewrites import _linear as linear
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
TASO = "TASO, SOSP 2019, table 2"


def _pair(x: Tensor, y: Tensor) -> Tensors:
    return cons(x, cons(y, nil()))


@exact(Equality.BITS, TASO, "Concat", "Relu")
def join_of_relu(x: Tensor, y: Tensor, a: String) -> Rewrites:
    """Concat(Relu(x), Relu(y)) = Relu(Concat(x, y))."""
    yield birewrite(Concat(_pair(Relu(x), Relu(y)), a)).to(Relu(Concat(_pair(x, y), a)))


@exact(Equality.BITS, TASO, "Concat", "Add|Mul")
def join_of_elementwise(x: Tensor, y: Tensor, z: Tensor, u: Tensor, a: String, k: String, m: String, q: String,
                        r: String) -> Rewrites:  # fmt: skip
    """Concat(x + y, z + u) = Concat(x, z) + Concat(y, u) for x, y of one type and z, u of one; products likewise."""
    kinds = eq(k).to(kind(x)), eq(m).to(kind(y)), eq(q).to(kind(z)), eq(r).to(kind(u))
    same = when.same_kind(k, m), when.same_kind(q, r), joins.can_join(a, k, q)
    for f in (Add, Mul):
        yield birewrite(Concat(_pair(f(x, y), f(z, u)), a)).to(
            f(Concat(_pair(x, z), a), Concat(_pair(y, u), a)), *kinds, *same
        )


@exact(Equality.BITS, TASO, "Concat", "Mul")
def join_of_scaled(x: Tensor, y: Tensor, c: Tensor, a: String, q: String) -> Rewrites:
    """Concat(c x, c y) = c Concat(x, y) for a scalar c."""
    yield birewrite(Concat(_pair(Mul(x, c), Mul(y, c)), a)).to(
        Mul(Concat(_pair(x, y), a), c), eq(q).to(kind(c)), when.rank_is(q, 0)
    )


@exact(Equality.BITS, TASO, "Concat", "Transpose")
def join_of_transposed(x: Tensor, y: Tensor, a: String, b: String, p: String, k: String) -> Rewrites:
    """Concat(Transpose(x), Transpose(y)) = Transpose(Concat(x, y)), joined along the axis that moves there."""
    yield rewrite(Concat(_pair(Transpose(x, p), Transpose(y, p)), a)).to(
        Transpose(Concat(_pair(x, y), b), p), eq(k).to(kind(x)), *given(b, joins.moved_axis(a, p, k, 1))
    )
    yield rewrite(Transpose(Concat(_pair(x, y), a), p)).to(
        Concat(_pair(Transpose(x, p), Transpose(y, p)), b), eq(k).to(kind(x)), *given(b, joins.moved_axis(a, p, k, 0))
    )


@exact(Equality.BITS, TASO, "Concat")
def join_of_joins(x: Tensor, y: Tensor, z: Tensor, u: Tensor, a: String, b: String, k: String, m: String, q: String,
                  ) -> Rewrites:  # fmt: skip
    """Concat(Concat(x, y, A), Concat(z, u, A), B) = Concat(Concat(x, z, B), Concat(y, u, B), A) for two axes."""
    kinds = eq(k).to(kind(x)), eq(m).to(kind(y)), eq(q).to(kind(z))
    yield rewrite(Concat(_pair(Concat(_pair(x, y), a), Concat(_pair(z, u), a)), b)).to(
        Concat(_pair(Concat(_pair(x, z), b), Concat(_pair(y, u), b)), a),
        *kinds, joins.can_join(b, k, q), joins.can_join(a, k, m), joins.on_two_axes(a, b, k),
    )  # fmt: skip


@exact(Equality.VALUE, TASO, "Concat", "MatMul")
def matmul_by_parts(x: Tensor, y: Tensor, z: Tensor, u: Tensor, a: String, b: String, k: String, m: String, q: String,
                    r: String) -> Rewrites:  # fmt: skip
    """Concat of rows: [x; y] z = [x z; y z]; of columns: z [x y] = [z x  z y]; of both: [x y] [z; u] = x z + y u."""
    kinds, matrices = (eq(k).to(kind(x)), eq(m).to(kind(z))), (when.rank_is(k, 2), when.rank_is(m, 2))
    plain = *kinds, *matrices
    yield birewrite(MatMul(Concat(_pair(x, y), a), z)).to(
        Concat(_pair(MatMul(x, z), MatMul(y, z)), a), *plain, joins.joins_along(a, k, 0)
    )
    yield birewrite(MatMul(z, Concat(_pair(x, y), a))).to(
        Concat(_pair(MatMul(z, x), MatMul(z, y)), a), *plain, joins.joins_along(a, k, 1)
    )
    columns, rows = Concat(_pair(x, y), joins.on_axis(1)), Concat(_pair(z, u), joins.on_axis(0))
    both = *plain, eq(q).to(kind(y)), eq(r).to(kind(u)), joins.match_inside(k, m), joins.match_inside(q, r)
    yield rewrite(MatMul(Concat(_pair(x, y), a), Concat(_pair(z, u), b))).to(
        Add(MatMul(x, z), MatMul(y, u)), *both, joins.joins_along(a, k, 1), joins.joins_along(b, m, 0)
    )
    yield rewrite(Add(MatMul(x, z), MatMul(y, u))).to(
        MatMul(columns, rows), *both, joins.can_join(joins.on_axis(1), k, q), joins.can_join(joins.on_axis(0), m, r)
    )


@exact(Equality.VALUE, TASO, "Concat", "Conv")
def convolution_by_parts(x: Tensor, y: Tensor, z: Tensor, u: Tensor, a: String, b: String, c: String, k: String,
                         m: String, q: String, r: String) -> Rewrites:  # fmt: skip
    """Conv by batches; by output channels and by input channels for one group: as matrix products by parts."""
    kinds = eq(k).to(kind(x)), eq(m).to(kind(y))
    yield birewrite(Conv(Concat(_pair(x, y), a), z, absent(), c)).to(
        Concat(_pair(Conv(x, z, absent(), c), Conv(y, z, absent(), c)), a), *kinds, joins.is_along_batch(a, k, m)
    )
    one_group = linear.is_ungrouped(c), joins.is_along_batch(a, k, m)
    yield rewrite(Conv(z, Concat(_pair(x, y), a), absent(), c)).to(
        Concat(_pair(Conv(z, x, absent(), c), Conv(z, y, absent(), c)), joins.on_axis(1)), *kinds, *one_group
    )
    yield rewrite(Concat(_pair(Conv(z, x, absent(), c), Conv(z, y, absent(), c)), b)).to(
        Conv(z, Concat(_pair(x, y), joins.on_axis(0)), absent(), c),
        *kinds, linear.is_ungrouped(c), joins.is_along_batch(joins.on_axis(0), k, m), joins.joins_along(b, k, 1),
    )  # fmt: skip
    inner = eq(q).to(kind(z)), eq(r).to(kind(u)), joins.same_channels(k, q), joins.same_channels(m, r)
    yield rewrite(Conv(Concat(_pair(x, y), a), Concat(_pair(z, u), b), absent(), c)).to(
        Add(Conv(x, z, absent(), c), Conv(y, u, absent(), c)),
        *kinds, *inner, linear.is_ungrouped(c), joins.joins_along(a, k, 1), joins.joins_along(b, q, 1),
    )  # fmt: skip


@exact(Equality.VALUE, TASO, "Concat", "AveragePool|MaxPool")
def pool_by_parts(x: Tensor, y: Tensor, a: String, c: String, k: String, m: String) -> Rewrites:
    """A pool of Concat(x, y) along the batch or the channels is the Concat of the pools."""
    kinds = eq(k).to(kind(x)), eq(m).to(kind(y))
    for pool in (AveragePool, MaxPool):
        for axis in (0, 1):
            yield birewrite(pool(Concat(_pair(x, y), a), c)).to(
                Concat(_pair(pool(x, c), pool(y, c)), a), *kinds, joins.can_join(a, k, m), joins.joins_along(a, k, axis)
            )
