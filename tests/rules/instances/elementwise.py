"""Instances of ``tcc.rewrites.elementwise``."""

from __future__ import annotations

import numpy as np
import onnx

from tests.rules.draw import Draw, Value

UNCONDITIONAL = frozenset({"add_negated", "multiply_by_reciprocal"})
_NUMBERS = ("float32", "float32", "float16", "float64", "int64", "int32")
_FLOATS = ("float32", "float32", "float16", "float64")


def _constant(draw: Draw, shape: tuple[int, ...], dtype: str, *, widens: bool = True) -> Value:
    """A constant without small elements, of a shape that at times widens that of its partner."""
    if len(shape) > 4:
        widens = False
    wide = (draw.integer(2, 3), *shape) if widens and draw.chance(0.2) else draw.broadcast_to(shape)
    array = draw.positive(wide, dtype) if "float" in dtype else np.maximum(draw.array(wide, dtype), 1)
    return draw.constant(array)


def _vector(draw: Draw, dtype: str = "float32") -> Value:
    return _constant(draw, (3,), dtype, widens=False)


def constant_operand_last(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    shape, dtype = draw.shape(), draw.choice(_NUMBERS)
    c = _constant(draw, shape, dtype)
    return draw.model(draw.node(draw.choice(("Add", "Mul")), c, draw.tensor(shape, dtype)))


def constant_operand_last__no_constant(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    x, y = draw.input((2, 3)), draw.input((3,))
    return draw.model(draw.node(draw.choice(("Add", "Mul", "Sub", "Div")), x, y))


def subtract_constant(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    shape, dtype = draw.shape(), draw.choice(("float32", "float64"))
    x = draw.tensor(shape, dtype)
    return draw.model(draw.node("Sub", x, _constant(draw, shape, dtype)))


def subtract_constant__from_constant(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    return draw.model(draw.node("Sub", _vector(draw), draw.input((2, 3))))


def subtract_constant__integer(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    dtype = draw.choice(("int32", "int64") if draw.opset < 14 else ("int32", "uint8", "uint32"))
    if dtype.startswith("u"):
        # Neg has no unsigned form.
        x = draw.node("Cast", draw.input((2, 3), "int32"), to=onnx.TensorProto.UINT32)
        y = draw.node("Sub", x, draw.constant(np.array(7, np.uint32)))
        return draw.model(draw.node("Cast", y, to=onnx.TensorProto.INT64))
    return draw.model(draw.node("Sub", draw.input((2, 3), dtype), _vector(draw, dtype)))


def divide_by_constant(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    shape, dtype = draw.shape(), draw.choice(("float32", "float64"))
    x = draw.tensor(shape, dtype)
    return draw.model(draw.node("Div", x, _constant(draw, shape, dtype)))


def divide_by_constant__integer(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    dtype = draw.choice(("int32", "int64"))
    return draw.model(draw.node("Div", draw.input((2, 3), dtype), _vector(draw, dtype)))


def divide_by_constant__of_constant(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    y = draw.input_of(draw.positive((2, 3)))
    return draw.model(draw.node("Div", _vector(draw), y))


def add_negated(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    shape, dtype = draw.shape(), draw.choice(("float32", "float64", "int32", "int64"))
    x, y = draw.tensor(draw.broadcast_to(shape), dtype), draw.tensor(shape, dtype)
    return draw.model(draw.node(draw.choice(("Add", "Sub")), x, draw.node("Neg", y)))


def _chain(draw: Draw, operator: str, dtypes: tuple[str, ...]) -> onnx.ModelProto:
    draw.versions(7)
    shape, dtype = draw.shape(), draw.choice(dtypes)
    x = draw.tensor(shape, dtype)
    y = draw.node(operator, x, _constant(draw, shape, dtype))
    return draw.model(draw.node(operator, y, _constant(draw, shape, dtype, widens=False)))


def _mixed_chain(draw: Draw, first: str, second: str) -> onnx.ModelProto:
    draw.versions(7)
    y = draw.node(first, draw.input((2, 3)), _vector(draw))
    return draw.model(draw.node(second, y, _vector(draw)))


def gather_factors(draw: Draw) -> onnx.ModelProto:
    return _chain(draw, "Mul", _FLOATS)


def gather_factors__of_sum(draw: Draw) -> onnx.ModelProto:
    return _mixed_chain(draw, *draw.choice((("Add", "Mul"), ("Mul", "Add"), ("Div", "Mul"), ("Mul", "Div"))))


def gather_factors__integer(draw: Draw) -> onnx.ModelProto:
    return _chain(draw, "Mul", ("int32", "int64"))


def gather_summands(draw: Draw) -> onnx.ModelProto:
    return _chain(draw, "Add", _FLOATS)


def gather_summands__of_product(draw: Draw) -> onnx.ModelProto:
    return _mixed_chain(draw, *draw.choice((("Add", "Mul"), ("Mul", "Add"), ("Sub", "Add"), ("Add", "Sub"))))


def gather_summands__integer(draw: Draw) -> onnx.ModelProto:
    return _chain(draw, "Add", ("int32", "int64"))


def multiply_by_reciprocal(draw: Draw) -> onnx.ModelProto:
    draw.versions(7)
    shape, dtype = draw.shape(), draw.choice(("float32", "float64"))
    x = draw.tensor(draw.broadcast_to(shape), dtype)
    y = draw.operand(draw.positive(shape, dtype), constant=draw.chance(0.3))
    return draw.model(draw.node("Mul", *draw.shuffled((x, draw.node("Reciprocal", y)))))


def max_with_zero(draw: Draw) -> onnx.ModelProto:
    draw.versions(8)
    shape = draw.shape(0, 4)
    dtype = draw.choice(("float32", "float64") if draw.opset > 11 else ("float32",))
    small = draw.broadcast_to(shape)
    zero = draw.constant(np.zeros(small if np.prod(small) <= 8 else (), dtype))
    return draw.model(draw.node("Max", *draw.shuffled((draw.tensor(shape, dtype), zero))))


def max_with_zero__widens(draw: Draw) -> onnx.ModelProto:
    draw.versions(8)
    x = draw.input((draw.choice((1, 3)),), symbols=0.3)
    return draw.model(draw.node("Max", *draw.shuffled((x, draw.constant(np.zeros((2, 1), np.float32))))))


def max_with_zero__not_zero(draw: Draw) -> onnx.ModelProto:
    draw.versions(8)
    c = draw.choice((np.float32(0.3), np.float32(-0.3), np.array([0, 1, 0], np.float32)))
    operands = [draw.input((2, 3)), draw.constant(c)]
    if draw.chance(0.4):
        operands = [draw.input((2, 3)), draw.constant(np.float32(0)), draw.input((3,))]
    return draw.model(draw.node("Max", *draw.shuffled(operands)))


def max_with_zero__integer(draw: Draw) -> onnx.ModelProto:
    draw.versions(12)
    return draw.model(draw.node("Max", draw.input((2, 3), "int64"), draw.constant(np.array(0, np.int64))))


def _bound(draw: Draw, value: float | None, dtype: str, *, constant: bool = True) -> Value | None:
    return None if value is None else draw.operand(np.array(value, dtype), constant=constant)


def clip_from_zero(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    dtype = draw.choice(("float32", "float64", "float16") if draw.opset > 11 else ("float32",))
    x = draw.tensor(draw.shape(), dtype)
    return draw.model(draw.node("Clip", x, _bound(draw, draw.choice((0.0, -0.0)), dtype)))


def clip_from_zero__bounded(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    low, high = draw.choice(((0.0, 0.5), (0.2, None), (-0.2, None), (None, 0.0), (None, 0.5)))
    return draw.model(
        draw.node("Clip", draw.input((2, 5)), _bound(draw, low, "float32"), _bound(draw, high, "float32"))
    )


def clip_from_zero__fed(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    low = _bound(draw, draw.choice((-0.5, 0.5)), "float32", constant=False)
    return draw.model(draw.node("Clip", draw.input((2, 5)), low))


def clip_from_zero__attributes(draw: Draw) -> onnx.ModelProto:
    draw.versions(7, 10)
    low, high = draw.choice(((0.0, None), (0.0, 0.5), (0.5, None), (-0.5, None)))
    return draw.model(draw.node("Clip", draw.input((2, 5)), min=low, max=high))


_BOUNDS = (-1.5, -0.5, -0.0, 0.0, 0.3, 0.8, 2.0)


def _ordered(draw: Draw) -> tuple[float, float]:
    low, high = sorted((draw.choice(_BOUNDS), draw.choice(_BOUNDS)))
    return low, high


def _clip(draw: Draw, x: Value, low: float | None, high: float | None, dtype: str = "float32") -> Value:
    return draw.node("Clip", x, _bound(draw, low, dtype), _bound(draw, high, dtype))


def clip_with_relu(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    dtype = draw.choice(("float32", "float64") if draw.opset > 11 else ("float32",))
    x = draw.tensor((draw.integer(1, 3), 7), dtype)
    low, high = _ordered(draw)
    if draw.chance():
        return draw.model(_clip(draw, draw.node("Relu", x), low, high, dtype))
    return draw.model(draw.node("Relu", _clip(draw, x, low, high, dtype)))


def clip_with_relu__below(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    high = draw.choice((-0.5, -1.0, -0.2))
    x = draw.node("Relu", draw.input((2, 7)))
    return draw.model(_clip(draw, x, draw.choice((-2.0, -1.0)), high))


def clip_with_relu__crossed(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    x = draw.input((2, 7))
    low, high = draw.choice(((1.0, 0.2), (0.5, -0.5), (-0.2, -0.9)))
    if draw.chance():
        return draw.model(_clip(draw, draw.node("Relu", x), low, high))
    return draw.model(draw.node("Relu", _clip(draw, x, low, high)))


def clip_with_relu__open(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    x = draw.input((2, 7))
    low, high = draw.choice(((-0.5, None), (0.5, None), (None, 0.5), (None, -0.5)))
    if draw.chance():
        return draw.model(_clip(draw, draw.node("Relu", x), low, high))
    return draw.model(draw.node("Relu", _clip(draw, x, low, high)))


def clip_of_clip(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    dtype = draw.choice(("float32", "float64", "int64") if draw.opset > 11 else ("float32",))
    x = draw.tensor((draw.integer(1, 3), 7), dtype)
    scale = 3 if dtype == "int64" else 1
    (a, b), (c, d) = _ordered(draw), _ordered(draw)
    return draw.model(_clip(draw, _clip(draw, x, a * scale, b * scale, dtype), c * scale, d * scale, dtype))


def clip_of_clip__apart(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    ranges = draw.shuffled(((-1.0, -0.2), (0.3, 0.8)))
    return draw.model(_clip(draw, _clip(draw, draw.input((2, 7)), *ranges[0]), *ranges[1]))


def clip_of_clip__crossed(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    ranges = draw.shuffled(((0.5, -0.5), (-0.3, 0.3)))
    return draw.model(_clip(draw, _clip(draw, draw.input((2, 7)), *ranges[0]), *ranges[1]))


def clip_of_clip__open(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    ranges = draw.shuffled(((None, 0.5), (-0.3, draw.choice((0.3, None)))))
    return draw.model(_clip(draw, _clip(draw, draw.input((2, 7)), *ranges[0]), *ranges[1]))
