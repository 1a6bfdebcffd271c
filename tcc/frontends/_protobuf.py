"""Reads ONNX protobuf without holding the weights twice: they go straight from the source into arrays.

Protobuf's parser copies every weight into its own memory and copies it again on each access. So the message is
walked first (https://protobuf.dev/programming-guides/encoding/), its large weights are taken out, and the parser
sees the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir
from google.protobuf.message import DecodeError
from onnx import GraphProto, ModelProto, TensorProto

from tcc.ir.storage import IN_MEMORY, NATIVE

if TYPE_CHECKING:
    import mmap

    from google.protobuf.message import Message

THRESHOLD = 1024
"""Weights of at least this many bytes leave the protobuf."""

Fetch = Callable[[int, "np.dtype[Any]", int], np.ndarray]
"""Gives the array of so many elements at a byte offset of the source."""

Weights = dict[str, np.ndarray]

_GRAPH: int = ModelProto.DESCRIPTOR.fields_by_name["graph"].number
_INITIALIZER: int = GraphProto.DESCRIPTOR.fields_by_name["initializer"].number
_RAW_DATA: int = TensorProto.DESCRIPTOR.fields_by_name["raw_data"].number
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Malformed(Exception):  # noqa: N818 - a signal between helpers; users get a TccError
    """The bytes are not an ONNX model, or not all of one: ``field`` is the one of the message that is damaged."""

    def __init__(self, field: int = 0) -> None:
        super().__init__()
        self.field = field

    @property
    def is_model(self) -> bool:
        """Whether the message is likely to have been an ONNX model."""
        return self.field == _GRAPH


def parse(content: mmap.mmap | bytes, fetch: Fetch) -> tuple[ModelProto, Weights]:
    """The model without its large weights, and these weights by name.

    Raises:
        Malformed: where the bytes are not a model with a graph.
    """
    weights: Weights = {}
    header: list[bytes] = []
    graph: list[bytes] = []
    for number, kind, start, payload, end in _fields(content, 0, len(content)):
        if number == _GRAPH and kind == _BYTES:
            try:
                graph += _graph_pieces(content, payload, end, fetch, weights)
            except Malformed as error:
                raise Malformed(_GRAPH) from error
        else:
            header.append(content[start:end])
    try:
        proto = ModelProto.FromString(b"".join(header))
        proto.graph.MergeFromString(b"".join(graph))
    except DecodeError as error:
        raise Malformed(_GRAPH if graph else 0) from error
    if not graph and not proto.opset_import and not proto.ir_version:
        raise Malformed
    return proto, weights


def _graph_pieces(content: mmap.mmap | bytes, start: int, end: int, fetch: Fetch, weights: Weights) -> Iterator[bytes]:
    begin = start
    for number, kind, field_start, payload, field_end in _fields(content, start, end):
        if number != _INITIALIZER or kind != _BYTES or field_end - payload < THRESHOLD:
            continue
        if (marker := _take(content, payload, field_end, fetch, weights)) is None:
            continue
        # A message with this one field is the field's own encoding.
        yield content[begin:field_start]
        yield GraphProto(initializer=[marker]).SerializeToString()
        begin = field_end
    yield content[begin:end]


def _take(content: mmap.mmap | bytes, start: int, end: int, fetch: Fetch, weights: Weights) -> TensorProto | None:
    """Take one tensor's raw data into ``weights`` and give what stands for it; None where it stays inside."""
    raw, rest = None, []
    for number, kind, field_start, payload, field_end in _fields(content, start, end):
        if number == _RAW_DATA and kind == _BYTES:
            raw = (payload, field_end)
        else:
            rest.append(content[field_start:field_end])
    if raw is None:
        return None
    try:
        tensor = TensorProto.FromString(b"".join(rest))
    except DecodeError as error:
        raise Malformed from error
    if (found := _array_type(tensor, raw[1] - raw[0], weights)) is None:
        return None
    weights[tensor.name] = fetch(raw[0], *found).reshape(tuple(tensor.dims))
    return _mark(tensor)


def _array_type(tensor: TensorProto, nbytes: int, weights: Weights) -> tuple[np.dtype[Any], int] | None:
    """The element type and count of a weight that may leave; whatever is odd stays for the checks to see."""
    if tensor.data_type not in NATIVE or nbytes < THRESHOLD or not tensor.name or tensor.name in weights:
        return None
    if tensor.data_location == TensorProto.EXTERNAL:
        return None
    dtype = np.dtype(onnx_ir.DataType(tensor.data_type).numpy()).newbyteorder("<")
    count = int(np.prod(tensor.dims, dtype=object))
    return (dtype, count) if count * dtype.itemsize == nbytes and min(tensor.dims, default=1) > 0 else None


def _mark(tensor: TensorProto) -> TensorProto:
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=IN_MEMORY)
    return tensor


def strip(source: ModelProto) -> tuple[ModelProto, Weights]:
    """The same for a parsed model, which is left as it is: nothing of the result is shared with it."""
    proto, weights = ModelProto(), Weights()
    _copy(source, proto, "graph")
    _copy(source.graph, proto.graph, "initializer")
    for tensor in source.graph.initializer:
        marker = proto.graph.initializer.add()
        _copy(tensor, marker, "raw_data")
        raw = tensor.raw_data  # protobuf copies it on each access
        if (found := _array_type(marker, len(raw), weights)) is not None:
            weights[marker.name] = np.frombuffer(raw, found[0]).reshape(tuple(marker.dims))
            _mark(marker)
        elif tensor.HasField("raw_data"):
            marker.raw_data = raw
    return proto, weights


def _copy(source: Message, target: Message, without: str) -> None:
    """Copy all fields of a message but one."""
    for field, value in source.ListFields():
        if field.name == without:
            continue
        if field.is_repeated:
            getattr(target, field.name).MergeFrom(value)
        elif field.message_type is not None:
            getattr(target, field.name).CopyFrom(value)
        else:
            setattr(target, field.name, value)


def _fields(content: mmap.mmap | bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Each field of a message: its number, wire type, where it starts, where its payload starts and ends.

    Raises:
        Malformed: where a field reaches beyond the message or has a wire type that ONNX does not use.
    """
    position = start
    while position < end:
        tag, payload = _varint(content, position, end)
        number, kind = tag >> 3, tag & 7
        if kind == _BYTES:
            length, payload = _varint(content, payload, end)
            stop = payload + length
        elif kind == _VARINT:
            _, stop = _varint(content, payload, end)
        elif kind in (_FIXED32, _FIXED64):
            stop = payload + (4 if kind == _FIXED32 else 8)
        else:
            raise Malformed
        if stop > end or number == 0:
            raise Malformed(number)
        yield number, kind, position, payload, stop
        position = stop


def _varint(content: mmap.mmap | bytes, position: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while position < end and shift < 70:
        byte = content[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
        shift += 7
    raise Malformed
