"""Puts the bodies of functions and of decided branches where they are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir

from tcc.ir.model import Model
from tcc.passes.base import Context, Effect, Pass, PassResult


@dataclass(frozen=True)
class Inline(Pass):
    """Inlines model-local functions, and the taken branch of an If whose condition is constant."""

    effect: ClassVar[Effect] = Effect.BITS
    settles: ClassVar[bool] = True

    def run(self, model: Model, context: Context) -> PassResult:
        """Inline until nothing is left to inline."""
        del context
        return self.rewrite(model)

    def rewrite(self, model: Model) -> PassResult:
        """``run``, which nothing around the model takes part in."""
        functions = len(model.ir.functions)
        if functions:
            from onnx_ir.passes.common import InlinePass

            model = Model(InlinePass()(model.ir).model, model.source, files=model.files, notes=model.notes)
        branches = 0
        while (node := _decided(model.graph)) is not None:
            _take_branch(model, *node)
            branches += 1
        return PassResult(model, bool(functions or branches), {"functions": functions, "branches": branches})


def _decided(graph: onnx_ir.Graph) -> tuple[onnx_ir.Node, onnx_ir.Graph] | None:
    for node in graph:
        if node.op_type != "If" or node.domain or node.inputs[0] is None:
            continue
        condition = node.inputs[0]
        if condition.const_value is None or condition.is_graph_input():
            continue
        taken = "then_branch" if bool(condition.const_value.numpy().reshape(-1)[0]) else "else_branch"
        return node, node.attributes[taken].as_graph()
    return None


def _take_branch(model: Model, node: onnx_ir.Node, branch: onnx_ir.Graph) -> None:
    """Move the branch's nodes before the If, its outputs in the place of the If's."""
    graph = model.graph
    taken = {v.name for v in graph.initializers.values()} | {v.name for n in graph.all_nodes() for v in n.outputs}
    results = list(branch.outputs)
    for v in list(branch.initializers.values()):
        del branch.initializers[v.name or ""]
        if v.name in taken:
            v.name = _fresh(f"{node.name}/{v.name}", taken)
        graph.initializers.add(v)
    inside = list(branch)
    branch.outputs.clear()
    branch.remove(inside)
    graph.insert_before(node, inside)
    for old, new in zip(list(node.outputs), results, strict=True):
        _stand_in(graph, node, old, new)
    graph.remove(node, safe=True)


def _stand_in(graph: onnx_ir.Graph, node: onnx_ir.Node, old: onnx_ir.Value, new: onnx_ir.Value) -> None:
    if not old.is_graph_output():
        old.replace_all_uses_with(new)
        return
    # An output of the graph keeps its name and type, so it gets a node of its own.
    copy = onnx_ir.Node("", "Identity", [new], name=f"{node.name}/{old.name}", version=node.version)
    copy.outputs[0].type, copy.outputs[0].shape = old.type, old.shape
    graph.insert_before(node, [copy])
    graph.outputs[list(graph.outputs).index(old)] = copy.outputs[0]
    old.replace_all_uses_with(copy.outputs[0])
    name, old.name = old.name, f"{old.name}/inlined"
    copy.outputs[0].name = name


def _fresh(base: str, taken: set[str | None]) -> str:
    name, i = base, 0
    while name in taken:
        i += 1
        name = f"{base}_{i}"
    taken.add(name)
    return name
