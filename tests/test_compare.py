"""Comparing two models: paired statistics, evaluation data and metrics, the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tcc
from tcc import cli
from tcc.compiler import evaluation, paired
from tcc.compiler.comparison import compare
from tcc.diagnostics import Exit, TccError
from tcc.ir.model import Model
from tcc.targets import parse_target

RNG = np.random.default_rng(7)


@pytest.fixture(scope="module")
def original() -> Model:
    """The digits classifier."""
    return tcc.compile("examples/digits/digits.onnx", opt_level=0).model


def data(**changed: Any) -> dict[str, Any]:
    """The digits' test data, with arrays added or replaced."""
    with np.load("examples/digits/digits_test.npz") as loaded:
        return {name: loaded[name] for name in loaded.files} | changed


def test_the_interval_of_a_difference_covers_the_true_one() -> None:
    covered = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        a = rng.random(400) < 0.9
        b = np.where(rng.random(400) < 0.1, rng.random(400) < 0.5, a)
        true = 0.1 * (0.5 - 0.9)
        found = paired.difference(a, b, seed)
        assert found.low <= found.mean <= found.high
        covered += found.low <= true <= found.high
    assert 88 <= covered <= 100


def test_mcnemar_is_the_binomial_test_of_the_discordant_samples() -> None:
    a = np.array([1] * 10 + [0] * 2 + [1] * 50)
    b = np.array([0] * 10 + [1] * 2 + [1] * 50)
    # Two-sided binomial test of 2 successes in 12 at one half: 2 (1 + 12 + 66) / 4096.
    assert paired.mcnemar(a, b) == pytest.approx(158 / 4096)
    assert paired.mcnemar(a, a) == 1.0


def test_disagreements_that_gather_in_a_class_are_systematic() -> None:
    classes = np.repeat(np.arange(10), 80)
    gathered = (classes == 3) & (RNG.random(800) < 0.3)
    spread = RNG.random(800) < 0.03
    assert paired.systematic(classes, gathered)[1] < 0.001
    assert paired.systematic(classes, spread)[1] > 0.05
    assert paired.systematic(classes, np.zeros(800, bool)) == (0.0, 1.0)


def test_a_region_where_the_model_fails_is_found() -> None:
    features = RNG.standard_normal((600, 2))
    right = np.ones(600)
    in_corner = (features > 0.4).all(axis=1)
    broken = np.where(in_corner, 0.0, right)
    evenly = np.where(RNG.random(600) < in_corner.mean(), 0.0, right)
    found, other = (paired.degradation(features, right, scores) for scores in (broken, evenly))
    assert found.factor > 0
    assert found.losses[-1] > 0.9
    assert other.factor == 0
    assert paired.degradation(features, right, right).losses == (0.0,) * len(found.shares)


def test_top1_leaves_out_ignored_positions() -> None:
    outputs = [np.array([[[0.1, 0.9], [0.8, 0.2], [0.4, 0.6]]])]
    assert evaluation.top1(outputs, np.array([[1, 1, -100]])).tolist() == [1.0, 0.0]


def test_scores_of_a_model(original: Model) -> None:
    read = evaluation.read(data(), original)
    assert read.name == "top1"
    runner_outputs = [[np.eye(10)[label]] for label in read.labels]
    assert read.scores([[row.reshape(1, 10)] for [row] in runner_outputs]).mean() == 1.0


