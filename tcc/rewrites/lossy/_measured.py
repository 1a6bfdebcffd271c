"""Weights of integer products, fitted to what their inputs are on the calibration data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir
from threadpoolctl import threadpool_limits

from tcc.diagnostics import TccError
from tcc.ir import covariance, rounding, turns, weighted
from tcc.ir.calibration.observers import Channels
from tcc.ir.covariance import Moments, Tap
from tcc.ir.rounding import Compensation
from tcc.ir.weight_probing import Reweighted
from tcc.ir.weighted import Weighted
from tcc.rewrites.lossy import Offer, _nibbles
from tcc.rewrites.lossy._nibbles import Nibbles
from tcc.rewrites.lossy._repairs import BIAS, REPAIRS, ROUNDING, SMOOTHING
from tcc.rewrites.lossy._schemes import quantize_weight
from tcc.rewrites.lossy._unpacking import is_offered

WHOLE, REDUCED = 127, 63
"""The largest integer of a weight, and that where sums of two products would saturate."""
ROWS = 4
"""Rows of data for each column of the widest matrix of second moments."""
_WORTH = 0.8
"""The part of the error that has to be left at most, for a smoothed input to be offered."""
_SLIGHT = 1e-3
"""The relative error of a weight below which it is not worth being measured by itself: half precision makes less."""
_STEPS = 255
_ALPHAS = np.linspace(0.0, 1.0, 11)


@dataclass(frozen=True)
class Rounded:
    """A weight as int8 [K, N] with a scale a column.

    ``gap`` is the mean square error of a row of outputs, summed over the columns; ``shift`` [N] what to add to a bias
    for the mean of the outputs to be kept. ``small`` is the same weight in 4 bits.
    """

    values: np.ndarray
    scale: np.ndarray
    gap: float
    shift: np.ndarray
    small: Nibbles | None = None


@dataclass(frozen=True)
class Smooth:
    """A product whose input is divided by ``factor`` [K] before it is rounded, the weight multiplied by it.

    ``noise`` is the mean square error that rounding such an input to 8 bits makes in a row of outputs.
    """

    factor: np.ndarray
    rounded: Rounded
    noise: float


@dataclass
class Known:
    """What the data says of one product; ``norm`` is the sum of the weight's squares."""

    norm: float
    columns: int
    rounded: dict[int, Rounded] = field(default_factory=dict)
    smooth: Smooth | None = None


def products(made: Offer) -> dict[str, Weighted]:
    """The products and convolutions with a constant weight, by the name of what they give."""
    if "products" not in made.memo:
        made.memo["products"] = {each.node.outputs[0].name or "": each for each in weighted.find(made.imported.graph)}
    found: dict[str, Weighted] = made.memo["products"]
    return found


def known(made: Offer) -> dict[str, Known]:
    """By the name of its output, each product whose inputs could be measured; measured once a pass."""
    if not made.evidence.calibrated or made.opset < covariance.FIRST_OPSET:
        return {}
    kept, packs, without = made.evidence.kept, is_offered(made), made.without.intersection(REPAIRS)
    # What knows of 4 bits too serves those as well that do not ask.
    key = ("products", packs or ("products", True, without) in kept, without)
    if key not in kept:
        kept[key] = {}
        try:
            for name, each in _measure(made, packs=packs):
                kept[key][name] = each
        except TccError as error:
            # What there is by then is as good as ever; the others are rounded to nearest.
            made.declined["second-moments"] = error.diagnostics[0].message
    found: dict[str, Known] = kept[key]
    return found


@dataclass(frozen=True)
class Fitted:
    """A weight as it lies in the file, in int8 with one ``scale`` for each index of ``axis``.

    ``error`` is the relative L2 error of what its only user gives.
    """

    values: np.ndarray
    scale: np.ndarray
    axis: int
    error: float
    reweighted: Reweighted


