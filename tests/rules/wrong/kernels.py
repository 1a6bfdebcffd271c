"""Wrong forms of ``tcc.rewrites.kernels``."""

# A rule's parameters are its pattern variables.
# ruff: noqa: PLR0917
from __future__ import annotations

from egglog import String, eq, rewrite

from tcc.ir.host import given
from tcc.ir.language import Add, AveragePool, Conv, MatMul, Mul, Pad, Tensor, absent, kind, known, structure
from tcc.rewrites import _conditions as when
from tcc.rewrites import _kernels as kernels
from tests.rules.wrong import _conditions as flawed
from tests.rules.wrong._seeding import Rewrites, seeded


@seeded
def multiply_by_identity__kernel(x: Tensor, c: Tensor, s: String) -> Rewrites:
    """The identity may be one as a kernel."""
    yield rewrite(MatMul(x, c)).to(x, eq(s).to(structure(c)), kernels.is_identity(s))


@seeded
def with_neutral_tensor__any_number(x: Tensor, c: Tensor, s: String, k: String, t: String) -> Rewrites:
    """Any number may fill the tensor."""
    for made in (Mul(x, c), Add(x, c)):
        yield rewrite(made).to(
            x, eq(s).to(structure(c)), flawed.has_structure(s), eq(k).to(kind(x)), eq(t).to(kind(made)),
            when.same_kind(k, t),
        )  # fmt: skip


@seeded
def with_neutral_tensor__widens(x: Tensor, c: Tensor, s: String) -> Rewrites:
    """The ones may widen x."""
    yield rewrite(Mul(x, c)).to(x, eq(s).to(structure(c)), kernels.is_filled(s, 1))


@seeded
def convolve_with_identity__moved(x: Tensor, w: Tensor, a: String, s: String, k: String, t: String) -> Rewrites:
    """Pads that keep the size need not keep the place."""
    made = Conv(x, w, absent(), a)
    yield rewrite(made).to(
        x, eq(s).to(structure(w)), kernels.is_identity(s), eq(k).to(kind(x)), eq(t).to(kind(made)), when.same_kind(k, t)
    )


@seeded
def convolve_with_identity__strided(x: Tensor, w: Tensor, a: String, s: String) -> Rewrites:
    """The stride does not matter."""
    yield rewrite(Conv(x, w, absent(), a)).to(x, eq(s).to(structure(w)), kernels.is_identity(s))


@seeded
def convolve_with_mean__dilated(x: Tensor, w: Tensor, a: String, s: String, q: String, n: String) -> Rewrites:
    """Any constant kernel without dilations and groups is a mean."""
    yield rewrite(Conv(x, w, absent(), a)).to(
        AveragePool(x, n), eq(s).to(structure(w)), flawed.has_structure(s), eq(q).to(kind(w)),
        *given(n, flawed.pool_of(q, a)),
    )  # fmt: skip


@seeded
def convolve_with_padded_kernel__pads_kept(x: Tensor, w: Tensor, p: Tensor, v: Tensor, b: Tensor, a: String, n: String,
                                           s: String, z: String, q: String, c: String) -> Rewrites:  # fmt: skip
    """What fills the rim does not matter."""
    padded = Pad(w, p, v, absent(), n)
    yield rewrite(Conv(x, padded, b, a)).to(
        Conv(x, w, b, c), eq(s).to(known(p)), eq(z).to(known(v)), eq(q).to(kind(padded)),
        *given(c, kernels.without_kernel_pad("{}", s, "", q, a)),
    )  # fmt: skip


@seeded
def convolve_with_padded_kernel__unpadded(x: Tensor, w: Tensor, p: Tensor, v: Tensor, b: Tensor, a: String, n: String,
                                          ) -> Rewrites:  # fmt: skip
    """The convolution's own pads stay as they are."""
    yield rewrite(Conv(x, Pad(w, p, v, absent(), n), b, a)).to(Conv(x, w, b, a))
