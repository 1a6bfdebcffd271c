"""Where of Where: what a condition has decided need not be asked again."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import RewriteOrRule, String, eq, rewrite

from tcc.ir.language import Not, Tensor, Where, kind
from tcc.rewrites import _broadcasting as broadcast
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
ONNX = "ONNX operator specification, Where; ONNX Runtime's turns -0 into +0 in one branch"


@exact(Equality.VALUE, ONNX, "Where", "Not")
def where_not(c: Tensor, x: Tensor, y: Tensor) -> Rewrites:
    """Where(Not(c), x, y) = Where(c, y, x)."""
    yield rewrite(Where(Not(c), x, y)).to(Where(c, y, x))


@exact(Equality.VALUE, ONNX, "Where")
def where_decided_before(
    c: Tensor, x: Tensor, y: Tensor, z: Tensor, q: String, k: String, m: String, t: String
) -> Rewrites:
    """Where(c, x, Where(c, y, z)) = Where(c, x, z) if that is as wide; for the first branch, and for Not(c) within."""
    types = eq(q).to(kind(c)), eq(k).to(kind(x)), eq(m).to(kind(z))
    inner = Where(c, y, z), Where(Not(c), z, y)
    for late in inner:
        whole = Where(c, x, late)
        yield rewrite(whole).to(Where(c, x, z), *types, eq(t).to(kind(whole)), broadcast.reach_three(q, k, m, t))
    for early in (Where(c, z, y), Where(Not(c), y, z)):
        whole = Where(c, early, x)
        yield rewrite(whole).to(Where(c, z, x), *types, eq(t).to(kind(whole)), broadcast.reach_three(q, k, m, t))
