"""Inputs to prove slices on: given ones, and one whose free sizes are others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir

from tcc.diagnostics import TccError
from tcc.ir.execution import Runner
from tcc.ir.feeds import exercise_feeds
from tcc.ir.model import Model
from tcc.passes._prune_taps import Feed


def proving_feeds(model: Model, given: Sequence[Feed]) -> tuple[Feed, ...]:
    """Two of the given inputs, and one with every symbolic dimension a step larger, where the model runs on it.

    A number that is computed from a free size is then told from one that is always the same, and the proof covers
    a second batch size and sequence length.
    """
    feeds = tuple(given[:2])
    sizes: dict[str, int] = {}
    for value in model.graph.inputs:
        array = feeds[0].get(value.name or "")
        if value.shape is None or not isinstance(array, np.ndarray) or array.ndim != len(value.shape):
            continue
        for dim, size in zip(value.shape, array.shape, strict=True):
            if isinstance(dim, onnx_ir.SymbolicDim) and dim.value:
                sizes.setdefault(dim.value, size)
    # A symbol that is a sum of others gets its size from them.
    free = {name: size + 1 for name, size in sizes.items() if name.isidentifier()}
    if not free:
        return feeds
    proto, weights = model.stripped_proto()
    try:
        return (*feeds, *exercise_feeds(proto, Runner(proto, weights=weights), symbols=free, count=1))
    except TccError:
        return feeds
