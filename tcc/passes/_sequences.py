"""Sequences that are only taken apart again: an element at a fixed place is a slice of what was split."""

from __future__ import annotations

import numpy as np
import onnx_ir

from tcc.ir.values import constant_value

_SPLIT, _ELEMENT = "SplitToSequence", "SequenceAt"


def unpack(graph: onnx_ir.Graph) -> int:
    """Write ``SequenceAt(SplitToSequence(x, sizes), i)`` as ``Slice`` or ``Gather`` of x, in place; how many were.

    Both are of the ONNX specification's SplitToSequence-11: chunks of one size (the last may be smaller) or of a list
    of sizes. Places counted from the end, and sizes or places that are computed, stay as they are.
    """
    done = 0
    for node in list(graph):
        if node.domain or node.op_type != _ELEMENT:
            continue
        made = _element(graph, node)
        if made is None:
            continue
        sequence = node.inputs[0]
        old, new = node.outputs[0], made.outputs[0]
        new.type, new.shape, name = old.type, old.shape, old.name
        graph.insert_before(node, made)
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        graph.remove(node, safe=True)
        new.name = name
        done += 1
        split = None if sequence is None else sequence.producer()
        if split is not None and not split.outputs[0].uses() and not split.outputs[0].is_graph_output():
            graph.remove(split, safe=True)
    return done


def _element(graph: onnx_ir.Graph, node: onnx_ir.Node) -> onnx_ir.Node | None:
    """The node that computes the element; None where it cannot be told."""
    split = node.inputs[0].producer() if node.inputs[0] is not None else None
    if split is None or split.domain or split.op_type != _SPLIT or split.graph is not graph:
        return None
    place, sizes = _integers(node.inputs[1]), _integers(split.inputs[1] if len(split.inputs) > 1 else None)
    attributes = split.attributes
    axis = attributes["axis"].as_int() if "axis" in attributes else 0
    keeps = "keepdims" not in attributes or attributes["keepdims"].as_int() != 0
    if place is None or int(place) < 0:
        return None
    at = int(place)
    if len(split.inputs) < 2 or split.inputs[1] is None:
        if not keeps:
            return _node("Gather", node, split, [np.array(at)], axis)
        bounds = (at, at + 1)
    elif sizes is None or (sizes.ndim and at >= len(sizes)):
        return None
    elif sizes.ndim:
        ends = np.cumsum(sizes)
        bounds = (int(ends[at] - sizes[at]), int(ends[at]))
    else:
        bounds = (at * int(sizes), (at + 1) * int(sizes))
    return _node("Slice", node, split, [np.array([n]) for n in (*bounds, axis)])


def _integers(value: onnx_ir.Value | None) -> np.ndarray | None:
    if value is None or value.const_value is None or value.is_graph_input():
        return None
    return value.const_value.numpy()


def _node(
    operator: str, like: onnx_ir.Node, split: onnx_ir.Node, numbers: list[np.ndarray], axis: int | None = None
) -> onnx_ir.Node:
    graph = like.graph
    assert isinstance(graph, onnx_ir.Graph)
    inputs: list[onnx_ir.Value | None] = [split.inputs[0]]
    for i, array in enumerate(numbers):
        value = constant_value(f"{like.outputs[0].name}/{operator.lower()}{i}", onnx_ir.tensor(array.astype(np.int64)))
        graph.register_initializer(value)
        inputs.append(value)
    attributes = [] if axis is None else [onnx_ir.AttrInt64("axis", axis)]
    return onnx_ir.Node("", operator, inputs, attributes, name=like.name)
