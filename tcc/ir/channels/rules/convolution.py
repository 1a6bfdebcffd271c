"""Convolutions and pooling: channels go on, places do not."""

from __future__ import annotations

from collections.abc import Mapping

from tcc.ir.channels.links import Link, Reduction, tied
from tcc.ir.channels.patterns import pattern
from tcc.ir.channels.resizing import Resizing
from tcc.ir.channels.rule import MICROSOFT, Rule, Table
from tcc.ir.channels.site import Site

_OVER_INPUTS = {"i": Reduction.SUM}


def _groups(site: Site) -> Mapping[str, int]:
    return {"g": int(site.attribute("group", 1))}


def _set_groups(resizing: Resizing) -> None:
    """Channels of the input over channels of a group, both as they are kept."""
    if resizing.site.attribute("group", 1) > 1:
        transposed = resizing.site.node.op_type == "ConvTranspose"
        # A transposed convolution's weight is [inputs of all groups, outputs of one, ...].
        whole, part = ((~0, 1), (1, 1)) if transposed else ((0, 1), (1, 1))
        resizing.set_attribute("group", resizing.count(*whole) // resizing.count(*part))


_CONVOLUTION = pattern("n (g i) ~, (g o) i ~, (g o) -> n (g o) ~", sizes=_groups, reduced=_OVER_INPUTS)
_TRANSPOSED = pattern("n (g i) ~, (g i) o ~, (g o) -> n (g o) ~", sizes=_groups, reduced=_OVER_INPUTS)
_FUSED = pattern("n (g i) ~, (g o) i ~, (g o), n (g o) ~ -> n (g o) ~", sizes=_groups, reduced=_OVER_INPUTS)
_DEFORMABLE = pattern("n (g i) ~, (g o) i ~, n ~, (g o), n ~ -> n (g o) ~", sizes=_groups, reduced=_OVER_INPUTS)
_POOL = pattern("n c ~ -> n c ~")


def _quantized(site: Site) -> list[Link]:
    """Scales and zero points of the weight are scalars or one a channel."""
    vectors = {p for p in (4, 5) if len(site.shape(p) or ()) == 1 and (site.shape(p) or (1,))[0] > 1}
    text = ["n (g i) ~", ".", ".", "(g o) i ~", *("(g o)" if p in vectors else "." for p in (4, 5)), ".", ".", "(g o)"]
    return pattern(f"{','.join(text)} -> n (g o) ~", sizes=_groups, reduced=_OVER_INPUTS)(site)


def _integer(site: Site) -> list[Link]:
    vector = len(site.shape(3) or ()) == 1
    text = f"n (g i) ~, (g o) i ~, ., {'(g o)' if vector else '.'} -> n (g o) ~"
    return pattern(text, sizes=_groups, reduced=_OVER_INPUTS)(site)


def _resampled(site: Site) -> list[Link]:
    """Axes that keep their size pass through."""
    before, after = site.shape() or (), site.shape_out() or ()
    same = [(f"a{i}",) if a == b else None for i, (a, b) in enumerate(zip(before, after, strict=True))]
    return tied(site, [(0, same), (~0, same)])


def _rescale_sizes(resizing: Resizing) -> None:
    """The sizes input of Resize; with ``axes`` it lists those axes alone, which are the resampled ones."""
    if resizing.site.input(3) is not None and not resizing.site.attribute("axes"):
        resizing.rescale(3)


_CONV = Rule(_CONVOLUTION, _set_groups, parametric=True)
_POOLS = "AveragePool MaxPool LpPool GlobalAveragePool GlobalMaxPool GlobalLpPool"
RULES: Table = {
    "Conv": _CONV,
    "ConvTranspose": Rule(_TRANSPOSED, _set_groups, parametric=True),
    "ConvInteger": Rule(_integer, _set_groups, parametric=True, zero_points={0: 2, 1: 3}),
    "QLinearConv": Rule(_quantized, _set_groups, parametric=True, zero_points={0: 2, 3: 5}),
    "DeformConv": Rule(_DEFORMABLE, _set_groups, parametric=True),
    (MICROSOFT, "FusedConv"): Rule(_FUSED, _set_groups, parametric=True),
    **{name: Rule(_POOL) for name in _POOLS.split()},
    "GridSample": Rule(pattern("n c ~, n ~ -> n c ~")),
    "RoiAlign": Rule(pattern("_ c ~, ., . -> _ c ~")),
    "MaxRoiPool": Rule(pattern("_ c ~, . -> _ c ~")),
    "Resize": Rule(_resampled, _rescale_sizes),
    "Upsample": Rule(_resampled),
}
