"""Looks at inner values of a model without computing what they do not need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from tcc.ir import structure
from tcc.ir.batches import are_batches, is_independent, samples_in
from tcc.ir.execution import Runner
from tcc.ir.loss import relative_l2
from tcc.ir.model import Model

Feed = Mapping[str, Any]


_TOGETHER = 32
_FEWEST = 2


def joined(model: Model, feeds: Sequence[Feed]) -> tuple[Feed, ...]:
    """Feeds as batches of up to 32 samples, drawn from all of them, where inputs' first axes are one free batch axis.

    Data is often stored class by class. Parts of it speak for the whole only if each is drawn from everywhere.
    """
    if not are_batches(model, feeds):
        return tuple(feeds)
    samples = [{n: a[i : i + 1] for n, a in feed.items()} for feed in feeds for i in range(samples_in(feed))]
    forms: dict[Any, list[Feed]] = {}
    for at in np.random.default_rng(0).permutation(len(samples)).tolist():
        forms.setdefault(tuple(array.shape for array in samples[at].values()), []).append(samples[at])
    runs = [own[at : at + _TOGETHER] for own in forms.values() for at in range(0, len(own), _TOGETHER)]
    batches = tuple({n: np.concatenate([f[n] for f in run]) for n in run[0]} for run in runs)
    largest = max(batches, key=samples_in, default=None)
    return tuple(feeds) if largest is not None and not is_independent(model, largest) else batches


def few(feeds: Sequence[Feed], samples: int) -> tuple[Feed, ...]:
    """Feeds from all over, of about so many samples together; never fewer than two of them."""
    sizes = [samples_in(feed) for feed in feeds]
    step = max(1, -(-sum(sizes) // max(samples, 1)))
    return tuple(feeds[:: min(step, max(1, len(feeds) // _FEWEST))])


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
