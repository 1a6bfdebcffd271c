"""Moves the constants of bodies into the graph around them, where weights are sliced."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcc.ir.model import Model, is_constant_node
from tcc.ir.values import constant_value
from tcc.passes.canonicalize import tensor_of

if TYPE_CHECKING:
    import onnx_ir


def hoist(model: Model) -> int:
    """Make initialisers of the model of all constants that bodies hold, in place; how many there were.

    What a body hands out as its own output stays in it.
    """
    moved, taken = 0, _names(model.graph)
    for body in list(model.graph.subgraphs()):
        kept = {*body.outputs, *body.inputs}
        for node in list(body):
            if not is_constant_node(node) or node.outputs[0] in kept:
                continue
            if (tensor := tensor_of(node)) is None:
                continue
            old = node.outputs[0]
            value = constant_value(_free(f"{old.name}", taken), tensor)
            old.replace_all_uses_with(value)
            body.remove(node, safe=True)
            model.graph.register_initializer(value)
            moved += 1
        for name, value in list(body.initializers.items()):
            if value in kept:
                continue
            del body.initializers[name]
            value.name = _free(name, taken)
            model.graph.register_initializer(value)
            moved += 1
    return moved


def _names(graph: onnx_ir.Graph) -> set[str]:
    """All names of values, in all graphs."""
    found: set[str] = set()
    for own in (graph, *graph.subgraphs()):
        found |= {v.name or "" for v in own.inputs} | set(own.initializers)
        found |= {v.name or "" for node in own for v in node.outputs}
    return found


def _free(name: str, taken: set[str]) -> str:
    found, turn = f"{name}/hoisted", 0
    while found in taken:
        turn += 1
        found = f"{name}/hoisted_{turn}"
    taken.add(found)
    return found
