"""Convolutions over one axis, and transposed ones, written as convolutions over two axes, which have own kernels."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from tcc.backends._tvm_integers import mutated, operator, real

# An extra: whoever calls has checked that it is there.
with contextlib.suppress(ModuleNotFoundError):
    from tvm import relax


def over_two_axes(module: Any) -> Any:
    """The module with such convolutions rewritten; those over three axes and groups of transposed ones stay."""
    return mutated(module, _rewritten)


def _rewritten(builder: Any, call: Any) -> Any:
    name = operator(call)
    if name == "relax.nn.conv1d":
        return _of_one_axis(builder, call)
    if name in {"relax.nn.conv1d_transpose", "relax.nn.conv2d_transpose"}:
        return _transposed(builder, call)
    return None


def _of_one_axis(builder: Any, call: Any) -> Any:
    """[N, C, W] as [N, C, 1, W], with a window one high."""
    attributes = call.attrs
    if attributes.data_layout != "NCW" or attributes.kernel_layout != "OIW":
        return None
    data, weight = (builder.emit(relax.op.expand_dims(value, 2)) for value in call.args)
    left, right = map(int, attributes.padding)
    made = relax.op.nn.conv2d(
        data, weight, strides=(1, int(attributes.strides[0])), padding=(0, left, 0, right),
        dilation=(1, int(attributes.dilation[0])), groups=int(attributes.groups), data_layout="NCHW",
        kernel_layout="OIHW", out_dtype=attributes.out_dtype,
    )  # fmt: skip
    return relax.op.squeeze(builder.emit(made), [2])


def _transposed(builder: Any, call: Any) -> Any:
    """One convolution that computes s · s results beside each other for each position, then those put in their places.

    Of one axis: y[o] = Σ x[i] w[k] over i · s + k = o + p. With o + p = q · s + r and k = t · s + r that is
    Σ x[q - t] w[t · s + r] over t: for each r a convolution of x with every s-th element of w, turned round
    (Shi et al., Is the deconvolution layer the same as a convolutional layer?, 2016).
    """
    attributes, weight = call.attrs, real(builder, call.args[1])
    plain = attributes.groups == 1 and all(int(d) == 1 for d in attributes.dilation)
    if weight is None or not plain or not str(attributes.data_layout).startswith("NC"):
        return None
    data, padding, strides = call.args[0], list(map(int, attributes.padding)), list(map(int, attributes.strides))
    extra = list(map(int, attributes.output_padding))
    is_line = weight.ndim == _LINE
    if is_line:
        data, weight = builder.emit(relax.op.expand_dims(data, 2)), weight[:, :, None]
        padding, strides, extra = [0, padding[0], 0, padding[1]], [1, *strides], [0, *extra]
    batch, _, *size = (int(extent) for extent in data.ty.shape)
    before, after, window = padding[:2], padding[2:], weight.shape[2:]
    whole = [(n - 1) * s + k + e for n, s, k, e in zip(size, strides, window, extra, strict=True)]
    steps = [-(-k // s) for k, s in zip(window, strides, strict=True)]
    behind = [max(0, -(-(w - a) // s) - n) for w, a, s, n in zip(whole, after, strides, size, strict=True)]
    made = builder.emit(relax.op.nn.conv2d(
        data, relax.const(_phases(weight, strides, steps)),
        padding=(steps[0] - 1, steps[1] - 1, *behind), data_layout="NCHW", kernel_layout="OIHW",
    ))  # fmt: skip
    high, wide = (n + b for n, b in zip(size, behind, strict=True))
    outputs = weight.shape[1]
    made = builder.emit(relax.op.reshape(made, (batch, *strides, outputs, high, wide)))
    made = builder.emit(relax.op.permute_dims(made, [0, 3, 4, 1, 5, 2]))
    made = builder.emit(relax.op.reshape(made, (batch, outputs, high * strides[0], wide * strides[1])))
    ends = [w - a for w, a in zip(whole, after, strict=True)]
    if before != [0, 0] or ends != [high * strides[0], wide * strides[1]]:
        made = builder.emit(relax.op.strided_slice(made, [2, 3], before, ends))
    return relax.op.squeeze(made, [2]) if is_line else made


_LINE = 3


def _phases(weight: np.ndarray, strides: Sequence[int], steps: Sequence[int]) -> np.ndarray:
    """[I, O, KH, KW] → [SH · SW · O, I, TH, TW]: zeros behind the window, every s-th element, turned round."""
    inputs, outputs, high, wide = weight.shape
    padded = np.zeros((inputs, outputs, steps[0] * strides[0], steps[1] * strides[1]), weight.dtype)
    padded[:, :, :high, :wide] = weight
    parts = padded.reshape(inputs, outputs, steps[0], strides[0], steps[1], strides[1])[:, :, ::-1, :, ::-1]
    made = parts.transpose(3, 5, 1, 0, 2, 4)
    return np.ascontiguousarray(made.reshape(-1, inputs, *steps))
