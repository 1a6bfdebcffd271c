"""Importance of channels by what the outputs do when one is weakened, measured on the probe model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tcc.ir.channels import Group, Groups
from tcc.ir.channels.links import End, Reduction, Tie
from tcc.ir.execution import Runner
from tcc.ir.loss import Judge
from tcc.passes._prune_taps import Feed
from tcc.passes._prune_weights import Scores, magnitude

if TYPE_CHECKING:
    import onnx_ir

_MASK = "tcc_probe_mask:"
_RUNS = 2000
"""Runs of the model at most, as long as there is one a unit: beyond, fewer of the inputs are used."""
LEVELS: Mapping[str, float] = {"mask": 0.0, "taylor": 0.9}
"""What is left of a unit while it is measured, by the name of the option."""


def measured(groups: Groups, feeds: Sequence[Feed], level: float) -> dict[Group, Scores]:
    """Scores by the unexplained variance of the outputs when one unit's values are scaled to ``level``.

    At 0 that is what is lost without the unit. Near 1 it is the first-order Taylor expansion of the outputs in the
    unit's mask, by finite differences: its squared length over that of the step. (Molchanov et al., 2017, take the
    derivative of a loss, which is 0 where the loss is the distance from the model's own outputs.) One session measures
    all units; masks are its inputs. Units that nothing sums over are ranked by L2.

    Args:
        groups: of the model.
        feeds: inputs to measure on; as many of them are used as keep the number of runs bounded.
        level: what is left of a unit.
    """
    probe = Probe(groups)
    few = feeds[: max(1, _RUNS // max(sum(g.size for g in probe.masked), 1))]
    expected = [probe.run(feed) for feed in few]
    found: dict[Group, Scores] = {}
    for group in groups.groups:
        if group not in probe.masked:
            found[group] = magnitude(groups, group, 2)
            continue
        scores = np.zeros(group.size)
        for unit in range(group.size):
            mask = np.ones(group.size, np.float32)
            mask[unit] = level
            judge = Judge()
            for feed, outputs in zip(few, expected, strict=True):
                judge.add(outputs, probe.run(feed, {group: mask}))
            scores[unit] = judge.energy / (1 - level) ** 2
        found[group] = scores
    return found


class Probe:
    """The model with a mask for each group as a further input, applied to the data wherever it is summed over."""

    def __init__(self, groups: Groups) -> None:
        proto, weights = groups.network.model.stripped_proto()
        places: dict[str, list[_Place]] = {}
        for place in _places(groups):
            places.setdefault(place.node.outputs[0].name or "", []).append(place)
        nodes = []
        for node in list(proto.graph.node):
            for place in places.get(node.output[0] if node.output else "", ()):
                nodes += place.apply(proto.graph, node)
            nodes.append(node)
        del proto.graph.node[:]
        proto.graph.node.extend(nodes)
        used = {place.number: place.group for own in places.values() for place in own}
        self.masked = tuple(used[number] for number in sorted(used))
        self._names = {group: f"{_MASK}{number}" for number, group in used.items()}
        for group, name in self._names.items():
            proto.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [group.size]))
        proto.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.float32), f"{_MASK}one"))
        self._runner = Runner(proto, weights=weights, optimise=True)

    def run(self, feed: Feed, masks: Mapping[Group, np.ndarray] | None = None) -> list[np.ndarray]:
        """The outputs under the given masks, float32 [size] each; what has none counts in full."""
        given = {n: (masks or {}).get(g, np.ones(g.size, np.float32)) for g, n in self._names.items()}
        return self._runner.run({**feed, **given})


@dataclass(frozen=True)
class _Place:
    """An operand of an operator that sums over a group's channels."""

    group: Group
    number: int
    node: onnx_ir.Node
    end: End

    def apply(self, graph: onnx.GraphProto, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Nodes that mask the operand, which ``node`` then reads."""
        units = self.group.slices[self.end.key]
        stem = f"{_MASK}{self.number}:{node.output[0]}:{self.end.port}:{self.end.axis}"
        names = {part: f"{stem}:{part}" for part in ("index", "shape", "all", "row", "grid", "cast", "out")}
        rank = len(self.end.value.shape or ())
        shape = np.array([-1 if axis == self.end.axis else 1 for axis in range(rank)], np.int64)
        # What is no unit of the group reads the one behind the mask.
        index = np.where(units < 0, self.group.size, units).astype(np.int64)
        graph.initializer.extend([
            numpy_helper.from_array(index, names["index"]), numpy_helper.from_array(shape, names["shape"]),
        ])  # fmt: skip
        data = node.input[self.end.port]
        node.input[self.end.port] = names["out"]
        kind = self.end.value.dtype
        assert kind is not None
        return [
            helper.make_node("Concat", [f"{_MASK}{self.number}", f"{_MASK}one"], [names["all"]], axis=0),
            helper.make_node("Gather", [names["all"], names["index"]], [names["row"]], axis=0),
            helper.make_node("Reshape", [names["row"], names["shape"]], [names["grid"]]),
            helper.make_node("Cast", [names["grid"]], [names["cast"]], to=int(kind)),
            helper.make_node("Mul", [data, names["cast"]], [names["out"]]),
        ]


def _places(groups: Groups) -> Iterator[_Place]:
    for site, _ in groups.network.sites:
        if site.node.graph is not groups.network.model.graph:
            continue
        for link in groups.network.links.get(site.node, ()):
            if isinstance(link, Tie):
                for end in _summed(link):
                    for number, group in enumerate(groups.groups):
                        if end.key in group.slices:
                            yield _Place(group, number, site.node, end)


def _summed(tie: Tie) -> list[End]:
    """For each factor that is summed over, one operand of float data that has it."""
    found: dict[End, None] = {}
    for factor, kind in tie.reduced.items():
        having = [
            e for e in tie.ends
            if e.port >= 0 and factor in tie.combined(e) and e.value.const_value is None
            and e.value.dtype is not None and e.value.dtype.is_floating_point() and e.value.shape is not None
        ]  # fmt: skip
        if kind is Reduction.SUM and having:
            found[having[0]] = None
    return list(found)
