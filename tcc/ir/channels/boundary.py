"""Where a slice ends: the values that the part of a graph reads from which nothing was removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import onnx

from tcc.ir.channels.groups import Groups
from tcc.ir.channels.network import reads as reads_of
from tcc.ir.channels.slicing import Removal, kept
from tcc.ir.execution import Runner
from tcc.ir.model import Model

if TYPE_CHECKING:
    import onnx_ir


@dataclass(frozen=True)
class Boundary:
    """Values behind which the sliced model and the masked original are the same nodes.

    Where these values are equal, so are the outputs: a network is compared before what follows it picks, sorts or
    rounds, where the least difference of two roundings may become a large one.

    Args:
        reads: of each value one reader, by the name of its first output, and the position among all that it reads.
        outputs: positions of the graph's outputs that are such values themselves.
    """

    reads: tuple[tuple[str, int], ...]
    outputs: tuple[int, ...]

    @classmethod
    def of(cls, groups: Groups, removal: Removal) -> Boundary | None:
        """None where no node is left out: the outputs are the boundary."""
        graph = groups.network.model.graph
        touched = {value for value, _ in kept(removal)}
        read = {node: reads_of(node) for node in graph}
        users: dict[onnx_ir.Value, set[onnx_ir.Node]] = {}
        for node, values in read.items():
            for value in values:
                users.setdefault(value, set()).add(node)
        tail: set[onnx_ir.Node] = set()
        for node in reversed(list(graph)):
            behind = set().union(*(users.get(v, set()) for v in node.outputs))
            if not touched.intersection([*read[node], *node.outputs]) and behind <= tail:
                tail.add(node)
        reads: dict[onnx_ir.Value, tuple[str, int]] = {}
        made = {v: node for node in graph for v in node.outputs}
        for node, values in read.items():
            for i, value in enumerate(values if node in tail else ()):
                if value in made and made[value] not in tail:
                    reads.setdefault(value, (node.outputs[0].name or "", i))
        outputs = [i for i, v in enumerate(graph.outputs) if v.producer() is not None and v.producer() not in tail]
        return cls(tuple(reads.values()), tuple(outputs)) if tail else None

    def run(self, model: Model, feeds: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
        """The values in a form of the model, for each feed.

        Raises:
            TccError: where it does not run.
        """
        nodes = {node.outputs[0].name: node for node in model.graph if node.outputs}
        names = [reads_of(nodes[name])[i].name or "" for name, i in self.reads]
        names += [model.graph.outputs[i].name or "" for i in self.outputs]
        proto, weights = model.stripped_proto()
        del proto.graph.output[:]
        # ONNX Runtime infers the types itself.
        proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names))
        runner = Runner(proto, weights=weights)
        return [runner.run(feed) for feed in feeds]
