"""Which 8-bit constants of integer kernels may lie in the file in 4 bits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir

from tcc.rewrites.lossy import Offer, Packable
from tcc.rewrites.lossy._measured import relative
from tcc.rewrites.lossy._nibbles import SMALLEST, Nibbles, nearest
from tcc.rewrites.lossy._unpacking import is_offered


@dataclass(frozen=True)
class Constant:
    """An 8-bit constant by its ``number``, of ``shape``, of integers of at most ``levels``.

    ``is_transposed`` says that output channels, or rows that are looked up, come first; ``where`` names the value at
    which its rounding makes an error.
    """

    number: int
    shape: tuple[int, ...]
    levels: int
    is_transposed: bool
    where: str


def fitted(made: Offer, constant: Constant, small: Nibbles | None, output: onnx_ir.Value) -> None:
    """State that a constant may lie in 4 bits, which were fitted to the data; ``output`` is its product's."""
    if small is not None:
        _keep(made, constant, small, relative(made, output, small.error, small.values.shape[1]))


def rounded(made: Offer, constant: Constant, steps: np.ndarray) -> None:
    """State that a constant may lie in 4 bits, rounded to nearest; ``steps`` are what it holds before rounding."""
    if steps.size < SMALLEST or not is_offered(made):
        return
    levels, transposed = constant.levels, constant.is_transposed
    kept, key = made.evidence.kept, ("nibbles", constant.where, levels, transposed)
    if key not in kept:
        matrix = steps.reshape(len(steps), -1).T if transposed else steps.reshape(-1, steps.shape[-1])
        kept[key] = nearest(matrix, levels)
    small: Nibbles | None = kept[key]
    if small is not None:
        _keep(made, constant, small, math.sqrt(small.error))


def _keep(made: Offer, constant: Constant, small: Nibbles, error: float) -> None:
    last = small.block if constant.is_transposed else small.values.shape[1]
    if not is_offered(made) or last % 2:
        return
    found = Packable(small, constant.shape, constant.is_transposed)
    made.packable.setdefault(constant.number, found).places.setdefault(constant.where, error)
