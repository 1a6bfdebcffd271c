"""Parts of a graph computed a few rows at a time, so that activations never lie in memory whole."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from tcc.cost_models.memory import Memory, Peak
from tcc.ir.fixed_sizes import fixed_types
from tcc.ir.inference import annotate
from tcc.ir.model import Model, tensor_type
from tcc.passes._tile_regions import COUNTS, Bytes, Region, constants, estimate, grown, parts, work_of
from tcc.passes._tile_writing import written
from tcc.passes.base import Context, Effect, Pass, PassResult

if TYPE_CHECKING:
    import onnx_ir

_REGIONS = 8
"""Regions that one model gets at most."""
_LEAST = 0.99
"""A region has to bring the peak below this part of what it was."""
_OPSET = 10
"""From here on Slice takes what it cuts as inputs."""


@dataclass(frozen=True)
class Choice:
    """A region in so many tiles: the bytes at the peak of the model, and the work that is done again."""

    region: Region
    count: int
    nbytes: float
    work: float


@dataclass(frozen=True)
class Tile(Pass):
    """Spatial and row tiling: runs of local operators are computed a few rows at a time, and their results joined.

    Convolutions and poolings read the rows that their windows reach into from neighbouring tiles, which are computed
    again; zeros are padded only where the whole input ends. Sizes along the axis that is cut must be fixed. Of the
    regions and numbers of tiles that keep the budget the one is taken that computes the least again; where none keeps
    it, the one with the lowest peak, and the next busiest place is looked at.

    Nodes are added and work is done again: nothing happens without a budget (``memory``, or ``--max-memory``).

    Args:
        memory: bytes of activations and weights at the predicted peak; 0 for the budget of the whole compilation.
    """

    memory: int = 0

    effect: ClassVar[Effect] = Effect.VALUE
    grows: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the options.

        Raises:
            ValueError: where one is out of its range.
        """
        if self.memory < 0:
            message = f"memory is {self.memory}, should be at least 0"
            raise ValueError(message)

    def run(self, model: Model, context: Context) -> PassResult:
        """Tile regions of the top-level graph until the budget is kept, or no region lowers the peak any more."""
        limit = float(self.memory or context.max_memory)
        facts: dict[str, Any] = {"regions": []}
        if not limit < math.inf:
            return PassResult(model, False, facts | {"declined": "there is no budget of memory"})
        if model.opset < _OPSET:
            return PassResult(model, False, facts | {"declined": f"opset {model.opset} is below {_OPSET}"})
        work, price = model.clone(), Memory(context.symbols)
        annotate(work)
        peak = before = price.peak(work)
        while peak.total > limit and len(facts["regions"]) < _REGIONS:
            found = _best(work, peak, price.profile(work), limit - peak.weights, context)
            if found is None:
                break
            made = written(work, found.region, found.count)
            lower = price.peak(made)
            if lower.total >= peak.total * _LEAST:
                break
            facts["regions"].append(_described(found))
            work, peak = made, lower
        facts |= {"bytes": [before.total, peak.total], "budget": limit}
        return PassResult(work if facts["regions"] else model, bool(facts["regions"]), facts)


def _described(chosen: Choice) -> dict[str, Any]:
    nodes = chosen.region.nodes
    return {
        "first": nodes[0].name, "last": nodes[-1].name, "nodes": len(nodes), "tiles": chosen.count,
        "axis": chosen.region.axes[nodes[-1].outputs[0]], "again": chosen.work,
    }  # fmt: skip


def _best(model: Model, peak: Peak, profile: list[float], limit: float, context: Context) -> Choice | None:
    """The region around the busiest node to tile next.

    Args:
        model: with the types of its values.
        peak: of the model.
        profile: bytes of activations while each node runs.
        limit: what activations may take.
        context: the pass's.
    """
    kinds = fixed_types(model, context.symbols)

    @cache
    def nbytes(v: onnx_ir.Value) -> float:
        kind = kinds.get(v.name or "") or tensor_type(v)
        return 0.0 if kind is None else kind.nbytes(context.symbols)

    work = cache(work_of)
    choices = [
        choice for region, at in _regions(model, peak) for part in parts(region, at, nbytes)
        for choice in _choices(model.graph, part, profile, (nbytes, work))
    ]  # fmt: skip
    kept = [choice for choice in choices if choice.nbytes <= limit]
    if kept:
        return min(kept, key=lambda choice: (choice.work, choice.count, len(choice.region.nodes)))
    lower = [choice for choice in choices if choice.nbytes < peak.activations * _LEAST]
    return min(lower, key=lambda choice: (choice.nbytes, choice.work, choice.count), default=None)


def _regions(model: Model, peak: Peak) -> Iterator[tuple[Region, onnx_ir.Node]]:
    """The longest runs around the busiest node along each axis of its output."""
    nodes = list(model.graph)
    busiest = next((i for i, node in enumerate(nodes) if peak.node in {node.name, node.op_type}), None)
    if busiest is None or not nodes[busiest].outputs or (shape := nodes[busiest].outputs[0].shape) is None:
        return
    fixed = constants(model.graph)
    for axis in range(len(shape)):
        region = grown(nodes, busiest, axis, fixed)
        if region is not None:
            yield region, nodes[busiest]


def _choices(
    graph: onnx_ir.Graph, region: Region, profile: list[float], prices: tuple[Bytes, Bytes]
) -> Iterator[Choice]:
    """The region in each number of tiles, with what it and everything that lives beside it takes."""
    held = {v for v in (*graph.inputs, *graph.outputs) if v.const_value is None}
    place = {node: i for i, node in enumerate(graph)}
    first, last = place[region.nodes[0]], place[region.nodes[-1]]
    beside = set(region.inputs) | held
    for node in list(graph)[:first]:
        beside |= {v for v in node.outputs if any(place.get(user, first) >= first for user, _ in v.uses())}
    outside = sum(map(prices[0], beside))
    rest = max((*profile[:first], *profile[last + 1 :]), default=0.0)
    for count in COUNTS:
        found = estimate(region, count, *prices, held)
        if found is not None:
            yield Choice(region, count, max(rest, outside + found.nbytes), found.work)
