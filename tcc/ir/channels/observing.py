"""Observes the sizes of all values, and the integers that are always the same, by running the model."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx_ir

from tcc.diagnostics import TccError
from tcc.ir.channels.inner import Inner
from tcc.ir.channels.site import Shape, Sizes
from tcc.ir.execution import Runner
from tcc.ir.inference import annotate
from tcc.ir.model import Model, is_constant_node, tensor_type

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHAPE = "tcc_shape:"
_LARGEST = 1 << 16
"""Elements of the largest integer tensor whose values are looked at."""
_INTEGERS = frozenset({"int64", "int32"})


def observe(model: Model, feeds: Sequence[Mapping[str, Any]]) -> Sizes:
    """Sizes of all values on the first feed that computes them; numbers that all feeds agree on.

    The model's constants are known without a run. Types are inferred into the model.

    Raises:
        TccError: where the model does not run.
    """
    annotate(model)
    shapes: dict[onnx_ir.Value, Shape] = {}
    fixed: dict[onnx_ir.Value, np.ndarray] = {}
    for value, tensor in constants(model):
        shapes[value] = tuple(tensor.numpy().shape)
        if tensor.dtype.name.lower() in _INTEGERS and tensor.size <= _LARGEST:
            fixed[value] = tensor.numpy()
    computed = [v for v in _computed(model.graph) if v not in shapes]
    numbers = [v for v in computed if (kind := tensor_type(v)) is not None and kind.dtype in _INTEGERS]
    numbers = [v for v in numbers if v.producer() is not None]
    runner, inner = _observing(model, computed, numbers)
    for turn, feed in enumerate(feeds):
        found = runner.run_named(feed)
        for v, own in inner.shapes(found).items():
            shapes.setdefault(v, own)
        for v in computed:
            if turn == 0 and (shape := found.get(_SHAPE + (v.name or ""))) is not None:
                shapes[v] = tuple(int(n) for n in shape)
        for v in numbers:
            array = np.asarray(found[v.name or ""])
            if turn == 0 and array.size <= _LARGEST:
                fixed[v] = array
            elif v in fixed and not np.array_equal(fixed[v], array):
                del fixed[v]
    return Sizes(shapes, fixed)


def constants(model: Model) -> Iterator[tuple[onnx_ir.Value, onnx_ir.TensorProtocol]]:
    """Initialisers that no caller can override, and tensors of Constant nodes."""
    for value in model.graph.initializers.values():
        if value.const_value is not None and not value.is_graph_input():
            yield value, value.const_value
    for body in model.graph.subgraphs():
        for value in body.initializers.values():
            if value.const_value is not None:
                yield value, value.const_value
    for node in model.graph.all_nodes():
        if is_constant_node(node) and "value" in node.attributes:
            yield node.outputs[0], node.attributes["value"].as_tensor()


def _computed(graph: onnx_ir.Graph) -> Iterator[onnx_ir.Value]:
    """Tensors of the top-level graph; sequences, optionals and what may be one are left out."""
    for value in graph.inputs:
        if isinstance(value.type, onnx_ir.TensorType):
            yield value
    for node in graph:
        for value in node.outputs:
            if not value.name or isinstance(value.type, onnx_ir.SequenceType | onnx_ir.OptionalType):
                continue
            if value.type is not None or not node.op_type.startswith(("Sequence", "SplitTo", "Optional")):
                yield value


def _observing(
    model: Model, computed: Sequence[onnx_ir.Value], numbers: Sequence[onnx_ir.Value]
) -> tuple[Runner, Inner]:
    """The model with the shapes of its values, and the values of its integers, as its only outputs.

    What is inside of bodies is left out where a runtime does not take a body with further outputs.
    """
    inner = Inner(model.opset)
    if any(model.graph.subgraphs()):
        with contextlib.suppress(TccError):
            return _looking(model, computed, numbers, inner), inner
    return _looking(model, computed, numbers, nothing := Inner(0)), nothing


def _looking(model: Model, computed: Sequence[onnx_ir.Value], numbers: Sequence[onnx_ir.Value], inner: Inner) -> Runner:
    proto, weights = model.stripped_proto()
    rows = inner.hand_out(model.graph, proto.graph)
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.ValueInfoProto(name=row) for row in rows)
    int64 = onnx.TensorProto.INT64
    for v in computed:
        proto.graph.node.append(onnx.helper.make_node("Shape", [v.name or ""], [_SHAPE + (v.name or "")]))
        proto.graph.output.append(onnx.helper.make_tensor_value_info(_SHAPE + (v.name or ""), int64, None))
    # ONNX Runtime infers the types itself.
    proto.graph.output.extend(onnx.ValueInfoProto(name=v.name) for v in numbers)
    return Runner(proto, weights=weights)
