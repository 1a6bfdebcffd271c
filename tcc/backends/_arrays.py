"""Carries values between processes in one file: raw bytes, with names, types and shapes beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from tcc.diagnostics import Exit, fail

_HEADER = "header"


def write(path: Path, values: Mapping[str, Any]) -> None:
    """Write arrays (any numpy or ``ml_dtypes`` type) and nested lists of them, by name.

    Raises:
        TccError: E0808 for a value that no array holds: strings and absent optionals.
    """
    held: dict[str, np.ndarray] = {}
    header = {name: _packed(value, held) for name, value in values.items()}
    held[_HEADER] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    with path.open("wb") as stream:
        np.savez(stream, **held)  # type: ignore[arg-type] # numpy's stub takes the names for its options


def read(path: Path) -> dict[str, Any]:
    """What ``write`` wrote."""
    with np.load(path, allow_pickle=False) as held:
        header = json.loads(held[_HEADER].tobytes())
        return {name: _unpacked(entry, held) for name, entry in header.items()}


def _packed(value: Any, held: dict[str, np.ndarray]) -> Any:
    if isinstance(value, list | tuple):
        return [_packed(item, held) for item in value]
    array = np.asarray(value)
    if array.dtype.kind in "OUSM":
        raise fail(Exit.BACKEND, "E0808", f"values of type {array.dtype} cannot be handed to another process",
                   help="run the model with --backend=onnxruntime")  # fmt: skip
    key = f"a{len(held)}"
    held[key] = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
    return {"key": key, "dtype": array.dtype.name, "shape": list(array.shape)}


def _unpacked(entry: Any, held: Mapping[str, np.ndarray]) -> Any:
    if isinstance(entry, list):
        return [_unpacked(item, held) for item in entry]
    return np.frombuffer(held[entry["key"]].tobytes(), _dtype(entry["dtype"])).reshape(entry["shape"]).copy()


def _dtype(name: str) -> np.dtype[Any]:
    """The type of that name: numpy's own, else one of ``ml_dtypes``."""
    try:
        return np.dtype(name)
    except TypeError:
        found: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
        return found


def named(values: Sequence[Any]) -> dict[str, Any]:
    """A list of values as ``write`` takes it, in order."""
    return {f"{index:06d}": value for index, value in enumerate(values)}
