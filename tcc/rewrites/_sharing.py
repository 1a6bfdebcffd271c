"""Products that share a weight become one product of their inputs joined; split, convolved, joined is one grouped one.

Offered once for the imported graph's own constants, as ``tcc.rewrites.siblings`` does it and for the same reason.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir

from tcc.ir import attributes, facts
from tcc.ir.importing import Imported
from tcc.ir.model import tensor_type
from tcc.ir.tables import ABSENT, Tables
from tcc.ir.types import TensorType

_ROWS = frozenset({"MatMul", "Gemm", "Conv"})
_SIZES_AS_INPUT = 13
"""The first opset whose Split takes its sizes as an input."""


def join_inputs(imported: Imported, tables: Tables, opset: int) -> int:
    """Add, for products that share weight and bias, the one product of their inputs joined along the first axis.

    Returns:
        The number of groups.
    """
    groups: dict[object, list[onnx_ir.Node]] = {}
    for node in imported.graph:
        if (key := _key(node)) is not None:
            groups.setdefault(key, []).append(node)
    count = 0
    for nodes in groups.values():
        for independent in _levels(imported.graph, nodes) if len(nodes) > 1 else ():
            if len(independent) > 1:
                _join(imported, tables, independent, opset)
                count += 1
    return count


def _key(node: onnx_ir.Node) -> object | None:
    """What such products have in common; None for a node that cannot have any."""
    if node.domain or node.op_type not in _ROWS or len(node.inputs) < 2 or node.inputs[0] is None:
        return None
    weight, plain = node.inputs[1], attributes.plain(node)
    x, y = tensor_type(node.inputs[0]), tensor_type(node.outputs[0])
    if weight is None or weight.const_value is None or plain is None or plain.get("transA", 0):
        return None
    if x is None or y is None or x.shape is None or y.shape is None or len(x.shape) < 2 or None in x.shape:
        return None
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    kinds = [None if v is None else tensor_type(v) for v in (weight, bias)]
    if bias is not None and (bias.const_value is None or kinds[1] is None or kinds[1].rank != 1):
        return None
    if node.op_type != "Conv" and (kinds[0] is None or kinds[0].rank != len("KN")):
        return None
    if x.shape[0] != y.shape[0] or not isinstance(x.shape[0], int):
        return None
    return node.op_type, weight, bias, attributes.key_of(plain), x.dtype, x.shape[1:]


def _levels(graph: onnx_ir.Graph, nodes: list[onnx_ir.Node]) -> list[list[onnx_ir.Node]]:
    """The nodes by how many of them stand before them on the longest path: none of a level depends on another."""
    own, depth = set(nodes), dict[onnx_ir.Value, int]()
    levels: dict[int, list[onnx_ir.Node]] = {}
    for node in graph:
        found = max((depth.get(v, 0) for v in node.inputs if v is not None), default=0)
        if any(a.type in (onnx_ir.AttributeType.GRAPH, onnx_ir.AttributeType.GRAPHS) for a in node.attributes.values()):
            # A body may read any value before it.
            found = max(depth.values(), default=0)
        if node in own:
            levels.setdefault(found, []).append(node)
            found += 1
        depth.update(dict.fromkeys(node.outputs, found))
    return list(levels.values())


def _join(imported: Imported, tables: Tables, nodes: list[onnx_ir.Node], opset: int) -> None:
    first, plain = nodes[0], attributes.plain(nodes[0])
    types = [tensor_type(node.inputs[0]) for node in nodes if node.inputs[0] is not None]
    result = tensor_type(first.outputs[0])
    assert plain is not None
    assert result is not None
    assert result.shape is not None
    lengths = [kind.shape[0] for kind in types if kind is not None and kind.shape is not None]
    sizes = [length for length in lengths if isinstance(length, int)]
    joined, product = imported.fresh(), imported.fresh()
    cells = tables.list_of(tuple(imported.number(node.inputs[0]) for node in nodes))
    tables.add("Concat", joined, cells, attributes.key_of({"axis": 0}))
    source = types[0]
    assert source is not None
    assert source.shape is not None
    tables.add("type", joined, facts.kind_text(TensorType(source.dtype, (sum(sizes), *source.shape[1:]))))
    others = [imported.number(v) for v in first.inputs[1:]]
    missing = [ABSENT] * (2 - len(others)) if first.op_type != "MatMul" else []
    tables.add(first.op_type, product, joined, *others, *missing, attributes.key_of(plain))
    kind = TensorType(result.dtype, (sum(sizes), *result.shape[1:]))
    tables.add("type", product, facts.kind_text(kind))
    take_apart(imported, tables, Whole(product, sizes, 0, kind), nodes, opset, "rows")


@dataclass(frozen=True)
class Whole:
    """What siblings are the parts of: its number, their lengths along an axis, its type."""

    number: int
    sizes: list[int]
    axis: int
    kind: TensorType


def take_apart(
    imported: Imported, tables: Tables, whole: Whole, nodes: list[onnx_ir.Node], opset: int, called: str
) -> None:
    """Say that the nodes' first outputs are the parts; ``called`` is the end of the name of their lengths."""
    parts = imported.fresh()
    mark: dict[str, attributes.Plain] = {facts.OUTPUTS_MARK: len(nodes), **({"axis": whole.axis} if whole.axis else {})}
    if opset >= _SIZES_AS_INPUT:
        name = f"{nodes[0].name or nodes[0].outputs[0].name}/{called}"
        lengths = imported.constant(tables, np.array(whole.sizes, np.int64), name)
        tables.add("Split", parts, whole.number, lengths, attributes.key_of(mark))
    else:
        tables.add("Split", parts, whole.number, ABSENT, attributes.key_of({**mark, "split": whole.sizes}))
    for i, node in enumerate(nodes):
        tables.add("project", imported.number(node.outputs[0]), parts, i)


