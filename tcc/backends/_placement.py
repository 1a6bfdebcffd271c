"""Where each node of a model would run, told from the graph and from what the target takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcc.backends._base import Placement
from tcc.ir.model import dtype_name, is_constant_node

if TYPE_CHECKING:
    import onnx_ir

    from tcc.ir.model import Model
    from tcc.targets import Target

_HOST = "host"
_INTEGER_KERNELS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators that runtimes compute in integers where their inputs are dequantised."""
_CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear"})
_VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"})
_SHAPES = frozenset({"Shape", "Size"})


def placements(model: Model, where: str, target: Target | None) -> list[Placement]:
    """One row for each node of the graph that is computed at run time, in order.

    A node's type is the one that it computes in: int8 for a convolution or product whose operands are both
    dequantised, else that of its first floating-point operand, else of its first operand.
    """
    fixed: set[onnx_ir.Value] = set()
    hosted: set[onnx_ir.Value] = set()
    rows: list[Placement] = []
    for node in model.graph:
        given = [value for value in node.inputs if value is not None]
        if is_constant_node(node) or (given and all(_constant(v) or v in fixed for v in given)):
            fixed.update(node.outputs)
            continue
        if node.op_type in _SHAPES or (given and all(_constant(v) or v in fixed or v in hosted for v in given)):
            hosted.update(node.outputs)
            rows.append(_row(node, _HOST, "arithmetic on shapes"))
            continue
        reason = None if target is None else target.legality(node.domain, node.op_type, _types(node))
        if reason is not None:
            rows.append(_row(node, "nowhere", reason))
            continue
        rows.append(_row(node, where, "a view: moves nothing" if node.op_type in _VIEWS else ""))
    return rows


def _row(node: onnx_ir.Node, where: str, note: str) -> Placement:
    return Placement(node.name or "", node.op_type, where, _computed(node), note)


def _computed(node: onnx_ir.Node) -> str:
    given = [value for value in node.inputs if value is not None]
    makers = [value.producer() for value in given[:2]]
    if node.op_type in _INTEGER_KERNELS and all(m is not None and m.op_type == "DequantizeLinear" for m in makers):
        source = makers[0].inputs[0] if makers[0] is not None else None
        return dtype_name(source.dtype) if source is not None and source.dtype is not None else "int8"
    if node.op_type in _CONVERSIONS:
        source = node.outputs[0] if node.op_type == "QuantizeLinear" else given[0]
        return dtype_name(source.dtype) if source.dtype is not None else "int8"
    types = [dtype_name(value.dtype) for value in [*given, *node.outputs] if value.dtype is not None]
    return next((name for name in types if "float" in name), types[0] if types else "unknown")


def _types(node: onnx_ir.Node) -> set[str]:
    values = [*node.inputs, *node.outputs]
    return {dtype_name(v.dtype) for v in values if v is not None and v.dtype is not None}


def _constant(value: onnx_ir.Value) -> bool:
    return value.const_value is not None
