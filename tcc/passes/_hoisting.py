"""Moves the constants of bodies into the graph around them, where weights are sliced."""

from __future__ import annotations

from tcc.ir.model import Model, is_constant_node
from tcc.ir.naming import Names, names_of_values
from tcc.ir.values import constant_value
from tcc.passes.canonicalize import tensor_of


def hoist(model: Model) -> int:
    """Make initialisers of the model of all constants that bodies hold, in place; how many there were.

    What a body hands out as its own output stays in it.
    """
    moved, free = 0, Names(names_of_values(model.graph))
    for body in list(model.graph.subgraphs()):
        kept = {*body.outputs, *body.inputs}
        for node in list(body):
            if not is_constant_node(node) or node.outputs[0] in kept:
                continue
            if (tensor := tensor_of(node)) is None:
                continue
            old = node.outputs[0]
            value = constant_value(free.fresh(f"{old.name}/hoisted"), tensor)
            old.replace_all_uses_with(value)
            body.remove(node, safe=True)
            model.graph.register_initializer(value)
            moved += 1
        for name, value in list(body.initializers.items()):
            if value in kept:
                continue
            del body.initializers[name]
            value.name = free.fresh(f"{name}/hoisted")
            model.graph.register_initializer(value)
            moved += 1
    return moved
