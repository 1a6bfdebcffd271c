"""Comparing outputs: bits, tolerances, and what must match exactly."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tcc.ir.equality import Comparison, compare

FLOATS = [np.float16, np.float32, np.float64, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn]


def value(expected: object, actual: object, rtol: float = 1e-5) -> Comparison:
    return compare([expected], [actual], bits=False, rtol=rtol)


def bits(expected: object, actual: object) -> Comparison:
    return compare([expected], [actual], bits=True)


def f32(*numbers: float) -> np.ndarray:
    return np.array(numbers, np.float32)


@given(arrays(np.float32, array_shapes(max_dims=3), elements=st.floats(width=32)))
def test_everything_equals_itself(array: np.ndarray) -> None:
    for result in (bits(array, array.copy()), value(array, array.copy())):
        assert result.equal
        assert (result.largest_absolute, result.output, result.reason) == (0, -1, "")


@given(
    arrays(np.float32, 5, elements=st.floats(-1e6, 1e6, width=32)),
    arrays(np.float32, 5, elements=st.floats(-1e6, 1e6, width=32)),
)
def test_value_equality_is_the_stated_bound(a: np.ndarray, b: np.ndarray) -> None:
    bound = 1e-5 * np.abs(a.astype(float)).max()
    gap = np.abs(a.astype(float) - b.astype(float)).max()
    assert value(a, b).equal == bool(gap == 0 or (bound > 0 and gap / np.abs(a.astype(float)).max() <= 1e-5))
    assert value(a, b).largest_absolute == gap
    assert bits(a, b).equal == (a.tobytes() == b.tobytes())


def test_the_tolerance_is_relative_to_the_tensor_not_to_the_element() -> None:
    cancelled = value(f32(1000, 1e-6), f32(1000, 2e-6))
    assert cancelled.equal
    assert cancelled.largest_relative == pytest.approx(1, rel=1e-4)
    assert cancelled.largest_scaled == pytest.approx(1e-9, rel=1e-4)
    assert not value(f32(1, 1e-6), f32(1.0001, 1e-6)).equal


def test_an_expected_zero_tensor_admits_nothing_else() -> None:
    result = value(f32(0, 0), f32(0, 1e-30))
    assert not result.equal
    assert result.largest_scaled == float("inf")


def test_negative_zero_differs_in_bits_only() -> None:
    assert not bits(f32(0.0), f32(-0.0)).equal
    assert value(f32(0.0), f32(-0.0)).equal


def test_nan_and_infinity_keep_their_places() -> None:
    nan, inf = float("nan"), float("inf")
    payload = np.array([0x7FC00001], np.uint32).view(np.float32)
    assert bits(f32(nan, 1, inf, -inf), f32(nan, 1, inf, -inf)).equal
    assert bits(f32(nan), payload).equal
    assert value(f32(nan, 1, inf), f32(nan, 1, inf)).equal
    assert "NaN" in value(f32(nan, 1), f32(1, nan)).reason
    assert value(f32(inf, 1), f32(-inf, 1)).reason == "infinities differ"
    assert value(f32(1, 1), f32(inf, 1)).reason == "infinities differ"
    assert value(f32(inf, 1), f32(3e38, 1)).reason == "infinities differ"


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_coarse_type_gets_its_own_epsilon(dtype: type) -> None:
    epsilon = float(ml_dtypes.finfo(dtype).eps)  # type: ignore[no-untyped-call]
    one: np.ndarray = np.array([1.0]).astype(dtype)
    assert value(one, np.array([1 + epsilon]).astype(dtype)).equal
    assert value(one, np.array([1 + 2 * epsilon]).astype(dtype)).equal == (2 * epsilon <= 1e-5)


def test_the_tolerance_is_stated() -> None:
    half = np.ones(2, np.float16)
    result = compare([half, f32(1)], [half, f32(1)], bits=False)
    assert result.tolerance == "1e-05 of each tensor's largest value, 0.000977 for float16 (its epsilon)"
    assert result.tolerance in result.text()
    assert bits(half, half).text().startswith("equal (tolerance: bit for bit;")
    assert value(f32(1), f32(2)).text() == (
        "output 0: differs by 1, 1 of the tensor's scale, should be at most 1e-05 "
        "(tolerance: 1e-05 of each tensor's largest value)"
    )


def test_the_first_differing_output_is_named() -> None:
    same, other = f32(1), f32(2)
    result = compare([same, same, same], [same, other, other], bits=False)
    assert (result.equal, result.output, result.largest_absolute) == (False, 1, 1)
    close = compare([f32(1), f32(1)], [f32(1), f32(1.000001)], bits=False)
    assert (close.equal, close.output) == (True, 1)


@pytest.mark.parametrize(
    ("expected", "actual", "reason"),
    [
        (f32(1), f32(1).astype(np.float64), "the type is float64, should be float32"),
        (f32(1, 2), f32(1, 2)[None], "the shape is [1, 2], should be [2]"),
        (np.array([1, 2]), np.array([1, 3]), "1 of 2 elements differ"),
        (np.array([True]), np.array([False]), "1 of 1 elements differ"),
        (np.array([1, 2]).astype(ml_dtypes.int4), np.array([1, 3]).astype(ml_dtypes.int4), "1 of 2 elements differ"),
        (np.array(["a"], object), np.array(["b"], object), "1 of 1 elements differ"),
        ([f32(1)], [f32(1), f32(1)], "the sequence has 2 elements, should be 1"),
        ([f32(1), f32(1)], [f32(1), f32(2)], "differs by 1, 1 of the tensor's scale, should be at most 1e-05"),
        ({"a": 1.0}, {"b": 1.0}, "the keys are ['b'], should be ['a']"),
        ([{"a": 1.0}], [{"a": 2.0}], "differs by 1, 1 of the tensor's scale, should be at most 1e-05"),
        (None, f32(1), "is ndarray, should be NoneType"),
        ("x", "y", "is 'y', should be 'x'"),
    ],
)
def test_reasons(expected: object, actual: object, reason: str) -> None:
    result = value(expected, actual)
    assert not result.equal
    assert result.reason == reason
    assert not bits(expected, actual).equal
    assert value(expected, expected).equal


def test_the_number_of_outputs_matters() -> None:
    result = compare([f32(1)], [], bits=False)
    assert (result.equal, result.reason) == (False, "there are 0 outputs, should be 1")


def test_empty_tensors_are_equal() -> None:
    assert value(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32)).equal
    assert bits(np.zeros((0, 3), np.float16), np.zeros((0, 3), np.float16)).equal
