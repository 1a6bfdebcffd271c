"""Arrays that stay in numpy's files and are read sample by sample, so that memory does not grow with the data."""

from __future__ import annotations

import itertools
import math
import shutil
import tempfile
import weakref
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

SMALL = 1 << 20
"""Bytes up to which an array is simply held."""
_BLOCK = 1 << 20
_LOCAL_HEADER = 30
"""Bytes of a ZIP member's header before its name, whose length and the extra field's are its last four."""


@dataclass(frozen=True)
class Stored:
    """An array [samples, ...] in C order at ``offset`` of a file; ``folder`` keeps a temporary one alive."""

    path: Path
    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    folder: Any = None

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: int | slice) -> np.ndarray[Any, Any]:
        """A sample, or several along the first axis."""
        chosen = range(len(self))[key] if isinstance(key, slice) else range(key, key + 1)
        width = math.prod(self.shape[1:])
        found = np.fromfile(
            self.path, self.dtype, width * len(chosen), offset=self.offset + chosen.start * width * self.dtype.itemsize
        ).reshape(len(chosen), *self.shape[1:])
        return found if isinstance(key, slice) else found[0]

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
        """All of it."""
        return np.asarray(self[:], dtype)

    def one(self) -> Stored:
        """The whole as the only sample."""
        return replace(self, shape=(1, *self.shape))


Array = np.ndarray[Any, Any] | Stored


@dataclass(frozen=True)
class Sample(Mapping[str, np.ndarray[Any, Any]]):
    """One sample's arrays by name, read anew whenever they are asked for; another process gets the arrays."""

    parts: Mapping[str, Callable[[], np.ndarray[Any, Any]]]

    def __getitem__(self, name: str) -> np.ndarray[Any, Any]:
        return self.parts[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self.parts)

    def __len__(self) -> int:
        return len(self.parts)

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


def not_finite(array: Array) -> int:
    """How many elements are NaN or infinite, a block at a time."""
    if array.dtype.kind != "f":
        return 0
    rows = max(1, _BLOCK // max(array.dtype.itemsize * math.prod(array.shape[1:]), 1)) if array.ndim else 0
    blocks = (array[i : i + rows] for i in range(0, len(array), rows)) if rows else iter([np.asarray(array)])
    return sum(int(np.count_nonzero(~np.isfinite(block))) for block in blocks)


def load(path: Path) -> Array | dict[str, Array]:
    """The array of a ``.npy``, or those of an ``.npz`` by name; never unpickles.

    Raises:
        OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError: for what is no such file.
    """
    if not zipfile.is_zipfile(path):
        loaded = np.load(path, allow_pickle=False, mmap_mode="r" if path.stat().st_size > SMALL else None)
        return _of_file(path, 0, path.stat().st_size) if isinstance(loaded, np.memmap) else loaded
    with zipfile.ZipFile(path) as archive:
        return {member.filename.removesuffix(".npy"): _member(path, archive, member) for member in archive.infolist()}


def _member(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    if member.file_size <= SMALL:
        with archive.open(member) as stream:
            held: np.ndarray[Any, Any] = np.lib.format.read_array(stream, allow_pickle=False)
            return held
    if member.compress_type == zipfile.ZIP_STORED:
        with path.open("rb") as stream:
            stream.seek(member.header_offset)
            header = stream.read(_LOCAL_HEADER)
        name, extra = (int.from_bytes(header[i : i + 2], "little") for i in (_LOCAL_HEADER - 4, _LOCAL_HEADER - 2))
        return _of_file(path, member.header_offset + _LOCAL_HEADER + name + extra, member.file_size)
    folder = _Folder()
    unpacked = folder.path / "array.npy"
    with archive.open(member) as packed, unpacked.open("wb") as out:
        shutil.copyfileobj(packed, out)
    return _of_file(unpacked, 0, member.file_size, folder)


def spooled(samples: Iterable[np.ndarray[Any, Any]], count: int) -> Array:
    """As many arrays of one shape and type as one array [count, ...], written to a temporary file one by one.

    Raises:
        StopIteration: where there is none.
    """
    rest = iter(samples)
    first = next(rest)
    folder = _Folder()
    path = folder.path / "array.npy"
    kind, shape = np.lib.format.dtype_to_descr(first.dtype), (count, *first.shape)
    with path.open("wb") as out:
        np.lib.format.write_array_header_1_0(out, {"descr": kind, "fortran_order": False, "shape": shape})
        for sample in itertools.chain([first], rest):
            out.write(np.ascontiguousarray(sample).data)
    return _of_file(path, 0, path.stat().st_size, folder)


class _Folder:
    """A folder that is removed with this object."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="tcc-calibration-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


def _of_file(path: Path, start: int, nbytes: int, folder: Any = None) -> Array:
    with path.open("rb") as stream:
        stream.seek(start)
        shape, in_columns, dtype = _header(stream)
        offset = stream.tell()
        if dtype.hasobject:
            message = "pickled objects"
            raise ValueError(message)
        if in_columns or not shape:
            stream.seek(start)
            held: np.ndarray[Any, Any] = np.lib.format.read_array(stream, allow_pickle=False)
            return held
    if offset - start + math.prod(shape) * dtype.itemsize > nbytes:
        message = "it ends before its array does"
        raise ValueError(message)
    return Stored(path, offset, dtype, shape, folder)


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, in_columns, dtype = read(stream)
    return shape, in_columns, dtype
