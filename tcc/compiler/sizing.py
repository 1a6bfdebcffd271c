"""What inputs a model is timed on, and the sizes that they and the user give to its symbolic dimensions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tcc.diagnostics import Diagnostic, Exit, TccError
from tcc.ir.model import tensor_type

if TYPE_CHECKING:
    from tcc.ir.model import Model
    from tcc.passes.manager import Snapshot

Feeds = Sequence[Mapping[str, Any]]
TIMED = 4
"""How many of the samples a model is timed on: sentences and images differ in size."""


def require_known(original: Snapshot, stated: Iterable[str]) -> None:
    """Raises ``TccError``, E0253, for sizes stated for dimensions that the model does not have."""
    from tcc.ir.feed_shapes import inputs, open_dimensions

    if not (left := dict.fromkeys(stated)):
        return
    known = dict.fromkeys(open_dimensions(inputs(original.proto)))
    # Of ``past + seq`` a user may state the parts.
    parts = {part for name in known for part in re.findall(r"[^\W\d]\w*", name)}
    listed = ", ".join(known)
    advice = f"its open dimensions are {listed}" if known else "all sizes of its inputs are fixed"
    wrong = [
        Diagnostic("E0253", f"no input has a dimension {name!r}", original.source, help=advice)
        for name in left
        if name not in known and name not in parts
    ]
    if wrong:
        raise TccError(Exit.USAGE, wrong)


def deployed(original: Snapshot, stated: Mapping[str, int]) -> Feeds:
    """Inputs of the usual sizes; none where the model leaves no size open, or nothing of the kind runs."""
    from tcc.ir.feed_shapes import inputs, open_dimensions
    from tcc.ir.feeds import deployed_feeds

    if not any(True for _ in open_dimensions(inputs(original.proto))):
        return ()
    return deployed_feeds(original.proto, original.runner(), symbols=stated)


def assumed(found: Mapping[str, int], stated: Mapping[str, int], original: Snapshot) -> list[Diagnostic]:
    """A note that names the sizes that nobody stated and that no data has."""
    from tcc.ir.feed_shapes import inputs, open_dimensions

    names = dict.fromkeys(open_dimensions(inputs(original.proto)))
    left = [f"{name}={found[name]}" for name in names if name in found and name not in stated]
    if not left:
        return []
    advice = "state others with --dim NAME=SIZE, or give data"
    message = f"prices and times are those of inputs of {', '.join(left)}"
    return [Diagnostic("N0204", message, original.source, help=advice)]


def timed(samples: Feeds | None, generated: Feeds) -> Feeds:
    """The inputs that models are timed on: samples of the user's data, spread over it, else generated ones."""
    if not samples:
        return generated
    count = min(TIMED, len(samples))
    return tuple(samples[i * len(samples) // count] for i in range(count))


def sizes(model: Model, stated: Mapping[str, int], feeds: Feeds) -> dict[str, int]:
    """The sizes of symbolic dimensions, by name: stated ones, else those of the feed of median size.

    A dimension without a name goes by its input's name and its axis, ``x:0``; so do those of inner values that only a
    run tells (``tcc.ir.fixed_sizes.measured``).
    """
    from tcc.ir.fixed_sizes import measured

    if not feeds:
        return dict(stated)
    feed = sorted(feeds, key=_elements)[(len(feeds) - 1) // 2]
    found: dict[str, int] = {}
    for value in model.graph.inputs:
        kind, given = tensor_type(value), getattr(feed.get(value.name or ""), "shape", ())
        for axis, size in enumerate((kind.shape if kind is not None else None) or ()):
            if not isinstance(size, int) and axis < len(given):
                found.setdefault(size or f"{value.name}:{axis}", given[axis])
    if not found:
        return dict(stated)
    found |= stated
    return measured(model, found, feed) | dict(sorted(found.items()))


def _elements(feed: Mapping[str, Any]) -> int:
    return sum(getattr(value, "size", 1) for value in feed.values())
