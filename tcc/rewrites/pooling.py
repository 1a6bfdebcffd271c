"""What stands before a pooling becomes part of it."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import RewriteOrRule, String, eq, rewrite

from tcc.ir.host import given
from tcc.ir.language import MaxPool, Pad, Tensor, absent, kind, known
from tcc.rewrites import _pools as pools
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]


@exact(
    Equality.VALUE, "ONNX operator specification, MaxPool: pads; what NaN does is left to the kernel", "Pad", "MaxPool"
)
def pad_into_max_pool(
    x: Tensor, p: Tensor, v: Tensor, a: String, n: String, k: String, s: String, z: String, c: String
) -> Rewrites:
    """MaxPool(Pad(x, -inf around the spatial axes)) = MaxPool(x) with these pads, each less than the window."""
    facts = eq(k).to(kind(x)), eq(s).to(known(p)), eq(z).to(known(v))
    yield rewrite(MaxPool(Pad(x, p, v, absent(), n), a)).to(
        MaxPool(x, c), *facts, *given(c, pools.max_padded(n, s, z, a, k))
    )
