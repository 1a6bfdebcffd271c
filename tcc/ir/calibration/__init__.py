"""Statistics of the values inside a model over calibration data, gathered as a stream in constant memory."""

from __future__ import annotations

from tcc.ir.calibration.clipping import METHODS, Range, noise, range_of
from tcc.ir.calibration.histogram import Histogram
from tcc.ir.calibration.observers import Channels, MovingAverage
from tcc.ir.calibration.observing import Observation, observe

__all__ = [
    "METHODS",
    "Channels",
    "Histogram",
    "MovingAverage",
    "Observation",
    "Range",
    "noise",
    "observe",
    "range_of",
]
