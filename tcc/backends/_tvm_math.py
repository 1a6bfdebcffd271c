"""Transcendental functions of float32 as polynomials over whole vectors; LLVM calls libm element by element."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

# An extra: whoever calls has checked that it is there.
with contextlib.suppress(ModuleNotFoundError):
    from tvm import tirx

_LEVEL = 99
"""Above the rules of TVM's own LLVM back end, which has 10."""
_LOG2E = 1.44269504088896341
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4
"""Two parts of ln 2, the first with so few bits that its products with exponents are exact."""
_EXP_LOW, _EXP_HIGH = -87.3, 89.0
"""Below, 0 (such results are 1e-38 and less), above, infinity."""
_EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
"""Cephes, expf: (exp(x) - 1 - x) / x² for |x| ≤ ln 2 / 2, the highest power first."""
_LOG = (
    7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
    2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
)  # fmt: skip
"""Cephes, logf: (log(1 + x) - x + x²/2) / x³ for 1/√2 ≤ 1 + x ≤ √2."""
_TANH_END = 9.0
_TANH = (
    (-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08, 1.48572235717979e-05,
     6.37261928875436e-04, 4.89352455891786e-03),
    (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03),
)  # fmt: skip
"""Eigen, generic_fast_tanh_float: tanh(x) / x as a quotient of polynomials in x²."""
_ERF_END = 4.0
_ERF = (
    (-2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05, -7.34990630326855e-04,
     -2.95459980854025e-03, -1.60960333262415e-02),
    (-1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03,
     -1.42647390514189e-02),
)  # fmt: skip
"""Eigen, erf of float: erf(x) / x likewise."""
_MANTISSA, _BIAS = 23, 127
_INFINITY = float("inf")


@cache
def register() -> None:
    """Make TVM lower its functions so for LLVM; once, since it takes no second rule of one level."""
    for function in (exp, sigmoid, tanh, erf, log):
        lowered = _lowering(function)
        tirx.register_intrin_lowering(f"tirx.{function.__name__}", target="llvm", f=lowered, level=_LEVEL)


def _lowering(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The lowering of a call, of however many lanes; other types than float32 and float16 stay calls of libm."""

    def lowered(call: Any) -> Any:
        kind = str(call.ty.dtype).partition("x")[0]
        if kind == "float16":
            wide = tirx.Cast(_as(call, "float32"), call.args[0])
            return tirx.Cast(str(call.ty.dtype), _bound(wide, function))
        return _bound(call.args[0], function) if kind == "float32" else call

    return lowered


def _bound(value: Any, body: Callable[[Any], Any]) -> Any:
    """``body`` of ``value``, which is computed once however often it is read."""
    name = tirx.Var("v", value.ty.dtype)
    return tirx.Let(name, value, body(name))


def _like(value: Any, number: float, dtype: str = "float32") -> Any:
    """The number in ``dtype`` in as many lanes as the value has."""
    _, _, lanes = str(value.ty.dtype).partition("x")
    return tirx.const(number, f"{dtype}x{lanes}" if lanes else dtype)


def _as(value: Any, dtype: str) -> str:
    return str(_like(value, 0, dtype).ty.dtype)


def _clamped(value: Any, low: float, high: float) -> Any:
    """NaN stays NaN: comparisons with it are false."""
    inside = tirx.Select(value < _like(value, low), _like(value, low), value)
    return _bound(inside, lambda v: tirx.Select(v > _like(v, high), _like(v, high), v))


def _polynomial(value: Any, coefficients: Sequence[float]) -> Any:
    made = _like(value, coefficients[0])
    for coefficient in coefficients[1:]:
        made = made * value + _like(value, coefficient)
    return made


def exp(value: Any) -> Any:
    """Exponential: 2ⁿ times that of a rest, within ln 2 / 2; right within 2 units of the last digit."""
    return _bound(_clamped(value, _EXP_LOW, _EXP_HIGH), _exp_inside)


def _exp_inside(x: Any) -> Any:
    def scaled(n: Any) -> Any:
        # 2ⁿ is made as 2 · 2ⁿ⁻¹, since 2¹²⁸ is none of float32's.
        bits = tirx.Cast(_as(x, "int32"), n) + _like(x, _BIAS - 1, "int32")
        power = tirx.reinterpret(_as(x, "float32"), bits << _like(x, _MANTISSA, "int32"))
        rest = x - n * _like(x, _LN2_HIGH) - n * _like(x, _LN2_LOW)
        series = _bound(rest, lambda r: _polynomial(r, _EXP) * r * r + r + _like(r, 1.0))
        return series * power * _like(x, 2.0)

    return _bound(tirx.floor(x * _like(x, _LOG2E) + _like(x, 0.5)), scaled)


def sigmoid(value: Any) -> Any:
    """1 / (1 + exp(-x))."""
    return _like(value, 1.0) / (_like(value, 1.0) + exp(_like(value, 0.0) - value))


def tanh(value: Any) -> Any:
    """Within 1e-7."""
    return _odd(value, _TANH_END, _TANH)


def erf(value: Any) -> Any:
    """Within 2e-7."""
    return _odd(value, _ERF_END, _ERF)


def _odd(value: Any, end: float, parts: tuple[Sequence[float], Sequence[float]]) -> Any:
    """The argument x times a quotient of polynomials in x², which is constant from ``end`` on."""

    def quotient(x: Any) -> Any:
        return _bound(x * x, lambda s: x * _polynomial(s, parts[0]) / _polynomial(s, parts[1]))

    return _bound(_clamped(value, -end, end), quotient)


def log(value: Any) -> Any:
    """Logarithm: that of a mantissa in [√½, √2), and a multiple of ln 2; right within 2 units of the last digit."""
    bits = tirx.reinterpret(_as(value, "int32"), value)
    # What is added carries into the exponent from √2 on.
    shifted = bits + _like(value, _ONE - _HALF_ROOT, "int32")

    def split(moved: Any) -> Any:
        exponent = (moved >> _like(value, _MANTISSA, "int32")) - _like(value, _BIAS, "int32")
        mantissa = (moved & _like(value, (1 << _MANTISSA) - 1, "int32")) + _like(value, _HALF_ROOT, "int32")
        rest = tirx.reinterpret(_as(value, "float32"), mantissa) - _like(value, 1.0)
        power = tirx.Cast(_as(value, "float32"), exponent)
        return _bound(power, lambda e: _bound(rest, lambda r: _log_of(r, e)))

    finite = _bound(shifted, split)
    special = tirx.Select(value == _like(value, 0.0), _like(value, -_INFINITY), _like(value, float("nan")))
    finite = tirx.Select(value > _like(value, 0.0), finite, special)
    return tirx.Select(value == _like(value, _INFINITY), value, finite)


_ONE, _HALF_ROOT = 0x3F800000, 0x3F3504F3
"""The bits of 1 and of √½."""


def _log_of(r: Any, e: Any) -> Any:
    small = _polynomial(r, _LOG) * r * r * r + e * _like(r, _LN2_LOW) - _like(r, 0.5) * r * r
    return r + small + e * _like(r, _LN2_HIGH)
