"""Weights stored as 8-bit integers and scales, one scale an output channel, computed back when the model runs."""

from __future__ import annotations

import numpy as np
import onnx_ir

from tcc.ir import attributes, facts
from tcc.ir.model import tensor_type
from tcc.ir.tables import ABSENT
from tcc.rewrites.lossy import Alternative, Offer
from tcc.rewrites.lossy._measured import fitted, to_nearest

SMALLEST = 1024
"""Elements below which a weight is left alone: the node and the scales would outweigh what it saves."""
PER_AXIS_OPSET = 13
"""The first opset whose DequantizeLinear has an axis."""
FIRST_OPSET = 10
_LEVELS = 127.0
_WEIGHTS = {"Conv": 1, "ConvTranspose": 1, "MatMul": 1, "Gemm": 1}
"""Operators whose weight may be dequantised, and its input."""


def offer(made: Offer) -> None:
    """Offer every large weight as ``DequantizeLinear`` of symmetric int8 (ONNX operator specification)."""
    if made.opset < FIRST_OPSET:
        made.declined["weight-int8"] = f"opset {made.opset} has no DequantizeLinear, {FIRST_OPSET} is the first"
        return
    if made.target.legality("", "DequantizeLinear", ["int8"]) is not None:
        made.declined["weight-int8"] = f"target {made.target.name} does not run DequantizeLinear"
        return
    for v in made.imported.graph.initializers.values():
        axes = {_axis(node, index) for node, index in v.uses()}
        kind = tensor_type(v)
        if kind is None or kind.dtype != "float32" or v.const_value is None or v.const_value.size < SMALLEST:
            continue
        if len(axes) != 1 or None in axes:
            made.declined[f"weight-int8:{v.name}"] = "is used in ways that want different scales, or not as a weight"
            continue
        _offer_weight(made, v, v.const_value.numpy(), next(axis for axis in axes if axis is not None))


def _axis(node: onnx_ir.Node, index: int) -> int | None:
    """The axis of the weight that holds the output channels; None where it is not used as a weight."""
    if node.domain or _WEIGHTS.get(node.op_type) != index:
        return None
    if node.op_type == "Gemm":
        transposed = node.attributes.get("transB")
        return 0 if transposed is not None and transposed.as_int() else 1
    if node.op_type == "ConvTranspose":
        group = node.attributes.get("group")
        return 1 if group is None or group.as_int() == 1 else None
    rank = len(node.inputs[1].shape.dims) if node.inputs[1] is not None and node.inputs[1].shape is not None else 0
    return 0 if node.op_type == "Conv" else rank - 1


def _offer_weight(made: Offer, v: onnx_ir.Value, weight: np.ndarray, axis: int) -> None:
    if made.opset < PER_AXIS_OPSET:
        largest = np.abs(weight).max()
        shape: tuple[int, ...] = ()
    else:
        others = tuple(i for i in range(weight.ndim) if i != axis)
        largest = np.abs(weight).max(axis=others)
        shape = tuple(weight.shape[i] if i == axis else 1 for i in range(weight.ndim))
    if not np.isfinite(weight).all():
        made.declined[f"weight-int8:{v.name}"] = "holds values that are not finite"
        return
    scale = np.where(largest > 0, largest / _LEVELS, 1.0).astype(np.float32)
    spread = scale.reshape(shape) if shape else scale
    quantized = np.clip(np.rint(weight / spread), -_LEVELS, _LEVELS).astype(np.int8)
    found = fitted(made, v) if shape else None
    if found is not None:
        quantized, scale = found.values, found.scale
    imported, tables = made.imported, made.tables
    stored = imported.constant(tables, quantized, f"{v.name}_int8")
    scales = imported.constant(tables, np.asarray(scale), f"{v.name}_scale")
    number = imported.fresh()
    key = attributes.key_of({"axis": axis} if shape and axis != 1 else {})
    tables.add("DequantizeLinear", number, stored, scales, ABSENT, key)
    tables.add("type", number, facts.kind_text(tensor_type(v)))
    imported.operators.add("DequantizeLinear")
    site = f"weight-int8:{v.name}"
    made.alternatives.append(Alternative(site, imported.numbers[v], number))
    users = [node for node, _ in v.uses()]
    if len(users) == 1:
        made.where[site] = users[0].outputs[0].name or ""
    if found is not None:
        made.error[site], made.weights[site] = found.error, found.reweighted
        return
    norm = float(np.linalg.norm(weight))
    error = made.error[site] = float(np.linalg.norm(weight - quantized * spread)) / norm if norm else 0.0
    if (alone := to_nearest(made, v, "a channel's scales", error, lambda: quantized * spread)) is not None:
        made.weights[site] = alone
