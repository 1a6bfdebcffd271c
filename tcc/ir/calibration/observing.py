"""Runs a model on calibration data and hands each inner value to its observers, one sample at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import tee
from typing import Any

import numpy as np
from onnx import helper

from tcc.ir.calibration.histogram import Histogram
from tcc.ir.calibration.observers import Channels
from tcc.ir.execution import Runner
from tcc.ir.facts import proto_type
from tcc.ir.model import Model, tensor_type


@dataclass
class Observation:
    """What was seen of one value: its histogram, its channels along the axes that were asked for, how many elements."""

    histogram: Histogram = field(default_factory=Histogram)
    channels: dict[int, Channels] = field(default_factory=dict)
    elements: int = 0

    @property
    def magnitude(self) -> float:
        """The largest absolute value; infinite where something was not finite, 0 where nothing was seen."""
        seen = self.histogram
        if not seen.finite:
            return math.inf
        return max(-seen.low, seen.high, 0.0) if seen.low <= seen.high else 0.0

    def add(self, array: np.ndarray) -> None:
        """See an array."""
        self.histogram.add(array)
        self.elements += array.size
        for channels in self.channels.values():
            channels.add(array)


def observe(
    model: Model,
    feeds: Iterable[Mapping[str, Any]],
    axes: Mapping[str, Collection[int]] | None = None,
    *,
    outputs: Callable[[list[Any]], None] = lambda _: None,
    threads: int = 1,
) -> dict[str, Observation]:
    """What each float32 value of the top-level graph is over these inputs, by name.

    Memory does not depend on the number of inputs: one run's values are held at a time.

    Args:
        model: with the types of its values.
        feeds: inputs of one run each.
        axes: for values by name, the axes whose channels are to be told apart; only for fixed axis lengths.
        outputs: called with the graph's outputs of each run.
        threads: how many runs there are at once; each holds its own values.

    Raises:
        TccError: where the model does not run on an input.
    """
    proto, weights = model.stripped_proto()
    own = [o.name for o in proto.graph.output]
    for node in model.graph:
        for v in node.outputs:
            kind = tensor_type(v)
            if v.name and v.name not in own and kind is not None and kind.dtype == "float32":
                info = helper.make_tensor_value_info(v.name, proto_type(kind.dtype), None)
                proto.graph.output.append(info)
    runner = Runner(proto, weights=weights)
    found: dict[str, Observation] = {}
    seen, fed = tee(feeds)
    for feed, values in zip(seen, runner.run_each(fed, threads), strict=True):
        run = dict(zip(runner.outputs, values, strict=True))
        outputs([run[name] for name in own])
        for name, array in {**feed, **run}.items():
            if not isinstance(array, np.ndarray) or array.dtype != np.float32:
                continue
            if name not in found:
                found[name] = Observation(channels={axis: Channels(axis) for axis in (axes or {}).get(name, ())})
            found[name].add(array)
    return found
