"""Wrong forms of ``tcc.rewrites.resizing``."""

# A rule's parameters are its pattern variables.
# ruff: noqa: PLR0917
from __future__ import annotations

from egglog import String, eq, rewrite

from tcc.ir.host import given
from tcc.ir.language import Resize, Tensor, absent, known, literal
from tcc.rewrites import _resizing as resizing
from tests.rules.wrong._seeding import Rewrites, seeded


@seeded
def repeat_of_repeat__any_rounding(x: Tensor, r: Tensor, q: Tensor, s: Tensor, u: Tensor, a: String, v: String,
                                   w: String, n: String) -> Rewrites:  # fmt: skip
    """Rounding and placing are of no account."""
    inner = Resize(x, r, s, absent(), a)
    yield rewrite(Resize(inner, q, u, absent(), a)).to(
        Resize(x, r, literal(n), absent(), a), eq(v).to(known(s)), eq(w).to(known(u)),
        *given(n, resizing.repeated(v, w, '{"coordinate_transformation_mode":"asymmetric","nearest_mode":"floor"}')),
    )  # fmt: skip
