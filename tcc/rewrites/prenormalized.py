"""A batch normalisation before a convolution becomes part of its weights and bias."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import RewriteOrRule, String, eq, rewrite

from tcc.ir.host import given
from tcc.ir.language import (
    Add,
    BatchNormalization,
    Conv,
    Div,
    Mul,
    ReduceSum,
    Reshape,
    Sqrt,
    Sub,
    Tensor,
    absent,
    constant,
    kind,
    literal,
)  # fmt: skip
from tcc.rewrites import _conditions as when
from tcc.rewrites import _kernels as kernels
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]


@exact(Equality.VALUE, "Jacob et al., CVPR 2018, section 3.2", "BatchNormalization", "Conv", first_opset=13)
def batchnorm_before_conv(x: Tensor, w: Tensor, b: Tensor, s: Tensor, o: Tensor, m: Tensor, v: Tensor, a: String,
                          n: String, e: String, k: String, r: String, q: String, i: String) -> Rewrites:  # fmt: skip
    """Conv(BN(x), w, b) = Conv(x, w g, b + sum of w (beta - mean g)), g = scale / sqrt(var + eps), without padding.

    What pads a convolution is zero behind the normalisation, and not before it.
    """
    g = Div(s, Sqrt(Add(v, literal(e))))
    facts = (
        constant(w), constant(s), constant(o), constant(m), constant(v), eq(k).to(kind(w)), eq(q).to(kind(s)),
        when.same_dtype(k, q), kernels.sums_all_it_sees(a, k), *given(e, when.epsilon(n, q)),
        *given(r, when.on_axis(k, 1)), *given(i, kernels.summed_axes(k)),
    )  # fmt: skip
    weight = Mul(w, Reshape(g, literal(r)))
    shift = ReduceSum(Mul(w, Reshape(Sub(o, Mul(m, g)), literal(r))), literal(i), '{"keepdims":0}')
    normal = BatchNormalization(x, s, o, m, v, n)
    yield rewrite(Conv(normal, w, absent(), a)).to(Conv(x, weight, shift, a), *facts)
    yield rewrite(Conv(normal, w, b, a)).to(
        Conv(x, weight, Add(b, shift), a), *facts, constant(b), when.is_present(kind(b))
    )
