"""What the tests over collections of models share: is the collection here, and the topologies' fixed tenth."""

from __future__ import annotations

from itertools import zip_longest

import pytest

from benchmarks import models

_MOST_PARAMETERS = 6_000_000
_MOST_NODES = 900
_MOST_MILLISECONDS = 60


def tenth() -> list[str]:
    """A fixed tenth of the topologies, cheap ones, spread over exporters and sources; empty without the corpus.

    The cheap ones of each pair (exporter, source) are taken in turns, the oddest first: those with the most kinds
    of operators.
    """
    if models.folder("topologies") is None:
        return []
    index = models.index()
    groups: dict[tuple[str, str], list[str]] = {}
    for name in sorted(index, key=lambda name: (-len(index[name]["ops"]), name)):
        known = index[name]
        cheap = known["params"] <= _MOST_PARAMETERS and known["nodes"] <= _MOST_NODES
        if cheap and known["run_ms"] <= _MOST_MILLISECONDS:
            groups.setdefault((known["exporter"], name.partition("_")[0]), []).append(name)
    turns = zip_longest(*(groups[key] for key in sorted(groups)))
    order = [name for turn in turns for name in turn if name is not None]
    return sorted(order[: len(index) // 10])


def require(kind: models.Kind) -> None:
    """Skip the test where a collection is not here."""
    if models.folder(kind) is None:
        pytest.skip(f"the collection {kind!r} is not here; set TCC_{kind.upper()} to its folder")
