"""Instances of ``tcc.rewrites.kernels``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tcc.ir import structures
from tests.rules import operators as op
from tests.rules.draw import Draw, Value

if TYPE_CHECKING:
    import onnx

_FLOATS = ("float32", "float32", "float64")


def _product(draw: Draw, matrix: np.ndarray, *, left: bool) -> onnx.ModelProto:
    n, dtype = len(matrix), matrix.dtype.name
    shape = (n, draw.integer(1, 3)) if left else (draw.integer(1, 3), n)
    x, c = draw.tensor((*draw.shape(0, 2), *shape), dtype, symbols=0.0), draw.constant(matrix)
    return draw.model(draw.node("MatMul", c, x) if left else draw.node("MatMul", x, c))


def multiply_by_identity(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    return _product(draw, np.eye(draw.integer(2, 5), dtype=draw.choice(_FLOATS)), left=draw.chance())


def multiply_by_identity__other_matrix(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    matrix = np.eye(draw.integer(2, 4), dtype=np.float32)
    matrix[-1, draw.integer(0, 1)] = draw.choice((0.5, 0.0, 2.0)) + float(draw.chance())
    return _product(draw, matrix if draw.chance() else matrix[::-1].copy(), left=draw.chance())


def multiply_by_identity__kernel(draw: Draw) -> onnx.ModelProto:
    """What is an identity as a kernel is none as a stack of matrices."""
    draw.versions(9)
    kernel = draw.constant(structures.kernel(structures.IDENTITY, (2, 2, 3, 3)))
    x = draw.input((2, 2, 3, 3), symbols=0.0)
    return draw.model(draw.node("MatMul", *draw.shuffled((x, kernel))))


def multiply_by_identity__widens(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    c = draw.constant(np.eye(3, dtype=np.float32))
    return draw.model(draw.node("MatMul", c, draw.input((3,), symbols=0.0)), draw.node("MatMul", draw.input((2, 3)), c))


def with_neutral_tensor(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    shape, dtype, operator = (*draw.shape(0, 2), 3, 4), draw.choice(_FLOATS), draw.choice(("Mul", "Add"))
    filled = np.full(draw.choice((shape, shape[-2:], shape[-1:])), operator == "Mul", dtype)
    operands = draw.tensor(shape, dtype), draw.constant(filled)
    return draw.model(draw.node(operator, *operands))


def with_neutral_tensor__other_number(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    filled = np.full((3, 4), draw.choice((0.0, 1.0, 2.0)), np.float32)
    if draw.chance():
        filled[draw.integer(0, 2), draw.integer(1, 3)] = 5
    operator = draw.choice(("Mul", "Add")) if filled[0, 0] == 2 or (filled != filled[0, 0]).any() else "Div"
    operator = "Add" if filled[0, 0] == 1 and operator == "Div" else "Mul" if operator == "Div" else operator
    return draw.model(draw.node(operator, draw.input((3, 4)), draw.constant(filled)))


def with_neutral_tensor__widens(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    ones = draw.constant(np.ones((2, 3, 4), np.float32))
    return draw.model(draw.node("Mul", draw.input(draw.choice(((4,), (1, 1, 4)))), ones))


def _own_kernel(draw: Draw, name: str, *, window: tuple[int, ...], channels: int, groups: int) -> np.ndarray:
    return structures.kernel(name, (channels, channels // groups, *window))


def _convolution(draw: Draw, w: np.ndarray, size: int, groups: int, **options: Any) -> Value:
    x = draw.tensor((draw.integer(1, 2), w.shape[1] * groups, *[size] * (w.ndim - 2)), symbols=0.0)
    group = groups if groups > 1 or draw.chance() else None
    return draw.node("Conv", x, draw.constant(w.astype(np.float32)), group=group, **options)


def convolve_with_identity(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    groups = draw.choice((1, 2, 4))
    window = tuple(draw.choice((1, 3, 5)) for _ in range(draw.integer(1, 2)))
    w = _own_kernel(draw, structures.IDENTITY, window=window, channels=4, groups=groups)
    dilation = draw.integer(1, 2)
    pads = [size // 2 * dilation for size in window] * 2
    options: dict[str, Any] = {"dilations": [dilation] * len(window)} if dilation > 1 else {}
    if any(pads) or draw.chance():
        options["pads"] = pads
    return draw.model(_convolution(draw, w, 6, groups, **options))


def convolve_with_identity__moved(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    w = structures.kernel(structures.IDENTITY, (2, 2, 3, 3))
    return draw.model(_convolution(draw, w, 5, 1, pads=draw.choice(([2, 1, 0, 1], [0, 1, 2, 1], [1, 2, 1, 0]))))


def convolve_with_identity__strided(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    w = structures.kernel(structures.IDENTITY, (2, 2, 3, 3))
    size = draw.choice((1, 4))
    return draw.model(_convolution(draw, w, size, 1, pads=[1, 1, 1, 1], strides=[2, 2 if size > 1 else 1]))


def convolve_with_identity__other_groups(draw: Draw) -> onnx.ModelProto:
    """The second group's kernels stand where the first one's channels do."""
    draw.versions(9)
    w = structures.kernel(structures.IDENTITY, (4, 2, 1, 3))
    if draw.chance():
        w = w[[1, 0, 2, 3]]
        return draw.model(_convolution(draw, w, 4, 2, pads=[0, 1, 0, 1]))
    return draw.model(_convolution(draw, np.concatenate([w, w]), 4, 2, pads=[0, 1, 0, 1]))


def convolve_with_mean(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    groups = draw.choice((1, 2, 4))
    window = tuple(draw.integer(2, 3) for _ in range(draw.integer(1, 2)))
    w = _own_kernel(draw, structures.MEAN, window=window, channels=4, groups=groups)
    options: dict[str, Any] = {}
    if draw.chance():
        options["pads"] = [draw.integer(0, size - 1) for size in (*window, *window)]
    if draw.chance():
        options["strides"] = [draw.integer(1, 2) for _ in window]
    return draw.model(_convolution(draw, w, 6, groups, **options))


def convolve_with_mean__wide_pads(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    w = structures.kernel(structures.MEAN, (2, 2, 2, 2))
    return draw.model(_convolution(draw, w, 4, 1, pads=[draw.integer(1, 3), 2, 1, 1]))


def convolve_with_mean__dilated(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    w = structures.kernel(structures.MEAN, (2, 2, 2, 2))
    return draw.model(_convolution(draw, w, 6, 1, dilations=[2, draw.integer(1, 2)]))


def convolve_with_mean__sum(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    depthwise = draw.chance()
    w = np.full((4, 1 if depthwise else 4, 2, 2), draw.choice((1.0, 0.125)) if depthwise else 0.25, np.float32)
    return draw.model(_convolution(draw, w, 4, 4 if depthwise else 1))


def convolve_with_mean__multiplied(draw: Draw) -> onnx.ModelProto:
    """Two outputs a channel."""
    draw.versions(9)
    w = structures.kernel(structures.MEAN, (4, 1, 2, 2))
    return draw.model(_convolution(draw, w, 4, 2))


def _rim(draw: Draw, rank: int, most: int = 2) -> list[int]:
    return [0, 0, *(draw.integer(0, most) for _ in range(rank)), 0, 0, *(draw.integer(0, most) for _ in range(rank))]


def _on_padded(draw: Draw, rim: list[int], *, value: float | None = None, short: int = 0,
               mode: str | None = None) -> onnx.ModelProto:  # fmt: skip
    """A convolution whose kernel has a rim; its pads are as wide, but for ``short`` where they are narrower."""
    rank = len(rim) // 2 - 2
    kernel, dilation, groups = [draw.integer(2, 3) for _ in range(rank)], draw.integer(1, 2), draw.integer(1, 2)
    weight = draw.operand(draw.array((2 * groups, 2, *kernel)), constant=draw.chance())
    padded = op.pad(draw, weight, rim, value=value, mode=mode)
    spread = [*rim[2 : 2 + rank], *rim[4 + rank :]]
    pads = [max(0, dilation * amount + draw.integer(0, 1) - short) for amount in spread]
    x = draw.tensor((1, 2 * groups, *[9 + 2 * short] * rank), symbols=0.0)
    bias = draw.constant(draw.array((2 * groups,))) if draw.chance() else None
    options: dict[str, Any] = {"dilations": [dilation] * rank, "group": groups, "pads": pads}
    return draw.model(draw.node("Conv", x, padded, bias, **options))


def convolve_with_padded_kernel(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    return _on_padded(draw, _rim(draw, draw.integer(1, 2)), value=draw.choice((None, 0.0)))


def convolve_with_padded_kernel__narrow_pads(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    return _on_padded(draw, [0, 0, 2, 2, 0, 0, 2, 2], short=3)


def convolve_with_padded_kernel__other_value(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    return _on_padded(draw, [0, 0, 1, 1, 0, 0, 1, 1], value=draw.choice((1.0, -2.0)))


def convolve_with_padded_kernel__edge(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    return _on_padded(draw, [0, 0, 1, 1, 0, 0, 1, 1], mode=draw.choice(("edge", "reflect")))


def convolve_with_padded_kernel__channels(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    weight = draw.constant(draw.array((2, 2, 1, 1)))
    padded = op.pad(draw, weight, draw.choice(([1, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0, 0, 0])))
    return draw.model(draw.node("Conv", draw.tensor((1, 2, 4, 4), symbols=0.0), padded, pads=[1, 1, 1, 1]))
