"""Wrong forms of ``tcc.rewrites.layer_scale``."""

# A rule's parameters are its pattern variables.
from __future__ import annotations

from egglog import rewrite

from tcc.ir.language import Add, MatMul, Mul, Tensor, constant
from tests.rules.wrong._seeding import Rewrites, seeded


@seeded
def scale_of_linear_layer__without_bias(x: Tensor, w: Tensor, b: Tensor, c: Tensor) -> Rewrites:
    """The bias is not scaled."""
    yield rewrite(Mul(Add(MatMul(x, w), b), c)).to(Add(MatMul(x, Mul(w, c)), b), constant(w), constant(c))
