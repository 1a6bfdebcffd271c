"""Judges a compiled file by running it beside the original, apart from what tcc found out itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import onnx

from tcc.ir.equality import Comparison, compare
from tcc.ir.execution import Runner

TOLERANCE = 1e-5
"""Of each output's scale, at -O2."""
_AMPLIFICATION = 2.0
"""What two roundings of one computation may differ by, in multiples of what the original differs from itself."""


@dataclass(frozen=True)
class Verdict:
    """Whether outputs are equal, and how.

    ``difference`` is the largest, relative to its tensor's scale; ``self_difference`` that of the original against
    itself with ONNX Runtime's optimisations, measured only where ``difference`` is above the tolerance. ``outputs``
    are those of the file.
    """

    equal: bool
    difference: float
    self_difference: float | None
    text: str
    outputs: list[list[Any]]

    @property
    def chaotic(self) -> bool:
        """Whether the graph itself amplifies rounding beyond the tolerance."""
        return self.self_difference is not None and self.self_difference > TOLERANCE


@dataclass
class Reference:
    """The original's outputs on some inputs, ONNX Runtime's graph optimisations off.

    ``more`` makes further inputs on which the original's difference from itself is looked for: it is a property of
    the graph, and two inputs may miss it.
    """

    path: Path
    feeds: Sequence[Mapping[str, Any]]
    more: Callable[[], Sequence[Mapping[str, Any]]] = tuple
    outputs: list[list[Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.outputs = _run(self.path, self.feeds)

    @property
    def depends_on_inputs(self) -> bool:
        """Whether equal outputs say anything: they change with the inputs."""
        return any(not compare(a, b, bits=False, rtol=10 * TOLERANCE).equal for a, b in pairwise(self.outputs))

    def judge(self, path: Path, *, bits: bool) -> Verdict:
        """Compare a file with the original; raises what checking and running raise."""
        onnx.checker.check_model(str(path))
        outputs = _run(path, self.feeds)
        found = self._worst(outputs, bits=bits)
        if found.equal or bits:
            return Verdict(found.equal, found.largest_scaled, None, found.text(), outputs)
        itself = self._self_difference()
        allowed = max(TOLERANCE, _AMPLIFICATION * itself)
        equal = found.largest_scaled <= allowed and _comparable(found)
        return Verdict(equal, found.largest_scaled, itself, found.text(), outputs)

    def _self_difference(self) -> float:
        feeds = [*self.feeds, *self.more()]
        pairs = zip(_run(self.path, feeds), _run(self.path, feeds, optimise=True), strict=True)
        return max(compare(a, b, bits=False, rtol=TOLERANCE).largest_scaled for a, b in pairs)

    def _worst(self, actual: list[list[Any]], *, bits: bool) -> Comparison:
        found = [compare(a, b, bits=bits, rtol=TOLERANCE) for a, b in zip(self.outputs, actual, strict=True)]
        return max(found, key=lambda c: (not c.equal, c.largest_scaled))


def _comparable(found: Comparison) -> bool:
    """Whether the difference is one of size: not of shapes, types, integers or infinities."""
    return found.reason.startswith("differs by")


def _run(path: Path, feeds: Sequence[Mapping[str, Any]], *, optimise: bool = False) -> list[list[Any]]:
    runner = Runner(path, optimise=optimise)
    return [runner.run(feed) for feed in feeds]
