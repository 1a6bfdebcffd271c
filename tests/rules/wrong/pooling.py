"""Wrong forms of ``tcc.rewrites.pooling``."""

# A rule's parameters are its pattern variables.
# ruff: noqa: PLR0917
from __future__ import annotations

from egglog import String, eq, rewrite

from tcc.ir.host import given
from tcc.ir.language import MaxPool, Pad, Tensor, absent, kind, known
from tcc.rewrites import _pools as pools
from tests.rules.wrong._seeding import Rewrites, seeded

LOWEST = '["float32",[],[-Infinity]]'


@seeded
def pad_into_max_pool__any_value(x: Tensor, p: Tensor, v: Tensor, a: String, n: String, k: String, s: String,
                                 c: String) -> Rewrites:  # fmt: skip
    """The padding may have any value."""
    yield rewrite(MaxPool(Pad(x, p, v, absent(), n), a)).to(
        MaxPool(x, c), eq(k).to(kind(x)), eq(s).to(known(p)),
        *given(c, pools.max_padded(n, s, String(LOWEST), a, k)),
    )  # fmt: skip


@seeded
def pad_into_max_pool__lost(x: Tensor, p: Tensor, v: Tensor, a: String, n: String) -> Rewrites:
    """The padding is dropped."""
    yield rewrite(MaxPool(Pad(x, p, v, absent(), n), a)).to(MaxPool(x, a))
