"""Instances of ``tcc.rewrites.unit_dimensions``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tests.rules import operators as op
from tests.rules.draw import Draw, Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

_RULES = "transpose_of_unit_dimensions", "activation_past_squeeze", "constant_past_squeeze", "pad_past_squeeze"
COMPANIONS = dict.fromkeys(_RULES, ("view_is_reshape",))


def _with_ones(draw: Draw, shape: Sequence[int], count: int) -> list[int]:
    """The sizes with dimensions of size 1 put between them."""
    made = list(shape)
    for _ in range(count):
        made.insert(draw.integer(0, len(made)), 1)
    return made


def _wide(draw: Draw, rank: int) -> list[int]:
    return [draw.integer(2, 4) for _ in range(rank)]


def _order(draw: Draw, shape: Sequence[int], *, moves: bool) -> list[int]:
    """A permutation that moves elements, or one that moves dimensions of size 1 alone."""
    while True:
        order = draw.shuffled(list(range(len(shape))))
        wide = [axis for axis in order if shape[axis] != 1]
        if (wide != sorted(wide)) == moves:
            return order


def _transposed(draw: Draw, ones: int, *, moves: bool = True, viewed: bool = True) -> onnx.ModelProto:
    draw.versions(9)
    sizes = _wide(draw, draw.integer(2, 3))
    shape = _with_ones(draw, sizes, ones)
    x = draw.tensor([math.prod(sizes)] if viewed else shape, symbols=0.0)
    v = op.reshape(draw, x, shape) if viewed else x
    return draw.model(draw.node("Transpose", v, perm=_order(draw, shape, moves=moves)))


def transpose_of_unit_dimensions(draw: Draw) -> onnx.ModelProto:
    return _transposed(draw, draw.integer(1, 2))


def transpose_of_unit_dimensions__no_unit(draw: Draw) -> onnx.ModelProto:
    return _transposed(draw, 0)


def transpose_of_unit_dimensions__no_view(draw: Draw) -> onnx.ModelProto:
    return _transposed(draw, 1, viewed=False)


def _convolved(draw: Draw, shape: Sequence[int]) -> Value:
    """What follows from a convolution: of three dimensions and more by one with a kernel of 1, else a view of one."""
    if len(shape) < 3:
        return op.reshape(draw, _convolved(draw, [1] * (3 - len(shape)) + list(shape)), shape)
    weight = draw.constant(draw.array((shape[1], shape[1], *[1] * (len(shape) - 2))))
    return draw.node("Conv", draw.tensor(shape, symbols=0.0), weight)


def _squeezed(draw: Draw, *, between: bool = False) -> tuple[Value, list[int]]:
    """A view without some of the dimensions of size 1, and its shape; at times its batch is symbolic."""
    sizes = _wide(draw, draw.integer(1, 3))
    kept = _with_ones(draw, sizes, draw.integer(0, 1))
    before = _with_ones(draw, sizes, len(kept) - len(sizes) + draw.integer(0 if len(kept) > len(sizes) else 1, 2))
    x = _convolved(draw, before)
    if between:  # elements of two dimensions are mixed: no dimension is left as it was
        kept = [math.prod(sizes), *[1] * draw.integer(0, 1)]
    return op.reshape(draw, x, kept), kept


def _activated(draw: Draw, v: Value) -> onnx.ModelProto:
    f = draw.choice(("Relu", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid", "Clip"))
    if f == "LeakyRelu":
        return draw.model(draw.node(f, v, alpha=0.3))
    bounds = [draw.constant(np.array(n, np.float32)) for n in (-0.5, 0.5)] if f == "Clip" else []
    return draw.model(draw.node(f, v, *bounds))


def activation_past_squeeze(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    return _activated(draw, _squeezed(draw)[0])


def activation_past_squeeze__more_dimensions(draw: Draw) -> onnx.ModelProto:
    """Dimensions of size 1 are put in, not dropped."""
    draw.versions(11)
    sizes = _wide(draw, 2)
    return _activated(draw, op.reshape(draw, _convolved(draw, sizes), _with_ones(draw, sizes, 1)))


def _operand(draw: Draw, v: Value, shape: Sequence[int], *, constant: bool = True) -> onnx.ModelProto:
    other = draw.operand(draw.array(shape), constant=constant)
    return draw.model(draw.node(draw.choice(("Add", "Mul")), *draw.shuffled((v, other))))


def constant_past_squeeze(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    v, shape = _squeezed(draw)
    return _operand(draw, v, draw.broadcast_to(shape))


def constant_past_squeeze__widens(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    v, shape = _squeezed(draw)
    return _operand(draw, v, (2, *[1] * len(shape)))


def constant_past_squeeze__mixed(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    sizes = _wide(draw, 2)
    v = op.reshape(draw, _convolved(draw, (1, *sizes, 1)), sizes[::-1] if draw.chance() else [math.prod(sizes)])
    return _operand(draw, v, (1,))


def constant_past_squeeze__fed(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    v, shape = _squeezed(draw)
    return _operand(draw, v, shape, constant=False)


def _padded(draw: Draw, v: Value, shape: Sequence[int], amounts: list[int], mode: str | None = None) -> onnx.ModelProto:
    return draw.model(op.pad(draw, Value(v.name, "float32", tuple(shape)), amounts, mode=mode))


def pad_past_squeeze(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    v, shape = _squeezed(draw)
    mode = draw.choice((None, "constant", "edge", "reflect"))
    most = [0 if size == 1 else 1 for size in shape]
    amounts = [draw.integer(0, m) for m in (*most, *most)]
    amounts[next(i for i, m in enumerate(most) if m)] = 1
    return _padded(draw, v, shape, amounts, mode)


def pad_past_squeeze__unit(draw: Draw) -> onnx.ModelProto:
    """A dimension of size 1 is padded."""
    draw.versions(11)
    v = op.reshape(draw, _convolved(draw, (2, 1, 1, 3)), [2, 1, 3])
    return _padded(draw, v, [2, 1, 3], [0, 1, 0, 0, 0, 0])


def pad_past_squeeze__mixed(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    v, shape = _squeezed(draw, between=True)
    return _padded(draw, v, shape, [1, *[0] * (2 * len(shape) - 1)])
