"""Reads ONNX files: protobuf, and ONNX's own text and JSON forms."""

from __future__ import annotations

import mmap
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tcc.diagnostics import Exit, TccError, fail

if TYPE_CHECKING:
    import numpy as np
    import onnx

    from tcc.ir.model import Model

SOURCE = "the path of an ONNX file"


def accepts(source: object) -> bool:
    """Whether the source is a path."""
    return isinstance(source, str | Path)


def load(source: object) -> Model:
    """Read a file, which is opened for reading only; each weight is copied into memory once, or mapped."""
    from tcc.frontends import _finish

    path = Path(cast("str | Path", source))
    _require_file(path)
    proto, weights = _read(path)
    return _finish.finish(proto, weights, source=str(path), path=path)


def _require_file(path: Path) -> None:
    from tcc.frontends import _sniff

    if not path.exists():
        near = _sniff.similar(path)
        advice = f"did you mean {', '.join(near)}?" if near else "check the path"
        raise fail(Exit.USAGE, "E0221", "no such file", where=str(path), help=advice)
    if path.is_dir():
        raise fail(
            Exit.BAD_MODEL, "E0304", "is a directory, not an ONNX file", where=str(path), help=_sniff.inside(path)
        )


def _read(path: Path) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    from onnx.serialization import registry

    form = registry.get_format_from_file_extension(path.suffix)
    try:
        if form not in (None, "protobuf"):
            return _read_text(path, form)
        return _read_protobuf(path)
    except OSError as error:
        raise fail(
            Exit.USAGE, "E0222", f"cannot read the file: {error.strerror or error}", where=str(path),
            help="check its permissions",
        ) from error  # fmt: skip


def _read_protobuf(path: Path) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    import numpy as np

    from tcc.frontends import _protobuf, _sniff

    with path.open("rb") as stream:
        if not stream.read(1):
            raise _sniff.empty(str(path))

        def fetch(offset: int, dtype: np.dtype, count: int) -> np.ndarray:
            array = np.empty(count, dtype)
            stream.seek(offset)
            # A file cut short while it is read leaves the array incomplete.
            if stream.readinto(array.data.cast("B")) != array.nbytes:
                raise _protobuf.Malformed
            return array

        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            try:
                return _protobuf.parse(content, fetch)
            except _protobuf.Malformed as error:
                raise _sniff.not_onnx(str(path), content, is_model=error.is_model) from error


def _read_text(path: Path, form: str) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    import onnx
    from google.protobuf import json_format, text_format
    from onnx.serialization import registry

    from tcc.frontends import _protobuf, _sniff

    data = path.read_bytes()
    if not data:
        raise _sniff.empty(str(path))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # onnx calls its own text form experimental on each use
            proto = registry.get(form).deserialize_proto(data, onnx.ModelProto())
    except (json_format.ParseError, text_format.ParseError, onnx.parser.ParseError, UnicodeDecodeError) as error:
        raise _unreadable_text(path, form, error) from error
    return _protobuf.strip(proto)


def _unreadable_text(path: Path, form: str, error: Exception) -> TccError:
    text = error.args[0] if error.args else error  # onnx's parser gives bytes
    reason = " ".join((text.decode(errors="replace") if isinstance(text, bytes) else str(text)).split())[:300]
    return fail(
        Exit.BAD_MODEL, "E0302", f"cannot be read as {form}: {reason}", where=str(path),
        help="binary ONNX files end in .onnx; onnx.save(model, path) writes the form that the ending names",
    )  # fmt: skip
