"""Moves the constants of bodies into the graph around them, where weights are sliced and compressed."""

from __future__ import annotations

import onnx_ir

from tcc.ir.model import Model, is_constant_node
from tcc.ir.naming import Names, names_of_values
from tcc.ir.values import constant_value
from tcc.passes.canonicalize import tensor_of


def hoisted(model: Model, smallest: int) -> Model:
    """A copy whose bodies hold no float32 constants of so many elements; the model itself where they hold none."""
    if not any(_held(body, smallest) for body in model.graph.subgraphs()):
        return model
    copy = model.clone()
    return copy if hoist(copy, smallest) else model


def _held(body: onnx_ir.Graph, smallest: int) -> bool:
    nodes = [tensor_of(node) for node in body if is_constant_node(node)]
    found = [*nodes, *(v.const_value for v in body.initializers.values())]
    return any(_is_weight(tensor, smallest) for tensor in found)


def _is_weight(tensor: onnx_ir.TensorProtocol | None, smallest: int) -> bool:
    return tensor is not None and tensor.size >= smallest and tensor.dtype == onnx_ir.DataType.FLOAT


def hoist(model: Model, smallest: int = 0) -> int:
    """Make initialisers of the model of all constants that bodies hold, in place; how many there were.

    What a body hands out as its own output stays in it, and so does all but float32 constants of ``smallest`` elements
    where that is given.
    """
    moved, free = 0, Names(names_of_values(model.graph))
    for body in list(model.graph.subgraphs()):
        kept = {*body.outputs, *body.inputs}
        for node in list(body):
            if not is_constant_node(node) or node.outputs[0] in kept:
                continue
            if (tensor := tensor_of(node)) is None or (smallest and not _is_weight(tensor, smallest)):
                continue
            old = node.outputs[0]
            value = constant_value(free.fresh(f"{old.name}/hoisted"), tensor)
            old.replace_all_uses_with(value)
            body.remove(node, safe=True)
            model.graph.register_initializer(value)
            moved += 1
        for name, value in list(body.initializers.items()):
            if value in kept or (smallest and not _is_weight(value.const_value, smallest)):
                continue
            del body.initializers[name]
            value.name = free.fresh(f"{name}/hoisted")
            model.graph.register_initializer(value)
            moved += 1
    return moved
