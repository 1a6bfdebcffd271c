"""Which rows of its inputs a node reads to make some rows of its output, along one axis."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx_ir

Rows = tuple[int, int]
"""From, and up to but not including."""


@dataclass(frozen=True)
class Need:
    """Some rows of one input, along its own axis."""

    index: int
    axis: int
    rows: Rows


@dataclass(frozen=True)
class Step:
    """How a node makes some rows: those asked for or a few more; inputs that are not named are read whole.

    ``attributes`` take the place of the node's own.
    """

    rows: Rows
    needs: tuple[Need, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)


_ELEMENTWISE = frozenset({
    "Abs", "Add", "And", "BitShift", "Cast", "Ceil", "Celu", "Clip", "Cos", "Div", "Elu", "Equal", "Erf", "Exp",
    "Floor", "Gelu", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Less",
    "LessOrEqual", "Log", "Max", "Mean", "Min", "Mish", "Mod", "Mul", "Neg", "Not", "Or", "PRelu", "Pow",
    "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Sub", "Sum",
    "Swish", "Tanh", "ThresholdedRelu", "Where", "Xor",
})  # fmt: skip


def step(node: onnx_ir.Node, axis: int, rows: Rows, there: Rows | None = None) -> Step | None:
    """How the node makes ``rows`` of its only output along ``axis``; None where it takes more than some rows.

    What is not known to be local is not: operators of other domains, several outputs, sizes that are not fixed.
    ``there`` are the rows of the first input that there are: windows that reach beyond them see zeros, so that what
    they make is wrong; None for all.
    """
    if node.domain or len([v for v in node.outputs if v.name]) != 1 or axis < 0:
        return None
    if node.op_type in _ELEMENTWISE:
        return _broadcast(node, axis, rows)
    if node.op_type in _WINDOWED:
        return _window(node, axis, rows, there)
    found = _RULES.get(node.op_type)
    return None if found is None else found(node, axis, rows)


_WINDOWED = frozenset({"AveragePool", "Conv", "MaxPool"})


def forward(node: onnx_ir.Node, index: int, axis: int) -> int:
    """The axis of the output that the input's ``axis`` becomes; −1 where that is not known."""
    read = node.inputs[index]
    if read is None or read.shape is None or node.outputs[0].shape is None:
        return -1
    if node.op_type == "Transpose":
        order = _order(node)
        return order.index(axis) if axis in order else -1
    return axis + len(node.outputs[0].shape) - len(read.shape)


def size(v: onnx_ir.Value | None, axis: int) -> int | None:
    """The fixed size of a value along an axis; None where it is not fixed or there is no such axis."""
    if v is None or v.shape is None or not 0 <= axis < len(v.shape):
        return None
    found = v.shape[axis]
    return found if isinstance(found, int) else None


def _rank(v: onnx_ir.Value | None) -> int:
    return -1 if v is None or v.shape is None else len(v.shape)


def _plain(node: onnx_ir.Node, name: str, default: Any) -> Any:
    found = node.attributes.get(name)
    return default if found is None or found.is_ref() else found.value


def _same(node: onnx_ir.Node, axis: int, rows: Rows) -> Step:
    """The same rows of the first input, whatever else is read whole."""
    del node
    return Step(rows, (Need(0, axis, rows),))


def _broadcast(node: onnx_ir.Node, axis: int, rows: Rows) -> Step | None:
    """The same rows of each input that has them; ONNX aligns shapes at their ends."""
    every = size(node.outputs[0], axis)
    needs: list[Need] = []
    for index, v in enumerate(node.inputs):
        if v is None:
            continue
        own = axis - (_rank(node.outputs[0]) - _rank(v))
        has = 1 if _rank(v) >= 0 and own < 0 else size(v, own)
        if has is None or has not in {1, every}:
            return None
        if has == every and has > 1:
            needs.append(Need(index, own, rows))
    return Step(rows, tuple(needs)) if needs else None


