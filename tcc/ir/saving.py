"""Writes models to files: atomically, the same bytes for the same model, and without copying the weights first."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import onnx
import onnx_ir

from tcc.diagnostics import Exit, TccError, fail
from tcc.ir import storage

PROTOBUF_LIMIT = 2**31 - 1
"""The most bytes a protobuf message may have."""

_LARGE = 1024  # bytes from which a weight is written straight from where it lies
_ALIGNMENT = 4096  # of external tensors, so that a runtime can map each one on its own pages
_HEADROOM = 2**24  # for what the sum of the weights does not count: nodes, names, types
_INITIALIZER = onnx.GraphProto.DESCRIPTOR.fields_by_name["initializer"].number
_RAW_DATA = onnx.TensorProto.DESCRIPTOR.fields_by_name["raw_data"].number
_GRAPH = onnx.ModelProto.DESCRIPTOR.fields_by_name["graph"].number


def to_bytes(model: onnx_ir.Model, source: str) -> bytes:
    """The serialised model, weights inside.

    Raises:
        TccError: E0225 where it is larger than 2 GiB.
    """
    stream = io.BytesIO()
    _write(_pieces(model, source), stream)
    return stream.getvalue()


def save(
    model: onnx_ir.Model, path: Path, *, external_data: bool | None, protected: Sequence[Path], source: str
) -> tuple[Path, ...]:
    """Write the model, and its weights beside it where they are wanted or needed there; see ``Model.save``."""
    weights = path.with_name(path.name + ".data")
    stored = sum(v.const_value.nbytes for v in model.graph.initializers.values() if v.const_value is not None)
    split = stored + _HEADROOM > PROTOBUF_LIMIT if external_data is None else external_data
    files = (path, weights) if split else (path,)
    _refuse_overwriting(files, protected)
    if not split:
        pieces = _pieces(model, source)
        with replacing(path) as stream:
            _write(pieces, stream)
        return files
    layout = _Layout(weights.name)
    data: bytes = storage.serialize(model, layout).SerializeToString(deterministic=True)
    # The weights, inside, are renamed first: a model is never seen without them.
    with replacing(path) as stream, replacing(weights) as weight_stream:
        stream.write(data)
        layout.write(weight_stream)
    return files


Piece = bytes | onnx_ir.TensorProtocol
"""A part of a file: bytes as they are, or a tensor's data."""


def _pieces(model: onnx_ir.Model, source: str) -> list[Piece]:
    """The serialised model in parts, in the order and encoding that protobuf itself would use.

    Protobuf would hold every weight three times: the tensor's, the message's and the serialised one.
    """
    tensors: dict[str, onnx_ir.TensorProtocol] = {}

    def defer(value: onnx_ir.Value, tensor: onnx_ir.TensorProtocol) -> onnx_ir.TensorProtocol:
        # A protobuf tensor keeps the form it was read in, e.g. float_data.
        if tensor.nbytes < _LARGE or isinstance(tensor, onnx_ir.TensorProtoTensor | onnx_ir.StringTensor):
            return storage.embedded(value, tensor)
        tensors[value.name or ""] = tensor
        return storage.external(value, tensor, storage.IN_MEMORY, 0)

    proto = storage.serialize(model, defer)
    head, initialisers, tail = _cut(proto.graph, _INITIALIZER)
    graph: list[Piece] = [head]
    for tensor in initialisers:
        graph += _initialiser(tensor, tensors)
    graph.append(tail)
    before, _, after = _cut(proto, _GRAPH)
    pieces = [before, _key(_GRAPH, _size(graph)), *graph, after]
    if _size(pieces) > PROTOBUF_LIMIT:
        raise _too_large(source)
    return pieces


def _cut(
    message: onnx.ModelProto | onnx.GraphProto | onnx.TensorProto, number: int
) -> tuple[bytes, list[onnx.TensorProto], bytes]:
    """What comes before and after the field of that number, serialised; and the field, where it is repeated."""
    head, tail = type(message)(), type(message)()
    inside: list[onnx.TensorProto] = []
    for descriptor, value in message.ListFields():
        if descriptor.number == number:
            inside = list(value) if descriptor.is_repeated else []
            continue
        target = head if descriptor.number < number else tail
        if descriptor.is_repeated:
            getattr(target, descriptor.name).MergeFrom(value)
        else:
            setattr(target, descriptor.name, value)
    return head.SerializeToString(deterministic=True), inside, tail.SerializeToString(deterministic=True)


