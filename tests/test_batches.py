"""Few batches of many samples are divided, so that samples can be held out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import tcc
from tcc.compiler.accuracy import held_out
from tcc.frontends import load
from tcc.ir import covariance
from tcc.ir.batches import divided
from tcc.ir.model import Model
from tests import channel_models

EACH = "g (float[B,6] x) => (float[B,6] y) { y = Relu(x) }"
FIXED = "g (float[20,6] x) => (float[20,6] y) { y = Relu(x) }"
MIXED = "g (float[B,6] x) => (float[B,6] y) { m = ReduceMean<axes=[0], keepdims=1>(x) y = Sub(x, m) }"


def model(text: str) -> Model:
    return load(channel_models.with_weights(onnx.parser.parse_model(channel_models.HEAD.format(opset=17) + text), {}))


def batches(count: int, samples: int) -> list[dict[str, np.ndarray]]:
    values = np.arange(count * samples * 6, dtype=np.float32).reshape(count, samples, 6)
    return [{"x": part} for part in values]


@pytest.mark.parametrize(("count", "samples"), [(1, 5), (3, 20), (3, 100), (20, 7), (63, 2)])
def test_few_batches_are_divided_and_no_sample_is_lost(count: int, samples: int) -> None:
    given = batches(count, samples)
    found = divided(model(EACH), given)
    assert len(found) >= min(64, count * samples)
    together = np.concatenate([feed["x"] for feed in given])
    np.testing.assert_array_equal(np.concatenate([feed["x"] for feed in found]), together)


@pytest.mark.parametrize(("text", "count"), [(FIXED, 3), (MIXED, 3), (EACH, 64)])
def test_batches_stay_where_they_are_fixed_or_dependent_or_enough(text: str, count: int) -> None:
    given = batches(count, 20)
    assert divided(model(text), given) == tuple(given)


def test_single_samples_stay() -> None:
    given = batches(5, 1)
    assert all(a is b for a, b in zip(divided(model(EACH), given), given, strict=True))


def test_samples_of_few_batches_are_held_out() -> None:
    given = batches(4, 20)
    assert held_out(given)[0] == tuple(given)
    fitted, held = held_out(divided(model(EACH), given))
    assert fitted is not None
    assert len(fitted) == 60
    assert len(held) == 20
    assert covariance.held_out(fitted)


def test_the_loss_is_measured_on_samples_that_nothing_was_fitted_to(digits: Path) -> None:
    with np.load(digits / "digits_calib.npz") as held:
        data = [{"image": held["image"][at : at + 40]} for at in (0, 40)]
    made = tcc.compile(digits / "digits.onnx", passes="compress{techniques=stored-float16}", target="x86-64-vnni",
                       calibration=data, jobs=1)  # fmt: skip
    assert not any(d.code == "N0205" for d in made.diagnostics)
    assert made.report["accuracy"]["samples"] == 20
