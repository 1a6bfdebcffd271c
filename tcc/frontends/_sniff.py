"""Says what a file that is no ONNX model looks like, and what to do about it."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from tcc.diagnostics import Exit, TccError, fail

if TYPE_CHECKING:
    import mmap

_HEAD = 512  # bytes that tell what kind of file it is

_EXPORT = "export it with torch.onnx.export"
_SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs.github.com", "a Git LFS pointer, not the file itself", "fetch the file: git lfs pull"),
    (b"<?xml", "an XML file", "an OpenVINO model converts from ONNX only; give the ONNX file it came from"),
    (b"\x80\x02", "a Python pickle, as PyTorch's old format is", _EXPORT),
    (b"\x80\x03", "a Python pickle", _EXPORT),
    (b"\x80\x04", "a Python pickle", _EXPORT),
    (b"\x80\x05", "a Python pickle", _EXPORT),
    (b"\x89HDF", "an HDF5 file, as Keras's old format is", "convert it with tf2onnx"),
    (b"\x93NUMPY", "a NumPy array", "give the ONNX file"),
    (b"GGUF", "a GGUF model", "export the original model to ONNX"),
    (b"\x1f\x8b", "a gzip archive", "unpack it: gunzip"),
    (b"BZh", "a bzip2 archive", "unpack it: bunzip2"),
    (b"\xfd7zXZ", "an xz archive", "unpack it: unxz"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", "unpack it: unzstd"),
    (b"7z\xbc\xaf", "a 7-Zip archive", "unpack it"),
    (b"%PDF", "a PDF file", "give the ONNX file"),
    (b"\x89PNG", "a PNG image", "give the ONNX file"),
    (b"\xff\xd8\xff", "a JPEG image", "give the ONNX file"),
    (b"\x7fELF", "an executable or library", "give the ONNX file"),
)


def empty(where: str) -> TccError:
    """The error for a file of no bytes."""
    return fail(
        Exit.BAD_MODEL, "E0303", "the file is empty", where=where,
        help="the export or download that wrote it has failed; write it again",
    )  # fmt: skip


def not_onnx(where: str, content: mmap.mmap | bytes, *, is_model: bool) -> TccError:
    """The error for bytes that do not parse: what they look like, or that they are damaged where they hold a graph."""
    looks, advice = _kind(content[:_HEAD], content)
    if looks:
        return fail(Exit.BAD_MODEL, "E0301", f"not an ONNX model: this is {looks}", where=where, help=advice)
    if is_model:
        message = f"the model is truncated or damaged (it has {len(content)} bytes)"
        return fail(
            Exit.BAD_MODEL, "E0302", message, where=where,
            help="copy, download or export it again, and compare sizes or checksums",
        )  # fmt: skip
    return fail(
        Exit.BAD_MODEL, "E0301", "not an ONNX model: its bytes are no ONNX protobuf", where=where,
        help="give a file that torch.onnx.export, tf2onnx or onnx.save has written",
    )  # fmt: skip


def _kind(head: bytes, content: mmap.mmap | bytes) -> tuple[str, str]:
    for signature, looks, advice in _SIGNATURES:
        if head.startswith(signature):
            return looks, advice
    if head.startswith(b"PK\x03\x04"):
        if content.find(b"data.pkl") >= 0:
            return "a PyTorch archive (.pt)", _EXPORT
        return "a zip archive", "unpack it and give the .onnx file inside"
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite model", "convert it with tf2onnx --tflite"
    if head[8:10] == b'{"':
        return "a safetensors file: weights without a graph", "export the model to ONNX"
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "a web page, as a failed download leaves", "download the raw file instead of its page"
    if head.lstrip().startswith(b"{") and _is_text(head):
        return "a JSON file", "ONNX's own JSON form is read from files that end in .onnxjson or .json"
    if _is_text(head):
        return "a text file", "give a binary .onnx file, or name ONNX text .onnxtxt or .textproto"
    return "", ""


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        # A character may be cut where the head ends.
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode("utf-8")
    return all(character.isprintable() or character in "\n\r\t\f" for character in text)


def similar(path: Path) -> list[str]:
    """Files beside a missing one whose names are close to it."""
    if not path.parent.is_dir():
        return []
    names = sorted(p.name for p in path.parent.iterdir() if p.is_file())
    return [str(path.parent / name) for name in difflib.get_close_matches(path.name, names, n=3, cutoff=0.75)]


def inside(folder: Path) -> str:
    """What to give instead of a directory."""
    if (folder / "saved_model.pb").exists():
        return "this is a TensorFlow SavedModel; convert it with tf2onnx"
    models = sorted(p.name for p in folder.glob("*.onnx"))[:5]
    return f"give a file in it: {', '.join(models)}" if models else "give the path of an .onnx file"
