"""What makes up for the errors of integers, each of which can be left out to see what it contributes."""

from __future__ import annotations

from typing import Final

ROUNDING: Final = "fitted-rounding"
"""Weights rounded to the data (GPTQ); to nearest without it."""
SMOOTHING: Final = "smoothing"
"""Inputs of products divided by a factor a channel, the weights multiplied by it (SmoothQuant)."""
BIAS: Final = "bias-correction"
"""Biases that take up what the rounding of weights does to the mean of outputs."""
RANGES: Final = "measured-ranges"
"""Ranges of activations chosen by what the outputs lose, where the methods of finding them disagree."""
REPAIRS: Final = (ROUNDING, SMOOTHING, BIAS, RANGES)
