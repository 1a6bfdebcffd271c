"""Instances of ``tcc.rewrites.identities``."""

from __future__ import annotations

import numpy as np
import onnx

from tests.rules import operators as op
from tests.rules.draw import Draw, Value

UNCONDITIONAL = frozenset({
    "identity", "negate_twice", "not_twice", "absolute_of_absolute", "relu_of_relu", "of_one_input",
})  # fmt: skip
_ANY = ("float32", "float32", "float16", "float64", "int64", "int32", "bool")
_NUMBERS = ("float32", "float32", "float16", "float64", "int64", "int32")


def identity(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    x = draw.tensor(draw.shape(), draw.choice(_ANY))
    y = draw.node("Identity", x)
    return draw.model(draw.node("Identity", y) if draw.chance(0.3) else y)


def dropout(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    x = draw.tensor(draw.shape(1), draw.choice(("float32", "float16", "float64") if draw.opset > 9 else ("float32",)))
    if draw.opset < 12:
        return draw.model(draw.node("Dropout", x, ratio=0.3))
    ratio = draw.constant(np.float32(0.4)) if draw.chance() else None
    return draw.model(draw.node("Dropout", x, ratio, seed=draw.choice((None, 3))))


def dropout__training(draw: Draw) -> onnx.ModelProto:
    draw.versions(12)
    x = draw.input(draw.shape(1))
    # A ratio of 0 draws nothing, so that the outputs are comparable.
    y = draw.node("Dropout", x, draw.constant(np.float32(0)), draw.constant(np.array(draw.chance())), seed=1)
    return draw.model(y)


def _cast(draw: Draw, x: Value, dtype: str) -> Value:
    return draw.node("Cast", x, to=onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def cast_to_own_type(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    dtype = draw.choice((*_ANY, "uint8", "int8"))
    return draw.model(_cast(draw, draw.tensor(draw.shape(), dtype), dtype))


def cast_to_own_type__other(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    first, second = draw.shuffled(("float32", "float16", "float64", "int64", "int8", "uint8"))[:2]
    return draw.model(_cast(draw, draw.input_of(draw.array(draw.shape(), first)), second))


_WIDER = (
    ("float32", "float64"), ("float16", "float32"), ("int8", "int16"), ("uint8", "float16"), ("int16", "float32"),
    ("uint16", "int32"), ("int32", "int64"), ("int32", "float64"), ("uint32", "int64"), ("bool", "float32"),
    ("bool", "int8"), ("float16", "float64"),
)  # fmt: skip


def cast_there_and_back(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    narrow, wide = draw.choice(_WIDER)
    x = draw.tensor(draw.shape(), narrow)
    return draw.model(_cast(draw, _cast(draw, x, wide), narrow))


def cast_there_and_back__loses(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    narrow, wide = draw.choice((
        ("float16", "float32"), ("float32", "float64"), ("int8", "int32"), ("int32", "int64"), ("float32", "int32"),
        ("int32", "float32"), ("int8", "uint8"), ("bool", "int32"),
    ))  # fmt: skip
    array = draw.array((2, 5), wide) * np.array(1.1 if "float" in wide else 1, wide)
    if wide in ("int32", "int64"):
        array = draw.rng.integers(-(2**31), 2**31 - 1, (2, 5)).astype(wide)
    if wide == "uint8":
        array = draw.rng.integers(0, 127, (2, 5)).astype(wide)
    return draw.model(_cast(draw, _cast(draw, draw.input_of(array), narrow), wide))


def cast_there_and_back__to_another(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    x = draw.input(draw.shape(), "int32")
    return draw.model(_cast(draw, _cast(draw, x, "int64"), draw.choice(("float32", "int8", "float64"))))


def expand_to_own_shape(draw: Draw) -> onnx.ModelProto:
    draw.versions(8)
    shape = draw.shape()
    x = draw.tensor(shape, draw.choice(_ANY), symbols=0.0)
    return draw.model(draw.node("Expand", x, draw.constant(np.array(draw.broadcast_to(shape), np.int64))))


def expand_to_own_shape__widens(draw: Draw) -> onnx.ModelProto:
    draw.versions(8)
    shape = draw.shape(1)
    x = draw.tensor(draw.broadcast_to(shape), symbols=0.3)
    target = np.array((2, *shape) if draw.chance(0.3) else shape, np.int64)
    return draw.model(draw.node("Expand", x, draw.operand(target, constant=draw.chance(0.7))))


def tile_once(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    shape = draw.shape(1)
    x = draw.tensor(shape, draw.choice(("float32", "float64", "int64", "int32", "bool")))
    return draw.model(draw.node("Tile", x, draw.constant(np.ones(len(shape), np.int64))))


def tile_once__twice(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    shape = draw.shape(1)
    times = np.ones(len(shape), np.int64)
    times[draw.integer(0, len(shape) - 1)] = draw.integer(0, 2)
    return draw.model(draw.node("Tile", draw.input(shape), draw.operand(times, constant=draw.chance(0.7))))


def slice_everything(draw: Draw) -> onnx.ModelProto:
    draw.versions(10)
    shape = draw.shape(1)
    x = draw.tensor(shape, draw.choice(_NUMBERS))
    axes = draw.shuffled(draw.subset(range(len(shape)), 1))
    ends = [draw.choice((2**31 - 1, 2**63 - 1, shape[axis], shape[axis] + 3)) for axis in axes]
    if axes == list(range(len(axes))) and draw.chance(0.5):
        return draw.model(op.slice_(draw, x, [0] * len(axes), ends))
    written = [axis - len(shape) if draw.chance(0.3) else axis for axis in axes]
    return draw.model(
        op.slice_(draw, x, [0] * len(axes), ends, written, steps=[1] * len(axes) if draw.chance() else None)
    )


def slice_everything__part(draw: Draw) -> onnx.ModelProto:
    draw.versions(10)
    shape = draw.shape(1)
    x = draw.input(shape)
    axis = draw.integer(0, len(shape) - 1)
    size = shape[axis]
    start, end, step = draw.choice(
        ((1, size, 1), (0, size - 1, 1), (0, size, 2), (-1, size, 1), (-1, -9, -1), (0, -1, 1))
    )
    return draw.model(op.slice_(draw, x, [start], [end], [axis], steps=[step]))


def slice_of_slice(draw: Draw) -> onnx.ModelProto:
    draw.versions(10)
    shape = draw.shape(2)
    x = draw.tensor(shape, draw.choice(_NUMBERS))
    axes = draw.shuffled(range(len(shape)))
    cut = draw.integer(1, len(shape) - 1)
    y = _ranged(draw, x, shape, axes[:cut])
    if draw.chance(0.3):
        # Symbolic or not, what is counted from the front of one axis is.
        wide = draw.tensor((2, draw.integer(7, 9)))
        bounds = ([1], [draw.choice((6, 2**31 - 1))]), ([draw.integer(0, 2)], [draw.choice((3, 4, 2**31 - 1))])
        steps = None if draw.chance() else [2]
        return draw.model(op.slice_(draw, op.slice_(draw, wide, *bounds[0], [1]), *bounds[1], [-1], steps=steps))
    return draw.model(_ranged(draw, y, shape, axes[cut:]))


def _ranged(draw: Draw, x: Value, shape: tuple[int, ...], axes: list[int]) -> Value:
    rows = []
    for axis in axes:
        size = shape[axis]
        rows.append(draw.choice(((0, size, 1), (size // 2, 2**31 - 1, 1), (0, max(1, size - 1), 1), (-1, -size - 1, -1),
                                 (0, size, 2), (-2, size, 1))))  # fmt: skip
    starts, ends, steps = ([row[i] for row in rows] for i in range(3))
    written = [axis - len(shape) if draw.chance(0.3) else axis for axis in axes]
    plain = all(step == 1 for step in steps) and draw.chance()
    return op.slice_(draw, x, starts, ends, written, steps=None if plain else steps)


def slice_of_slice__same_axis(draw: Draw) -> onnx.ModelProto:
    draw.versions(10)
    shape = (draw.integer(1, 3), draw.integer(5, 9))
    x = draw.input(shape)
    y = op.slice_(draw, x, [draw.integer(1, 2)], [-1], [draw.choice((1, -1))])
    return draw.model(op.slice_(draw, y, [draw.integer(1, 2)], [100], [draw.choice((1, -1))]))


def pad_nothing(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    shape = draw.shape(1)
    x = draw.tensor(shape, draw.choice(("float32", "float64") if draw.opset < 13 else ("float32", "float64", "int64")))
    mode = draw.choice((None, "constant", "reflect", "edge")) if min(shape) > 1 else None
    value = 2.0 if mode in (None, "constant") and draw.chance() else None
    return draw.model(op.pad(draw, x, [0] * (2 * len(shape)), value=value, mode=mode))


def pad_nothing__pads(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    shape = draw.shape(1)
    amounts = [0] * (2 * len(shape))
    amounts[draw.integer(0, len(amounts) - 1)] = draw.choice((1, 2))
    if draw.chance() and min(shape) > 2:
        # What is cut off on one side and added on the other keeps the shape.
        amounts = [1] + [0] * (len(shape) - 1) + [-1] + [0] * (len(shape) - 1)
    return draw.model(op.pad(draw, draw.input(shape), amounts))


def of_one_input(draw: Draw) -> onnx.ModelProto:
    draw.versions(8)
    operator = draw.choice(("Concat", "Max", "Min", "Sum", "Mean"))
    x = draw.tensor(draw.shape(1), "float32" if operator == "Mean" else draw.choice(("float32", "float64")))
    return draw.model(draw.node(operator, x, axis=0 if operator == "Concat" else None))


def concat_of_split(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    shape = list(draw.shape(1, 4))
    axis = draw.integer(0, len(shape) - 1)
    sizes = [draw.integer(1, 3) for _ in range(draw.integer(2, 4))]
    shape[axis] = sum(sizes)
    x = draw.tensor(tuple(shape), draw.choice(("float32", "int64")) if draw.opset > 10 else "float32", symbols=0.0)
    written = None if axis == 0 and draw.chance() else axis
    return draw.model(draw.node("Concat", *op.split(draw, x, written, sizes), axis=axis))


def concat_of_split__other_axis(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    x = draw.input((draw.integer(1, 3), 4, 4), symbols=0.0)
    first, second = draw.choice(((1, 2), (2, 1), (-1, 1), (1, -1), (2, -1), (1, -2)))
    return draw.model(draw.node("Concat", *op.split(draw, x, first, [2, 2]), axis=second))


def concat_of_split__other_order(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    parts = op.split(draw, draw.input((draw.integer(1, 3), 6), symbols=0.0), 1, [2, 2, 2])
    chosen = draw.choice(((1, 0, 2), (2, 1, 0), (0, 1), (0, 0, 1), (1, 2), (0, 1, 2, 2)))
    return draw.model(draw.node("Concat", *(parts[i] for i in chosen), axis=1))


def concat_of_concat(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    parts = _joinable(draw, draw.integer(3, 5))
    at = draw.choice(("front", "end"))
    count = draw.integer(2, 4) if at == "front" else draw.integer(1, len(parts) - 1)
    inner = draw.node("Concat", *(parts[:count] if at == "front" else parts[-count:]), axis=1)
    outer = (inner, *parts[count:]) if at == "front" else (*parts[:-count], inner)
    return draw.model(draw.node("Concat", *outer, axis=1))


def _joinable(draw: Draw, count: int) -> list[Value]:
    return [draw.tensor((2, draw.integer(1, 3), 2), symbols=0.0) for _ in range(count)]


def concat_of_concat__other_axis(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    x, y, z, u = (draw.input((2, 2, 2), symbols=0.0) for _ in range(4))
    first, second = draw.choice(((0, 1), (1, 0), (1, 2), (2, 1), (-1, 1), (1, -1)))
    parts = [draw.node("Concat", x, y, axis=first), draw.node("Concat", z, u, axis=first)]
    return draw.model(draw.node("Concat", *draw.shuffled(parts), axis=second))


def negate_twice(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    x = draw.tensor(draw.shape(), draw.choice(("float32", "float64", "int64", "int32")))
    return draw.model(draw.node("Neg", draw.node("Neg", x)))


def not_twice(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    return draw.model(draw.node("Not", draw.node("Not", draw.tensor(draw.shape(), "bool"))))


def absolute_of_absolute(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    x = draw.tensor(draw.shape(), draw.choice(("float32", "float64", "int64", "int32")))
    return draw.model(draw.node("Abs", draw.node(draw.choice(("Abs", "Neg")), x)))


def relu_of_relu(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    x = draw.tensor(draw.shape(), draw.choice(("float32", "float64") if draw.opset < 14 else ("float32", "int32")))
    return draw.model(draw.node("Relu", draw.node("Relu", x)))


def extremum_of_the_same(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    x = draw.tensor(draw.shape())
    return draw.model(draw.node(draw.choice(("Max", "Min")), x, x))


def extremum_of_the_same__others(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    return draw.model(draw.node(draw.choice(("Max", "Min")), draw.input((2, 3)), draw.input((2, 3))))
