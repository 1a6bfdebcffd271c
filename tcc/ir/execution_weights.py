"""Takes the large weights out of a model proto, so that ONNX Runtime can use them where they already lie."""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import numpy as np
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

from tcc.ir.types import BITS

SHARE_FROM = 16 << 20
"""Bytes from which a model is worth splitting; below, handing it over whole is quicker."""

LARGE = 4096
"""Bytes from which a tensor leaves the proto: shapes, sizes and axes, which loading reads, are all smaller."""

_PLACEHOLDER = "weights"
_LONG_NAMES = {"float": "float32", "double": "float64"}


def split(model: ModelProto, weights: Mapping[str, np.ndarray]) -> tuple[ModelProto, dict[str, np.ndarray]]:
    """The model with its large initialisers as stubs, and their arrays; ``model`` itself is left alone.

    ``weights`` replace the initialisers of their names, and those the model does not list are added. 4-bit
    and string tensors stay inside: ONNX Runtime's Python interface cannot share them.
    """
    stub = ModelProto()
    arrays: dict[str, np.ndarray] = {}
    _copy(model, stub, skip=("graph",))
    _copy(model.graph, stub.graph, skip=("initializer",))
    for tensor in model.graph.initializer:
        if tensor.name in weights:
            _place(tensor.name, weights[tensor.name], stub.graph, arrays)
        elif _is_shareable(tensor.data_type) and _size(tensor) >= LARGE and not tensor.external_data:
            _place(tensor.name, numpy_helper.to_array(tensor), stub.graph, arrays)
        else:
            stub.graph.initializer.append(tensor)
    known = {tensor.name for tensor in model.graph.initializer}
    inner = _fill_subgraphs(stub.graph, weights)
    for name in weights:
        if name not in known and name not in inner:
            _place(name, weights[name], stub.graph, arrays)
    return stub, arrays


@contextlib.contextmanager
def placeholders(arrays: Mapping[str, np.ndarray]) -> Iterator[str]:
    """A folder with the file that the stubs name, for as long as loading takes.

    ONNX Runtime checks that a stub's file is there and long enough, but does not read it where the value is
    shared (``SessionOptions.add_initializer``); the file is one hole and takes no space.
    """
    with tempfile.TemporaryDirectory(prefix="tcc-") as folder:
        with (Path(folder) / _PLACEHOLDER).open("wb") as file:
            file.truncate(max(array.nbytes for array in arrays.values()))
        yield folder


def _place(name: str, array: np.ndarray, graph: GraphProto, arrays: dict[str, np.ndarray]) -> None:
    """Add the initialiser to the graph: whole where it is small or cannot be shared, else as a stub."""
    data_type = helper.np_dtype_to_tensor_dtype(array.dtype)
    if array.nbytes < LARGE or not _is_shareable(data_type):
        graph.initializer.append(numpy_helper.from_array(array, name))
        return
    stub = TensorProto(name=name, data_type=data_type, dims=array.shape, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", _PLACEHOLDER), ("offset", 0), ("length", array.nbytes)):
        stub.external_data.add(key=key, value=str(value))
    graph.initializer.append(stub)
    # Memory-mapped weights may start anywhere in their file.
    arrays[name] = np.require(array, requirements=["C", "A"])


def _fill_subgraphs(graph: GraphProto, weights: Mapping[str, np.ndarray]) -> set[str]:
    """Write ``weights`` into the initialisers of subgraphs in place; the names that were found."""
    found: set[str] = set()
    attributes = [attribute for node in graph.node for attribute in node.attribute]
    for body in (body for attribute in attributes for body in (attribute.g, *attribute.graphs)):
        for tensor in body.initializer:
            if tensor.name in weights:
                tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
                found.add(tensor.name)
        found |= _fill_subgraphs(body, weights)
    return found


def _is_shareable(data_type: int) -> bool:
    name = TensorProto.DataType.Name(data_type).lower()
    return name != "string" and BITS.get(_LONG_NAMES.get(name, name), 0) >= 8


def _size(tensor: TensorProto) -> int:
    itemsize: int = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    elements: int = math.prod(tensor.dims)
    return elements * itemsize


def _copy(source: ModelProto | GraphProto, target: ModelProto | GraphProto, *, skip: Collection[str]) -> None:
    """Copy all set fields but ``skip``: copying whole and then deleting would double the weights for a while."""
    for field, value in source.ListFields():
        if field.name in skip:
            continue
        if field.is_repeated:
            getattr(target, field.name).extend(value)
        elif field.message_type is not None:
            getattr(target, field.name).CopyFrom(value)
        else:
            setattr(target, field.name, value)
