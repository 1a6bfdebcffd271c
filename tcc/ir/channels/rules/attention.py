"""Attention as one operator: heads, and the indices within a head over which queries meet keys."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tcc.ir.channels.links import Link, MismatchError, Reduction, tied
from tcc.ir.channels.patterns import pattern
from tcc.ir.channels.resizing import Resizing
from tcc.ir.channels.rule import MICROSOFT, Rule
from tcc.ir.channels.site import Site

_OVER_D = {"d": Reduction.SUM}


def _standard_heads(site: Site) -> Mapping[str, int]:
    """Heads of keys, and queries' heads that share one."""
    if len(site.shape() or ()) == 4:
        queries, keys = (site.shape() or ())[1], (site.shape(1) or ())[1]
    else:
        queries, keys = int(site.attribute("q_num_heads", 0)), int(site.attribute("kv_num_heads", 0))
    if not keys or queries % keys:
        raise MismatchError("its heads are not known")
    return {"k": keys, "r": queries // keys}


def _mask(site: Site, port: int) -> str:
    """A mask is aligned from the right; its head axis may be 1."""
    rank = len(site.shape(port) or ())
    return {4: "_ (k r) _ _", 3: "(k r) _ _"}.get(rank, "." if rank == 0 else "~")


def _standard(site: Site) -> list[Link]:
    """``ai.onnx.Attention``: [b, heads, s, d], or [b, s, heads · d]."""
    past = "b k _ d, b k _ v"
    mask = _mask(site, 3)
    if len(site.shape() or ()) == 4:
        text = f"b (k r) _ d, b k _ d, b k _ v, {mask}, {past} -> b (k r) _ v, {past}, b (k r) _ _"
    else:
        text = f"b _ (k r d), b _ (k d), b _ (k v), {mask}, {past} -> b _ (k r v), {past}, b (k r) _ _"
    return pattern(text, sizes=_standard_heads, reduced=_OVER_D)(site)


def _set_standard(resizing: Resizing) -> None:
    site, heads = resizing.site, _standard_heads(resizing.site)
    size = (site.shape() or ())[-1] // (1 if len(site.shape() or ()) == 4 else heads["k"] * heads["r"])
    if len(site.shape() or ()) == 3:
        keys = resizing.factor("k")
        resizing.set_attribute("q_num_heads", keys * resizing.factor("r"))
        resizing.set_attribute("kv_num_heads", keys)
    _keep_scale(resizing, size)


def _keep_scale(resizing: Resizing, size: int) -> None:
    """The default scale follows the size of a head; the products that are left want the original's."""
    if not resizing.site.attribute("scale"):
        resizing.set_attribute("scale", 1 / math.sqrt(size))


def _heads(site: Site) -> Mapping[str, int]:
    return {"h": int(site.attribute("num_heads", 1))}


def _multi_head(site: Site) -> list[Link]:
    """``com.microsoft.MultiHeadAttention(query, key, value, bias, padding, attention bias, past key, past value)``."""
    if any(len(site.shape(port) or (0, 0, 0)) != 3 for port in (0, 1, 2)) or site.input(2) is None:
        raise MismatchError("its operands are packed")
    value = "v" if site.input(3) is None else "d"
    past = f"b h _ d, b h _ {value}"
    text = f"b _ (h d), b _ (h d), b _ (h {value}), (3 h d), ., _ h _ _, {past} -> b _ (h {value}), {past}"
    return pattern(text, sizes=_heads, reduced=_OVER_D)(site)


def _set_multi_head(resizing: Resizing) -> None:
    heads = _heads(resizing.site)["h"]
    resizing.set_attribute("num_heads", resizing.factor("h"))
    _keep_scale(resizing, (resizing.site.shape() or ())[-1] // heads)


def _packed(site: Site) -> list[Link]:
    """``com.microsoft.Attention(input, weights, bias, mask, past, attention bias)`` of equal sizes of q, k and v."""
    sizes = site.attribute("qkv_hidden_sizes")
    if sizes and len(set(sizes)) > 1:
        raise MismatchError("its queries and values have different sizes")
    text = "b _ i, i (3 h d), (3 h d), ., _ _ h _ d, _ h _ _ -> b _ (h d), _ _ h _ d"
    return pattern(text, sizes=_heads, reduced=_OVER_D | {"i": Reduction.SUM})(site)


def _set_packed(resizing: Resizing) -> None:
    heads = _heads(resizing.site)["h"]
    hidden = (resizing.site.shape_out() or ())[-1]
    resizing.set_attribute("num_heads", resizing.factor("h"))
    resizing.set_attribute("qkv_hidden_sizes", [resizing.count(~0, 2)] * 3)
    _keep_scale(resizing, hidden // heads)


def _grouped_heads(site: Site) -> Mapping[str, int]:
    keys = int(site.attribute("kv_num_heads", 1))
    return {"k": keys, "r": int(site.attribute("num_heads", 1)) // keys}


def _grouped(site: Site) -> list[Link]:
    """``com.microsoft.GroupQueryAttention(query, key, value, past key, past value, ...)``; head sizes stay.

    Its kernels rotate pairs within a head and take certain head sizes only.
    """
    if site.input(1) is None:
        raise MismatchError("its operands are packed")
    past = "b k _ d, b k _ d"
    text = f"b _ (k r d), b _ (k d), b _ (k d), {past}, ., ., ., . -> b _ (k r d), {past}"
    return pattern(text, sizes=_grouped_heads, rigid=("d",))(site)


def _set_grouped(resizing: Resizing) -> None:
    keys = resizing.factor("k")
    resizing.set_attribute("num_heads", keys * resizing.factor("r"))
    resizing.set_attribute("kv_num_heads", keys)


def _rotary_heads(site: Site) -> Mapping[str, int]:
    heads = int(site.attribute("num_heads", 0))
    width = (site.shape() or (1,))[-1]
    cosines = (site.shape(1 if not site.node.domain else 2) or (0, 0))[-1]
    return {"h": heads or max(width // max(2 * cosines, 1), 1)}


def _rotary(site: Site) -> list[Link]:
    """Rotary embedding: pairs within a head turn by their own angle, so heads go and their sizes stay."""
    if len(site.shape() or ()) == 4:
        axes = [[("b",), ("h",), None, ("d",)]] * 2
        return tied(site, [(0, axes[0]), (~0, axes[1])], rigid=("d",))
    return pattern("b _ (h d) -> b _ (h d)", sizes=_rotary_heads, rigid=("d",))(site)


def _set_rotary(resizing: Resizing) -> None:
    if resizing.site.attribute("num_heads", 0):
        resizing.set_attribute("num_heads", resizing.factor("h"))


RULES = {
    "Attention": Rule(_standard, _set_standard, mask_all=True),
    "RotaryEmbedding": Rule(_rotary, _set_rotary),
    (MICROSOFT, "RotaryEmbedding"): Rule(_rotary, _set_rotary),
    (MICROSOFT, "MultiHeadAttention"): Rule(_multi_head, _set_multi_head, mask_all=True),
    (MICROSOFT, "Attention"): Rule(_packed, _set_packed, parametric=True, mask_all=True),
    (MICROSOFT, "GroupQueryAttention"): Rule(_grouped, _set_grouped),
}
