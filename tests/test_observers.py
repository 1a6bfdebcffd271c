"""Statistics of activations: constant memory, any order, and ranges that are good for what they are for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tcc.ir.calibration import METHODS, Channels, Histogram, MovingAverage, Range, noise, range_of
from tcc.ir.calibration.histogram import BINS

VALUES = [0.0, -0.0, 1e-30, 1.5, -3.25e7, 7.0, -1e-3, 2.0**100, -(2.0**-120), 65504.0, 0.1]
FLOATS = hnp.arrays(np.float32, st.integers(1, 40), elements=st.sampled_from([float(np.float32(v)) for v in VALUES]))


def seen(*arrays: np.ndarray) -> Histogram:
    histogram = Histogram()
    for array in arrays:
        histogram.add(array)
    return histogram


def rounded(x: np.ndarray, kept: Range, levels: int = 256) -> np.ndarray:
    step = (kept.high - kept.low) / (levels - 1)
    zero = round(-kept.low / step)
    integers = np.clip(np.rint(x / step) + zero, 0, levels - 1)
    return np.asarray((integers - zero) * step)


@settings(deadline=None, max_examples=150)
@given(st.lists(FLOATS, min_size=1, max_size=6), st.randoms())
def test_a_histogram_does_not_depend_on_the_order(arrays: list[np.ndarray], random: object) -> None:
    a = seen(*arrays)
    b = seen(*reversed(arrays))
    parts = [seen(x) for x in arrays]
    merged = Histogram()
    for part in parts:
        merged.merge(part)
    for other in (b, merged):
        assert (a.low, a.high, a.zeros, a.exponent, a.first) == (
            other.low, other.high, other.zeros, other.exponent, other.first
        )  # fmt: skip
        assert np.array_equal(a.counts, other.counts)
    assert a.total == sum(x.size for x in arrays)
    assert len(a.counts) <= BINS


def test_what_is_not_finite_is_noted_and_left_out() -> None:
    histogram = seen(np.array([1.0, np.nan, -np.inf, 2.0], np.float32))
    assert not histogram.finite
    assert (histogram.low, histogram.high, histogram.total) == (1.0, 2.0, 2)
    assert not seen(np.array([np.nan], np.float32)).finite


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("symmetric", [False, True])
def test_every_method_gives_a_usable_range(method: str, symmetric: bool) -> None:  # noqa: FBT001 - a parameter
    draw = np.random.default_rng(0)
    for x in (draw.normal(size=20_000), np.maximum(draw.normal(size=20_000), 0), draw.laplace(1.0, 2.0, 20_000)):
        kept = range_of(seen(x.astype(np.float32)), method, symmetric=symmetric)
        assert kept.low <= 0.0 <= kept.high
        assert not symmetric or kept.low == -kept.high
        error = float(np.square(rounded(x, kept) - x).mean() / np.square(x).mean())
        assert error < (1e-3 if method in {"mse", "minmax", "percentile"} else 3e-3)


def test_the_expected_noise_is_the_noise() -> None:
    x = np.random.default_rng(0).laplace(size=16_000).astype(np.float32)
    histogram = seen(x)
    for reach in (2.0, 4.0, 8.0):
        kept = Range(-reach, reach)
        measured = float(np.square(rounded(x, kept) - x).mean())
        assert math.isclose(noise(histogram, kept), measured, rel_tol=0.05)


def test_mean_square_clips_what_outliers_would_coarsen() -> None:
    draw = np.random.default_rng(0)
    x = np.concatenate([draw.normal(size=16_000), [12.0]]).astype(np.float32)
    histogram = seen(x[:-1], x[-1:])
    best, whole = (range_of(histogram, method, levels=16) for method in ("mse", "minmax"))
    assert best.high < 0.5 * whole.high
    assert np.square(rounded(x, best, 16) - x).mean() < np.square(rounded(x, whole, 16) - x).mean()


def test_a_constant_zero_has_an_empty_range() -> None:
    for method in METHODS:
        assert range_of(seen(np.zeros(8, np.float32)), method) == Range(0.0, 0.0)


def test_channels_and_moving_average() -> None:
    x = np.random.default_rng(0).normal(size=(4, 3, 5, 5)).astype(np.float32)
    channels, average = Channels(1), MovingAverage()
    for row in x:
        channels.add(row[None])
        average.add(row)
    assert np.allclose(channels.low, x.min(axis=(0, 2, 3)))
    assert np.allclose(channels.high, x.max(axis=(0, 2, 3)))
    assert np.allclose(channels.mean, x.mean(axis=(0, 2, 3)), atol=1e-6)
    assert x.min() <= average.low <= max(row.min() for row in x)
    assert average.high == pytest.approx(np.mean([row.max() for row in x]))


def test_thinning_leaves_no_channel_out() -> None:
    x = np.random.default_rng(0).normal(size=(256, 384)).astype(np.float32)
    x[:, 5] += 40
    histogram = seen(x)
    assert histogram.total < x.size
    beyond = histogram.counts[histogram.centres > 30].sum() / histogram.total
    assert beyond == pytest.approx(1 / 384, rel=0.1)
