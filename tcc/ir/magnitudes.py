"""How large the elements of a constant are that may be added to the scores of a softmax."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx_ir

LARGEST = 1e30
"""Beside a score of this size a mask's largest negative number, about 1e38, still hides the score's own value."""
ALL, ROWS, FACTOR = "all", "rows", "factor"
LARGEST_FACTOR = 1e10
"""Its product with any integer of 64 bits is below ``LARGEST``."""
_READERS = frozenset(
    {
        "Mul",
        "Add",
        "Gather",
        "GatherElements",
        "GatherND",
        "Where",
        "Unsqueeze",
        "Reshape",
        "Expand",
        "Slice",
        "Transpose",
    }
)
_MOST_BYTES = 1 << 27


def of(v: onnx_ir.Value) -> tuple[str, ...]:
    """``ALL`` where all elements are moderate, then ``FACTOR`` too, or ``ROWS`` where each row has such an element.

    Only constants that a node reads which masks are made with are looked at, scalars apart.
    """
    tensor = v.const_value
    if tensor is None or tensor.dtype.name != "FLOAT" or not tensor.shape or tensor.nbytes > _MOST_BYTES:
        return ()
    if not any(node.op_type in _READERS for node, _ in v.uses()) or not tensor.size:
        return ()
    array = tensor.numpy()
    highest, lowest = float(np.max(array)), float(np.min(array))
    if -LARGEST < lowest <= highest < LARGEST:
        return (ALL, FACTOR) if max(-lowest, highest) < LARGEST_FACTOR else (ALL,)
    rows = np.max(array, axis=-1)
    decided = highest < LARGEST and bool((rows > -LARGEST).all()) and not np.isnan(array).any()
    return (ROWS,) if decided else ()
