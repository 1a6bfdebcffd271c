"""Reductions and normalised exponentials: axes that are combined, and those that stay."""

from __future__ import annotations

from collections.abc import Callable

from tcc.ir.channels.links import Factors, Frozen, Link, MismatchError, Reduction, tied
from tcc.ir.channels.rule import Rule, Table
from tcc.ir.channels.site import Site


def _reduce(kind: Reduction) -> Callable[[Site], list[Link]]:
    def links(site: Site) -> list[Link]:
        rank = len(site.shape() or ())
        axes = site.integers("axes", 1)
        if axes is None:
            raise MismatchError("its axes are computed")
        if not axes and site.attribute("noop_with_empty_axes", 0):
            reduced: set[int] = set()
        else:
            reduced = {a % rank for a in axes} or set(range(rank))
        before: list[Factors] = [(f"a{i}",) for i in range(rank)]
        if site.attribute("keepdims", 1):
            after: list[Factors] = [() if i in reduced else (f"a{i}",) for i in range(rank)]
        else:
            after = [(f"a{i}",) for i in range(rank) if i not in reduced]
        return tied(site, [(0, before), (~0, after)], reduced={f"a{i}": kind for i in reduced})

    return links


def _along(kind: Reduction) -> Callable[[Site], list[Link]]:
    """Normalised along an axis that stays; before opset 13 along all axes from it on."""

    def links(site: Site) -> list[Link]:
        rank = len(site.shape() or ())
        old = site.opset < 13 and site.node.op_type != "LpNormalization"
        first = site.attribute("axis", 1 if old else -1) % rank
        axes: list[Factors] = [(f"a{i}",) for i in range(rank)]
        combined = range(first, rank) if old else [first]
        return tied(site, [(0, axes), (~0, axes)], reduced={f"a{i}": kind for i in combined})

    return links


def frozen_along(*defaults: int, axis_input: int | None = None) -> Callable[[Site], list[Link]]:
    """All axes pass but the one that ``axis`` names (or an input does), whose order or number matters.

    Args:
        defaults: the axis where none is given; the first is that of the attribute.
        axis_input: the input that holds the axis instead.
    """

    def links(site: Site) -> list[Link]:
        rank = len(site.shape() or ())
        given = site.fixed(axis_input) if axis_input is not None else None
        axis = int(given.reshape(-1)[0]) if given is not None else int(site.attribute("axis", defaults[0]))
        if axis_input is not None and given is None:
            raise MismatchError("its axis is computed")
        before = [None if i == axis % rank else (f"a{i}",) for i in range(rank)]
        keeps = site.attribute("keepdims", 1)
        after = before if keeps else [f for f in before if f is not None]
        outputs = [(~i, after) for i in range(len(site.node.outputs)) if site.output(i) is not None]
        return tied(site, [(0, before), *outputs])

    return links


def last_two_frozen(site: Site) -> list[Link]:
    """All axes pass but the last two, in which the operator counts places."""
    rank = len(site.shape() or ())
    axes = [(f"a{i}",) if i < rank - 2 else None for i in range(rank)]
    return tied(site, [(0, axes), (~0, axes)])


def all_frozen(site: Site) -> list[Link]:
    """Nothing can be followed."""
    ports = [*range(len(site.node.inputs)), *(~i for i in range(len(site.node.outputs)))]
    found: list[Link] = []
    for port in ports:
        value, shape = site.port(port), site.port_shape(port)
        if value is not None:
            reason = f"{site.node.op_type} cannot be followed"
            found += [Frozen(site.node, (value, axis), reason) for axis in range(len(shape or ()))]
    return found


def _lrn(site: Site) -> list[Link]:
    """A channel is scaled by its neighbours: without one, others would become neighbours."""
    rank = len(site.shape() or ())
    axes = [None if i == 1 else (f"a{i}",) for i in range(rank)]
    return tied(site, [(0, axes), (~0, axes)])


RULES: Table = {
    **dict.fromkeys(
        ["ReduceSum", "ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceLogSum"], Rule(_reduce(Reduction.SUM))
    ),
    "ReduceMean": Rule(_reduce(Reduction.MEAN)),
    "ReduceProd": Rule(_reduce(Reduction.PRODUCT)),
    "ReduceMax": Rule(_reduce(Reduction.LOWEST)),
    "ReduceMin": Rule(_reduce(Reduction.HIGHEST)),
    "ReduceLogSumExp": Rule(_reduce(Reduction.LOWEST)),
    **dict.fromkeys(["Softmax", "LogSoftmax"], Rule(_along(Reduction.LOWEST))),
    "LpNormalization": Rule(_along(Reduction.SUM)),
    "Hardmax": Rule(frozen_along(-1)),
    "ArgMax": Rule(frozen_along(0)),
    "ArgMin": Rule(frozen_along(0)),
    "TopK": Rule(frozen_along(-1)),
    "CumSum": Rule(frozen_along(0, axis_input=1)),
    "Trilu": Rule(last_two_frozen),
    "NonZero": Rule(all_frozen),
    "LRN": Rule(_lrn),
}
