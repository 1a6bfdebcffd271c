"""Moments that need only a part of the data take it from everywhere."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from tcc.frontends import load
from tcc.ir import covariance
from tcc.ir.covariance import Tap
from tests import channel_models

TEXT = "g (float[B,6] x) => (float[B,6] y) { y = Relu(x) }"


@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_every_beginning_of_an_order_is_from_everywhere(count: int) -> None:
    order = covariance.spread(range(count))
    assert sorted(order) == list(range(count))
    for taken in range(4, count):
        gaps = np.diff([-1, *sorted(order[:taken]), count])
        assert gaps.max() <= 3 * count / taken


def test_data_stored_class_by_class_is_not_judged_by_its_first_classes() -> None:
    proto = channel_models.with_weights(onnx.parser.parse_model(channel_models.HEAD.format(opset=17) + TEXT), {})
    drawn = np.random.default_rng(5)
    middles = np.repeat(drawn.normal(size=(10, 6)), 40, axis=0)
    samples = np.abs(middles + 0.1 * drawn.normal(size=(400, 6))).astype(np.float32)
    feeds = [{"x": sample[None]} for sample in samples]
    tap = Tap("y", 1, 2, 6)
    ((_, found),) = covariance.stream(load(proto), [tap], feeds, rows=4)
    assert found.samples < 50
    whole, first = samples.mean(axis=0), samples[: found.samples].mean(axis=0)
    assert np.linalg.norm(found.mean - whole) < 0.3 * np.linalg.norm(first - whole)
