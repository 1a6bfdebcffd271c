"""Wrong forms of the laws."""

# A rule's parameters are its pattern variables.
# ruff: noqa: PLR0917
from __future__ import annotations

from egglog import String, eq, rewrite, rule, set_

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
    structure,
)  # fmt: skip
from tcc.rewrites import _joins as joins
from tcc.rewrites import _kernels as kernels
from tests.rules.wrong._seeding import Rewrites, seeded


def _pair(x: Tensor, y: Tensor) -> Tensors:
    return cons(x, cons(y, nil()))


@seeded
def commute__matmul(x: Tensor, y: Tensor) -> Rewrites:
    """x y = x + y."""
    yield rewrite(Mul(x, y)).to(Add(y, x))


@seeded
def associate__mixed(x: Tensor, y: Tensor, z: Tensor) -> Rewrites:
    """(x + y) + z = x + y z."""
    yield rewrite(Add(Add(x, y), z)).to(Add(x, Mul(y, z)))


@seeded
def distribute__over_product(x: Tensor, y: Tensor, z: Tensor) -> Rewrites:
    """x + y z = (x + y) (x + z)."""
    yield rewrite(Add(x, Mul(y, z))).to(Mul(Add(x, y), Add(x, z)))


@seeded
def associate_matmul__turned(x: Tensor, y: Tensor, z: Tensor) -> Rewrites:
    """Ranks do not matter."""
    yield rewrite(MatMul(MatMul(x, y), z)).to(MatMul(x, MatMul(y, z)))


@seeded
def distribute_matmul__broadcast(x: Tensor, y: Tensor, z: Tensor) -> Rewrites:
    """The summands may broadcast."""
    yield rewrite(MatMul(x, Add(y, z))).to(Add(MatMul(x, y), MatMul(x, z)))


@seeded
def scale_matmul__vector(x: Tensor, y: Tensor, c: Tensor) -> Rewrites:
    """The factor may be a vector."""
    yield rewrite(Mul(MatMul(x, y), c)).to(MatMul(Mul(x, c), y))


@seeded
def transpose_matmul__order_kept(x: Tensor, y: Tensor, p: String) -> Rewrites:
    """The operands keep their places."""
    yield rewrite(Transpose(MatMul(x, y), p)).to(MatMul(Transpose(x, p), Transpose(y, p)))


@seeded
def transpose_matmul__other_axes(x: Tensor, y: Tensor, p: String) -> Rewrites:
    """Any axes may be exchanged."""
    yield rewrite(Transpose(MatMul(x, y), p)).to(MatMul(Transpose(y, p), Transpose(x, p)))


@seeded
def transpose_elementwise__broadcast(x: Tensor, y: Tensor, p: String) -> Rewrites:
    """The operands may broadcast."""
    yield rewrite(Transpose(Add(x, y), p)).to(Add(Transpose(x, p), Transpose(y, p)))


@seeded
def transpose_elementwise__other_order(x: Tensor, y: Tensor, p: String, q: String) -> Rewrites:
    """The operands may be turned differently."""
    yield rewrite(Add(Transpose(x, p), Transpose(y, q))).to(Transpose(Add(x, y), p))


@seeded
def join_of_relu__one(x: Tensor, y: Tensor, a: String) -> Rewrites:
    """The second part is not cut off at zero."""
    yield rewrite(Relu(Concat(_pair(x, y), a))).to(Concat(_pair(Relu(x), y), a))


@seeded
def join_of_elementwise__broadcast(x: Tensor, y: Tensor, z: Tensor, u: Tensor, a: String) -> Rewrites:
    """The operands may broadcast."""
    yield rewrite(Concat(_pair(Add(x, y), Add(z, u)), a)).to(Add(Concat(_pair(x, z), a), Concat(_pair(y, u), a)))


@seeded
def join_of_elementwise__cut_elsewhere(x: Tensor, y: Tensor, z: Tensor, u: Tensor, a: String) -> Rewrites:
    """The operands may be joined at different places."""
    yield rewrite(Mul(Concat(_pair(x, z), a), Concat(_pair(y, u), a))).to(Concat(_pair(Mul(x, y), Mul(z, u)), a))


@seeded
def join_of_scaled__vector(x: Tensor, y: Tensor, c: Tensor, a: String) -> Rewrites:
    """The factor may be a vector."""
    yield rewrite(Concat(_pair(Mul(x, c), Mul(y, c)), a)).to(Mul(Concat(_pair(x, y), a), c))