def fitted(made: Offer, v: onnx_ir.Value) -> Fitted | None:
    """The integers that were fitted to the data of a weight's only user; None where there is no such thing."""
    users = [node.outputs[0].name or "" for node, _ in v.uses()]
    if len(users) != 1 or (found := known(made).get(users[0])) is None:
        return None
    each, rounded = products(made)[users[0]], found.rounded[WHOLE]
    error = relative(made, each.node.outputs[0], rounded.gap, found.columns)
    axis, output = 0 if each.is_transposed else each.array.ndim - 1, each.node.outputs[0]
    return Fitted(
        each.stored(rounded.values), rounded.scale, axis, error, reweighted(made, output, rounded, str(WHOLE))
    )


def _measure(made: Offer, *, packs: bool) -> Iterator[tuple[str, Known]]:
    readers: dict[Tap, list[Weighted]] = {}
    for each in weighted.find(made.evidence.model.graph):
        if (tap := each.tap()) is not None:
            readers.setdefault(tap, []).append(each)
    levels = REDUCED if made.target.quantization.reduced_range else WHOLE
    evidence = made.evidence
    seen = covariance.stream(evidence.model, readers, evidence.feeds, rows=ROWS, threads=evidence.threads)

    def fitted(each: tuple[Tap, Moments]) -> list[tuple[str, Known]]:
        return _fitted(made, readers[each[0]], each[1], levels, packs=packs)

    # The last bits of a factor depend on the number of threads that it is computed on.
    with threadpool_limits(1, user_api="blas"):
        for found in turns.mapped(fitted, seen, evidence.threads):
            yield from found


def _fitted(
    made: Offer, group: Sequence[Weighted], moments: Moments, levels: int, *, packs: bool
) -> list[tuple[str, Known]]:
    """The products that read one value."""
    seen = made.observed.get(group[0].data.name or "")
    channels = None if seen is None else seen.channels.get(group[0].axis)
    rounder = _Rounder(moments.second, moments.mean, Compensation.of(moments.second), made.without, packs)
    found = [_plain(rounder, each.matrix(), sorted({WHOLE, levels})) for each in group]
    if group[0].is_product and channels is not None and SMOOTHING not in made.without:
        energies, matrices = np.diag(moments.second), [each.matrix() for each in group]
        left = sum(known.rounded[levels].gap for known in found)
        factor = smoothing(channels, energies, matrices, left, levels)
        if factor is not None:
            divided, step = rounder.divided(factor), _step(channels, factor)
            for known, matrix in zip(found, matrices, strict=True):
                scaled = matrix * factor[:, None]
                noise = step**2 / 12 * float(np.square(scaled).sum())
                known.smooth = Smooth(factor, divided.rounded(scaled, levels), noise)
    return list(zip((each.node.outputs[0].name or "" for each in group), found, strict=True))


def _plain(rounder: _Rounder, matrix: np.ndarray, levels: Sequence[int]) -> Known:
    made = {count: rounder.rounded(matrix, count) for count in levels}
    return Known(float(np.square(matrix).sum()), matrix.shape[1], made)


@dataclass(frozen=True)
class _Rounder:
    """Rounds the weights that read one input of these moments; in 4 bits too where it ``packs``.

    ``without`` names repairs that are left out.
    """

    second: np.ndarray
    mean: np.ndarray
    compensation: Compensation
    without: frozenset[str] = frozenset()
    packs: bool = False

    def divided(self, factor: np.ndarray) -> _Rounder:
        """The one for the input divided by ``factor``, [K]."""
        second = self.second / np.outer(factor, factor)
        return _Rounder(second, self.mean / factor, self.compensation.divided(factor), self.without, self.packs)

    def rounded(self, matrix: np.ndarray, levels: int) -> Rounded:
        """A weight [K, N] in integers, by whichever of two roundings makes the smaller error on the data."""
        nearest = quantize_weight(matrix, 1, levels=levels)
        scale = nearest.scale.astype(np.float64)
        small = None
        if self.packs and matrix.size >= _nibbles.SMALLEST:
            small = _nibbles.fitted(matrix, scale, levels, self.second, self.compensation)
        values, gap = nearest.values, rounding.gap(matrix - nearest.values * scale, self.second, np.float32)
        if ROUNDING not in self.without:
            fitted, left = self.compensation.rounded(matrix, scale, levels)
            values, gap = (fitted, left) if left < gap else (values, gap)
        shift = (matrix - values * scale).T @ self.mean
        return Rounded(values, nearest.scale, gap, shift * (BIAS not in self.without), small)


