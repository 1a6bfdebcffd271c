"""Ranges of activations that are worth measuring: where cutting outliers off and keeping them are far apart."""

# The mean square error says what a cut-off changes of a value, not what that does to the outputs: the few large
# values behind a normalisation of a transformer carry what the next layer looks at, while those of a residual
# stream may be cut in half for nothing. So where the methods disagree, the outputs decide.

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir

from tcc.ir.calibration import Observation
from tcc.ir.probing import Rounding
from tcc.rewrites.lossy._units import METHOD, Values, is_float, units
from tcc.targets.target import Quantization

KEY = "ranges"
"""Under which ``Evidence.kept`` holds the ``Chosen`` ranges by value."""
_METHODS = {METHOD: 0.0, "halfway": 1.5, "minmax": 1.1}
"""The methods, and how much wider than the narrowest range another has to be to be tried too."""


@dataclass(frozen=True)
class Candidate:
    """One range of values that share a scheme: the method that finds it, and how each of their sources is rounded."""

    method: str
    roundings: tuple[Rounding, ...]


@dataclass(frozen=True)
class Chosen:
    """The method found best for a value, and what the outputs lose by its rounding, in unexplained variance."""

    method: str
    loss: float


def candidates(
    graph: onnx_ir.Graph, observed: Mapping[str, Observation], recipe: Quantization
) -> list[tuple[Candidate, ...]]:
    """The ranges to try of each group of values whose methods disagree."""
    wanted = list(dict.fromkeys(v for unit in units(graph, recipe) for v in (*unit.node.inputs, unit.output)))
    every = {method: Values(graph, observed, recipe, method) for method in _METHODS}
    found: dict[tuple[str, ...], tuple[Candidate, ...]] = {}
    for v in wanted:
        if v is None or not is_float(v) or v.const_value is not None:
            continue
        sources = every[METHOD].sources(v)
        if sources and sources not in found:
            found[sources] = tuple(_distinct(v, sources, every))
    return [tried for tried in found.values() if len(tried) > 1]


def _distinct(v: onnx_ir.Value, sources: tuple[str, ...], every: Mapping[str, Values]) -> list[Candidate]:
    made: list[Candidate] = []
    width = 0.0
    for method, values in every.items():
        scheme = values.scheme(v)
        if scheme is None:
            continue
        kept = scheme.kept
        wide = kept.high - kept.low
        width = width or wide
        if not made or wide > _METHODS[method] * width:
            made.append(Candidate(method, tuple(Rounding(s, scheme.scale, kept.low, kept.high) for s in sources)))
    return made
