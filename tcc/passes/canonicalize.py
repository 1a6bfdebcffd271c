"""Writes a model in one canonical form: constants as initialisers, none unused, none overridable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir

from tcc.ir.model import Model, is_constant_node
from tcc.passes._sequences import unpack
from tcc.passes.base import Context, Effect, Pass, PassResult


@dataclass(frozen=True)
class Canonicalize(Pass):
    """The same computation, written one way.

    - An initialiser that is also listed as an input becomes a plain constant, as runtimes take it.
    - A Constant node of the top-level graph becomes an initialiser of the same name.
    - An element at a fixed place of a tensor that was split into a sequence is a slice of the tensor.
    - An initialiser that nothing reads goes.

    Weights keep their bytes, nodes their order and all values their names.
    """

    effect: ClassVar[Effect] = Effect.BITS
    settles: ClassVar[bool] = True

    def run(self, model: Model, context: Context) -> PassResult:
        """Rewrite the model in place."""
        del context
        return self.rewrite(model)

    def rewrite(self, model: Model) -> PassResult:
        """``run``, which nothing around the model takes part in."""
        frozen = len(model.overridable)
        model.freeze_overridable()
        lifted = _lift(model.graph)
        if lifted:
            # Before IR version 4 every initialiser had to be an input too.
            model.ir.ir_version = max(model.ir_version, 4)
        unpacked = unpack(model.graph)
        removed = _remove_unused(model.graph)
        facts = {"frozen": frozen, "lifted": lifted, "unpacked": unpacked, "removed": removed}
        return PassResult(model, any(facts.values()), facts)


def _lift(graph: onnx_ir.Graph) -> int:
    """Make initialisers of Constant nodes; one whose value is an output of the graph stays, outputs need a node."""
    lifted = 0
    for node in list(graph):
        if not is_constant_node(node) or node.outputs[0].is_graph_output():
            continue
        tensor = tensor_of(node)
        if tensor is None:
            continue
        old = node.outputs[0]
        new = onnx_ir.Value(
            name=old.name,
            type=onnx_ir.TensorType(tensor.dtype),
            shape=onnx_ir.Shape(tensor.shape.numpy()),
            const_value=tensor,
        )
        old.replace_all_uses_with(new)
        graph.remove(node, safe=True)
        graph.register_initializer(new)
        lifted += 1
    return lifted


_SCALARS = {"value_float": onnx_ir.DataType.FLOAT, "value_int": onnx_ir.DataType.INT64}
_LISTS = {"value_floats": onnx_ir.DataType.FLOAT, "value_ints": onnx_ir.DataType.INT64}


def tensor_of(node: onnx_ir.Node) -> onnx_ir.TensorProtocol | None:
    """The value of a Constant node; None for strings and sparse tensors, which stay as they are."""
    for name, attribute in node.attributes.items():
        if attribute.is_ref():
            return None
        if name == "value":
            return attribute.as_tensor()
        if name in _SCALARS | _LISTS:
            return onnx_ir.tensor(attribute.value, dtype=(_SCALARS | _LISTS)[name], name=node.outputs[0].name)
    return None


def _remove_unused(graph: onnx_ir.Graph) -> int:
    unused = [
        name for name, value in graph.initializers.items()
        if not value.uses() and not value.is_graph_output() and not value.is_graph_input()
    ]  # fmt: skip
    for name in unused:
        del graph.initializers[name]
    return len(unused)