def _along_others(node: onnx_ir.Node, axis: int, rows: Rows) -> Step | None:
    """Operators that work along one axis (Softmax) or from one axis on (LayerNormalization)."""
    # Before opset 13 a Softmax flattens what follows its axis, which is 1 where it is not named.
    from_axis_on = node.op_type == "LayerNormalization" or (node.version or 0) < _ONE_AXIS
    own = int(_plain(node, "axis", 1 if from_axis_on and node.op_type != "LayerNormalization" else -1))
    own += _rank(node.outputs[0]) if own < 0 else 0
    return _same(node, axis, rows) if (axis < own if from_axis_on else axis != own) else None


_ONE_AXIS = 13


def _batch_normalization(node: onnx_ir.Node, axis: int, rows: Rows) -> Step | None:
    return _same(node, axis, rows) if axis != 1 else None


def _converted(node: onnx_ir.Node, axis: int, rows: Rows) -> Step | None:
    """QuantizeLinear, DequantizeLinear: one scale for all, or one for each index of another axis."""
    if int(_plain(node, "block_size", 0)):
        return None
    own = int(_plain(node, "axis", 1))
    own += _rank(node.outputs[0]) if own < 0 else 0
    is_one = _rank(node.inputs[1]) == 0 or (_rank(node.inputs[1]) == 1 and size(node.inputs[1], 0) == 1)
    return _same(node, axis, rows) if is_one or own != axis else None


def _concat(node: onnx_ir.Node, axis: int, rows: Rows) -> Step | None:
    own = int(_plain(node, "axis", 0))
    own += _rank(node.outputs[0]) if own < 0 else 0
    return None if own == axis else Step(rows, tuple(Need(index, axis, rows) for index in range(len(node.inputs))))


def _order(node: onnx_ir.Node) -> list[int]:
    return list(_plain(node, "perm", range(_rank(node.inputs[0]))[::-1]))


def _transpose(node: onnx_ir.Node, axis: int, rows: Rows) -> Step | None:
    order = _order(node)
    return Step(rows, (Need(0, order[axis], rows),)) if axis < len(order) else None


def _matmul(node: onnx_ir.Node, axis: int, rows: Rows) -> Step | None:
    """Rows of the left operand, or matrices of both."""
    left, right = map(_rank, node.inputs[:2])
    rank = _rank(node.outputs[0])
    if min(left, right) < 2 or axis >= rank - 1:
        return None
    if axis == rank - 2:
        return Step(rows, (Need(0, left - 2, rows),))
    return _broadcast(node, axis, rows)


def _gemm(node: onnx_ir.Node, axis: int, rows: Rows) -> Step | None:
    if axis or int(_plain(node, "transA", 0)):
        return None
    needs = [Need(0, 0, rows)]
    if len(node.inputs) > 2 and _rank(node.inputs[2]) == 2 and size(node.inputs[2], 0) != 1:
        needs.append(Need(2, 0, rows))
    return Step(rows, tuple(needs))


def _depth_to_space(node: onnx_ir.Node, axis: int, rows: Rows) -> Step | None:
    """Whole blocks of rows: a few more may be made than are asked for."""
    block = int(_plain(node, "blocksize", 0))
    if axis < 2 or not block:
        return None
    return _enlarged(axis, rows, block)


def _enlarged(axis: int, rows: Rows, factor: int) -> Step:
    low, high = rows[0] // factor, -(-rows[1] // factor)
    return Step((low * factor, high * factor), (Need(0, axis, (low, high)),))


def _space_to_depth(node: onnx_ir.Node, axis: int, rows: Rows) -> Step | None:
    block = int(_plain(node, "blocksize", 0))
    return None if axis < 2 or not block else Step(rows, (Need(0, axis, (rows[0] * block, rows[1] * block)),))


