"""Constants behind a batch normalisation become part of its scale and bias."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import RewriteOrRule, String, eq, rewrite

from tcc.ir.host import given
from tcc.ir.language import Add, BatchNormalization, Mul, Reshape, Tensor, constant, kind, literal
from tcc.rewrites import _conditions as when
from tcc.rewrites import _linear as linear
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
SOURCE = "a batch normalisation is affine in its scale and bias"


@exact(Equality.VALUE, SOURCE, "BatchNormalization", "Mul")
def scale_into_batchnorm(x: Tensor, s: Tensor, o: Tensor, m: Tensor, v: Tensor, c: Tensor, a: String, k: String,
                         q: String, r: String, n: String) -> Rewrites:  # fmt: skip
    """c BN(x, scale, beta) = BN(x, c scale, c beta) for a constant c along the channels."""
    made, vector = BatchNormalization(x, s, o, m, v, a), Reshape(c, literal(n))
    yield rewrite(Mul(made, c)).to(
        BatchNormalization(x, Mul(s, vector), Mul(o, vector), m, v, a),
        constant(c), constant(s), constant(o), eq(k).to(kind(s)), eq(q).to(kind(c)), when.same_dtype(k, q),
        eq(r).to(kind(made)), linear.along_channels(q, r), *given(n, linear.vector_shape(q)),
    )  # fmt: skip


@exact(Equality.VALUE, SOURCE, "BatchNormalization", "Add")
def shift_into_batchnorm(x: Tensor, s: Tensor, o: Tensor, m: Tensor, v: Tensor, c: Tensor, a: String, k: String,
                         q: String, r: String, n: String) -> Rewrites:  # fmt: skip
    """BN(x, scale, beta) + c = BN(x, scale, beta + c) for a constant c along the channels."""
    made = BatchNormalization(x, s, o, m, v, a)
    yield rewrite(Add(made, c)).to(
        BatchNormalization(x, s, Add(o, Reshape(c, literal(n))), m, v, a),
        constant(c), constant(o), eq(k).to(kind(o)), eq(q).to(kind(c)), when.same_dtype(k, q),
        eq(r).to(kind(made)), linear.along_channels(q, r), *given(n, linear.vector_shape(q)),
    )  # fmt: skip
