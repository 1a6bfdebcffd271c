"""Removes units of channel groups from a model: constants are sliced, sizes rewritten."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir

from tcc.ir.channels.groups import Group, Groups
from tcc.ir.channels.links import Axis, MismatchError, Tie
from tcc.ir.channels.resizing import Keep, Resizing
from tcc.ir.inference import annotate
from tcc.ir.model import Model

Removal = Mapping[Group, np.ndarray]
"""For each group: bool [size], which of its units go."""


def kept(removal: Removal) -> dict[Axis, np.ndarray]:
    """Which indices each axis keeps; an index goes where any group's unit that it belongs to goes."""
    found: dict[Axis, np.ndarray] = {}
    for group, removed in removal.items():
        gone = np.append(removed, False)  # -1, the last, stands for no unit
        for key, units in group.slices.items():
            if gone[units].any():
                found[key] = found.get(key, True) & ~gone[units]
    return found


def sliced(groups: Groups, removal: Removal) -> Model:
    """The model without the removed units.

    Raises:
        MismatchError: where a node cannot be adapted, or an axis would keep nothing.
    """
    keep = kept(removal)
    for (value, axis), mask in keep.items():
        if not mask.any():
            raise MismatchError(f"nothing would be left of axis {axis} of {value.name}")
    original = groups.network.model
    model = original.clone()
    nodes = dict(zip(original.graph.all_nodes(), list(model.graph.all_nodes()), strict=True))
    _slice_constants(original, model, keep)
    touched = {value for value, _ in keep}
    for site, rule in groups.network.sites:
        if rule is None or rule.resize is None:
            continue
        if any(v in touched for v in (*site.node.inputs, *site.node.outputs)):
            ties = tuple(link for link in groups.network.links.get(site.node, ()) if isinstance(link, Tie))
            rule.resize(Resizing(site, nodes[site.node], keep, ties))
    _forget_types(original, model, nodes, touched)
    remove_unused(model.graph)
    annotate(model)
    return model


def _slice_constants(original: Model, model: Model, keep: Keep) -> None:
    for name, value in original.graph.initializers.items():
        axes = [axis for (v, axis) in keep if v is value]
        if not axes or value.const_value is None:
            continue
        array = value.const_value.numpy()
        for axis in axes:
            array = np.compress(keep[value, axis], array, axis=axis)
        replace_constant(model.graph.initializers[name], array)


def replace_constant(value: onnx_ir.Value, array: np.ndarray) -> None:
    """Give an initialiser another tensor of the same element type."""
    assert value.const_value is not None
    tensor = onnx_ir.tensor(np.ascontiguousarray(array), dtype=value.const_value.dtype, name=value.name)
    value.const_value = tensor
    value.shape = onnx_ir.Shape(array.shape)


def _forget_types(
    original: Model, model: Model, nodes: Mapping[onnx_ir.Node, onnx_ir.Node], touched: set[onnx_ir.Value]
) -> None:
    """Drop shapes that no longer hold; inference finds the new ones."""
    declared = set(original.graph.outputs)
    pairs = [pair for a, b in nodes.items() for pair in zip(a.outputs, b.outputs, strict=True)]
    for a, b in zip(original.graph.subgraphs(), model.graph.subgraphs(), strict=True):
        pairs += zip(a.inputs, b.inputs, strict=True)
    for old, new in pairs:
        if old in touched and old not in declared:
            new.shape = None


def remove_unused(graph: onnx_ir.Graph) -> None:
    """Drop initialisers, and nodes that were replaced, which nobody reads."""
    # What a Slice was replaced for is read by nobody.
    for own in (graph, *graph.subgraphs()):
        for node in reversed(list(own)):
            if node.op_type == "Slice" and not any(v.uses() or v.is_graph_output() for v in node.outputs):
                own.remove(node, safe=True)
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output() and not value.is_graph_input():
            del graph.initializers[name]
