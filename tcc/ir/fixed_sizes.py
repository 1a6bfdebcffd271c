"""The types of a model's values where the sizes of its inputs are fixed: what prices are of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count, takewhile
from typing import Any

import onnx
from onnx import TensorProto, helper

from tcc.diagnostics import TccError
from tcc.ir import facts
from tcc.ir.execution import Runner
from tcc.ir.inference import inferred
from tcc.ir.model import Model, tensor_type
from tcc.ir.types import TensorType

_PACKED = "MatMulNBits"
_OWN = "tcc/sized/"
"""What the names of values begin with that are only there for inference."""


def fixed_types(model: Model, symbols: Mapping[str, int], default: int = 1) -> dict[str, TensorType]:
    """The types of the top-level graph's values, by name, under given sizes of the inputs' symbolic dimensions.

    A dimension without a name goes by its value's and its axis, ``x:0``; those of inner values count where inference
    leaves them open (``measured``). ``default`` is the size of those that ``symbols`` does not name. Empty where all
    dimensions are fixed already, or where inference fails.
    """
    kinds = [tensor_type(v) for v in model.graph.inputs]
    packed = any(node.op_type == _PACKED for node in model.graph)
    if not packed and all(kind is None or kind.is_static for kind in kinds):
        return {}
    proto, _ = model.stripped_proto()
    del proto.graph.value_info[:]
    _unpack(proto.graph)
    constants = {tensor.name for tensor in proto.graph.initializer}
    for value in proto.graph.input:
        if value.name not in constants:
            for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
                if not (dimension.HasField("dim_value") and dimension.dim_value >= 0):
                    dimension.dim_value = symbols.get(dimension.dim_param or f"{value.name}:{axis}", default)
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        found = _types(inferred(proto))
        if stated := list(_stated(proto, found, symbols)):
            proto.graph.value_info.extend(stated)
            found = _types(inferred(proto))
    except (onnx.shape_inference.InferenceError, RuntimeError):
        return {}
    return found


def _types(proto: onnx.ModelProto) -> dict[str, TensorType]:
    values = [*proto.graph.input, *proto.graph.value_info, *proto.graph.output]
    found = {v.name: facts.type_of_proto(v.type) for v in values}
    return {name: kind for name, kind in found.items() if kind is not None}


def _stated(
    proto: onnx.ModelProto, found: Mapping[str, TensorType], symbols: Mapping[str, int]
) -> Iterator[onnx.ValueInfoProto]:
    """The types of inner values that inference leaves open and ``symbols`` has all sizes of."""
    outputs = {v.name for v in proto.graph.output}
    for name in (name for node in proto.graph.node for name in node.output if name and name not in outputs):
        kind = found.get(name)
        if kind is None or kind.is_static or f"{name}:0" not in symbols:
            continue
        sizes = [symbols[key] for key in takewhile(symbols.__contains__, (f"{name}:{axis}" for axis in count()))]
        if kind.shape is None or len(sizes) == len(kind.shape):
            yield helper.make_tensor_value_info(name, facts.proto_type(kind.dtype), sizes)


def _unpack(graph: onnx.GraphProto) -> None:
    """Write products with packed weights, whose shapes ONNX does not infer, as plain ones with weights [K, N]."""
    for number, node in enumerate(graph.node):
        if node.op_type != _PACKED or node.domain != "com.microsoft":
            continue
        sizes = {attribute.name: attribute.i for attribute in node.attribute}
        weight = f"{_OWN}packed{number}"
        shape = [sizes.get("K", 1), sizes.get("N", 1)]
        graph.input.append(helper.make_tensor_value_info(weight, TensorProto.FLOAT, shape))
        node.op_type, node.domain = "MatMul", ""
        del node.attribute[:]
        node.input[1:] = [weight]


def with_made_up(model: Model, symbols: Mapping[str, int]) -> dict[str, int]:
    """``symbols``, and what they make of the sizes that inference and exporters have own names for, such as ``unk__7``.

    The model's values have their types (``tcc.ir.inference.annotate``). The height of what a convolution makes of
    ``height`` rows is no polynomial of it and has such a name; without its size everything behind would be priced as
    one pixel.
    """
    fixed = fixed_types(model, symbols)
    kinds = [tensor_type(v) for v in model.graph.inputs]
    given = frozenset(d for kind in kinds if kind is not None for d in kind.shape or () if isinstance(d, str))
    found: dict[str, int] = {}
    for v in (v for node in model.graph for v in node.outputs if v.name in fixed):
        kind = tensor_type(v)
        for size, number in zip((kind and kind.shape) or (), fixed[v.name or ""].shape or (), strict=False):
            if isinstance(size, str) and size not in given and isinstance(number, int):
                found[size] = found[facts.symbol(size, given)] = number
    return found | dict(symbols)


def measured(model: Model, symbols: Mapping[str, int], feed: Mapping[str, Any]) -> dict[str, int]:
    """The sizes that a run on ``feed`` gives to inner values that inference leaves open, as ``x:0`` for the first axis.

    Shapes that are computed from shapes, or from data, are beyond ONNX's inference; a run tells them. Empty where
    nothing is open or ONNX Runtime does not run the model.
    """
    found = fixed_types(model, symbols)
    names = [v.name or "" for node in model.graph for v in node.outputs if v.name in found]
    left = [name for name in names if not found[name].is_static]
    if not left or "" not in model.opset_imports:
        return {}
    proto, weights = model.stripped_proto()
    del proto.graph.output[:]
    for name in left:
        proto.graph.node.append(helper.make_node("Shape", [name], [_OWN + name]))
        proto.graph.output.append(helper.make_tensor_value_info(_OWN + name, TensorProto.INT64, None))
    try:
        shapes = Runner(proto, weights=weights).run(feed)
    except TccError:
        return {}
    return {f"{name}:{axis}": int(n) for name, s in zip(left, shapes, strict=True) for axis, n in enumerate(s)}