def smoothing(
    channels: Channels, energies: np.ndarray, weights: Sequence[np.ndarray], gap: float, levels: int
) -> np.ndarray | None:
    """What each channel of an input is divided by, [K], for its rounding to 8 bits to cost the products least.

    ``s = max|x|^a / max|w|^(1 - a)`` (SmoothQuant, Xiao et al., ICML 2023), of which a is searched for the smallest
    expected error of activations and weights together; None where that is hardly smaller than without.

    Args:
        channels: of the input, [K].
        energies: the mean square of each channel, [K].
        weights: what reads the input, [K, N] each.
        gap: the square error of the weights' rounding as they are, over all columns.
        levels: the largest integer of a weight.
    """
    largest = np.maximum(channels.magnitude.astype(np.float64), 1e-5 * float(channels.magnitude.max()))
    joint = np.concatenate(weights, axis=1)
    reach = np.abs(joint).max(axis=1)
    reach = np.maximum(reach, 1e-5 * float(reach.max()))
    if not largest.all() or not reach.all() or not np.isfinite(largest).all():
        return None
    norms = np.square(joint).sum(axis=1)

    def nearest(factor: np.ndarray) -> float:
        steps = (np.abs(joint) * factor[:, None]).max(axis=0) / levels
        return float(np.square(steps).sum()) / 12 * float((energies / np.square(factor)).sum())

    # Weights are rounded better than to nearest, about as much so for every factor.
    gain = gap / nearest(np.ones_like(largest))

    def error(factor: np.ndarray) -> float:
        return _step(channels, factor) ** 2 / 12 * float(norms @ np.square(factor)) + gain * nearest(factor)

    candidates = [largest**alpha / reach ** (1 - alpha) for alpha in _ALPHAS]
    factors = [(s / np.exp(np.log(s).mean())).astype(np.float32).astype(np.float64) for s in candidates]
    best = min(factors, key=error)
    return best if error(best) < _WORTH * error(np.ones_like(best)) else None


def _step(channels: Channels, factor: np.ndarray) -> float:
    high, low = np.maximum(channels.high / factor, 0.0).max(), np.minimum(channels.low / factor, 0.0).min()
    return float(high - low) / _STEPS


def reweighted(
    made: Offer, output: onnx_ir.Value, rounded: Rounded, form: str, *, factor: np.ndarray | None = None
) -> Reweighted:
    """A product with its rounded weight, for what that costs the outputs to be measured."""
    each = products(made)[output.name or ""]
    square = relative(made, output, rounded.gap, rounded.values.shape[1]) ** 2

    def weight() -> np.ndarray:
        wide = rounded.values * rounded.scale
        return each.stored(wide if factor is None else wide / factor[:, None])

    return Reweighted(output.name or "", form, each.array.ndim, square, weight)


def to_nearest(
    made: Offer, v: onnx_ir.Value, form: str, error: float, weight: Callable[[], np.ndarray]
) -> Reweighted | None:
    """A weight that was not fitted, where one product or convolution alone reads it; None for any other constant.

    Args:
        made: the offer.
        v: the weight.
        form: what tells it from other roundings of this weight.
        error: its relative L2 error.
        weight: makes it.
    """
    uses = [(node, place) for node, place in v.uses() if not node.domain]
    if not made.evidence.calibrated or error < _SLIGHT or len(uses) != 1 or v.const_value is None:
        return None
    ((node, place),) = uses
    if node.graph is not made.imported.graph:
        return None  # probes look into no bodies
    if place != 1 or node.op_type not in {"Conv", "Gemm", "MatMul"}:
        return None
    return Reweighted(node.outputs[0].name or "", form, len(v.const_value.shape), error**2, weight)


def relative(made: Offer, output: onnx_ir.Value, square: float, columns: int) -> float:
    """The relative L2 error of a product's output, from the mean square error of a row of it."""
    energy = made.observed[output.name or ""].histogram.energy * columns
    return math.sqrt(square / energy) if energy else 0.0
