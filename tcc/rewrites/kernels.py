"""Constants with a structure: identities that do nothing, kernels that average, kernels with a rim of zeros."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import RewriteOrRule, String, eq, rewrite

from tcc.ir.host import given
from tcc.ir.language import Add, AveragePool, Conv, MatMul, Mul, Pad, Tensor, absent, kind, known, structure
from tcc.rewrites import _conditions as when
from tcc.rewrites import _kernels as kernels
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
TASO = "TASO, SOSP 2019, table 2"
ONNX = "ONNX operator specification"


@exact(Equality.VALUE, TASO, "MatMul")
def multiply_by_identity(x: Tensor, c: Tensor, s: String, k: String, q: String, t: String) -> Rewrites:
    """MatMul(x, I) = x and MatMul(I, x) = x for an identity matrix I, if the product has x's type."""
    for product in (MatMul(x, c), MatMul(c, x)):
        yield rewrite(product).to(
            x, eq(s).to(structure(c)), kernels.is_identity(s), eq(q).to(kind(c)), when.rank_is(q, 2),
            eq(k).to(kind(x)), eq(t).to(kind(product)), when.same_kind(k, t),
        )  # fmt: skip


@exact(Equality.VALUE, TASO, "Mul|Add")
def with_neutral_tensor(x: Tensor, c: Tensor, s: String, k: String, t: String) -> Rewrites:
    """x 1 = x and x + 0 = x for a tensor of ones or zeros of any size, if the result has x's type."""
    # Subsumed: x would be computed of itself, and what takes in a factor or a term would take it in for ever.
    for made, number in ((Mul(x, c), 1), (Add(x, c), 0)):
        yield rewrite(made, subsume=True).to(
            x, eq(s).to(structure(c)), kernels.is_filled(s, number), eq(k).to(kind(x)), eq(t).to(kind(made)),
            when.same_kind(k, t),
        )  # fmt: skip


@exact(Equality.VALUE, TASO, "Conv")
def convolve_with_identity(x: Tensor, w: Tensor, a: String, s: String, q: String, k: String, t: String) -> Rewrites:
    """Conv(x, I) = x for a kernel with a one in the middle of each channel's own window, if the pads keep the size."""
    made = Conv(x, w, absent(), a)
    yield rewrite(made).to(
        x, eq(s).to(structure(w)), eq(q).to(kind(w)), eq(k).to(kind(x)), eq(t).to(kind(made)),
        kernels.gives_back(s, q, a, k, t),
    )  # fmt: skip


@exact(Equality.VALUE, TASO, "Conv", first_opset=7)
def convolve_with_mean(x: Tensor, w: Tensor, a: String, s: String, q: String, n: String) -> Rewrites:
    """Conv(x, mean of each channel's window) = AveragePool(x) that counts the padding."""
    yield rewrite(Conv(x, w, absent(), a)).to(
        AveragePool(x, n), eq(s).to(structure(w)), eq(q).to(kind(w)), *given(n, kernels.mean_pool(s, q, a))
    )


@exact(Equality.VALUE, f"{TASO}: enlarge", "Conv", "Pad")
def convolve_with_padded_kernel(x: Tensor, w: Tensor, p: Tensor, v: Tensor, b: Tensor, a: String, n: String, s: String,
                                z: String, q: String, c: String) -> Rewrites:  # fmt: skip
    """Conv(x, Pad(w, zeros around the window), pads) = Conv(x, w, pads less the rim), if they are at least the rim."""
    padded = Pad(w, p, v, absent(), n)
    yield rewrite(Conv(x, padded, b, a)).to(
        Conv(x, w, b, c), eq(s).to(known(p)), eq(z).to(known(v)), eq(q).to(kind(padded)),
        *given(c, kernels.without_kernel_pad(n, s, z, q, a)),
    )  # fmt: skip
