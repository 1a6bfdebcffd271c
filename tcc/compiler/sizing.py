"""What inputs a model is timed on, and the sizes that they give to its symbolic dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median_low
from typing import TYPE_CHECKING, Any

from tcc.ir.model import tensor_type

if TYPE_CHECKING:
    from tcc.ir.model import Model

Feeds = Sequence[Mapping[str, Any]]
TIMED = 4
"""How many of the samples a model is timed on: sentences and images differ in size."""


def timed(samples: Feeds | None, generated: Feeds) -> Feeds:
    """The inputs that models are timed on: samples of the user's data, spread over it, else generated ones."""
    if not samples:
        return generated
    count = min(TIMED, len(samples))
    return tuple(samples[i * len(samples) // count] for i in range(count))


def sizes(model: Model, stated: Mapping[str, int], feeds: Feeds) -> dict[str, int]:
    """The sizes of symbolic dimensions, by name: stated ones, else the median of those that the feeds have.

    A dimension without a name goes by its input's name and its axis, ``x:0``.
    """
    seen: dict[str, list[int]] = {}
    for value in model.graph.inputs:
        kind = tensor_type(value)
        for axis, size in enumerate((kind.shape if kind is not None else None) or ()):
            if isinstance(size, int):
                continue
            given = (getattr(feed.get(value.name or ""), "shape", ()) for feed in feeds)
            seen.setdefault(size or f"{value.name}:{axis}", []).extend(s[axis] for s in given if axis < len(s))
    return {name: median_low(found) for name, found in sorted(seen.items()) if found} | dict(stated)
