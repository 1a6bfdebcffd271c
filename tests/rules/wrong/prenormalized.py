"""Wrong forms of ``tcc.rewrites.prenormalized``."""

# A rule's parameters are its pattern variables.
# ruff: noqa: PLR0917
from __future__ import annotations

from egglog import String, eq, rewrite

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
    kind,
    literal,
)  # fmt: skip
from tcc.rewrites import _conditions as when
from tcc.rewrites import _kernels as kernels
from tests.rules.wrong._seeding import Rewrites, seeded


@seeded
def batchnorm_before_conv__under_padding(x: Tensor, w: Tensor, s: Tensor, o: Tensor, m: Tensor, v: Tensor, a: String,
                                         n: String, e: String, k: String, r: String, q: String, i: String,
                                         ) -> Rewrites:  # fmt: skip
    """What is padded is taken for normalised."""
    g = Div(s, Sqrt(Add(v, literal(e))))
    shift = ReduceSum(Mul(w, Reshape(Sub(o, Mul(m, g)), literal(r))), literal(i), '{"keepdims":0}')
    yield rewrite(Conv(BatchNormalization(x, s, o, m, v, n), w, absent(), a)).to(
        Conv(x, Mul(w, Reshape(g, literal(r))), shift, a), eq(k).to(kind(w)), eq(q).to(kind(s)),
        *given(e, when.epsilon(n, q)), *given(r, when.on_axis(k, 1)), *given(i, kernels.summed_axes(k)),
    )  # fmt: skip


@seeded
def batchnorm_before_conv__without_shift(x: Tensor, w: Tensor, b: Tensor, s: Tensor, o: Tensor, m: Tensor, v: Tensor,
                                         a: String, n: String, e: String, k: String, r: String, q: String,
                                         ) -> Rewrites:  # fmt: skip
    """The shift of the normalisation is forgotten."""
    g = Div(s, Sqrt(Add(v, literal(e))))
    yield rewrite(Conv(BatchNormalization(x, s, o, m, v, n), w, b, a)).to(
        Conv(x, Mul(w, Reshape(g, literal(r))), b, a), eq(k).to(kind(w)), eq(q).to(kind(s)),
        kernels.sums_all_it_sees(a, k), *given(e, when.epsilon(n, q)), *given(r, when.on_axis(k, 1)),
    )  # fmt: skip
