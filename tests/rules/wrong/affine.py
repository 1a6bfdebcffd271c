"""Wrong forms of ``tcc.rewrites.affine``."""

# A rule's parameters are its pattern variables.
# ruff: noqa: PLR0917
from __future__ import annotations

from egglog import String, eq, rewrite

from tcc.ir.host import given
from tcc.ir.language import Add, BatchNormalization, Mul, Reshape, Tensor, constant, kind, literal
from tcc.rewrites import _conditions as when
from tcc.rewrites import _linear as linear
from tests.rules.wrong._seeding import Rewrites, seeded


@seeded
def scale_into_batchnorm__bias_kept(x: Tensor, s: Tensor, o: Tensor, m: Tensor, v: Tensor, c: Tensor, a: String,
                                    k: String, q: String, r: String, n: String) -> Rewrites:  # fmt: skip
    """The bias is not scaled."""
    made = BatchNormalization(x, s, o, m, v, a)
    yield rewrite(Mul(made, c)).to(
        BatchNormalization(x, Mul(s, Reshape(c, literal(n))), o, m, v, a),
        constant(c), constant(s), eq(k).to(kind(s)), eq(q).to(kind(c)), when.same_dtype(k, q),
        eq(r).to(kind(made)), linear.along_channels(q, r), *given(n, linear.vector_shape(q)),
    )  # fmt: skip


@seeded
def shift_into_batchnorm__any_axis(x: Tensor, s: Tensor, o: Tensor, m: Tensor, v: Tensor, c: Tensor, a: String,
                                   q: String, n: String) -> Rewrites:  # fmt: skip
    """The constant lies along any axis."""
    yield rewrite(Add(BatchNormalization(x, s, o, m, v, a), c)).to(
        BatchNormalization(x, s, Add(o, Reshape(c, literal(n))), m, v, a),
        constant(c), eq(q).to(kind(c)), *given(n, linear.vector_shape(q)),
    )  # fmt: skip
