"""Digests of files and of arrays: the same content, the same text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

_CHUNK = 1 << 20


def of_files(files: Iterable[Path]) -> str:
    """SHA-256 of the files' bytes, one after another: of one file what ``sha256sum`` prints."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def of_arrays(groups: Iterable[Mapping[str, Any]]) -> str:
    """SHA-256 of arrays (or lists of them) by name: names, types, shapes, values."""
    digest = hashlib.sha256()
    add_arrays(digest, groups)
    return digest.hexdigest()


def add_arrays(digest: hashlib._Hash, groups: Iterable[Mapping[str, Any]]) -> None:
    """Add arrays by name to a digest."""
    for group in groups:
        for name in sorted(group):
            value = group[name]
            for array in value if isinstance(value, list) else [value]:
                held = np.ascontiguousarray(array)
                digest.update(f"{name} {held.dtype} {held.shape}".encode())
                # Strings are objects: their bytes would be addresses.
                digest.update(
                    repr(held.tolist()).encode() if held.dtype.kind == "O" else held.reshape(-1).view(np.uint8).data
                )
