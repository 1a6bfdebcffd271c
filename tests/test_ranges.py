"""Ranges of activations where methods disagree: the outputs decide which is taken, and what it is said to lose."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tcc
from tcc import frontends
from tcc.ir import probing
from tcc.ir.calibration import METHODS, observe, range_of
from tcc.ir.inference import annotate
from tcc.rewrites.lossy._ranges import candidates
from tcc.targets import parse_target

DRAW = np.random.default_rng(0)
ROWS, WIDTH, FAR = 256, 64, 100.0


def samples(*, outlier: bool) -> np.ndarray:
    """Rows of a normal distribution; perhaps one value that is rare enough for its cutting off to look cheap."""
    found = DRAW.normal(size=(32, ROWS, WIDTH)).astype(np.float32)
    if outlier:
        found[0, 0, 0] = FAR
    return found


def products(weight: float) -> onnx.ModelProto:
    """Two products behind a sum; ``weight`` is what the first column counts for."""
    first = DRAW.normal(size=(WIDTH, 96)) / 8
    first[0] *= weight
    constants = {"b": np.zeros(WIDTH), "w": first, "v": DRAW.normal(size=(96, 16)) / 8}
    nodes = [
        helper.make_node("Add", ["x", "b"], ["a"], "sum"), helper.make_node("MatMul", ["a", "w"], ["h"], "first"),
        helper.make_node("MatMul", ["h", "v"], ["y"], "second"),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "products",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, ROWS, WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, ROWS, 16])],
        [numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def compiled(model: onnx.ModelProto, data: np.ndarray, technique: str = "static-int8") -> dict[str, Any]:
    result = tcc.compile(
        model, passes=f"compress{{techniques={technique},objective=size,slower=true}}", target="x86-64-vnni",
        calibration={"x": data.reshape(-1, ROWS, WIDTH)}, max_loss=0.5, measure=False,
    )  # fmt: skip
    return dict(next(r for r in result.records if r.name == "compress").facts)


def test_an_outlier_that_the_outputs_need_stays_within_the_range() -> None:
    model, data = products(weight=3.0), samples(outlier=True)
    by_outputs, by_error = (compiled(model, data, name)["rounds"][0] for name in ("static-int8", "static-int8:mse"))
    assert by_outputs["measured"] < 0.7 * by_error["measured"]


def test_what_is_cut_off_is_foretold() -> None:
    first = compiled(products(weight=0.01), samples(outlier=True))["rounds"][0]
    assert 0.3 < first["measured"] / first["predicted"] < 3.0


def test_ranges_are_tried_only_where_methods_disagree() -> None:
    recipe = parse_target("x86-64-vnni").quantization
    for data, expected in ((np.clip(samples(outlier=False), -2, 2), []), (samples(outlier=True), ["a", "x"])):
        model = frontends.load(products(weight=1.0))
        annotate(model)
        seen = observe(model, [{"x": each[None]} for each in data])
        tried = candidates(model.graph, seen, recipe)
        values = {each.value for several in tried for one in several for each in one.roundings}
        assert sorted(values & {"a", "x"}) == expected


def test_a_range_that_holds_everything_loses_what_rounding_loses() -> None:
    model, data = frontends.load(products(weight=1.0)), samples(outlier=False)
    annotate(model)
    feeds = [{"x": each[None]} for each in data[:4]]
    seen = observe(model, feeds)["a"].histogram
    step = (seen.high - seen.low) / 255
    rounded, cut = probing.losses(
        model, [probing.Rounding("a", step), probing.Rounding("a", step, seen.low / 4, seen.high / 4)], feeds
    )
    assert rounded == pytest.approx(step**2 / 12, rel=0.3)
    assert cut > 20 * rounded


def test_halfway_lies_between_the_smallest_error_and_the_extremes() -> None:
    model = frontends.load(products(weight=1.0))
    annotate(model)
    seen = observe(model, [{"x": each[None]} for each in samples(outlier=True)])["a"].histogram
    near, middle, far = (range_of(seen, name).high for name in ("mse", "halfway", "minmax"))
    assert near < middle < far == pytest.approx(FAR)
    assert middle == pytest.approx((near * far) ** 0.5, rel=1e-3)
    assert "halfway" in METHODS
