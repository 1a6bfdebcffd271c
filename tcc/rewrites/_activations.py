"""Attributes of activation operators, from the constants that a formula is written with."""

from __future__ import annotations

import math

from tcc.ir import attributes
from tcc.ir.host import DECLINED, condition, text_function
from tcc.rewrites._numbers import scalar_of

_DEFAULT_ALPHA, _DEFAULT_BETA = 0.2, 0.5
_CLOSE = 1e-6


@text_function
def hard_sigmoid(shift: str, low: str, high: str, scale: str) -> str:
    """The attributes of HardSigmoid for ``scale * clip(x + shift, low, high)``; declined where it is none."""
    numbers = [scalar_of(text) for text in (shift, low, high, scale)]
    if None in numbers:
        return DECLINED
    b, lowest, highest, d = (number for number in numbers if number is not None)
    if lowest != 0 or highest <= 0 or not math.isclose(highest * d, 1.0, rel_tol=_CLOSE):
        return DECLINED
    return _hard_sigmoid(d, b * d)


@text_function
def clipped_line(scale: str, shift: str, low: str, high: str) -> str:
    """The attributes of HardSigmoid for ``clip(scale * x + shift, 0, 1)``; declined where it is none."""
    numbers = [scalar_of(text) for text in (scale, shift, low, high)]
    if None in numbers:
        return DECLINED
    a, b, lowest, highest = (number for number in numbers if number is not None)
    return _hard_sigmoid(a, b) if (lowest, highest) == (0, 1) else DECLINED


def _hard_sigmoid(alpha: float, beta: float) -> str:
    options = {"alpha": alpha, "beta": beta}
    return attributes.key_of({k: v for k, v in options.items() if (k, v) != ("beta", _DEFAULT_BETA)})


@condition
def is_hard_swish_gate(attribute_key: str) -> bool:
    """A HardSigmoid is that of HardSwish: max(0, min(1, x / 6 + 1 / 2))."""
    options = attributes.parse(attribute_key)
    alpha, beta = options.get("alpha", _DEFAULT_ALPHA), options.get("beta", _DEFAULT_BETA)
    return math.isclose(alpha, 1 / 6, rel_tol=_CLOSE) and math.isclose(beta, 1 / 2, rel_tol=_CLOSE)


@text_function
def swish(known: str) -> str:
    """The attributes of Swish for ``x * sigmoid(alpha x)``."""
    alpha = scalar_of(known)
    return DECLINED if alpha is None else attributes.key_of({} if alpha == 1 else {"alpha": alpha})
