"""Conditions of rules on recurrent networks, which have no constructor: told by the keys they are carried under."""

from __future__ import annotations

import math

from tcc.ir import attributes
from tcc.ir.facts import parse_known
from tcc.ir.host import condition

_FILLING = "::ConstantOfShape:"
_RECURRENT = ("::GRU:", "::LSTM:", "::RNN:")


@condition
def is_recurrent(key: str) -> bool:
    """A carried node is an LSTM, a GRU or an RNN, whose sixth and seventh inputs are initial states."""
    return key.startswith(_RECURRENT)


@condition
def fills_with_zeros(key: str) -> bool:
    """A carried node is a ConstantOfShape of positive floating-point zeros: its default."""
    if not key.startswith(_FILLING):
        return False
    value = attributes.parse(key.removeprefix(_FILLING).partition(":")[2]).get("value")
    if value is None:
        return True
    found = parse_known(str(value).removeprefix(attributes.TENSOR))
    return found is not None and all(v == 0 and math.copysign(1.0, float(v)) > 0 for v in found.values)
