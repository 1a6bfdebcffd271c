"""Normalisations: by running statistics, or by those of the kept indices."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tcc.ir.channels.links import Factors, Frozen, Link, MismatchError, Operand, Reduction, tied
from tcc.ir.channels.patterns import pattern
from tcc.ir.channels.resizing import Resizing
from tcc.ir.channels.rule import MICROSOFT, Rule
from tcc.ir.channels.site import Site


def _batch(site: Site) -> list[Link]:
    if site.attribute("training_mode", 0) or len([v for v in site.node.outputs if v.name]) > 1:
        raise MismatchError("it computes statistics of the batch")
    return pattern("n c *, c, c, c, c -> n c *")(site)


def _over_last_axes(*, scales: tuple[int, ...], inputs: tuple[int, ...] = (0,), axis: int | None = None) -> Rule:
    """Over all axes from ``axis`` on; ``scales`` are aligned from the right.

    Args:
        scales: ports of scale and bias.
        inputs: ports of what has the shape of the output.
        axis: the default, None where the operator has no such attribute and means the last.
    """

    def links(site: Site) -> list[Link]:
        rank = len(site.shape() or ())
        first = int(site.attribute("axis", -1)) % rank if axis is not None else rank - 1
        axes: list[Factors] = [(f"a{i}",) for i in range(rank)]
        operands: list[Operand] = [(port, axes) for port in inputs]
        operands += [(port, axes[rank - len(site.shape(port) or ()) :]) for port in scales]
        outputs = [i for i in range(len(site.node.outputs)) if site.shape_out(i) == site.shape()]
        operands += [(~i, axes) for i in outputs]
        return tied(site, operands, reduced={f"a{i}": Reduction.NORMALIZE for i in range(first, rank)})

    return Rule(links)


def _instance(site: Site) -> list[Link]:
    rank = len(site.shape() or ())
    reduced = {f"*{i}": Reduction.NORMALIZE for i in range(rank - 2)}
    return pattern("n c *, c, c -> n c *", reduced=reduced)(site)


def _group_sizes(site: Site) -> Mapping[str, int]:
    return {"g": int(site.attribute("num_groups", site.attribute("groups", 1)))}


def _group(site: Site) -> list[Link]:
    """Scale and bias: one a group in opset 18, one a channel from 21 on."""
    groups = _group_sizes(site)["g"]
    by = "g" if site.shape(1) == (groups,) else "(g c)"
    rank = len(site.shape() or ())
    reduced = {"c": Reduction.NORMALIZE} | {f"*{i}": Reduction.NORMALIZE for i in range(rank - 2)}
    return pattern(f"n (g c) *, {by}, {by} -> n (g c) *", sizes=_group_sizes, reduced=reduced)(site)


def _set_groups(resizing: Resizing) -> None:
    resizing.set_attribute("num_groups", resizing.factor("g"))


def _mean_variance(site: Site) -> list[Link]:
    """Axes that it averages over cannot shrink."""
    rank = len(site.shape() or ())
    averaged = {a % rank for a in site.attribute("axes", [0, 2, 3])}
    axes = [None if i in averaged else (f"a{i}",) for i in range(rank)]
    return tied(site, [(0, axes), (~0, axes)])


def _channels_last_group(site: Site) -> list[Link]:
    """``com.microsoft.GroupNorm``: its kernel takes certain numbers of channels only."""
    value = site.input(0)
    assert value is not None
    return [Frozen(site.node, (value, i), "its kernel has fixed sizes") for i in range(len(site.shape() or ()))]


_LINKS: Callable[[Site], list[Link]] = _batch
RULES = {
    "BatchNormalization": Rule(_LINKS),
    "LayerNormalization": _over_last_axes(scales=(1, 2), axis=-1),
    "RMSNormalization": _over_last_axes(scales=(1,), axis=-1),
    "SimplifiedLayerNormalization": _over_last_axes(scales=(1,), axis=-1),
    "InstanceNormalization": Rule(_instance),
    "GroupNormalization": Rule(_group, _set_groups),
    "MeanVarianceNormalization": Rule(_mean_variance),
    (MICROSOFT, "SimplifiedLayerNormalization"): _over_last_axes(scales=(1,), axis=-1),
    (MICROSOFT, "SkipLayerNormalization"): _over_last_axes(scales=(2, 3, 4), inputs=(0, 1)),
    (MICROSOFT, "SkipSimplifiedLayerNormalization"): _over_last_axes(scales=(2, 3), inputs=(0, 1)),
    (MICROSOFT, "GroupNorm"): Rule(_channels_last_group),
}
