"""Half precision: each floating-point operator may compute in float16, where no value leaves its range."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnx_ir

from tcc.ir import attributes, facts, translated
from tcc.ir.importing import has_bodies
from tcc.ir.model import tensor_type
from tcc.ir.tables import ABSENT
from tcc.ir.types import TensorType
from tcc.rewrites.lossy import Alternative, Offer

LARGEST = 65504.0
"""The largest finite half (IEEE 754-2019, binary16)."""
HEADROOM = 4.0
"""How much further than what was seen a value may go: the ranges come from a few inputs."""
EPSILON = 2.0**-11
"""The relative rounding error of one half-precision operation."""
_TO_HALF = attributes.key_of({"to": onnx.TensorProto.FLOAT16})
_TO_SINGLE = attributes.key_of({"to": onnx.TensorProto.FLOAT})
_KEPT = frozenset({"Cast", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Identity"})


def offer(made: Offer) -> None:
    """Offer every operator in half precision that the target and the ranges allow."""
    if not made.target.float16 or "float16" not in made.target.dtypes:
        made.declined["float16"] = f"target {made.target.name} computes no faster in float16"
        return
    for node in made.imported.graph:
        reason = _refusal(made, node)
        if reason:
            made.declined[f"float16:{node.name}"] = reason
        elif reason is None:
            _offer_node(made, node)


def _refusal(made: Offer, node: onnx_ir.Node) -> str | None:
    """Why a node is not offered; empty where it is no floating-point operator, None where it is offered."""
    used = _used(node)
    if node.domain or node.op_type in _KEPT or has_bodies(node) or not used:
        return ""
    kinds = [tensor_type(v) for v in used]
    if any(kind is None or kind.dtype != "float32" for kind in kinds) or not _is_uniform(node, made.opset):
        return ""
    if not _halves(node, made.opset):
        return f"{node.op_type} has no float16 form"
    if not _floats(node, made.opset):
        return f"the type of {node.op_type} comes from an attribute, and what it makes from no float"
    if made.target.legality("", node.op_type, ["float16"]) is not None:
        return f"target {made.target.name} does not run {node.op_type} in float16"
    values = [v for v in (*_floats(node, made.opset), *used) if v.name]
    for v in values:
        largest = _largest(made, v)
        if largest is None:
            return f"the range of {v.name} is not known"
        if largest * HEADROOM > LARGEST:
            return f"{v.name} reaches {largest:.3g}, float16 ends at {LARGEST:.0f}"
    return None


def _used(node: onnx_ir.Node) -> list[onnx_ir.Value]:
    return [v for v in node.outputs if v.name and (v.uses() or v.is_graph_output())]


def _is_uniform(node: onnx_ir.Node, opset: int) -> bool:
    """Whether all outputs that are used have the type of the first one."""
    formal = onnx.defs.get_schema(node.op_type, opset, "").outputs
    used = [i for i, v in enumerate(node.outputs) if v in _used(node)]
    return {formal[min(i, len(formal) - 1)].type_str for i in used} == {formal[0].type_str}


def _halves(node: onnx_ir.Node, opset: int) -> bool:
    schema = onnx.defs.get_schema(node.op_type, opset, "")
    return any(
        c.type_param_str == schema.outputs[0].type_str and "tensor(float16)" in c.allowed_type_strs
        for c in schema.type_constraints
    )


def _floats(node: onnx_ir.Node, opset: int) -> list[onnx_ir.Value]:
    """The inputs whose type is the output's."""
    return [v for i, v in enumerate(node.inputs) if v is not None and _follows(node, i, opset)]


def _follows(node: onnx_ir.Node, index: int, opset: int) -> bool:
    schema = onnx.defs.get_schema(node.op_type, opset, "")
    formal = schema.inputs[min(index, len(schema.inputs) - 1)]
    return bool(formal.type_str == schema.outputs[0].type_str)


def _largest(made: Offer, v: onnx_ir.Value) -> float | None:
    if v.const_value is not None:
        array = v.const_value.numpy()
        return float(np.abs(array).max()) if array.size else 0.0
    seen = made.observed.get(v.name or "")
    return None if seen is None else seen.magnitude


def _offer_node(made: Offer, node: onnx_ir.Node) -> None:
    imported, tables = made.imported, made.tables
    inputs = [
        ABSENT if v is None else _half(made, v) if _follows(node, i, made.opset) else imported.numbers[v]
        for i, v in enumerate(node.inputs)
    ]
    used = _used(node)
    halves = {i: imported.fresh(_name(v), _name(node)) for i, v in enumerate(node.outputs) if v in used}
    _add_node(made, node, halves, inputs)
    site = f"float16:{node.name or node.outputs[0].name}"
    for i, half in halves.items():
        v, kind = node.outputs[i], tensor_type(node.outputs[i])
        assert kind is not None
        tables.add("type", half, facts.kind_text(TensorType("float16", kind.shape)))
        back = imported.fresh()
        tables.add("Cast", back, half, _TO_SINGLE)
        tables.add("type", back, facts.kind_text(kind))
        made.alternatives += [Alternative(site, imported.numbers[v], back), Alternative(site, _half(made, v), half)]
    made.error[site] = EPSILON
    made.where[site] = used[0].name or ""
    imported.operators.add("Cast")


def _name(of: onnx_ir.Value | onnx_ir.Node) -> str:
    return f"{of.name}_float16" if of.name else ""


def _half(made: Offer, v: onnx_ir.Value) -> int:
    """The number of a value cast to half precision."""
    number = made.imported.numbers[v]
    key = ("half", number)
    if key not in made.memo:
        made.memo[key] = made.imported.fresh(_name(v))
        kind = tensor_type(v)
        made.tables.add("Cast", made.memo[key], number, _TO_HALF)
        made.tables.add("type", made.memo[key], facts.kind_text(TensorType("float16", kind.shape if kind else None)))
    return int(made.memo[key])


def _add_node(made: Offer, node: onnx_ir.Node, outputs: Mapping[int, int], inputs: list[int]) -> None:
    """Add the node with the numbers of its outputs, by their places."""
    tables = made.tables
    if (key := made.imported.opaque_keys.get(node)) is not None:
        results = made.imported.fresh()
        tables.add("opaque", results, key, tables.list_of(tuple(inputs)))
        for i, number in outputs.items():
            tables.add("project", number, results, i)
        return
    operator = translated.language().operators[node.op_type]
    plain = attributes.plain(node)
    assert plain is not None
    if operator.variadic:
        cells: list[int] = [tables.list_of(tuple(inputs))]
    else:
        cells = [*inputs, *[ABSENT] * (operator.inputs - len(inputs))]
    if not operator.several:
        tables.add(node.op_type, outputs[0], *cells, attributes.key_of(plain))
        return
    # As imported: what has several outputs goes by the number of the first.
    first = outputs[0] if 0 in outputs else made.imported.fresh()
    tables.add(node.op_type, first, *cells, attributes.key_of({**plain, facts.OUTPUTS_MARK: len(node.outputs)}))
    for i, number in outputs.items():
        tables.add("project", number, first, i)
