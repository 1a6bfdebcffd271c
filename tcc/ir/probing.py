"""The probe model: the original with a switch behind each value of interest that rounds it coarsely, off by default."""

# One session measures how much the outputs answer to an error at each of these values, without rebuilding anything:
# a total differential, in which the loss of an error is its size times the slope found here.

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from tcc.ir import suffixes
from tcc.ir.calibration import Observation, Range, noise
from tcc.ir.model import Model
from tcc.ir.suffixes import Switches

ERROR = 0.03
"""The relative error that a switch puts on its value: that of 6 bits or so, well above rounding, well below 1."""
_SWITCH, _LOW, _HIGH = "tcc_probe_step:", "tcc_probe_low:", "tcc_probe_high:"
_BODIES_OPSET = 11
"""From this opset on ONNX's checker and runtimes agree on branches without inputs."""


@dataclass(frozen=True)
class Tap:
    """A switch: the value behind it, the rounding step that puts ``ERROR`` on it, and the error it really makes."""

    value: str
    step: float
    error: float


@dataclass(frozen=True)
class Rounding:
    """One way to round a value: to multiples of ``step``, what lies outside ``low`` and ``high`` cut off to them."""

    value: str
    step: float
    low: float = -math.inf
    high: float = math.inf


def taps(values: Iterable[str], observed: Mapping[str, Observation]) -> list[Tap]:
    """A tap for each value that was seen to be finite and not all zero."""
    found = []
    for name in values:
        seen = observed[name].histogram if name in observed else None
        if seen is None or not seen.finite or not seen.energy:
            continue
        live = float(seen.counts.sum()) / seen.total
        step = ERROR * math.sqrt(12 * seen.energy / live)
        kept = Range(seen.low, seen.high)
        levels = max(2, round((seen.high - seen.low) / step) + 1)
        found.append(Tap(name, step, math.sqrt(noise(seen, kept, levels) / seen.energy)))
    return found


def probe(model: Model, values: Iterable[str]) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """The probe model: for each value inputs for the step and the two ends of its rounding; a step of 0 is none."""
    proto, weights = model.stripped_proto()
    _put(proto, list(values))
    return proto, weights


def _put(proto: onnx.ModelProto, values: Sequence[str]) -> None:
    insert(proto, values, _tap)
    zero = helper.make_tensor("tcc_probe_zero", TensorProto.FLOAT, [], [0.0])
    proto.graph.initializer.append(zero)
    proto.graph.input.extend(
        helper.make_tensor_value_info(name + value, TensorProto.FLOAT, [])
        for value in values
        for name in (_SWITCH, _LOW, _HIGH)
    )


def insert(proto: onnx.ModelProto, values: Iterable[str], made: Callable[[str, str], Sequence[onnx.NodeProto]]) -> None:
    """Put the nodes ``made(name, after)`` behind each value; what read ``name`` reads ``after``."""
    renamed = {value: f"{value}:tapped" for value in values}
    nodes = list(proto.graph.node)
    for node in nodes:
        for i, name in enumerate(node.input):
            node.input[i] = renamed.get(name, name)
    outputs = {output.name for output in proto.graph.output}
    placed = [each for i in proto.graph.input if i.name in renamed for each in made(i.name, renamed[i.name])]
    for node in nodes:
        for i, name in enumerate(node.output):
            if name in renamed and name in outputs:
                node.output[i] = f"{name}:before"
        placed.append(node)
        for name in list(node.output):
            plain = name.removesuffix(":before")
            if plain in renamed:
                placed += made(name, renamed[plain])
            if plain in renamed and plain in outputs:
                placed.append(helper.make_node("Identity", [renamed[plain]], [plain]))
    del proto.graph.node[:]
    proto.graph.node.extend(placed)


def _tap(name: str, after: str) -> list[onnx.NodeProto]:
    """``after`` is ``name``, rounded to multiples of the step and cut off where that is not 0."""
    plain, inner = name.removesuffix(":before"), after
    step, low, high = _SWITCH + plain, _LOW + plain, _HIGH + plain
    rounded = [
        helper.make_node("Div", [name, step], [f"{inner}:steps"]),
        helper.make_node("Round", [f"{inner}:steps"], [f"{inner}:rounded"]),
        helper.make_node("Mul", [f"{inner}:rounded", step], [f"{inner}:multiple"]),
        helper.make_node("Clip", [f"{inner}:multiple", low, high], [f"{inner}:on"]),
    ]
    is_on = f"{step}:is_on"
    return [helper.make_node("Greater", [step, "tcc_probe_zero"], [is_on]), switch(name, after, is_on, rounded)]


def switch(
    name: str, after: str, is_on: str, nodes: Sequence[onnx.NodeProto], kind: int = TensorProto.FLOAT
) -> onnx.NodeProto:
    """``after`` is what ``nodes`` make of ``name``, the output of the last one, where ``is_on``, else ``name``."""
    plain = [helper.make_node("Identity", [name], [f"{after}:off"])]
    branches = {
        f"{branch}_branch": helper.make_graph(
            body, f"{after}:{branch}", [], [helper.make_tensor_value_info(body[-1].output[0], kind, None)]
        )
        for branch, body in (("then", nodes), ("else", plain))
    }
    return helper.make_node("If", [is_on], [after], **branches)


def slopes(
    model: Model,
    tapped: Sequence[Tap],
    feeds: Sequence[Mapping[str, Any]],
    varied: Sequence[float] = (),
    threads: int = 1,
) -> dict[str, float]:
    """For each tapped value the unexplained variance of the outputs that a relative square error of 1 would cause.

    Args:
        model: the original.
        tapped: its taps.
        feeds: inputs to measure on.
        varied: ``Judge.varied`` of more data, for feeds that are too few to tell.
        threads: how many runs there are at once.

    Raises:
        TccError: where the probe model does not run.
    """
    found = losses(model, [Rounding(tap.value, tap.step) for tap in tapped], feeds, varied, threads)
    return {tap.value: loss / tap.error**2 for tap, loss in zip(tapped, found, strict=False)}


def losses(
    model: Model,
    tried: Sequence[Rounding],
    feeds: Sequence[Mapping[str, Any]],
    varied: Sequence[float] = (),
    threads: int = 1,
) -> list[float]:
    """The unexplained variance of the outputs that each rounding causes by itself; empty where none can be measured.

    Args:
        model: the original.
        tried: roundings, of one value perhaps several.
        feeds: inputs to measure on.
        varied: ``Judge.varied`` of more data, for feeds that are too few to tell.
        threads: how many runs there are at once.

    Raises:
        TccError: where the probe model does not run.
    """
    if not tried or model.opset < _BODIES_OPSET:
        return []
    switches = Switches(
        [(each.value,) for each in tried],
        lambda proto, which: _put(proto, list(dict.fromkeys(tried[i].value for i in which))),
        lambda which: {
            name + tried[i].value: np.zeros((), np.float32) for i in which for name in (_SWITCH, _LOW, _HIGH)
        },
        lambda i: {
            name + tried[i].value: np.asarray(number, dtype=np.float32)
            for name, number in ((_SWITCH, tried[i].step), (_LOW, tried[i].low), (_HIGH, tried[i].high))
        },
    )
    return suffixes.unexplained(model, switches, feeds, varied, threads)
