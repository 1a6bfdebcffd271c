"""TVM: functions that libm has one element at a time are polynomials here, right to float32's last digits."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from tcc import backends, frontends

needs_tvm = pytest.mark.skipif(
    backends.backend("tvm").absence() is not None or shutil.which("g++") is None,
    reason="apache-tvm (extra: tvm) or g++ is not installed",
)
FUNCTIONS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "Exp": (np.exp, 1e-30),
    "Sigmoid": (lambda x: 1 / (1 + np.exp(-x)), 1e-30),
    "Tanh": (np.tanh, 1e-30),
    "Erf": (np.vectorize(math.erf, otypes=[np.float64]), 1e-30),
    "Log": (np.log, 1e-3),
    "Gelu": (lambda x: x * (0.5 + 0.5 * np.vectorize(math.erf, otypes=[np.float64])(x / math.sqrt(2))), 2.0),
    "Round": (np.rint, 1e-30),
}
"""What each computes, and what a relative difference is relative to at least; a GELU below 0 is a difference."""
EDGES = (0.0, math.inf, -math.inf, math.nan, 88.7, 89.5, -86.5, -200.0, 1e30, -1e30, 0.5, 1.5, 2.5, -0.5, -1.5, 1.0)


def inputs(count: int) -> np.ndarray:
    """Values of many sizes and, last, those at which functions end."""
    draw = np.random.default_rng(3)
    made = [draw.normal(size=count // 2) * 3, draw.uniform(-86, 88, size=count - count // 2 - len(EDGES)), EDGES]
    return np.concatenate([np.asarray(part) for part in made]).astype(np.float32)


@needs_tvm
@pytest.mark.parametrize("count", [4096, 4099], ids=["whole vectors", "a rest"])
def test_functions_are_exact_and_call_nothing(count: int, tmp_path: Path) -> None:
    nodes = [helper.make_node(name, ["e" if name == "Log" else "x"], [name]) for name in FUNCTIONS]
    kinds = [helper.make_tensor_value_info(name, 1, [count]) for name in ("x", "e", *FUNCTIONS)]
    graph = helper.make_graph(nodes, "g", kinds[:2], kinds[2:])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.save(made, tmp_path / "m.onnx")
    chosen = backends.backend("tvm")
    lowered = chosen.lower(frontends.load(tmp_path / "m.onnx"), tmp_path / "m.so")
    library = lowered.files[0].read_bytes()
    assert not [name for name in (b"expf", b"erff", b"tanhf", b"logf", b"nearbyintf") if b"\0" + name in library]
    x = inputs(count)
    with np.errstate(all="ignore"):
        e = np.where(np.isfinite(x), np.exp(x), x)
        given = {"x": x, "e": e}
        outputs = dict(zip(FUNCTIONS, chosen.load(lowered.files[0]).run(given), strict=True))
        for name, (function, least) in FUNCTIONS.items():
            expected = function(given["e" if name == "Log" else "x"].astype(np.float64))
            assert off(outputs[name], expected, least) <= 4e-7, name
            assert np.ptp(outputs[name][: count // 2]) > 0.5, name


def off(found: np.ndarray, expected: np.ndarray, least: float) -> float:
    """The largest relative difference where float32 has such numbers; infinite where NaN or infinities differ."""
    large = np.abs(expected) > np.finfo(np.float32).max
    if (np.isnan(found) != np.isnan(expected)).any() or (found[large] != expected[large].astype(np.float32)).any():
        return math.inf
    usual = np.isfinite(expected) & ~large
    return float((np.abs(found - expected)[usual] / np.maximum(np.abs(expected[usual]), least)).max())
