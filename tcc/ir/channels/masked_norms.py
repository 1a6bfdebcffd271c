"""Normalisations written out, with mean and variance over the kept indices alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir

from tcc.ir.channels.links import MismatchError, Tie
from tcc.ir.channels.masked_nodes import Masking
from tcc.ir.channels.site import Site

_RMS = frozenset({"RMSNormalization", "SimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization"})


def write_out(site: Site, making: Masking, masks: Mapping[int, np.ndarray], tie: Tie) -> None:
    """Put y = (x - mean) / sqrt(variance + epsilon) · scale + bias in the place of a normalisation.

    Args:
        site: the original node.
        making: its copy, which is replaced.
        masks: for each axis of the input that loses indices of what is averaged over: which count.
        tie: of the axes, for normalisations of groups of channels.
    """
    operator, rank = site.node.op_type, len(site.shape() or ())
    node = making.node
    if operator == "GroupNormalization":
        _groups(site, making, masks[1], tie)
        return
    if operator == "InstanceNormalization":
        axes = list(range(2, rank))
    elif operator.startswith("Skip"):
        axes = [rank - 1]
    else:
        axes = list(range(int(site.attribute("axis", -1)) % rank, rank))
    mask = np.ones([1] * rank, bool)
    for axis, own in masks.items():
        mask = mask & own.reshape([-1 if i == axis else 1 for i in range(rank)])
    x = node.inputs[0]
    assert x is not None
    scales = [v for v in node.inputs[1:] if v is not None]
    if operator.startswith("Skip"):
        x, scales = _skipped(making)
    if any(v.name and v.uses() for v in node.outputs[1:] if v.name != _sum_name(node)):
        raise MismatchError("its statistics are read")
    shape = [1, -1] + [1] * (rank - 2) if operator == "InstanceNormalization" else None
    y = _normalized(making, x, mask, axes, site, centred=operator not in _RMS)
    _finish(making, y, scales, shape)


def _sum_name(node: onnx_ir.Node) -> str | None:
    return node.outputs[3].name if node.op_type.startswith("Skip") and len(node.outputs) > 3 else None


def _skipped(making: Masking) -> tuple[onnx_ir.Value, list[onnx_ir.Value]]:
    """The sum that a Skip- operator normalises, with its own scale and bias."""
    node = making.node
    inputs = [*node.inputs, None, None, None]
    simple = "Simplified" in node.op_type
    x = making.add("Add", [inputs[1], inputs[0]])
    extra = inputs[3] if simple else inputs[4]
    if extra is not None:
        x = making.add("Add", [x, extra])
    if len(node.outputs) > 3 and node.outputs[3].uses():
        for use in list(node.outputs[3].uses()):
            use.node.replace_input_with(use.idx, x)
    return x, [v for v in ([inputs[2]] if simple else inputs[2:4]) if v is not None]


def _normalized(
    making: Masking, x: onnx_ir.Value, mask: np.ndarray, axes: list[int], site: Site, *, centred: bool
) -> onnx_ir.Value:
    over = [mask.shape[a] for a in axes if mask.shape[a] > 1]
    # The mask is a product of masks of single axes: of each mean, the same part counts.
    factor = float(np.prod(over)) / float(mask.any(axis=tuple(i for i in range(mask.ndim) if i not in axes)).sum())
    x = making.filled(x, mask, 0.0)
    if centred:
        x = making.filled(making.add("Sub", [x, making.mean(x, axes, factor)]), mask, 0.0)
    variance = making.mean(making.add("Mul", [x, x]), axes, factor)
    dtype = x.dtype or onnx_ir.DataType.FLOAT
    epsilon = making.constant(np.array(site.attribute("epsilon", 1e-5), dtype.numpy()), dtype)
    return making.add("Div", [x, making.add("Sqrt", [making.add("Add", [variance, epsilon])])])


def _finish(
    making: Masking, y: onnx_ir.Value, scales: list[onnx_ir.Value], shape: list[int] | None, last: str = "Identity"
) -> None:
    for operator, value in zip(("Mul", "Add"), scales, strict=False):
        operand = value
        if shape is not None:
            at = making.constant(np.array(shape, np.int64), onnx_ir.DataType.INT64)
            operand = making.add("Reshape", [value, at])
            operand.type = value.type
        y = making.add(operator, [y, operand])
    making.stand_in(onnx_ir.Node("", last, [y]))


def _groups(site: Site, making: Masking, mask: np.ndarray, tie: Tie) -> None:
    """Channels of a group side by side: [n, g, c, rest]."""
    groups = tie.sizes.get("g", 1)
    each = len(mask) // groups
    rank = len(site.shape() or ())
    x, scale, bias = making.node.inputs[0], making.node.inputs[1], making.node.inputs[2]
    assert x is not None
    apart = making.constant(np.array([0, groups, each, -1], np.int64), onnx_ir.DataType.INT64)
    grouped = making.add("Reshape", [x, apart])
    grouped.type = x.type
    own = mask.reshape(1, groups, each, 1)[:, :1]
    y = _normalized(making, grouped, own, [2, 3], site, centred=True)
    shape = making.add("Shape", [x])
    shape.type = onnx_ir.TensorType(onnx_ir.DataType.INT64)
    scales = [v for v in (scale, bias) if v is not None]
    if site.shape(1) == (groups,):
        for operator, value in zip(("Mul", "Add"), scales, strict=True):
            at = making.constant(np.array([1, groups, 1, 1], np.int64), onnx_ir.DataType.INT64)
            operand = making.add("Reshape", [value, at])
            y = making.add(operator, [y, operand])
            y.type = x.type
        scales = []
    back = making.add("Reshape", [y, shape])
    back.type = x.type
    _finish(making, back, scales, [1, -1] + [1] * (rank - 2))
