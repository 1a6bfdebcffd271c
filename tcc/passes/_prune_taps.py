"""Looks at inner values of a model without computing what they do not need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx

from tcc.ir import structure
from tcc.ir.execution import Runner
from tcc.ir.model import Model

Feed = Mapping[str, Any]


class Tapped:
    """A model cut down to what some of its values need, with those as its outputs."""

    def __init__(self, model: Model, names: Sequence[str]) -> None:
        proto, weights = model.stripped_proto()
        wanted = list(dict.fromkeys(names))
        needed, nodes = set(wanted), []
        for node in reversed(proto.graph.node):
            if needed & set(node.output):
                needed |= set(structure.used(node))
                nodes.append(node)
        kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in reversed(nodes)]
        del proto.graph.node[:], proto.graph.output[:]
        proto.graph.node.extend(kept)
        proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
        for tensor in list(proto.graph.initializer):
            if tensor.name not in needed:
                proto.graph.initializer.remove(tensor)
        self._runner = Runner(proto, weights={k: v for k, v in weights.items() if k in needed})
        self._names = list(names)

    def run(self, feed: Feed) -> list[Any]:
        """The values, in the order they were asked for."""
        found = self._runner.run_named({k: v for k, v in feed.items() if k in self._runner.inputs})
        return [found[name] for name in self._names]
