"""The probe model of weights: products and convolutions that read other weights while a switch is on."""

# Errors of a weight are alike in all rows: a layer further on may answer to them quite otherwise than to rounding of
# activations, which is new for every element. So where there is time, a rounded weight is measured as it is.

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from tcc.ir import probing, suffixes
from tcc.ir.model import Model
from tcc.ir.suffixes import Switches

_WEIGHT, _IS_ON = "tcc_probe_weight:", "tcc_probe_weighs:"
_BODIES_OPSET = 11
"""From this opset on ONNX's checker and runtimes agree on branches without inputs."""


@dataclass(frozen=True)
class Reweighted:
    """A node with other weights: the one that gives ``value``, float32, its second input of ``rank`` replaced.

    ``form`` tells weights of one node apart; ``weight`` makes them when they are needed. ``square`` is the square
    of the relative L2 error that they are expected to make of the value.
    """

    value: str
    form: str
    rank: int
    square: float
    weight: Callable[[], np.ndarray] = field(compare=False)


def losses(
    model: Model,
    tried: Sequence[Reweighted],
    feeds: Sequence[Mapping[str, Any]],
    varied: Sequence[float] = (),
    threads: int = 1,
) -> list[float]:
    """The unexplained variance of the outputs that each weight causes by itself; empty where none can be measured.

    Args:
        model: the original.
        tried: what to put in a weight's place, one after the other.
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
        lambda proto, which: _put(proto, {tried[i].value: tried[i].rank for i in which}),
        lambda which: {
            name: array for i in which
            for name, array in _inputs(tried[i], np.zeros((1,) * tried[i].rank), is_on=False).items()
        },
        lambda i: _inputs(tried[i], tried[i].weight(), is_on=True),
    )  # fmt: skip
    return suffixes.unexplained(model, switches, feeds, varied, threads)


def _inputs(each: Reweighted, weight: np.ndarray, *, is_on: bool) -> dict[str, np.ndarray]:
    single = np.ascontiguousarray(weight, np.float32)
    return {_WEIGHT + each.value: single, _IS_ON + each.value: np.array(is_on)}


def _put(proto: onnx.ModelProto, ranks: Mapping[str, int]) -> None:
    """Put the switches of the nodes that give these values into a graph."""
    makers = {node.output[0]: node for node in proto.graph.node if node.output}

    def made(name: str, after: str) -> list[onnx.NodeProto]:
        plain = name.removesuffix(":before")
        other = onnx.NodeProto()
        other.CopyFrom(makers[plain])
        other.input[1] = _WEIGHT + plain
        del other.output[:]
        other.output.append(f"{after}:reweighted")
        other.name = f"{other.name}:reweighted" if other.name else ""
        return [probing.switch(name, after, _IS_ON + plain, [other])]

    probing.insert(proto, ranks, made)
    for name, rank in ranks.items():
        weight = helper.make_tensor_value_info(_WEIGHT + name, TensorProto.FLOAT, [None] * rank)
        proto.graph.input.extend([weight, helper.make_tensor_value_info(_IS_ON + name, TensorProto.BOOL, [])])