def _resize(node: onnx_ir.Node, axis: int, rows: Rows) -> Step | None:
    """Rows repeated a whole number of times, by constant scales."""
    scales = node.inputs[2] if len(node.inputs) > 2 else None
    read, made = size(node.inputs[0], axis), size(node.outputs[0], axis)
    is_repeating = (
        _plain(node, "mode", "nearest") == "nearest"
        and _plain(node, "coordinate_transformation_mode", "half_pixel") == "asymmetric"
        and _plain(node, "nearest_mode", "round_prefer_floor") == "floor"
    )  # fmt: skip
    if not is_repeating or read is None or made is None or made % read or "axes" in node.attributes:
        return None
    if scales is None or scales.const_value is None or scales.const_value.size != _rank(node.inputs[0]):
        return None
    return _enlarged(axis, rows, made // read)


def _window(node: onnx_ir.Node, axis: int, rows: Rows, there: Rows | None) -> Step | None:
    """Convolutions and poolings: the rows under the windows, zeros where the rows that there are end."""
    read, place = size(node.inputs[0], axis), axis - 2
    count = _rank(node.inputs[0]) - 2
    if place < 0 or read is None or _rank(node.outputs[0]) - 2 != count or int(_plain(node, "ceil_mode", 0)):
        return None
    weight = node.inputs[1] if node.op_type == "Conv" else None
    kernel = _plain(node, "kernel_shape", None) or [size(weight, 2 + i) for i in range(count)]
    strides, dilations = (list(_plain(node, name, [1] * count)) for name in ("strides", "dilations"))
    if None in kernel or (pads := _pads(node, kernel, strides, dilations)) is None:
        return None
    stride, reach = strides[place], dilations[place] * (kernel[place] - 1) + 1
    low, high = rows[0] * stride - pads[place], (rows[1] - 1) * stride - pads[place] + reach
    ends = there or (0, read)
    pads[place], pads[place + count] = max(0, ends[0] - low), max(0, high - ends[1])
    inside = (max(ends[0], low), min(ends[1], high))
    # Runtimes refuse poolings whose window may lie in the padding alone.
    if inside[1] <= inside[0] or (weight is None and max(pads[place], pads[place + count]) >= reach):
        return None
    attributes: dict[str, Any] = {"pads": pads}
    if "auto_pad" in node.attributes:
        attributes["auto_pad"] = "NOTSET"
    return Step(rows, (Need(0, axis, inside),), attributes)


def _pads(node: onnx_ir.Node, kernel: list[int], strides: list[int], dilations: list[int]) -> list[int] | None:
    """The padding in ONNX's order, written out where the node names it."""
    count, named = len(kernel), _plain(node, "auto_pad", "NOTSET")
    if named == "NOTSET":
        return list(_plain(node, "pads", [0] * 2 * count))
    if named == "VALID":
        return [0] * 2 * count
    whole: list[int] = []
    for i in range(count):
        read = size(node.inputs[0], 2 + i)
        if read is None:
            return None
        reach = dilations[i] * (kernel[i] - 1) + 1
        whole.append(max(0, (-(-read // strides[i]) - 1) * strides[i] + reach - read))
    less = [total // 2 for total in whole]
    more = [total - half for total, half in zip(whole, less, strict=True)]
    return [*less, *more] if named == "SAME_UPPER" else [*more, *less]


_RULES: Mapping[str, Callable[[onnx_ir.Node, int, Rows], Step | None]] = {
    "BatchNormalization": _batch_normalization, "Concat": _concat, "DepthToSpace": _depth_to_space,
    "DequantizeLinear": _converted, "Gemm": _gemm, "LayerNormalization": _along_others, "LogSoftmax": _along_others,
    "MatMul": _matmul, "QuantizeLinear": _converted, "Resize": _resize, "Softmax": _along_others,
    "SpaceToDepth": _space_to_depth, "Transpose": _transpose,
}  # fmt: skip
