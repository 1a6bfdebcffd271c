"""What all elements of a constant follow from: filled with one number, an identity, a mean's kernel, repetitions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx_ir

IDENTITY = "identity"
"""The identity matrix, or the kernel that gives its input back: a one in the middle of each channel's own kernel."""
MEAN = "mean"
"""The kernel that averages each channel over a window."""
FILLED = "filled "
"""What the text of a constant begins with all of whose elements are the number that follows."""
BLOCKS = "blocks "
"""What the text of a mask over a kernel's channels begins with: how many blocks of them there are, and for how many
outputs in a row the same block is one and all others are zero."""
TWICE = "twice by "
"""What the text of a constant begins with whose last axis holds each element twice: by halves, or by pairs."""
_FLOATS = frozenset({"float16", "float32", "float64"})


def structure_of(tensor: onnx_ir.TensorProtocol) -> str:
    """The structure of a floating-point constant with at least two elements; empty where it has none.

    Nearly all weights are told apart by their first elements, so that the rest of them is not read.
    """
    if tensor.size < 2 or tensor.dtype.name.lower() not in {"float", "double", "float16"}:
        return ""
    array = tensor.numpy()
    return of_array(array) if array.dtype.name in _FLOATS else ""


def of_array(array: np.ndarray) -> str:
    """The structure of an array with at least two elements.

    >>> of_array(np.ones((3, 4), np.float32)), of_array(np.eye(3, dtype=np.float32))
    ('filled 1.0', 'identity')
    >>> of_array(np.array([[3, 4, 3, 4]])), of_array(np.array([[3, 3, 4, 4]]))
    ('twice by halves', 'twice by pairs')
    """
    flat = array.reshape(-1)
    if flat[1] == flat[0] and (flat[:64] == flat[0]).all() and (flat == flat[0]).all() and not np.signbit(flat[0]):
        return f"{FILLED}{float(flat[0])!r}"
    if array.ndim == 2:
        is_identity = array.shape[0] == array.shape[1] and (flat[:2] == (1, 0)).all()
        is_identity = is_identity and np.array_equal(array, np.eye(len(array)))
        return IDENTITY if is_identity else _twice(array)
    if array.ndim < 3:
        return _twice(array)
    kernels = () if array.shape[0] % array.shape[1] else (IDENTITY, MEAN)
    return next((name for name in kernels if _is_kernel(array, name)), "") or _blocks(array) or _twice(array)


def _twice(array: np.ndarray) -> str:
    size = array.shape[-1]
    if size % 2:
        return ""
    rows, half = array.reshape(-1, size), size // 2
    for name, first, second in (
        ("halves", np.s_[..., :half], np.s_[..., half:]),
        ("pairs", np.s_[..., ::2], np.s_[..., 1::2]),
    ):
        # The last row: that of the first place has one angle alone.
        if np.array_equal(rows[-1][first], rows[-1][second]) and np.array_equal(rows[first], rows[second]):
            return f"{TWICE}{name}"
    return ""


def _blocks(array: np.ndarray) -> str:
    if math.prod(array.shape[2:]) != 1 or array.reshape(-1)[0] != 1 or array.reshape(-1)[-1] not in {0, 1}:
        return ""
    outputs, channels = array.shape[:2]
    rows = array.reshape(outputs, channels)
    size = int(rows[0].sum()) if np.isin(rows[0], (0, 1)).all() else 0
    others = np.flatnonzero(rows[:, 0] != 1)
    if not size or channels % size or not others.size:
        return ""
    count, repeats = channels // size, int(others[0])
    wanted = np.arange(channels)[None, :] // size == (np.arange(outputs) // repeats % count)[:, None]
    return f"{BLOCKS}{count} {repeats}" if np.array_equal(rows, wanted) else ""


def blocks_of(text: str, shape: tuple[int, ...]) -> tuple[int, int] | None:
    """How many blocks a mask of this structure and shape has, and for how many outputs each; None for no such mask."""
    if text == IDENTITY:
        return (shape[1], 1) if math.prod(shape[2:]) == 1 else None
    if not text.startswith(BLOCKS):
        return None
    count, repeats = map(int, text.removeprefix(BLOCKS).split())
    return count, repeats


def _is_kernel(array: np.ndarray, name: str) -> bool:
    window = array.shape[2:]
    one = kernel(name, (1, 1, *window), array.dtype)[0, 0]
    if not np.array_equal(array[0, 0], one) or array[0, 1:].any():
        return False
    return np.array_equal(array, kernel(name, array.shape, array.dtype))


def kernel(name: str, shape: tuple[int, ...], dtype: np.dtype | type = np.float32) -> np.ndarray:
    """The weight ``[outputs, inputs of a group, *window]`` of this name; the identity's window is odd."""
    window = shape[2:]
    if name == MEAN:
        one = np.full(window, 1 / math.prod(window), dtype)
    else:
        one = np.zeros(window, dtype)
        one[tuple(size // 2 for size in window)] = all(size % 2 for size in window)
    array = np.zeros(shape, dtype)
    for o in range(shape[0]):
        array[o, o % shape[1]] = one
    return array


def filled_with(text: str) -> float | None:
    """The number that fills a constant of this structure; None for another structure."""
    return float(text[len(FILLED) :]) if text.startswith(FILLED) else None
