"""Instances of ``tcc.rewrites.recurrent``: the initial states that Keras's and PyTorch's exporters write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import helper

from tests.rules import operators as op
from tests.rules.draw import Draw, Value

if TYPE_CHECKING:
    import onnx

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
_TIME, _BATCH, _INPUT, _HIDDEN = 3, 2, 4, 5


def _state(draw: Draw, directions: int, x: Value, number: float = 0.0) -> Value:
    """A state of one number, in one of the ways in which exporters put it together."""
    shape = [directions, _BATCH, _HIDDEN]
    way = draw.integer(0, 3)
    if way == 0:
        return draw.constant(np.full(shape, number, np.float32))
    if way == 1:  # as PyTorch does: the batch's size is taken from the input
        batch = draw.node("Gather", draw.node("Shape", x), draw.constant(np.array([1])))
        sizes = draw.node(
            "Concat", draw.constant(np.array([directions])), batch, draw.constant(np.array([_HIDDEN])), axis=0
        )
        return draw.node("Expand", draw.constant(np.array(number, np.float32)), sizes)
    one = np.array([_BATCH, _HIDDEN])
    sizes = draw.input_of(one, symbols=0.0) if draw.chance() else draw.constant(one)
    value = helper.make_tensor("value", 1, [1], [number])
    filled = draw.node("ConstantOfShape", sizes, value=None if number == 0 and draw.chance() else value)
    if way == 2:
        filled = draw.node("Slice", filled, *(draw.constant(np.array([n])) for n in (0, _BATCH)))
    single = op.unsqueeze(draw, draw.declare(filled, (_BATCH, _HIDDEN)), [0])
    return single if directions == 1 else draw.node("Concat", single, single, axis=0)


def _network(
    draw: Draw, states: list[float | None], operator: str = "", *, drawn: int | None = None
) -> onnx.ModelProto:
    """A recurrent network with states of these numbers; None is one that is fed."""
    draw.versions(14, 22)
    operator = operator or draw.choice(tuple(GATES))
    directions = draw.integer(1, 2)
    rows = GATES[operator] * _HIDDEN
    x = draw.input((_TIME, _BATCH, _INPUT), symbols=0.0)
    weights = [draw.constant(draw.array((directions, rows, size))) for size in (_INPUT, _HIDDEN)]
    bias = draw.constant(draw.array((directions, 2 * rows))) if draw.chance(0.7) else None
    lengths = draw.constant(np.array([_TIME, 2], np.int32)) if draw.chance(0.3) else None
    count = 2 if operator == "LSTM" else 1
    given: list[Value] = []
    for number in states[:count]:
        shape = (directions, _BATCH, _HIDDEN)
        given.append(draw.input(shape, symbols=0.0) if number is None else _state(draw, directions, x, number))
    direction = "bidirectional" if directions == 2 else draw.choice(("forward", "reverse"))
    options: dict[str, Any] = {"hidden_size": _HIDDEN, "direction": direction}
    made = draw.nodes(operator, drawn or draw.integer(1, 1 + count), x, *weights, bias, lengths, *given, **options)
    return draw.model(*made)


def zero_initial_state(draw: Draw) -> onnx.ModelProto:
    other: float | None = draw.choice((0.0, None))
    states = [0.0, other] if draw.chance() else [other, 0.0]
    return _network(draw, states, "LSTM" if states[0] is None else "")


def zero_initial_state__other_number(draw: Draw) -> onnx.ModelProto:
    return _network(draw, [draw.choice((1.0, 0.5)), draw.choice((1.0, -0.5))])


def zero_initial_state__fed(draw: Draw) -> onnx.ModelProto:
    return _network(draw, [None, None])