@seeded
def join_of_transposed__axis_kept(x: Tensor, y: Tensor, a: String, p: String) -> Rewrites:
    """The axis does not move."""
    yield rewrite(Concat(_pair(Transpose(x, p), Transpose(y, p)), a)).to(Transpose(Concat(_pair(x, y), a), p))


@seeded
def join_of_joins__shifted(x: Tensor, y: Tensor, z: Tensor, u: Tensor, a: String, b: String) -> Rewrites:
    """The inner joins may be at different places, and along the outer axis."""
    yield rewrite(Concat(_pair(Concat(_pair(x, y), a), Concat(_pair(z, u), a)), b)).to(
        Concat(_pair(Concat(_pair(x, z), b), Concat(_pair(y, u), b)), a)
    )


@seeded
def matmul_by_parts__other_parts(x: Tensor, y: Tensor, z: Tensor, u: Tensor, a: String, b: String) -> Rewrites:
    """The columns and the rows may be joined at different places."""
    yield rewrite(MatMul(Concat(_pair(x, y), a), Concat(_pair(z, u), b))).to(Add(MatMul(x, z), MatMul(y, u)))


@seeded
def convolution_by_parts__groups(x: Tensor, y: Tensor, z: Tensor, a: String, c: String) -> Rewrites:
    """There may be several groups."""
    yield rewrite(Conv(z, Concat(_pair(x, y), a), absent(), c)).to(
        Concat(_pair(Conv(z, x, absent(), c), Conv(z, y, absent(), c)), joins.on_axis(1))
    )


@seeded
def convolution_by_parts__places(x: Tensor, y: Tensor, z: Tensor, a: String, c: String) -> Rewrites:
    """The data may be joined along any axis."""
    yield rewrite(Conv(Concat(_pair(x, y), a), z, absent(), c)).to(
        Concat(_pair(Conv(x, z, absent(), c), Conv(y, z, absent(), c)), a)
    )


@seeded
def pool_by_parts__places(x: Tensor, y: Tensor, a: String, c: String) -> Rewrites:
    """The data may be joined along any axis."""
    for pool in (AveragePool, MaxPool):
        yield rewrite(pool(Concat(_pair(x, y), a), c)).to(Concat(_pair(pool(x, c), pool(y, c)), a))


@seeded
def scale_convolution__biased(x: Tensor, w: Tensor, b: Tensor, c: Tensor, a: String) -> Rewrites:
    """There may be a bias."""
    yield rewrite(Mul(Conv(x, w, b, a), c)).to(Conv(Mul(x, c), w, b, a))


@seeded
def scale_convolution__vector(x: Tensor, w: Tensor, c: Tensor, a: String) -> Rewrites:
    """The factor may be a vector."""
    yield rewrite(Conv(Mul(x, c), w, absent(), a)).to(Conv(x, Mul(w, c), absent(), a))


@seeded
def distribute_convolution__biased(x: Tensor, y: Tensor, z: Tensor, b: Tensor, a: String) -> Rewrites:
    """There may be a bias."""
    yield rewrite(Conv(Add(y, z), x, b, a)).to(Add(Conv(y, x, b, a), Conv(z, x, b, a)))


@seeded
def linear_pool__shift(x: Tensor, y: Tensor, a: String) -> Rewrites:
    """The second summand is not pooled twice."""
    yield rewrite(AveragePool(Add(x, y), a)).to(AveragePool(Add(x, AveragePool(y, a)), a))


@seeded
def mean_of_identity__padding_not_counted(w: Tensor, t: Tensor, a: String, s: String) -> Rewrites:
    """Any average of an identity is a mean."""
    yield rule(eq(t).to(AveragePool(w, a)), eq(s).to(structure(w)), kernels.is_identity(s)).then(
        set_(structure(t)).to(String("mean"))
    )


@seeded
def merge_groups__any_mask(x: Tensor, w: Tensor, m: Tensor, a: String, b: String, n: String, k: String,
                           q: String) -> Rewrites:  # fmt: skip
    """The mask may be any of its size."""
    joined = Mul(Concat(_pair(w, w), b), m)
    yield rewrite(Conv(x, joined, absent(), a)).to(
        Conv(x, w, absent(), n), eq(k).to(kind(m)), eq(q).to(kind(w)),
        *given(n, kernels.unmerged(String("blocks 2 1"), k, q, a)),
    )  # fmt: skip
