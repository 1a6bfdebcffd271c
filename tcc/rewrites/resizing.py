"""Resizes that change nothing, and chains of them."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import RewriteOrRule, String, eq, rewrite

from tcc.ir.host import given
from tcc.ir.language import Resize, Tensor, absent, kind, known, literal
from tcc.rewrites import _resizing as resizing
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
ONNX = "ONNX operator specification, Resize"


@exact(Equality.BITS, ONNX, "Resize", first_opset=11)
def resize_to_own_size(
    x: Tensor, r: Tensor, s: Tensor, z: Tensor, a: String, k: String, m: String, v: String
) -> Rewrites:
    """Resize(x) = x if it picks neighbours, all scales are 1, and no sample lies half-way to the next one."""
    t = Resize(x, r, s, z, a)
    yield rewrite(t).to(x, eq(k).to(kind(x)), eq(m).to(kind(t)), eq(v).to(known(s)), resizing.keeps(k, m, v, a, 0))


@exact(Equality.VALUE, f"{ONNX}; 0 times an infinite neighbour is no number", "Resize", first_opset=11)
def interpolate_to_own_size(
    x: Tensor, r: Tensor, s: Tensor, z: Tensor, a: String, k: String, m: String, v: String
) -> Rewrites:
    """Resize(x) = x if it interpolates, and all scales are 1."""
    t = Resize(x, r, s, z, a)
    yield rewrite(t).to(x, eq(k).to(kind(x)), eq(m).to(kind(t)), eq(v).to(known(s)), resizing.keeps(k, m, v, a, 1))


@exact(Equality.BITS, ONNX, "Resize", first_opset=11)
def repeat_of_repeat(
    x: Tensor, r: Tensor, q: Tensor, s: Tensor, u: Tensor, a: String, v: String, w: String, n: String
) -> Rewrites:
    """Resize(Resize(x, s), u) = Resize(x, s u) for whole scales that repeat each element."""
    inner = Resize(x, r, s, absent(), a)
    yield rewrite(Resize(inner, q, u, absent(), a)).to(
        Resize(x, r, literal(n), absent(), a),
        eq(v).to(known(s)), eq(w).to(known(u)), *given(n, resizing.repeated(v, w, a)),
    )  # fmt: skip
