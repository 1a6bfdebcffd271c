"""Moments that need only a part of the data take it from everywhere."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from tcc.frontends import load
from tcc.ir import covariance, holding
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


@pytest.mark.parametrize("count", [8, 41, 200, 1000])
def test_what_is_held_out_is_a_part_of_every_class_in_whatever_order_they_are_stored(count: int) -> None:
    apart = holding.held(count, 4)
    assert abs(int(apart.sum()) - count / 4) <= 1
    assert np.array_equal(apart, holding.held(count, 4))
    for at in range(0, count - 3, 4):
        assert apart[at : at + 4].sum() == 1
    if count < 200:
        return
    for period in (2, 4, 8, 10):
        shares = [apart[start::period].mean() for start in range(period)]
        assert min(shares) > 0
        assert max(shares) < 0.6


def test_fitted_and_held_out_feeds_are_all_feeds() -> None:
    feeds = [{"x": np.full(1, i)} for i in range(37)]
    first, second = covariance.fitted(feeds), covariance.held_out(feeds)
    assert sorted([int(f["x"][0]) for f in (*first, *second)]) == list(range(37))
    assert len(second) in {9, 10}
    assert covariance.fitted(feeds[:7]) == feeds[:7]
    assert covariance.held_out(feeds[:7]) == ()


@pytest.mark.parametrize(("width", "rows"), [(64, 3), (64, 40), (6, 3)])
def test_few_rows_and_many_have_the_moments_of_all(width: int, rows: int) -> None:
    text = f"g (float[N,{width}] x) => (float[N,{width}] y) {{ y = Relu(x) }}"
    proto = channel_models.with_weights(onnx.parser.parse_model(channel_models.HEAD.format(opset=17) + text), {})
    drawn = np.random.default_rng(1)
    feeds = [{"x": drawn.normal(size=(rows, width)).astype(np.float32)} for _ in range(300)]
    ((_, found),) = covariance.stream(load(proto), [Tap("y", 1, 2, width)], feeds)
    every = np.maximum(np.concatenate([feed["x"] for feed in feeds]), 0).astype(np.float64)
    assert found.rows == len(every)
    np.testing.assert_allclose(found.second, every.T @ every / len(every), rtol=1e-5)
    np.testing.assert_allclose(found.mean, every.mean(axis=0), rtol=1e-5)
