"""How a model's weights are put into protobuf and taken out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import onnx_ir

if TYPE_CHECKING:
    import numpy as np
    import onnx

IN_MEMORY = "tcc-in-memory"
"""The external-data location that marks a weight as handed over beside the model."""

NATIVE = frozenset({
    onnx_ir.DataType.FLOAT, onnx_ir.DataType.DOUBLE, onnx_ir.DataType.FLOAT16, onnx_ir.DataType.BOOL,
    onnx_ir.DataType.INT8, onnx_ir.DataType.INT16, onnx_ir.DataType.INT32, onnx_ir.DataType.INT64,
    onnx_ir.DataType.UINT8, onnx_ir.DataType.UINT16, onnx_ir.DataType.UINT32, onnx_ir.DataType.UINT64,
})  # fmt: skip
"""The element types that numpy itself has, and that may thus leave the protobuf as arrays."""

StandIn = Callable[[onnx_ir.Value, onnx_ir.TensorProtocol], onnx_ir.TensorProtocol]
"""Chooses what a top-level initialiser is serialised as."""


def embedded(_value: onnx_ir.Value, tensor: onnx_ir.TensorProtocol) -> onnx_ir.TensorProtocol:
    """The tensor itself, read from its external file where it lies in one."""
    return in_memory(tensor) if isinstance(tensor, onnx_ir.ExternalTensor) else tensor


def in_memory(tensor: onnx_ir.ExternalTensor) -> onnx_ir.Tensor[np.ndarray]:
    """A view of the mapped file as a tensor that is serialised with its data."""
    return onnx_ir.Tensor(
        tensor.numpy(), tensor.dtype, name=tensor.name, doc_string=tensor.doc_string,
        metadata_props=dict(tensor.metadata_props),
    )  # fmt: skip


@dataclass
class Stripping:
    """Takes weights of at least ``threshold`` bytes out of the model into ``weights``."""

    threshold: int
    weights: dict[str, np.ndarray]

    def __call__(self, value: onnx_ir.Value, tensor: onnx_ir.TensorProtocol) -> onnx_ir.TensorProtocol:
        """A marker for a large weight, the tensor itself otherwise."""
        if tensor.dtype not in NATIVE or tensor.nbytes < self.threshold:
            return embedded(value, tensor)
        array = tensor.numpy()
        # External data may start at any byte; runtimes expect elements on their natural boundary.
        self.weights[value.name or ""] = array if array.flags.aligned else array.copy()
        return external(value, tensor, IN_MEMORY, 0)


def external(
    value: onnx_ir.Value, tensor: onnx_ir.TensorProtocol, location: str, offset: int
) -> onnx_ir.ExternalTensor:
    """A tensor of the same name, type and shape that points into a file."""
    return onnx_ir.ExternalTensor(
        location, offset, tensor.nbytes, tensor.dtype, shape=onnx_ir.Shape(tensor.shape.numpy()),
        name=value.name or "", doc_string=tensor.doc_string, metadata_props=dict(tensor.metadata_props),
    )  # fmt: skip


def serialize(model: onnx_ir.Model, stand_in: StandIn) -> onnx.ModelProto:
    """The model as protobuf, each top-level initialiser as ``stand_in`` has it; the model is not touched.

    The types of initialisers are not repeated as value infos, the tensors state them: but for those with metadata or
    a text, which a value info holds, and one without a type would take the type away from who reads it.
    """
    graph = model.graph
    initialisers = {
        name: SimpleNamespace(
            name=name, metadata_props=value.metadata_props, doc_string=value.doc_string, meta=value.meta,
            # With neither a type nor anything else serde writes no value info for it.
            type=value.type if value.metadata_props or value.doc_string else None,
            shape=value.shape if value.metadata_props or value.doc_string else None,
            const_value=None if value.const_value is None else stand_in(value, value.const_value),
        )
        for name, value in graph.initializers.items()
    }  # fmt: skip
    form: Any = _Form(model, _GraphForm(graph, initialisers))
    proto = onnx_ir.serde.serialize_model(form)
    for opset in proto.opset_import:
        if not opset.domain:
            opset.ClearField("domain")  # an empty name that is stated takes two bytes more than one that is not
    return proto


class _Form:
    """The model as serde reads it, with another graph in its place."""

    def __init__(self, model: onnx_ir.Model, graph: _GraphForm) -> None:
        self._model = model
        self.graph = graph

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


class _GraphForm:
    """The graph as serde reads it, with other initialisers in their place."""

    def __init__(self, graph: onnx_ir.Graph, initializers: dict[str, SimpleNamespace]) -> None:
        self._graph = graph
        self.initializers = initializers

    def __iter__(self) -> Iterator[onnx_ir.Node]:
        return iter(self._graph)

    def __len__(self) -> int:
        return len(self._graph)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._graph, name)


def assemble(proto: onnx.ModelProto, weights: dict[str, np.ndarray]) -> onnx_ir.Model:
    """A stripped protobuf and its weights as an ``onnx_ir.Model``; the arrays become its tensors, uncopied.

    Args:
        proto: owned by the result from here on.
        weights: C-contiguous arrays for the initialisers that are marked ``IN_MEMORY``.
    """
    model = onnx_ir.serde.deserialize_model(proto)
    _state_types(model)
    for name, array in weights.items():
        value, array.flags.writeable = model.graph.initializers[name], False
        marker = value.const_value
        assert marker is not None
        value.const_value = onnx_ir.Tensor(
            array, marker.dtype, name=name, doc_string=marker.doc_string, metadata_props=dict(marker.metadata_props)
        )
    return model


def _state_types(model: onnx_ir.Model) -> None:
    """Give initialisers the type of their tensor where a file has a value info for them that says nothing of it."""
    for graph in (model.graph, *model.graph.subgraphs()):
        for value in graph.initializers.values():
            if value.type is None and (tensor := value.const_value) is not None:
                value.type, value.shape = onnx_ir.TensorType(tensor.dtype), onnx_ir.Shape(tensor.shape.numpy())


def spell_default_domain(model: onnx_ir.Model) -> None:
    """Import the default domain by its empty name, as onnx-ir spells it in nodes; ``ai.onnx`` is its other name."""
    for imports in [model.opset_imports, *(function.opset_imports for function in model.functions.values())]:
        if "ai.onnx" in imports:
            imports.setdefault("", imports.pop("ai.onnx"))
