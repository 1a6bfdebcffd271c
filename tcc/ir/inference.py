"""Types of all values by ONNX's own shape inference, and shapes whose symbolic value it knows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import onnx
from onnx import TensorProto, helper

from tcc.ir import facts
from tcc.ir.model import Model, tensor_type
from tcc.ir.types import TensorType
from tcc.ir.values import ir_type

if TYPE_CHECKING:
    import onnx_ir

_PROBE = "tcc_probe:"
_SHAPE_INPUTS = {"Reshape": 1, "Expand": 1, "Tile": 1, "ConstantOfShape": 0}
"""Inputs that hold a shape; ONNX's data propagation knows their symbolic value but does not say it."""


@dataclass(frozen=True)
class Annotation:
    """What inference found out besides the types that it could write into the graph.

    ``known`` holds what is known of shapes that are computed, by value name: numbers and symbols. ``outputs``
    holds the types of the graph's outputs as inferred: what is declared is the signature's, but nobody checks it.
    """

    known: dict[str, tuple[int | str, ...]] = field(default_factory=dict)
    outputs: dict[str, TensorType] = field(default_factory=dict)


def annotate(model: Model, proto: onnx.ModelProto | None = None) -> Annotation:
    """Set the type of every inner value that inference can tell, in place.

    ``proto`` is the model without its large weights, where the caller has it; it is left as it is.

    To make ONNX's data propagation tell the value of a shape, the shape is given to a ``ConstantOfShape``, whose
    output's inferred dimensions are that value.
    """
    if proto is None:
        proto, _ = model.stripped_proto()
    else:
        given, proto = proto, onnx.ModelProto()
        proto.CopyFrom(given)
    _name_dimensions(proto.graph)
    probed = _add_probes(proto)
    for output in proto.graph.output:
        output.type.tensor_type.ClearField("shape")
    try:
        told = inferred(proto)
        # Each round tells what lies between one Reshape to a computed shape and the next.
        for _ in range(_RANKED_ROUNDS):
            if not _state_ranks(proto, told):
                break
            told = inferred(proto)
    except (onnx.shape_inference.InferenceError, RuntimeError):
        return Annotation()
    _read_graph(model.graph, told.graph)
    types = {v.name: v.type for v in [*told.graph.value_info, *told.graph.input, *told.graph.output]}
    probes = {name: _probed(types.get(_PROBE + name)) for name in probed if _is_shape(types.get(name))}
    known = {name: sizes for name, sizes in probes.items() if sizes is not None}
    outputs = {v.name: kind for v in told.graph.output if (kind := facts.type_of_proto(v.type)) is not None}
    return Annotation(known, outputs)


def _name_dimensions(graph: onnx.GraphProto) -> None:
    """Name the inputs' dimensions that have neither size nor name, as ``tensor_type`` does.

    So inference tells which inner sizes are theirs.
    """
    for value in graph.input:
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
            if not dimension.dim_param and not (dimension.HasField("dim_value") and dimension.dim_value >= 0):
                dimension.dim_param = f"{value.name}:{axis}"


def inferred(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with what ONNX's inference tells, values of shapes propagated."""
    return onnx.shape_inference.infer_shapes(proto, check_type=False, strict_mode=False, data_prop=True)


_RANKED_ROUNDS = 32


def _state_ranks(proto: onnx.ModelProto, inferred: onnx.ModelProto) -> bool:
    """State the rank of what is reshaped to a shape of known length, which ONNX's inference leaves open."""
    types = {v.name: v.type.tensor_type for v in [*inferred.graph.input, *inferred.graph.value_info]}
    stated = {v.name for v in [*proto.graph.value_info, *proto.graph.output]}
    found = False
    for node in proto.graph.node:
        if node.op_type != "Reshape" or node.domain not in {"", "ai.onnx"} or len(node.input) < 2:
            continue
        made, sizes = types.get(node.output[0]), types.get(node.input[1])
        if made is None or made.HasField("shape") or node.output[0] in stated:
            continue
        if sizes is None or len(sizes.shape.dim) != 1 or not sizes.shape.dim[0].HasField("dim_value"):
            continue
        rank = [None] * sizes.shape.dim[0].dim_value
        proto.graph.value_info.append(helper.make_tensor_value_info(node.output[0], made.elem_type, rank))
        found = True
    return found


def _add_probes(proto: onnx.ModelProto) -> list[str]:
    graph = proto.graph
    constants = {t.name for t in graph.initializer}
    wanted: dict[str, None] = {}
    for node in graph.node:
        at = _SHAPE_INPUTS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        if at is not None and at < len(node.input) and node.input[at] not in constants:
            wanted.setdefault(node.input[at])
        # Exporters compare a shape they have concatenated with -1 before they expand to it.
        if node.op_type == "Concat" and node.domain in ("", "ai.onnx") and node.attribute[0].i in (0, -1):
            wanted.setdefault(node.output[0])
    value = helper.make_attribute("value", helper.make_tensor("value", TensorProto.FLOAT, [1], [0.0]))
    for name in wanted:
        probe = helper.make_node("ConstantOfShape", [name], [_PROBE + name])
        probe.attribute.append(value)
        graph.node.append(probe)
    return list(wanted)


def _is_shape(kind: onnx.TypeProto | None) -> bool:
    """Whether values of this type can stand for a shape: propagation goes through casts to other types as well."""
    found = None if kind is None else facts.type_of_proto(kind)
    return found is not None and found.dtype == "int64"


def _probed(kind: onnx.TypeProto | None) -> tuple[int | str, ...] | None:
    found = None if kind is None else facts.type_of_proto(kind)
    if found is None or found.shape is None or None in found.shape or len(found.shape) > facts.LARGEST_KNOWN:
        return None
    return tuple(d for d in found.shape if d is not None)


def _read_graph(graph: onnx_ir.Graph, proto: onnx.GraphProto) -> None:
    types = {v.name: v.type for v in proto.value_info}
    types.update((v.name, v.type) for v in proto.output)
    outputs = set(graph.outputs)
    for node, inferred in zip(graph, proto.node, strict=False):
        for v in node.outputs:
            # The signature stays as it was declared, however much more is known.
            if v.name in types and v not in outputs:
                _refine(v, types[v.name])
        for attribute in inferred.attribute:
            own = node.attributes.get(attribute.name)
            if own is None or own.is_ref():
                continue
            if attribute.type == onnx.AttributeProto.GRAPH:
                _read_graph(own.as_graph(), attribute.g)
            elif attribute.type == onnx.AttributeProto.GRAPHS:
                for body, inner in zip(own.as_graphs(), attribute.graphs, strict=True):
                    _read_graph(body, inner)


def _refine(v: onnx_ir.Value, proto: onnx.TypeProto) -> None:
    found = facts.type_of_proto(proto)
    if found is None:
        return
    before = tensor_type(v)
    if before is not None and before.shape is not None and found.shape is None:
        return
    v.type, v.shape = ir_type(found)
