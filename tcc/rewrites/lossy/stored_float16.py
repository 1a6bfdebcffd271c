"""Weights that lie in the file as float16 and are computed back when the model is loaded."""

from __future__ import annotations

import numpy as np
import onnx_ir

from tcc.rewrites.lossy import Offer
from tcc.rewrites.lossy._storing import Narrow, offer_narrow
from tcc.rewrites.lossy.float16 import LARGEST

AT_LOAD_TIME = True


def offer(made: Offer) -> None:
    """Offer every large weight as ``Cast`` of its nearest halves (ONNX operator specification)."""
    offer_narrow(made, "stored-float16", "float16", _halves)


def _halves(_: onnx_ir.Value, weight: np.ndarray) -> Narrow | str:
    largest = float(np.abs(weight).max())
    if largest > LARGEST:
        return f"reaches {largest:.3g}, float16 ends at {LARGEST:.0f}"
    return Narrow(weight.astype(np.float16))
