"""Looks at inner values of a model without computing what they do not need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from tcc.ir import structure
from tcc.ir.execution import Runner
from tcc.ir.loss import relative_l2
from tcc.ir.model import Model

Feed = Mapping[str, Any]


_TOGETHER = 32
_FEWEST = 2


def joined(model: Model, feeds: Sequence[Feed]) -> tuple[Feed, ...]:
    """Feeds of few samples as feeds of up to 32, where the model's first axes are one free batch axis."""
    inputs = [v for v in model.graph.inputs if v.name not in model.graph.initializers]
    firsts = {str(v.shape[0]) if v.shape is not None and len(v.shape) else "" for v in inputs}
    free = all(v.shape is not None and len(v.shape) and not isinstance(v.shape[0], int) for v in inputs)
    if not free or len(firsts) != 1 or not all(isinstance(a, np.ndarray) for f in feeds for a in f.values()):
        return tuple(feeds)
    runs: list[list[Feed]] = []
    form, count = None, 0
    for feed in feeds:
        own = {name: array.shape[1:] for name, array in feed.items()}
        size = max(len(array) for array in feed.values())
        if own != form or count + size > _TOGETHER:
            runs.append([])
            form, count = own, 0
        runs[-1].append(feed)
        count += size
    return tuple({name: np.concatenate([f[name] for f in run]) for name in run[0]} for run in runs)


def few(feeds: Sequence[Feed], samples: int) -> tuple[Feed, ...]:
    """Feeds from all over, of about so many samples together; never fewer than two of them."""
    sizes = [samples_in(feed) for feed in feeds]
    step = max(1, -(-sum(sizes) // max(samples, 1)))
    return tuple(feeds[:: min(step, max(1, len(feeds) // _FEWEST))])


def samples_in(feed: Feed) -> int:
    """How many samples a feed holds: what its arrays' first axes agree on, else 1."""
    firsts = {array.shape[0] if isinstance(array, np.ndarray) and array.ndim else 1 for array in feed.values()}
    return firsts.pop() if len(firsts) == 1 else 1


def outputs(model: Model, feeds: Sequence[Feed]) -> list[list[Any]]:
    """What a model computes, by the kernels of a deployment; one list a feed."""
    proto, weights = model.stripped_proto()
    runner = Runner(proto, weights=weights, optimise=True)
    return [runner.run(feed) for feed in feeds]


def distance(expected: Sequence[Sequence[Any]], actual: Sequence[Sequence[Any]]) -> float:
    """The relative L2 distance of the output where that is largest, over all runs."""
    outputs = zip(*expected, strict=True), zip(*actual, strict=True)
    return max((relative_l2(a, b) for a, b in zip(*outputs, strict=True)), default=0.0)


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
        self._runner = Runner(proto, weights={k: v for k, v in weights.items() if k in needed}, optimise=True)
        self._names = list(names)

    def run(self, feed: Feed) -> list[Any]:
        """The values, in the order they were asked for."""
        found = self._runner.run_named({k: v for k, v in feed.items() if k in self._runner.inputs})
        return [found[name] for name in self._names]
