"""Chains of Casts."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import RewriteOrRule, String, eq, rewrite

from tcc.ir.language import Cast, Tensor, kind
from tcc.rewrites import _casts as casts
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]


@exact(Equality.BITS, "ONNX operator specification, Cast", "Cast")
def cast_of_cast(x: Tensor, a: String, b: String, k: String) -> Rewrites:
    """Cast(Cast(x, W), T) = Cast(x, T) if W holds every value of x's type, or all three are integers and T is no wider.

    Numbers that are rounded twice on the way are left alone, and floating-point ones that turn into integers: what
    becomes of one that does not fit depends on the type it comes from.
    """
    yield rewrite(Cast(Cast(x, a), b)).to(Cast(x, b), eq(k).to(kind(x)), casts.may_skip(k, a, b))
