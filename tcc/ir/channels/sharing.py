"""Small constants that several nodes read only because they are equal, not because they are one weight."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcc.ir.model import Model
from tcc.ir.values import constant_value

if TYPE_CHECKING:
    import onnx_ir

_LARGEST = 1 << 16
_ORIGIN = "tcc.shared"


def split_vectors(model: Model) -> int:
    """Give every reader of a shared vector (bias, scale) its own, in place; how many were made.

    Exporters and simplifiers store equal vectors once, and would couple the layers that read them. Matrices and
    kernels stay shared: those are weights that were tied on purpose.
    """
    made = 0
    for name, value in list(model.graph.initializers.items()):
        tensor = value.const_value
        uses = value.uses()
        if tensor is None or value.is_graph_output() or value.is_graph_input() or len(uses) < 2:
            continue
        if sum(n != 1 for n in tensor.shape) > 1 or not 1 < tensor.size <= _LARGEST or tensor.dtype.is_integer():
            continue
        readers = dict.fromkeys(use.node for use in uses if use.node.graph is model.graph)
        for turn, node in enumerate(list(readers)[1:], 1):
            own = constant_value(_free(model.graph, f"{name}/{turn}"), tensor)
            own.metadata_props[_ORIGIN] = name
            model.graph.register_initializer(own)
            for i, v in enumerate(node.inputs):
                if v is value:
                    node.replace_input_with(i, own)
            made += 1
    return made


def join_vectors(model: Model) -> None:
    """Let readers share again what was split and is still equal, in place."""
    by_origin: dict[str, list[onnx_ir.Value]] = {}
    for value in model.graph.initializers.values():
        origin = value.metadata_props.pop(_ORIGIN, None)
        if origin is not None:
            by_origin.setdefault(origin, []).append(value)
    for origin, values in by_origin.items():
        first = model.graph.initializers.get(origin)
        kept = [first] if first is not None else []
        for value in values:
            same = next((k for k in kept if _equal(k, value)), None)
            if same is None:
                kept.append(value)
                continue
            value.replace_all_uses_with(same)
            del model.graph.initializers[value.name or ""]


def _equal(a: onnx_ir.Value, b: onnx_ir.Value) -> bool:
    one, other = a.const_value, b.const_value
    if one is None or other is None or one.dtype != other.dtype or list(one.shape) != list(other.shape):
        return False
    return one.tobytes() == other.tobytes()


def _free(graph: onnx_ir.Graph, name: str) -> str:
    while name in graph.initializers:
        name += "'"
    return name
