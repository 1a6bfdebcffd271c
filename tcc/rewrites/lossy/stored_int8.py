"""Weights that lie in the file as 8-bit integers and scales and are computed back when the model is loaded."""

from __future__ import annotations

import numpy as np
import onnx_ir

from tcc.rewrites.lossy import Offer
from tcc.rewrites.lossy._measured import fitted
from tcc.rewrites.lossy._schemes import Weight, quantize_weight
from tcc.rewrites.lossy._storing import MULTIPLIES, Narrow, offer_narrow

AT_LOAD_TIME = True
_SCALES = 16
"""Elements at least for one scale: a scale takes four bytes."""


def offer(made: Offer) -> None:
    """Offer every large weight as ``Mul`` of a ``Cast`` of symmetric int8 and scales (ONNX operator specification).

    Unlike ``DequantizeLinear``, which runtimes keep and run each time, these are folded at load time.
    """
    if made.opset < MULTIPLIES:
        made.declined["stored-int8"] = f"opset {made.opset} has no broadcasting Mul, {MULTIPLIES} is the first"
        return
    offer_narrow(made, "stored-int8", "int8", lambda v, weight: _fitted(made, v) or _nearest(weight))


def _fitted(made: Offer, v: onnx_ir.Value) -> Narrow | None:
    """The weight of one product or convolution, so rounded that on the data its outputs change least."""
    found = fitted(made, v)
    if found is None or found.scale.size * _SCALES > found.values.size:
        return None
    wide = [-1 if i == found.axis else 1 for i in range(found.values.ndim)]
    return Narrow(found.values, found.scale.reshape(wide), found.error, found.reweighted)


def _nearest(weight: np.ndarray) -> Narrow:
    """Along the axis whose scales leave the least error: it is not known what a weight's axes are to all operators."""
    axes = [None, *(i for i, size in enumerate(weight.shape) if size > 1 and size * _SCALES <= weight.size)]
    found: list[Weight] = [quantize_weight(weight, axis) for axis in axes]
    best = min(found, key=lambda made: made.error)
    wide = () if best.axis is None else tuple(-1 if i == best.axis else 1 for i in range(weight.ndim))
    return Narrow(best.values, np.asarray(best.scale).reshape(wide))