def _initialiser(tensor: onnx.TensorProto, deferred: dict[str, onnx_ir.TensorProtocol]) -> list[Piece]:
    if (data := deferred.get(tensor.name)) is None:
        whole: bytes = tensor.SerializeToString(deterministic=True)
        return [_key(_INITIALIZER, len(whole)), whole]
    tensor.ClearField("data_location")
    tensor.ClearField("external_data")
    before, _, after = _cut(tensor, _RAW_DATA)
    inner: list[Piece] = [before, _key(_RAW_DATA, data.nbytes), data, after]
    return [_key(_INITIALIZER, _size(inner)), *inner]


def _size(pieces: Sequence[Piece]) -> int:
    return sum(len(piece) if isinstance(piece, bytes) else piece.nbytes for piece in pieces)


def _key(number: int, length: int) -> bytes:
    """The start of a field of so many bytes: https://protobuf.dev/programming-guides/encoding/#length-types."""
    return _varint(number << 3 | 2) + _varint(length)


def _varint(value: int) -> bytes:
    groups = bytearray()
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def _write(pieces: Sequence[Piece], stream: IO[bytes]) -> None:
    for piece in pieces:
        if isinstance(piece, bytes):
            stream.write(piece)
        else:
            _write_tensor(piece, stream)


def _write_tensor(tensor: onnx_ir.TensorProtocol, stream: IO[bytes]) -> None:
    if isinstance(tensor, onnx_ir.ExternalTensor):
        tensor.tofile(stream)
    else:
        stream.write(tensor.tobytes())


def _too_large(source: str) -> TccError:
    return fail(
        Exit.USAGE, "E0225", "the model is larger than the 2 GiB that one ONNX file may have",
        where=source, help="let the weights go to external data",
    )  # fmt: skip


@dataclass
class _Layout:
    """Gives each large tensor its place in the external file, and writes them there."""

    location: str
    _places: list[tuple[int, onnx_ir.TensorProtocol]] = field(default_factory=list)
    _end: int = 0

    def __call__(self, value: onnx_ir.Value, tensor: onnx_ir.TensorProtocol) -> onnx_ir.TensorProtocol:
        if tensor.nbytes < _LARGE or tensor.dtype == onnx_ir.DataType.STRING:
            return storage.embedded(value, tensor)
        offset = -(-self._end // _ALIGNMENT) * _ALIGNMENT
        self._places.append((offset, tensor))
        self._end = offset + tensor.nbytes
        return storage.external(value, tensor, self.location, offset)

    def write(self, stream: IO[bytes]) -> None:
        """Write every tensor at its place, one after another."""
        for offset, tensor in self._places:
            stream.seek(offset)
            _write_tensor(tensor, stream)


def _refuse_overwriting(files: Sequence[Path], protected: Sequence[Path]) -> None:
    inputs = [path for path in protected if path.exists()]
    for file in files:
        # By the file and not by its name: there are links.
        if file.exists() and any(file.samefile(path) for path in inputs):
            raise fail(
                Exit.USAGE, "E0224", "the output would overwrite the input model", where=str(file),
                help="choose another output path",
            )  # fmt: skip


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A stream whose content becomes ``path`` when the block ends well, and is gone when it does not.

    Raises:
        TccError: E0223 where the path cannot be written.
    """
    try:
        with _beside(path) as stream:
            yield stream
    except OSError as error:
        raise fail(
            Exit.USAGE, "E0223", f"cannot write the file: {error.strerror or error}", where=str(path),
            help="check that the folder exists, is writable and has room",
        ) from error  # fmt: skip


@contextmanager
def _beside(path: Path) -> Iterator[IO[bytes]]:
    if path.is_dir():
        raise IsADirectoryError(0, "it is a directory")
    target = path.resolve()  # a link stays a link: what it points to is replaced
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w+b") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(_permissions(target))
        temporary.replace(target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _permissions(target: Path) -> int:
    """The mode of the file being replaced, or what the user's umask gives to a new one."""
    with suppress(FileNotFoundError):
        return target.stat().st_mode & 0o777
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask
