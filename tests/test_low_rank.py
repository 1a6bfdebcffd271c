"""Low rank: what is predicted is what is measured, in the directions that the data use, whatever the operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from threadpoolctl import threadpool_limits

import tcc
from benchmarks import low_rank as bench
from tcc.frontends import load
from tcc.ir import covariance
from tcc.ir.covariance import Patches, Tap
from tcc.ir.execution import Runner
from tcc.ir.model import Model
from tcc.rewrites.lossy import Offer
from tcc.rewrites.lossy import _low_rank_factors as factors
from tcc.rewrites.lossy import _low_rank_windows as windows
from tcc.targets import parse_target

RANDOM = np.random.default_rng(5)
Feeds = list[dict[str, np.ndarray]]


def made(
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, np.ndarray],
    inputs: Mapping[str, Sequence[Any]],
    opset: int = 17,
) -> onnx.ModelProto:
    """A model of float32 inputs (int64 where called ``ids``) whose output is ``y``."""
    kinds = {name: TensorProto.INT64 if name == "ids" else TensorProto.FLOAT for name in inputs}
    graph = helper.make_graph(
        list(nodes), "g",
        [helper.make_tensor_value_info(name, kinds[name], list(shape)) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    inferred = onnx.shape_inference.infer_shapes(model)
    onnx.checker.check_model(inferred)
    return inferred


def weight(*shape: int) -> np.ndarray:
    """Random, its singular values falling slowly."""
    array: np.ndarray = RANDOM.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
    return array.astype(np.float32)


def correlated(array: np.ndarray, axis: int) -> np.ndarray:
    """The array with channels along an axis that repeat each other to a large part."""
    width = array.shape[axis]
    mixing = RANDOM.standard_normal((width, width)) * (0.85 ** np.arange(width))
    mixed = np.moveaxis(np.tensordot(mixing, np.moveaxis(array, axis, 0), 1), 0, axis)
    return np.ascontiguousarray(mixed, dtype=np.float32)


def rows(count: int, width: int, offset: float = 0.5) -> np.ndarray:
    """Data that use a few directions of their space much more than the others, about a mean that is not 0."""
    mixing = RANDOM.standard_normal((width, width)) * (0.75 ** np.arange(width))[:, None]
    drawn: np.ndarray = (RANDOM.standard_normal((count, width)) @ mixing + offset).astype(np.float32)
    return drawn


def images(count: int, channels: int, side: int) -> np.ndarray:
    """Smooth images whose channels are mixtures of a few."""
    noise = rows(count * side * side, channels, 0.2).reshape(count, side, side, channels)
    smooth: np.ndarray = np.sum([np.roll(noise, (i, j), (1, 2)) for i in range(2) for j in range(2)], axis=0) / 2
    return np.ascontiguousarray(np.moveaxis(smooth, -1, 1), dtype=np.float32)


def node(operator: str, *inputs: str, output: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, list(inputs), [output], **attributes)


def _products() -> dict[str, tuple[onnx.ModelProto, Feeds]]:
    vectors = [{"x": rows(400, 64)} for _ in range(4)]
    tokens = [{"x": rows(400, 64).reshape(10, 40, 64)} for _ in range(4)]
    bias, w = RANDOM.standard_normal(96).astype(np.float32), weight(64, 96)
    x, batch = {"x": ["n", 64]}, {"x": ["n", "t", 64]}
    return {
        "matmul": (made([node("MatMul", "x", "w")], {"w": w}, batch), tokens),
        "matmul and bias": (
            made([node("MatMul", "x", "w", output="p"), node("Add", "b", "p")], {"w": w, "b": bias}, batch), tokens),
        "constant first": (
            made([node("MatMul", "w", "x")], {"w": weight(96, 64)}, {"x": [64, "n"]}),
            [{"x": np.ascontiguousarray(f["x"].T)} for f in vectors]),
        "gemm": (made([node("Gemm", "x", "w", "b", transB=1, alpha=0.5, beta=2.0)],
                      {"w": weight(96, 64), "b": bias}, x), vectors),
        "gemm of a transposed input": (
            made([node("Gemm", "x", "w", "b", transA=1)], {"w": w, "b": bias}, {"x": [64, "n"]}),
            [{"x": np.ascontiguousarray(f["x"].T)} for f in vectors]),
        "gemm of opset 9": (made([node("Gemm", "x", "w", "b")], {"w": w, "b": bias}, x, 9), vectors),
        "gemm and a matrix": (
            made([node("Gemm", "x", "w", "c")], {"w": w, "c": weight(400, 96)}, {"x": [400, 64]}), vectors),
        "half precision": (
            made([node("Cast", "x", output="h", to=TensorProto.FLOAT16), node("MatMul", "h", "w", output="p"),
                  node("Cast", "p", to=TensorProto.FLOAT)], {"w": w.astype(np.float16)}, batch), tokens),
        "embedding": (made([node("Gather", "w", "ids")], {"w": rows(500, 64)}, {"ids": ["n", "t"]}),
                      [{"ids": RANDOM.integers(0, 500, (20, 30))} for _ in range(4)]),
    }  # fmt: skip


def _convolutions() -> dict[str, tuple[onnx.ModelProto, Feeds]]:
    pictures = [{"x": images(8, 32, 12)} for _ in range(8)]
    wide = [{"x": images(8, 64, 12)} for _ in range(8)]
    conv, conv_bias = weight(48, 32, 3, 3), RANDOM.standard_normal(48).astype(np.float32)
    image = {"x": ["n", 32, 12, 12]}
    return {
        "pointwise": (made([node("Conv", "x", "w", "b", strides=[2, 2])],
                           {"w": weight(48, 32, 1, 1), "b": conv_bias}, image), pictures),
        "window": (made([node("Conv", "x", "w", "b", pads=[1, 0, 1, 2], strides=[1, 2])],
                        {"w": conv, "b": conv_bias}, image), pictures),
        "dilated window": (made([node("Conv", "x", "w", pads=[2, 2, 2, 2], dilations=[2, 2])], {"w": conv}, image),
                           pictures),
        "same padding": (made([node("Conv", "x", "w", auto_pad="SAME_UPPER")], {"w": conv}, image), pictures),
        "window in time": (made([node("Conv", "x", "w", "b")], {"w": weight(48, 32, 5), "b": conv_bias},
                                {"x": ["n", 32, 144]}),
                           [{"x": f["x"].reshape(8, 32, 144)} for f in pictures]),
        "grouped window": (made([node("Conv", "x", "w", group=2)], {"w": correlated(weight(64, 32, 3, 3), 0)},
                                {"x": ["n", 64, 12, 12]}), wide),
        "transposed convolution": (made([node("ConvTranspose", "x", "w", strides=[2, 2])],
                                        {"w": correlated(weight(32, 24, 3, 3), 1)}, image), pictures),
    }  # fmt: skip


CASES = _products() | _convolutions()
TARGET = parse_target("x86-64-avx2")
_TOLERANCE: dict[str, float] = {}


def run(model: Any, feeds: Feeds) -> np.ndarray:
    proto = model if isinstance(model, onnx.ModelProto) else model.to_proto()
    onnx.checker.check_model(proto, full_check=True)
    runner = Runner(proto)
    return np.concatenate([runner.run(feed)[0].astype(np.float64).reshape(-1) for feed in feeds])


def distance(actual: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


def offered(proto: onnx.ModelProto, feeds: Feeds) -> Offer:
    return bench.offered(load(proto), TARGET, feeds)


def taken(proto: onnx.ModelProto, feeds: Feeds, site: str, kept: dict[Any, Any]) -> Any:
    model = load(proto)
    bench.take(model, bench.offered(model, TARGET, feeds, kept), [site])
    return model


@pytest.mark.parametrize("name", CASES)
def test_the_predicted_error_is_the_measured_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factors, "CAUTION", 0.0)
    proto, feeds = CASES[name]
    kept: dict[Any, Any] = {}
    found = bench.offered(load(proto), TARGET, feeds, kept)
    assert found.error, found.declined
    seen = [dict(feed) for feed in covariance.fitted(feeds)]
    expected = run(proto, seen)
    before = load(proto).parameter_count
    for site, error in found.error.items():
        model = taken(proto, feeds, site, kept)
        assert model.parameter_count < before, site
        measured = distance(run(model, seen), expected)
        assert measured == pytest.approx(error, rel=_TOLERANCE.get(name, 0.01), abs=2e-3 if "half" in name else 1e-4), (
            site
        )


@pytest.mark.parametrize(
    ("terms", "shapes", "wanted"),
    [
        ("rca,mrb->mcab", [(8, 32, 3), (48, 8, 3)], "spatial8"),
        ("rc,srab,ms->mcab", [(8, 32), (8, 8, 3, 3), (48, 8)], "tucker8x8"),
    ],
)
def test_each_structure_of_a_window_is_found(terms: str, shapes: list[tuple[int, ...]], wanted: str) -> None:
    w = np.einsum(terms, *(weight(*shape) for shape in shapes)).astype(np.float32)
    _, feeds = CASES["window"]
    found = offered(made([node("Conv", "x", "w", pads=[1, 1, 1, 1])], {"w": w}, {"x": ["n", 32, 12, 12]}), feeds)
    assert any(site.startswith(f"low-rank:w@{wanted}") for site in found.error), found.error


@pytest.mark.parametrize("name", ["matmul and bias", "gemm", "pointwise", "window", "grouped window", "embedding"])
def test_directions_of_the_data_beat_those_of_the_weight(name: str) -> None:
    proto, feeds = CASES[name]
    kept: dict[Any, Any] = {}
    found = bench.offered(load(proto), TARGET, feeds, kept)
    expected = run(proto, feeds)
    site = max((s for s in found.error if found.error[s] < 0.25), key=lambda s: found.error[s])
    data, model = taken(proto, feeds, site, kept), load(proto)
    again = bench.offered(model, TARGET, feeds, kept)
    (weight_name,) = {s.removeprefix("low-rank:").partition("@")[0] for s in found.error}
    bench.plainly(model, again, bench.sizes(again, {weight_name: site}))
    # Directions of the data may leave a bias behind that the weights alone know nothing of.
    assert model.parameter_count >= data.parameter_count - 96
    assert distance(run(data, feeds), expected) < distance(run(model, feeds), expected)


def test_a_polyadic_tensor_is_recovered() -> None:
    sizes = (32, 3, 3, 48)
    tensor = np.einsum("ar,br,cr,dr->abcd", *(weight(size, 5) for size in sizes))
    a, b, c = windows.canonical(tensor, 8)
    span = np.einsum("ar,br,cr->abcr", a, b, c).reshape(-1, 8)
    flat = tensor.reshape(len(span), -1)
    gap = flat - span @ np.linalg.lstsq(span, flat)[0]
    assert np.linalg.norm(gap) < 0.05 * np.linalg.norm(flat)


def test_products_of_one_input_share_a_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factors, "CAUTION", 0.0)
    nodes = [node("MatMul", "x", name, output=f"p{name}") for name in "qkv"]
    nodes += [node("Add", f"p{name}", f"b{name}", output=f"s{name}") for name in "qkv"]
    nodes += [node("Concat", "sq", "sk", "sv", axis=-1)]
    constants = {name: weight(64, 64) * (i + 1) for i, name in enumerate("qkv")}
    constants |= {f"b{name}": RANDOM.standard_normal(64).astype(np.float32) for name in "qkv"}
    proto, feeds = made(nodes, constants, {"x": ["n", 64]}), [{"x": rows(800, 64)} for _ in range(4)]
    kept: dict[Any, Any] = {}
    found = bench.offered(load(proto), TARGET, feeds, kept)
    joint = [site for site in found.error if site.startswith("low-rank:q+k+v@")]
    assert joint
    expected = np.concatenate([Runner(proto).run(feed)[0] for feed in feeds]).reshape(-1, 3, 64)
    for site in joint:
        assert sum(a.site == site for a in found.alternatives) == 3
        model = taken(proto, feeds, site, kept)
        assert model.operator_counts["MatMul"] + model.operator_counts.get("Gemm", 0) == 4
        actual = np.concatenate([Runner(model.to_proto()).run(feed)[0] for feed in feeds]).reshape(-1, 3, 64)
        squares = np.square(actual - expected).sum((0, 2)) / np.square(expected).sum((0, 2))
        assert np.sqrt(squares.sum()) == pytest.approx(found.error[site], rel=0.01, abs=1e-4)


def test_a_weight_of_several_products_is_factored_once() -> None:
    w = weight(64, 64)
    nodes = [node("MatMul", "x", "w", output="h"), node("Tanh", "h", output="t"), node("MatMul", "t", "w")]
    proto, feeds = made(nodes, {"w": w}, {"x": ["n", 64]}), [{"x": rows(800, 64)} for _ in range(2)]
    kept: dict[Any, Any] = {}
    found = bench.offered(load(proto), TARGET, feeds, kept)
    site = max(found.error, key=lambda s: found.error[s])
    assert sum(a.site == site for a in found.alternatives) == 2
    model = taken(proto, feeds, site, kept)
    assert model.parameter_count < w.size
    assert model.operator_counts["MatMul"] == 4


def test_few_samples_and_missing_directions_are_no_special_case() -> None:
    x = np.zeros((3, 64), np.float32)
    x[:, :2] = rows(3, 2)
    proto = made([node("Gemm", "x", "w", "b")], {"w": weight(64, 96), "b": np.zeros(96, np.float32)}, {"x": ["n", 64]})
    found = offered(proto, [{"x": x}])
    assert all(np.isfinite(error) for error in found.error.values())
    for name, held in ((v.name, v.const_value) for v in found.imported.values if v is not None):
        assert held is None or np.isfinite(held.numpy()).all(), name
    # Three rows say little: what they do not show is taken for possible.
    assert found.error == {} or min(found.error.values()) > 0.01


def test_values_that_are_not_finite_are_declined() -> None:
    proto, _ = CASES["gemm"]
    found = offered(proto, [{"x": np.full((4, 64), np.nan, np.float32)}])
    assert found.error == {}
    assert "no finite moments" in " ".join(found.declined.values())


def test_refusals_have_reasons() -> None:
    depthwise = made([node("Conv", "x", "w", group=128)], {"w": weight(128, 1, 3, 3)}, {"x": ["n", 128, 12, 12]})
    found = offered(depthwise, [{"x": images(2, 128, 12)}])
    assert found.error == {}
    assert "depthwise" in " ".join(found.declined.values())


def test_without_calibration_data_only_when_asked() -> None:
    proto = made([node("MatMul", "x", "w")], {"w": correlated(weight(64, 96), 1)}, {"x": ["n", "t", 64]})
    asked = {"": False, ":data-free": True}
    for option, expected in asked.items():
        result = tcc.compile(proto, passes=f"compress{{techniques=low-rank{option},objective=size}}", max_loss=0.9)
        (record,) = (r for r in result.records if r.name == "compress")
        assert (record.facts["offered"] > 0) is expected
        assert ("no calibration data" in record.facts["declined"].get("low-rank", "")) is not expected


def test_the_number_of_threads_changes_no_bit() -> None:
    proto, feeds = CASES["window"]
    contents = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            found = offered(proto, feeds)
        held = [v.const_value.numpy().tobytes() for v in found.imported.values if v is not None and v.const_value]
        contents.append((held, found.error))
    assert contents[0] == contents[1]


def test_factored_weights_quantise_like_any_other() -> None:
    constants = {"w": weight(256, 256), "b": RANDOM.standard_normal(256).astype(np.float32)}
    proto = made([node("Gemm", "x", "w", "b")], constants, {"x": ["n", 256]})
    feeds = [{"x": rows(400, 256)} for _ in range(4)]
    passes = (
        "compress{techniques=low-rank,objective=size,slower=true},simplify,"
        "compress{techniques=weight-int8,objective=size,slower=true}"
    )
    result = tcc.compile(proto, passes=passes, calibration=feeds, max_loss=0.2, target="x86-64-vnni")
    first, second = (r.facts["sites"] for r in result.records if r.name == "compress")
    assert any(site.startswith("low-rank:w@") for site in first)
    assert sum(site.startswith("weight-int8:") for site in second) == 2
    assert result.report["accuracy"]["loss"] <= 0.2
    assert distance(run(result.to_proto(), feeds), run(proto, feeds)) < 0.5


# ---------------------------------------------------------------------------------------------- second moments


def test_moments_are_those_of_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    proto, feeds = CASES["window"]
    inputs = np.concatenate([feed["x"] for feed in feeds])
    patches = Patches((3, 3), (1, 2), (1, 0, 1, 2), (1, 1))
    taps = [Tap("x", 1, 4, 32), Tap("x", 1, 4, 288, patches=patches), Tap("y", 1, 4, 48)]
    monkeypatch.setattr(covariance, "GROUP_BYTES", 4096)
    monkeypatch.setattr(Model, "parameter_bytes", 0)
    found = dict(covariance.stream(load(proto), taps, feeds))
    pixels = np.moveaxis(inputs, 1, -1).reshape(-1, 32).astype(np.float64)
    assert np.allclose(found[taps[0]].covariance, np.cov(pixels.T, bias=True), atol=1e-4 * pixels.var())
    padded = np.pad(inputs, ((0, 0), (0, 0), (1, 1), (0, 2)))
    around = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))[:, :, :, ::2]
    seen = np.moveaxis(around, 1, 3).reshape(-1, 288).astype(np.float64)
    assert found[taps[1]].rows == len(seen)
    assert found[taps[1]].samples == 64
    assert np.allclose(found[taps[1]].second, seen.T @ seen / len(seen), rtol=1e-4, atol=1e-4)
    assert np.allclose(found[taps[1]].mean, seen.mean(0), atol=1e-4)
    outputs = np.moveaxis(np.concatenate([Runner(proto).run(feed)[0] for feed in feeds]), 1, -1).reshape(-1, 48)
    assert np.allclose(found[taps[2]].mean, outputs.mean(0), atol=1e-4)


def test_shrinkage_falls_with_the_number_of_rows() -> None:
    x = rows(4000, 32, 0.0).astype(np.float64)
    parts = []
    for count in (8, 100, 4000):
        second = x[:count].T @ x[:count] / count
        parts.append(factors.shrinkage(second, np.eye(32) * np.trace(second) / 32, count))
    assert 1.0 >= parts[0] > parts[1] > parts[2]
    assert parts[2] < 0.02


# ------------------------------------------------------------------------------------------------ real models


def test_a_wide_network_loses_most_of_its_parameters(zoo: Path) -> None:
    assert zoo.is_dir()
    row = bench.compress("vnn_mnistfc_256x6")
    assert row["removed"] >= 0.6
    assert row["before"] - row["after"] <= 0.005
    assert row["failures"] == []


def test_what_is_fitted_to_few_samples_is_judged_on_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer rows than outputs: as many directions hold all that was seen of a weight that has no small ones."""
    draw = np.random.default_rng(3)
    w = draw.standard_normal((768, 768)).astype(np.float32)
    proto = made([node("Gemm", "x", "w", "b")], {"w": w, "b": np.zeros(768, np.float32)}, {"x": ["n", 768]})
    feeds = [{"x": draw.standard_normal((1, 768)).astype(np.float32)} for _ in range(96)]

    def sites() -> list[str]:
        result = tcc.compile(proto, passes="compress{techniques=low-rank}", calibration=feeds, max_loss=0.1)
        (facts,) = (record.facts for record in result.records if record.name == "compress")
        return list(facts["sites"])

    assert sites() == []
    monkeypatch.setattr(covariance, "held_out", lambda _: ())
    assert len(sites()) == 1
