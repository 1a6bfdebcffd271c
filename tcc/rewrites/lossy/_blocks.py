"""Weights as small integers with a scale a block of neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir
from threadpoolctl import threadpool_limits

from tcc.diagnostics import TccError
from tcc.ir import covariance, rounding, turns, weighted
from tcc.ir.covariance import Moments, Tap
from tcc.ir.rounding import Compensation
from tcc.ir.weighted import Weighted
from tcc.rewrites.lossy import Offer
from tcc.rewrites.lossy._measured import ROWS, products, relative

BLOCK = 32
"""Elements of one scale, along a product's inner dimension where that is known."""


@dataclass(frozen=True)
class Blocks:
    """Integers in blocks, three axes, and a ``scale`` that broadcasts to them.

    ``error`` is the relative L2 error of what the weight's only user gives, where it was fitted, else the weight's.
    """

    values: np.ndarray
    scale: np.ndarray
    error: float


@dataclass(frozen=True)
class _Fit:
    """One product's weight [K, N] in integers with scales [K / BLOCK, N]; ``gap`` as in ``_measured.Rounded``."""

    values: np.ndarray
    scale: np.ndarray
    gap: float


def nearest(weight: np.ndarray, levels: int) -> Blocks:
    """Rounded to nearest, in blocks of elements that follow each other."""
    wide = weight.reshape(1, -1, BLOCK)
    scale = _scales(wide, 2, levels)
    values = np.clip(np.rint(wide / scale), -levels, levels)
    norm = float(np.linalg.norm(weight))
    error = float(np.linalg.norm(wide - values * scale)) / norm if norm else 0.0
    return Blocks(values, scale, error)


def _scales(wide: np.ndarray, axis: int, levels: int) -> np.ndarray:
    largest = np.abs(wide).max(axis=axis, keepdims=True)
    return np.where(largest > 0, largest / levels, 1.0).astype(np.float32)


def fitted(made: Offer, v: onnx_ir.Value, levels: int) -> Blocks | None:
    """The weight of a product or convolution that alone reads it, rounded to the data; None for any other."""
    users = [node.outputs[0].name or "" for node, _ in v.uses()]
    if len(users) != 1 or (found := _known(made, levels).get(users[0])) is None:
        return None
    each = products(made)[users[0]]
    inner, columns = found.values.shape
    error = relative(made, each.node.outputs[0], found.gap, columns)
    if each.is_transposed:
        shape = (columns, inner // BLOCK, BLOCK)
        return Blocks(found.values.T.reshape(shape), np.ascontiguousarray(found.scale.T)[:, :, None], error)
    return Blocks(found.values.reshape(inner // BLOCK, BLOCK, columns), found.scale[:, None, :], error)


def _known(made: Offer, levels: int) -> dict[str, _Fit]:
    """By the name of its output, each product whose inputs could be measured; measured once a pass."""
    if not made.evidence.calibrated or made.opset < covariance.FIRST_OPSET:
        return {}
    kept, key = made.evidence.kept, ("blocks", levels)
    if key not in kept:
        kept[key] = {}
        try:
            for name, each in _measure(made, levels):
                kept[key][name] = each
        except TccError as error:
            # What there is by then is as good as ever; the others are rounded to nearest.
            made.declined["second-moments"] = error.diagnostics[0].message
    found: dict[str, _Fit] = kept[key]
    return found


def _measure(made: Offer, levels: int) -> Iterator[tuple[str, _Fit]]:
    readers: dict[Tap, list[Weighted]] = {}
    for each in weighted.find(made.evidence.model.graph):
        if (tap := each.tap()) is not None and tap.width % BLOCK == 0:
            readers.setdefault(tap, []).append(each)
    evidence = made.evidence
    seen = covariance.stream(evidence.model, readers, evidence.feeds, rows=ROWS, threads=evidence.threads)

    def fits(measured: tuple[Tap, Moments]) -> list[tuple[str, _Fit]]:
        tap, moments = measured
        compensation = Compensation.of(moments.second)
        return [
            (each.node.outputs[0].name or "", _fit(each.matrix(), moments, compensation, levels))
            for each in readers[tap]
        ]  # fmt: skip

    # The last bits of a factor depend on the number of threads that it is computed on.
    with threadpool_limits(1, user_api="blas"):
        for found in turns.mapped(fits, seen, evidence.threads):
            yield from found


def _fit(matrix: np.ndarray, moments: Moments, compensation: Compensation, levels: int) -> _Fit:
    inner, columns = matrix.shape
    scale = _scales(matrix.reshape(inner // BLOCK, BLOCK, columns), 1, levels)[:, 0, :]
    wide = np.repeat(scale.astype(np.float64), BLOCK, axis=0)
    values, gap = compensation.rounded(matrix, wide, levels)
    plain = np.clip(np.rint(matrix / wide), -levels, levels)
    if (error := rounding.gap(matrix - plain * wide, moments.second, np.float32)) <= gap:
        values, gap = plain.astype(np.int8), error
    return _Fit(values, scale, gap)
