"""Turns a quantised model into one that can be fine-tuned: float weights that are rounded as the model runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir

from tcc.ir.model import Model
from tcc.passes.base import Context, Effect, Pass, PassResult

_ROUNDED = frozenset({"int8", "uint8"})
_ACCUMULATED = "int32"


@dataclass(frozen=True)
class FakeQuantize(Pass):
    """Integer weights become float ones behind a QuantizeLinear, which gives the same integers; biases become floats.

    What runs computes the same bits. Training frameworks import such a model as one with fake quantisation: gradients
    pass through the rounding (straight-through estimation, Bengio et al., 2013), and scales may be trained as well.
    ``fold`` makes integer weights of what comes back.
    """

    effect: ClassVar[Effect] = Effect.BITS

    def run(self, model: Model, context: Context) -> PassResult:
        """Rewrite the top-level graph in place."""
        del context
        made = {"weights": 0, "biases": 0}
        for node in list(model.graph):
            if node.domain or node.op_type != "DequantizeLinear":
                continue
            stored, scale, zero = (_array(node, i) for i in range(3))
            if stored is None or scale is None or scale.dtype != np.float32 or _is_blocked(node):
                continue
            floats = _dequantized(stored, scale, zero, _axis(node, stored.ndim))
            if stored.dtype.name == _ACCUMULATED:
                _replace_output(model, node, floats)
                made["biases"] += 1
            elif stored.dtype.name in _ROUNDED:
                _round_in_the_model(model, node, floats, stored.dtype)
                made["weights"] += 1
        return PassResult(model, any(made.values()), made)


def _array(node: onnx_ir.Node, index: int) -> np.ndarray | None:
    v = node.inputs[index] if index < len(node.inputs) else None
    return None if v is None or v.const_value is None or v.is_graph_input() else v.const_value.numpy()


def _axis(node: onnx_ir.Node, rank: int) -> int:
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 1
    return axis % rank if rank else 0


def _is_blocked(node: onnx_ir.Node) -> bool:
    return "block_size" in node.attributes and node.attributes["block_size"].as_int() > 0


def _dequantized(stored: np.ndarray, scale: np.ndarray, zero: np.ndarray | None, axis: int) -> np.ndarray:
    """What DequantizeLinear gives, ``(q - zero) * scale`` in single precision (ONNX operator specification)."""
    shape = [-1 if i == axis else 1 for i in range(stored.ndim)] if scale.size > 1 else [1] * stored.ndim
    shifted = stored.astype(np.int32) - (0 if zero is None else zero.astype(np.int32).reshape(shape))
    made: np.ndarray = shifted.astype(np.float32) * scale.reshape(shape)
    return made.reshape(stored.shape)


def _constant(model: Model, name: str, array: np.ndarray) -> onnx_ir.Value:
    taken = {v.name for v in (*model.graph.initializers.values(), *model.graph.inputs)}
    taken |= {v.name for node in model.graph.all_nodes() for v in node.outputs}
    name = next(each for each in (name, *(f"{name}_{i}" for i in range(len(taken) + 1))) if each not in taken)
    v = onnx_ir.Value(name=name, const_value=onnx_ir.tensor(array, name=name))
    v.dtype, v.shape = onnx_ir.DataType.from_numpy(array.dtype), onnx_ir.Shape(array.shape)
    model.graph.register_initializer(v)
    return v


def _replace_output(model: Model, node: onnx_ir.Node, floats: np.ndarray) -> None:
    """Make a constant of what a node gives; one that is an output of the graph stays."""
    output = node.outputs[0]
    if output.is_graph_output():
        return
    new = _constant(model, f"{output.name}_float", floats)
    for user, index in list(output.uses()):
        user.replace_input_with(index, new)
    constants = [v for v in node.inputs if v is not None]
    model.graph.remove(node, safe=True)
    for v in constants:
        _drop_unused(model, v)


def _round_in_the_model(model: Model, node: onnx_ir.Node, floats: np.ndarray, dtype: np.dtype) -> None:
    """Put a QuantizeLinear of float weights before a DequantizeLinear."""
    stored, scale = node.inputs[0], node.inputs[1]
    assert stored is not None
    assert scale is not None
    assert scale.const_value is not None
    zero = node.inputs[2] if len(node.inputs) > 2 else None
    if zero is None:
        # Without a zero point the integers would be unsigned.
        zero = _constant(model, f"{stored.name}_zero", np.zeros(scale.const_value.numpy().shape, dtype))
    weight = _constant(model, f"{stored.name}_float", floats)
    attributes = [node.attributes["axis"]] if "axis" in node.attributes else []
    quantize = onnx_ir.Node("", "QuantizeLinear", [weight, scale, zero], attributes, name=f"{node.name}_rounded")
    made = quantize.outputs[0]
    made.name, made.shape = f"{stored.name}_rounded", stored.shape
    made.dtype = onnx_ir.DataType.from_numpy(dtype)
    model.graph.insert_before(node, quantize)
    node.replace_input_with(0, made)
    _drop_unused(model, stored)


def _drop_unused(model: Model, v: onnx_ir.Value) -> None:
    if not list(v.uses()) and not v.is_graph_output():
        model.graph.initializers.pop(v.name or "", None)