def join_groups(imported: Imported, tables: Tables) -> int:
    """Add, for convolutions of all parts of a Split that are joined again, the one grouped convolution.

    Returns:
        The number of such places.
    """
    count = 0
    for node in imported.graph:
        if not node.domain and node.op_type == "Concat" and len(node.inputs) > 1 and _group(imported, tables, node):
            count += 1
    return count


def _group(imported: Imported, tables: Tables, concat: onnx_ir.Node) -> bool:
    convolutions = [None if v is None else v.producer() for v in concat.inputs]
    first = convolutions[0]
    if first is None or _attributes_of(first) is None or attributes.plain(concat) != {"axis": 1}:
        return False
    split = None if first.inputs[0] is None else first.inputs[0].producer()
    if split is None or split.op_type != "Split" or split.domain or (attributes.plain(split) or {}).get("axis") != 1:
        return False
    found = [c for c in convolutions if c is not None and _attributes_of(c) == _attributes_of(first)]
    sources = [c.inputs[0] for c in found]
    if len(found) != len(convolutions) or sources != list(split.outputs) or not _is_even(sources):
        return False
    plain = attributes.plain(first)
    assert plain is not None
    weight = _stacked(imported, tables, [c.inputs[1] for c in found])
    biases = [c.inputs[2] for c in found if len(c.inputs) > 2]
    bias = _stacked(imported, tables, biases) if biases else ABSENT
    groups = int(str(plain.get("group", 1))) * len(found)
    number = imported.number(concat.outputs[0])
    tables.add(
        "Conv", number, imported.number(split.inputs[0]), weight, bias, attributes.key_of({**plain, "group": groups})
    )
    return True


def _attributes_of(node: onnx_ir.Node) -> object | None:
    """What the convolutions have to agree on; None for another node, or one whose weight is not a constant."""
    if node.domain or node.op_type != "Conv" or (plain := attributes.plain(node)) is None:
        return None
    constants = list(node.inputs[1:])
    kinds = [tensor_type(v) for v in constants if v is not None and v.const_value is not None]
    if len(kinds) != len(constants) or any(kind is None or not kind.is_static for kind in kinds):
        return None
    return attributes.key_of(plain), tuple(map(facts.kind_text, kinds))


def _is_even(values: list[onnx_ir.Value | None]) -> bool:
    kinds = [None if v is None else tensor_type(v) for v in values]
    shapes = [kind.shape for kind in kinds if kind is not None and kind.shape is not None and len(kind.shape) > 1]
    channels = {shape[1] for shape in shapes}
    return len(shapes) == len(values) and len(channels) == 1 and isinstance(next(iter(channels)), int)


def _stacked(imported: Imported, tables: Tables, values: list[onnx_ir.Value | None]) -> int:
    """The number of these constants of one type, joined along the first axis."""
    number = imported.fresh()
    tables.add("Concat", number, tables.list_of(tuple(map(imported.number, values))), attributes.key_of({"axis": 0}))
    kind = None if values[0] is None else tensor_type(values[0])
    assert kind is not None
    sizes = kind.sizes({})
    tables.add("type", number, facts.kind_text(TensorType(kind.dtype, (sizes[0] * len(values), *sizes[1:]))))
    return number
