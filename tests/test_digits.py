"""The digits example is what it says: its data, its model, its recorded accuracy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from examples.digits import evaluate, make_data


@pytest.mark.parametrize("part", ["train", "calib", "test"])
def test_the_data_files_are_scikit_learns(digits: Path, part: str) -> None:
    expected = make_data.splits()[part]
    with np.load(digits / f"digits_{part}.npz") as data:
        assert sorted(data.files) == sorted(expected)
        for name, array in expected.items():
            assert data[name].dtype == array.dtype
            np.testing.assert_array_equal(data[name], array, strict=True)


def test_the_parts_are_disjoint_and_balanced() -> None:
    parts = make_data.splits()
    images = [image.tobytes() for part in parts.values() for image in part["image"]]
    assert len(set(images)) == len(images) == 1797
    for part in parts.values():
        counts = np.bincount(part["labels"].astype(np.int64), minlength=10)
        assert counts.max() <= 1.1 * counts.min()


def test_the_model_keeps_its_batch_normalisations(digits: Path) -> None:
    model = onnx.load(digits / "digits.onnx")
    onnx.checker.check_model(model, full_check=True)
    operators = [node.op_type for node in model.graph.node]
    assert operators.count("BatchNormalization") == operators.count("Conv") == 4
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_the_measured_accuracy_is_the_recorded_one(digits: Path) -> None:
    record = json.loads((digits / "accuracy.json").read_text())
    images, labels = evaluate.load(digits / record["data"])
    correct = int((evaluate.predict(digits / record["model"], images) == labels).sum())
    assert (correct, len(labels)) == (record["correct"], record["samples"])
    assert record["top1"] == pytest.approx(correct / len(labels), abs=1e-6)
    assert record["top1"] > 0.95


def test_the_predictions_depend_on_the_image(digits: Path) -> None:
    images, labels = evaluate.load(evaluate.TEST)
    assert len(set(evaluate.predict(digits / "digits.onnx", images).tolist())) == 10
    shuffled = np.random.default_rng(0).permutation(images.reshape(len(images), -1), axis=1).reshape(images.shape)
    assert (evaluate.predict(digits / "digits.onnx", shuffled) == labels).mean() < 0.5


def test_evaluate_prints_a_line_a_model(digits: Path) -> None:
    model = str(digits / "digits.onnx")
    command = [sys.executable, str(digits / "evaluate.py"), model, model]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    head, first, second = done.stdout.splitlines()
    assert head.split() == ["model", "bytes", "top-1", "correct", "changed"]
    assert first == second
    assert first.split()[-2:] == [f"{json.loads(evaluate.ACCURACY.read_text())['correct']}/360", "0"]
