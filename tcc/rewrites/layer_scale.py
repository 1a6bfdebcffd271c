"""A scale of each feature behind a linear layer goes into the layer."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import RewriteOrRule, String, eq, rewrite

from tcc.ir.host import given
from tcc.ir.language import Add, MatMul, Mul, Reshape, Tensor, coefficients, constant, kind, literal
from tcc.rewrites import _conditions as when
from tcc.rewrites import _linear as linear
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
SCALED = "Touvron et al., Going deeper with image transformers, ICCV 2021, section 2.1: layer scale; distributive law"


@exact(Equality.VALUE, SCALED, "MatMul", "Add", "Mul", first_opset=5)
def scale_of_linear_layer(
    x: Tensor, w: Tensor, b: Tensor, c: Tensor, k: String, m: String, q: String, t: String, n: String
) -> Rewrites:
    """c (MatMul(x, w) + b) = MatMul(x, c w) + c b for constants, w a matrix, b and c along its columns, no 0 in c."""
    product = MatMul(x, w)
    own = Reshape(c, literal(n))
    yield rewrite(Mul(Add(product, b), c)).to(
        Add(MatMul(x, Mul(w, own)), Mul(b, own)),
        constant(w), constant(b), *coefficients(c), eq(k).to(kind(w)), when.rank_is(k, 2), eq(m).to(kind(b)),
        eq(q).to(kind(c)), eq(t).to(kind(product)), linear.along_last(m, t), linear.along_last(q, t),
        *given(n, linear.vector_shape(q)),
    )  # fmt: skip
