"""Reads models in memory: the bytes of a file, or a parsed ``onnx.ModelProto``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import onnx

    from tcc.ir.model import Model

SOURCE = "the bytes of one, an onnx.ModelProto"


def accepts(source: object) -> bool:
    """Whether the source is bytes or a protobuf model; any module's ModelProto of that name will do."""
    return isinstance(source, bytes | bytearray | memoryview) or type(source).__name__ == "ModelProto"


def load(source: object) -> Model:
    """Read the model; a ModelProto is copied without its weights, and those once."""
    import onnx

    from tcc.frontends import _finish, _protobuf

    if isinstance(source, onnx.ModelProto):
        proto, weights = _protobuf.strip(source)
        return _finish.finish(proto, weights, source="<ModelProto>")
    data = source if isinstance(source, bytes) else _bytes_of(source)
    return _finish.finish(*_parse(data), source="<bytes>")


def _bytes_of(source: object) -> bytes:
    if isinstance(source, bytearray | memoryview):
        return bytes(source)
    data: bytes = source.SerializeToString()  # type: ignore[attr-defined]  # another module's ModelProto
    return data


def _parse(data: bytes) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    import numpy as np

    from tcc.frontends import _protobuf, _sniff

    if not data:
        raise _sniff.empty("<bytes>")

    def fetch(offset: int, dtype: np.dtype, count: int) -> np.ndarray:
        # A copy: the weight's place in the message is on no element's boundary.
        return np.frombuffer(data, dtype, count, offset).copy()

    try:
        return _protobuf.parse(data, fetch)
    except _protobuf.Malformed as error:
        raise _sniff.not_onnx("<bytes>", data, is_model=error.is_model) from error
