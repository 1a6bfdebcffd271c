"""Compares two models' outputs: to the last bit, or to a stated tolerance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

Value = Any
"""An array, a sequence of values, a mapping of values, a plain number or string, or None."""


@dataclass(frozen=True)
class Comparison:
    """How two lists of outputs differ.

    ``largest_absolute`` is max |a − b|; ``largest_scaled`` is that, relative to the largest finite |expected| of
    its tensor, and is what the tolerance bounds; ``largest_relative`` is elementwise, |a − b| / |expected| where
    expected is not 0. All run over elements that are finite on both sides, and over all outputs. ``output`` is
    the index of the first output that differs, or of the one with the largest scaled difference, or -1 where
    nothing differs.
    """

    equal: bool
    largest_absolute: float
    largest_scaled: float
    largest_relative: float
    output: int
    reason: str
    tolerance: str

    def text(self) -> str:
        """One line: the verdict, the tolerance, and the largest differences."""
        if not self.equal:
            return f"output {self.output}: {self.reason} (tolerance: {self.tolerance})"
        return (
            f"equal (tolerance: {self.tolerance}; largest difference {self.largest_absolute:.3g}, "
            f"{self.largest_scaled:.3g} of the tensor's scale, {self.largest_relative:.3g} elementwise)"
        )


@dataclass(frozen=True)
class _Difference:
    """What one leaf adds: its differences, and why it is unequal ('' where it is not)."""

    reason: str = ""
    absolute: float = 0.0
    scaled: float = 0.0
    relative: float = 0.0


def compare(expected: Sequence[Value], actual: Sequence[Value], *, bits: bool, rtol: float = 1e-5) -> Comparison:
    """Compare two lists of outputs; ``bits`` asks for the same bits, else floats may differ by ``rtol``.

    The tolerance is relative to the tensor, not to the element: |a − b| ≤ rtol · max |expected|. An element
    that comes out near zero by cancellation carries the rounding errors of its large terms, so its own
    relative error says nothing about the computation. A type coarser than ``rtol`` gets its own epsilon (float16:
    9.77e-4), which is one unit in the last place of the tensor's largest value. Integers, booleans, strings,
    types, shapes and the positions of NaN and ±inf must match exactly in either mode; only the payload of a NaN
    is free. Under ``bits`` 0.0 and −0.0 differ.
    """
    tolerance = "bit for bit" if bits else _tolerance(expected, rtol)
    if len(expected) != len(actual):
        reason = f"there are {len(actual)} outputs, should be {len(expected)}"
        return Comparison(False, 0.0, 0.0, 0.0, -1, reason, tolerance)
    found = [(index, leaf) for index, pair in enumerate(zip(expected, actual, strict=True))
             for leaf in _differences(*pair, bits=bits, rtol=rtol)]  # fmt: skip
    failed = [(index, leaf) for index, leaf in found if leaf.reason]
    differing = [(index, leaf) for index, leaf in found if leaf.absolute > 0]
    worst = max(differing, key=lambda item: item[1].scaled, default=(-1, _Difference()))
    output, leaf = failed[0] if failed else worst
    return Comparison(
        equal=not failed,
        largest_absolute=max((leaf.absolute for _, leaf in found), default=0.0),
        largest_scaled=max((leaf.scaled for _, leaf in found), default=0.0),
        largest_relative=max((leaf.relative for _, leaf in found), default=0.0),
        output=output,
        reason=leaf.reason,
        tolerance=tolerance,
    )


def _tolerance(expected: Sequence[Value], rtol: float) -> str:
    """The tolerance in words, with the element types that get their own epsilon."""
    dtypes = {value.dtype for value in expected if isinstance(value, np.ndarray)}
    coarse = sorted((str(dtype), epsilon) for dtype in dtypes if (epsilon := _epsilon(dtype) or 0.0) > rtol)
    own = "".join(f", {epsilon:.3g} for {name} (its epsilon)" for name, epsilon in coarse)
    return f"{rtol:g} of each tensor's largest value{own}"


def _differences(expected: Value, actual: Value, *, bits: bool, rtol: float) -> Iterator[_Difference]:
    """One difference for each leaf of a nested value."""
    if isinstance(expected, np.ndarray) and isinstance(actual, np.ndarray):
        yield _of_arrays(expected, actual, bits=bits, rtol=rtol)
    elif isinstance(expected, Mapping) and isinstance(actual, Mapping):
        if list(expected) != list(actual):
            yield _Difference(f"the keys are {list(actual)}, should be {list(expected)}")
            return
        for key in expected:
            yield from _differences(expected[key], actual[key], bits=bits, rtol=rtol)
    elif isinstance(expected, list | tuple) and isinstance(actual, list | tuple):
        if len(expected) != len(actual):
            yield _Difference(f"the sequence has {len(actual)} elements, should be {len(expected)}")
            return
        for pair in zip(expected, actual, strict=True):
            yield from _differences(*pair, bits=bits, rtol=rtol)
    elif type(expected) is not type(actual):
        yield _Difference(f"is {type(actual).__name__}, should be {type(expected).__name__}")
    elif isinstance(expected, float):
        yield _of_arrays(np.asarray(expected, np.float32), np.asarray(actual, np.float32), bits=bits, rtol=rtol)
    else:
        yield _Difference("" if expected == actual else f"is {actual!r}, should be {expected!r}")


def _of_arrays(expected: np.ndarray, actual: np.ndarray, *, bits: bool, rtol: float) -> _Difference:
    if expected.dtype != actual.dtype:
        return _Difference(f"the type is {actual.dtype}, should be {expected.dtype}")
    if expected.shape != actual.shape:
        return _Difference(f"the shape is {list(actual.shape)}, should be {list(expected.shape)}")
    epsilon = _epsilon(expected.dtype)
    if epsilon is None:
        count = int(np.count_nonzero(expected != actual))
        return _Difference(f"{count} of {expected.size} elements differ" if count else "")
    if _same_bytes(expected, actual):
        return _Difference()
    return _of_floats(expected, actual, bits=bits, tolerance=max(rtol, epsilon))


def _of_floats(expected: np.ndarray, actual: np.ndarray, *, bits: bool, tolerance: float) -> _Difference:
    """Compare in float64, where the difference of two elements of any smaller type is exact enough to judge."""
    wide, other = expected.astype(np.float64), actual.astype(np.float64)
    nans = np.isnan(wide)
    if not np.array_equal(nans, np.isnan(other)):
        return _Difference(f"{int(np.isnan(other).sum())} elements are NaN, should be {int(nans.sum())}, or elsewhere")
    finite = np.isfinite(wide)
    infinite = ~finite & ~nans
    if not np.array_equal(wide[infinite], other[infinite]) or not np.isfinite(other[finite]).all():
        return _Difference("infinities differ")
    reference, gap = np.abs(wide[finite]), np.abs(wide[finite] - other[finite])
    absolute, scale = float(gap.max(initial=0.0)), float(reference.max(initial=0.0))
    scaled = _ratio(absolute, scale)
    nonzero = reference > 0
    relative = float((gap[nonzero] / reference[nonzero]).max(initial=0.0))
    reason = ""
    if bits:
        unequal = (_pattern(expected) != _pattern(actual)).reshape(-1) & ~nans.reshape(-1)
        if count := int(unequal.sum()):
            reason = f"{count} of {expected.size} elements differ in bits, by {absolute:.3g} at most"
    elif scaled > tolerance:
        reason = f"differs by {absolute:.3g}, {scaled:.3g} of the tensor's scale, should be at most {tolerance:.3g}"
    return _Difference(reason, absolute, scaled, relative)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else (float("inf") if part else 0.0)


def _same_bytes(expected: np.ndarray, actual: np.ndarray) -> bool:
    return bool(np.array_equal(_pattern(expected), _pattern(actual)))


def _pattern(array: np.ndarray) -> np.ndarray:
    """The elements' bit patterns, in one row."""
    return np.ascontiguousarray(array).reshape(-1).view(f"u{array.itemsize}")


def _epsilon(dtype: np.dtype[Any]) -> float | None:
    """The spacing of a float type's numbers at 1; None for types whose equality is exact."""
    try:
        return float(ml_dtypes.finfo(dtype).eps)  # type: ignore[no-untyped-call]
    except (ValueError, TypeError, KeyError):
        return None