def test_a_metric_of_the_users(original: Model, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def best(outputs, labels):\n    return outputs[0].max(-1)\n")
    arrays = data()
    del arrays["labels"]
    read = evaluation.read(arrays, original, f"{tmp_path / 'mine.py'}:best")
    assert read.scores([[np.full((1, 10), 3.0)]] * len(read.feeds)).tolist() == [3.0] * len(read.feeds)


@pytest.mark.parametrize(
    ("changed", "metric", "code"),
    [
        ({"labels": np.zeros(7, np.int64)}, "", "E0610"),
        ({}, "nonsense", "E0240"),
        ({}, "no.such.module:f", "E0240"),
        ({}, "json:decoder", "E0240"),
        ({"image": np.zeros((3, 2), np.float32)}, "", "E0602"),
    ],
)
def test_what_is_wrong_with_evaluation_data(original: Model, changed: dict[str, Any], metric: str, code: str) -> None:
    with pytest.raises(TccError) as caught:
        evaluation.read(data(**changed), original, metric)
    assert code in {d.code for d in caught.value.diagnostics}


def test_a_metric_that_fails_says_so(original: Model) -> None:
    read = evaluation.read(data(), original, "json:dumps")
    with pytest.raises(TccError, match="json:dumps") as caught:
        read.scores([[np.zeros((1, 10))]] * len(read.feeds))
    assert caught.value.diagnostics[0].code == "E0611"


def test_too_few_predictions_for_the_labels(original: Model) -> None:
    read = evaluation.read(data(), original)
    with pytest.raises(TccError) as caught:
        read.scores([[np.zeros((2, 10))]] * len(read.feeds))
    assert caught.value.diagnostics[0].code == "E0610"


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    smaller = tmp_path / "small.onnx"
    tcc.compile("examples/digits/digits.onnx", opt_level="z", target="x86-64-avx2", output=smaller)
    words = ["compare", "examples/digits/digits.onnx", str(smaller), "--eval", "examples/digits/digits_test.npz"]
    assert cli.main([*words, "--seconds", "0.4", "--json"]) == Exit.DONE
    made = json.loads(capsys.readouterr().out)
    assert made["b"]["bytes_on_disk"] == smaller.stat().st_size < made["a"]["bytes_on_disk"]
    assert made["b"]["bytes_compressed"] < made["b"]["bytes_on_disk"]
    assert made["a"]["operations"] > made["a"]["parameters"] > 0
    task = made["task"]
    correct = json.loads(Path("examples/digits/accuracy.json").read_text())["correct"]
    assert task["a"] == pytest.approx(correct / task["samples"])
    assert task["difference"]["low"] <= task["b"] - task["a"] <= task["difference"]["high"]
    assert 0.9 < made["agreement"]["agreement"] <= 1
    assert 0 < made["divergence"][0]["relative_l2"] < 0.05
    assert 0 < made["latency"]["a"]["p50"] <= made["latency"]["a"]["p95"]
    assert cli.main([*words, "--no-measure"]) == Exit.DONE
    assert "McNemar" in capsys.readouterr().out


def test_without_data_accuracy_is_called_unmeasured(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", *["examples/digits/digits.onnx"] * 2]) == Exit.DONE
    assert "unmeasured" in capsys.readouterr().out


def test_models_with_other_inputs_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.bad_input.cases import model, node, write

    other = write(tmp_path, model([node("Relu", "x", "y", "r")]))
    words = ["compare", "examples/digits/digits.onnx", str(other), "--eval", "examples/digits/digits_test.npz"]
    assert cli.main(words) == Exit.DATA
    assert "E0612" in capsys.readouterr().err


def test_open_sizes_are_those_of_the_data_or_usual_ones(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = [numpy_helper.from_array(rng.normal(size=(8, n, 3, 3)).astype(np.float32), f"w{n}") for n in (3, 8)]
    nodes = [
        helper.make_node("Conv", ["x", "w3"], ["a"], "first", strides=[2, 2], pads=[1] * 4),
        helper.make_node("Conv", ["a", "w8"], ["y"], "second", pads=[1] * 4),
    ]
    shapes: dict[str, list[int | str]] = {"x": ["n", 3, "h", "w"], "y": ["n", 8, "rows", "columns"]}
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    graph = helper.make_graph(nodes, "open", ports[:1], ports[1:], weights)
    path = tmp_path / "open.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    operations = []
    for data in (None, {"x": np.zeros((4, 3, 64, 64), np.float32)}):
        made = compare(path, path, data, parse_target("x86-64-vnni"), seconds=0)
        operations.append(made["a"]["operations"])
    assert operations == [2 * 9 * 8 * (3 + 8) * side**2 for side in (112, 32)]
