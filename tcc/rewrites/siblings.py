"""Products of one input with several constant weights become one product with the weights joined, and the like.

As a rule this would pair every two products, and every two of what comes out: the e-graph explodes. So it is
offered once, for the imported graph's own constants, all siblings at once.
"""

from __future__ import annotations

from dataclasses import replace

import onnx_ir

from tcc.ir import attributes, facts
from tcc.ir.importing import Imported
from tcc.ir.model import tensor_type
from tcc.ir.tables import ABSENT, Tables
from tcc.ir.types import TensorType
from tcc.rewrites._sharing import Whole, join_groups, join_inputs, take_apart

ALGEBRA = (
    "x A, x B, ... are the parts of x [A B ...], with a BatchNormalization behind each or without, and x A, y A, ... "
    "those of [x; y; ...] A where neither depends on the other, for matrix products, Gemm and convolutions; "
    "convolutions of all parts of a Split, joined again, are one grouped convolution"
)
SOURCE = "TASO, SOSP 2019; Tensat, MLSys 2021, multi-pattern rules"
OPERATORS = ("Concat", "Split")
_OUTPUT_AXIS = {"MatMul": -1, "Gemm": -1, "Conv": 1}


def join_siblings(imported: Imported, opset: int) -> int:
    """Add the joined form of every group of siblings to the e-graph.

    Returns:
        The number of groups.
    """
    groups: dict[object, list[onnx_ir.Node]] = {}
    for node in imported.graph:
        if (key := _key(node)) is not None:
            groups.setdefault(key, []).append(node)
    tables = imported.tables.further()
    joined = [nodes for nodes in groups.values() if len(nodes) > 1]
    for nodes in joined:
        _join(imported, tables, nodes, opset)
    count = len(joined) + join_inputs(imported, tables, opset) + join_groups(imported, tables)
    if count:
        tables.load(imported.egraph)
        imported.operators.update(OPERATORS)
    return count


def _key(node: onnx_ir.Node) -> object | None:
    """What siblings have in common; None for a node that cannot have any."""
    if node.domain or node.op_type not in _OUTPUT_AXIS or len(node.inputs) < 2 or node.outputs[0].shape is None:
        return None
    weight = node.inputs[1]
    kind = None if weight is None or weight.const_value is None else tensor_type(weight)
    plain = attributes.plain(node)
    if kind is None or plain is None or kind.shape is None or not kind.is_static:
        return None
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    bias_kind = None if bias is None else tensor_type(bias)
    if bias is not None and (bias.const_value is None or bias_kind is None or bias_kind.rank != 1):
        return None
    axis = _weight_axis(node.op_type, plain)
    if node.op_type != "Conv" and kind.rank != len("KN"):
        return None
    if plain.get("group", 1) != 1 or plain.get("transA", 0) or {"alpha", "beta"} & plain.keys():
        return None
    if bias_kind is not None and bias_kind.shape != (kind.shape[axis],):
        return None
    rest = tuple(size for i, size in enumerate(kind.shape) if i != axis)
    return node.op_type, node.inputs[0], attributes.key_of(plain), kind.dtype, rest, bias is None


def _weight_axis(operator: str, plain: dict[str, attributes.Plain]) -> int:
    return 0 if operator == "Conv" or plain.get("transB", 0) else 1


def _join(imported: Imported, tables: Tables, nodes: list[onnx_ir.Node], opset: int) -> None:
    first = nodes[0]
    plain = attributes.plain(first)
    assert plain is not None
    axis = _weight_axis(first.op_type, plain)
    weights = [node.inputs[1] for node in nodes]
    weight, sizes = _concatenated(imported, tables, weights, axis)
    has_bias = len(first.inputs) > 2 and first.inputs[2] is not None
    bias = _concatenated(imported, tables, [node.inputs[2] for node in nodes], 0)[0] if has_bias else ABSENT
    kind = tensor_type(first.outputs[0])
    assert kind is not None
    assert kind.shape is not None
    at = _OUTPUT_AXIS[first.op_type] % len(kind.shape)
    shape = tuple(sum(sizes) if i == at else size for i, size in enumerate(kind.shape))
    product = imported.fresh()
    inputs = [imported.number(first.inputs[0]), weight, *([bias] if first.op_type != "MatMul" else [])]
    tables.add(first.op_type, product, *inputs, attributes.key_of(plain))
    tables.add("type", product, facts.kind_text(TensorType(kind.dtype, shape)))
    whole = Whole(product, sizes, at, TensorType(kind.dtype, shape))
    take_apart(imported, tables, whole, nodes, opset, "sizes")
    if at == 1 and (normalized := _normalized(nodes, sizes)):
        # Behind the parts it would keep them apart; behind the whole it is folded like any other.
        whole = _normalize(imported, tables, whole, normalized)
        take_apart(imported, tables, whole, normalized, opset, "sizes")


def _normalized(nodes: list[onnx_ir.Node], sizes: list[int]) -> list[onnx_ir.Node]:
    """The BatchNormalization behind each node, where there is one with constants of its own and all are alike."""
    found: list[onnx_ir.Node] = []
    for node, size in zip(nodes, sizes, strict=True):
        behind = [user for user, index in node.outputs[0].uses() if index == 0 and _is_constant_norm(user, size)]
        found += behind[:1]
    keys = {attributes.key_of(attributes.plain(node) or {}) for node in found}
    dtypes = {tuple(kind.dtype for v in node.inputs[1:] if v and (kind := tensor_type(v))) for node in found}
    return found if len(found) == len(nodes) and len(keys) == 1 and len(dtypes) == 1 else []


def _is_constant_norm(node: onnx_ir.Node, size: int) -> bool:
    if node.domain or node.op_type != "BatchNormalization" or len([v for v in node.outputs if v.name]) > 1:
        return False
    plain = attributes.plain(node)
    if plain is None or plain.get("training_mode", 0) or not plain.get("spatial", 1):
        return False
    kinds = [tensor_type(v) for v in node.inputs[1:] if v is not None and v.const_value is not None]
    return len(kinds) == _STATISTICS and all(kind is not None and kind.shape == (size,) for kind in kinds)


_STATISTICS = 4
"""Scale, shift, mean and variance of a BatchNormalization."""


def _normalize(imported: Imported, tables: Tables, whole: Whole, nodes: list[onnx_ir.Node]) -> Whole:
    number = imported.fresh()
    joined = [
        _concatenated(imported, tables, [node.inputs[i] for node in nodes], 0)[0] for i in range(1, 1 + _STATISTICS)
    ]
    key = attributes.key_of(attributes.plain(nodes[0]) or {})
    tables.add("BatchNormalization", number, whole.number, *joined, key)
    tables.add("type", number, facts.kind_text(whole.kind))
    return replace(whole, number=number)


def _concatenated(
    imported: Imported, tables: Tables, values: list[onnx_ir.Value | None], axis: int
) -> tuple[int, list[int]]:
    """The number of the constants joined along an axis, and the length of each."""
    kinds = [kind for v in values if v is not None and (kind := tensor_type(v)) is not None]
    lengths = [kind.sizes({})[axis] for kind in kinds]
    number = imported.fresh()
    cells = tables.list_of(tuple(imported.number(v) for v in values))
    tables.add("Concat", number, cells, attributes.key_of({"axis": axis}))
    shape = tuple(sum(lengths) if i == axis else size for i, size in enumerate(kinds[0].sizes({})))
    tables.add("type", number, facts.kind_text(TensorType(kinds[0].dtype, shape)))
    return number, lengths
