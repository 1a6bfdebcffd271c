"""Where a slice ends: the values that the part of a graph reads from which nothing was removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
import onnx_ir

from tcc.ir.channels.groups import Groups
from tcc.ir.channels.slicing import Removal, kept
from tcc.ir.execution import Runner
from tcc.ir.model import Model


@dataclass(frozen=True)
class Boundary:
    """Values behind which the sliced model and the masked original are the same nodes.

    Where these values are equal, so are the outputs: a network is compared before what follows it picks, sorts or
    rounds, where the least difference of two roundings may become a large one.

    Args:
        reads: of each value one reader, by the name of its first output, and the position of the input.
        outputs: positions of the graph's outputs that are such values themselves.
    """

    reads: tuple[tuple[str, int], ...]
    outputs: tuple[int, ...]

    @classmethod
    def of(cls, groups: Groups, removal: Removal) -> Boundary | None:
        """None where no node is left out: the outputs are the boundary."""
        graph = groups.network.model.graph
        touched = {value for value, _ in kept(removal)}
        tail: set[onnx_ir.Node] = set()
        for node in reversed(list(graph)):
            values = [v for v in (*node.inputs, *node.outputs) if v is not None]
            users = {use.node for v in node.outputs for use in v.uses()}
            if not _has_body(node) and not touched.intersection(values) and users <= tail:
                tail.add(node)
        reads: dict[onnx_ir.Value, tuple[str, int]] = {}
        for node in graph:
            for i, value in enumerate(node.inputs if node in tail else ()):
                producer = None if value is None else value.producer()
                if value is not None and producer is not None and producer not in tail:
                    reads.setdefault(value, (node.outputs[0].name or "", i))
        outputs = [i for i, v in enumerate(graph.outputs) if v.producer() is not None and v.producer() not in tail]
        return cls(tuple(reads.values()), tuple(outputs)) if tail else None

    def run(self, model: Model, feeds: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
        """The values in a form of the model, for each feed.

        Raises:
            TccError: where it does not run.
        """
        nodes = {node.outputs[0].name: node for node in model.graph if node.outputs}
        values = [nodes[name].inputs[i] for name, i in self.reads]
        names = [v.name or "" for v in values if v is not None]
        names += [model.graph.outputs[i].name or "" for i in self.outputs]
        proto, weights = model.stripped_proto()
        del proto.graph.output[:]
        # ONNX Runtime infers the types itself.
        proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names))
        runner = Runner(proto, weights=weights)
        return [runner.run(feed) for feed in feeds]


def _has_body(node: onnx_ir.Node) -> bool:
    bodies = {onnx_ir.AttributeType.GRAPH, onnx_ir.AttributeType.GRAPHS}
    return any(attribute.type in bodies for attribute in node.attributes.values())
