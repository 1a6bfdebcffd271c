"""Recurrent layers: hidden units go through all gates, the state and the output."""

from __future__ import annotations

from collections.abc import Callable

from tcc.ir.channels.links import Link, Reduction
from tcc.ir.channels.patterns import pattern
from tcc.ir.channels.resizing import Resizing
from tcc.ir.channels.rule import Rule
from tcc.ir.channels.site import Site

_REDUCED = {"i": Reduction.SUM, "h": Reduction.SUM}
_PLACES = {"h": (2, 2)}
"""Hidden units are summed over in the columns of the recurrence weight; elsewhere each has its own row."""


def _layer(gates: int, *, cell: bool = False) -> Rule:
    """A layer of so many gates; both directions lose the same units, as ``hidden_size`` is one number."""
    sequence, hidden = ("t b i", "b t i"), ("d b h", "b d h")
    outputs = ("t d b h", "b t d h")
    texts = []
    for layout in (0, 1):
        state = hidden[layout]
        further = f", {state}, {state}, d (3 h)" if cell else f", {state}"
        after = f"{outputs[layout]}, {state}" + (f", {state}" if cell else "")
        texts.append(f"{sequence[layout]}, d ({gates} h) i, d ({gates} h) h, d ({2 * gates} h), b{further} -> {after}")
    forms: list[Callable[[Site], list[Link]]] = [
        pattern(text, rigid=("d",), reduced=_REDUCED, places=_PLACES) for text in texts
    ]
    return Rule(lambda site: forms[int(site.attribute("layout", 0))](site), _set_hidden, parametric=True)


def _set_hidden(resizing: Resizing) -> None:
    if resizing.site.attribute("hidden_size") is not None:
        resizing.set_attribute("hidden_size", resizing.count(2, 2))


RULES = {"LSTM": _layer(4, cell=True), "GRU": _layer(3), "RNN": _layer(1)}
