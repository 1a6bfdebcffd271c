"""Convolutions and matrix products as TVM computes them here: operands packed for the registers, bodies in TE."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tcc.backends._tvm_tiles import Plan, Processor, Tile, plan

# An extra: whoever calls has checked that it is there.
with contextlib.suppress(ModuleNotFoundError):
    from tvm import relax, te
    from tvm.ir import GenericConst

ACCUMULATE, PACK, PAD, OUT, DEPTHWISE = "tcc_accumulate", "tcc_pack", "tcc_pad", "tcc_out", "tcc_depthwise"
"""The names of the blocks that schedules look for."""
ROWS, FLAT = "tcc_rows", "tcc_flat"
"""The annotations of an accumulating block: its tile's rows, and whether they run over all leading axes as one."""
_FUSABLE = 4
"""TVM's kOutEWiseFusable: elementwise operators that follow join the function."""
Legalizer = Callable[[Any, Any], Any]


def legalizers(chip: Processor, made: list[str]) -> dict[str, Legalizer]:
    """How relax's operators become functions of this module; others, and what does not fit, keep TVM's own.

    ``made`` collects what was lowered here.
    """
    return {
        "relax.matmul": lambda builder, call: _matmul(builder, call, chip, made),
        "relax.nn.conv2d": lambda builder, call: _conv2d(builder, call, chip, made),
    }


@dataclass(frozen=True)
class Window:
    """How a convolution slides: ``size`` is that of its NHWC output; padding is top, left, bottom, right."""

    size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]


def _default(builder: Any, call: Any) -> Any:
    return call.op.get_attr("FLegalize")(builder, call)


def _sizes(value: Any) -> tuple[int, ...] | None:
    shape = value.ty.shape
    if shape is None or not all(hasattr(size, "value") for size in shape):
        return None
    return tuple(int(size) for size in shape)


def _constant(value: Any) -> np.ndarray | None:
    return value.value.numpy() if isinstance(value, GenericConst) else None


def _emit(builder: Any, function: Callable[..., Any], *arguments: Any, hint: str) -> Any:
    attributes = {"op_pattern": _FUSABLE}
    return builder.call_te(function, *arguments, primfunc_name_hint=hint, primfunc_attrs=attributes)


def _matmul(builder: Any, call: Any, chip: Processor, made: list[str]) -> Any:
    left, right = (_sizes(value) for value in call.args)
    if left is None or right is None or len(left) < 2 or call.ty.dtype != "float32":
        return _default(builder, call)
    weight = _constant(call.args[1])
    if weight is not None and weight.ndim == 2:
        chosen = plan(left[:-1], right[1], right[0], chip)
        made.append(_described("matmul", left[:-1], right[1], right[0], chosen))
        packed = relax.const(pack(weight, chosen.tile))
        return _emit(builder, lambda a, w: product(a, w, right[1], chosen), call.args[0], packed, hint="tcc_matmul")
    if len(left) != len(right) or left[:-2] != right[:-2] or len(left) < 3:
        return _default(builder, call)
    tile = plan(left[-2:-1], right[-1], right[-2], chip).tile
    made.append(_described("batched matmul", left[:-1], right[-1], right[-2], Plan(tile, flat=False)))
    return _emit(builder, lambda a, b: batched(a, b, tile), *call.args, hint="tcc_batched")


def _described(what: str, outer: Sequence[int], columns: int, depth: int, chosen: Plan) -> str:
    """For the report: ``matmul 1x197 x 768 x 192 in 8x48``."""
    tile = chosen.tile
    return f"{what} {'x'.join(map(str, outer))} x {columns} x {depth} in {tile.rows}x{tile.columns}"


def pack(weight: np.ndarray, tile: Tile) -> np.ndarray:
    """[K, N] → [⌈N/n⌉, K, n], zeros behind the last column."""
    depth, columns = weight.shape
    blocks = -(-columns // tile.columns)
    padded = np.zeros((depth, blocks * tile.columns), weight.dtype)
    padded[:, :columns] = weight
    return np.ascontiguousarray(padded.reshape(depth, blocks, tile.columns).transpose(1, 0, 2))


def _unravelled(index: Any, sizes: Sequence[int]) -> list[Any]:
    """The indices of a flat index, in row-major order."""
    indices = []
    for size in reversed(sizes[1:]):
        indices.append(te.indexmod(index, size))
        index = te.indexdiv(index, size)
    return [index, *reversed(indices)]


def _ravelled(indices: Sequence[Any], sizes: Sequence[int]) -> Any:
    flat = indices[0]
    for index, size in zip(indices[1:], sizes[1:], strict=True):
        flat = flat * size + index
    return flat


def _upto(size: int, step: int) -> int:
    return -(-size // step) * step


def product(a: Any, w: Any, columns: int, chosen: Plan) -> Any:
    """[..., K] times packed [⌈N/n⌉, K, n] → [..., N]."""
    outer, depth = [int(size) for size in a.shape[:-1]], int(a.shape[-1])
    lead = [1] if chosen.flat else outer[:-1]
    rows = math.prod(outer) if chosen.flat else outer[-1]
    count, n = math.prod(lead), chosen.tile.columns
    padded = _upto(rows, chosen.tile.rows)

    def element(g: Any, m: Any, k: Any) -> Any:
        return a(*(_unravelled(m, outer) if chosen.flat else [*_unravelled(g, lead), m]), k)

    source = _rows_padded(element, count, rows, padded, depth)
    axis = te.reduce_axis((0, depth), "k")
    total = te.compute(
        (count, padded, int(w.shape[0]) * n),
        lambda g, m, j: te.sum(source(g, m, axis) * w[te.indexdiv(j, n), axis, te.indexmod(j, n)], axis),
        name=ACCUMULATE, attrs={ROWS: chosen.tile.rows, FLAT: int(chosen.flat)},
    )  # fmt: skip

    def out(*indices: Any) -> Any:
        *where, column = indices
        if chosen.flat:
            return total(0, _ravelled(where, outer), column)
        return total(_ravelled(where[:-1], lead), where[-1], column)

    return te.compute((*outer, columns), out, name=OUT)


def _rows_padded(
    element: Callable[[Any, Any, Any], Any], count: int, rows: int, padded: int, depth: int
) -> Callable[[Any, Any, Any], Any]:
    """The rows, with zeros behind the last one where a tile reaches further."""
    if padded == rows:
        return element
    made: Callable[[Any, Any, Any], Any] = te.compute(
        (count, padded, depth),
        lambda g, m, k: te.if_then_else(m < rows, element(g, te.min(m, rows - 1), k), 0.0), name=PAD,
    )  # fmt: skip
    return made


def batched(a: Any, b: Any, tile: Tile) -> Any:
    """[..., M, K] times [..., K, N], both computed at run time: the second is packed first."""
    outer = [int(size) for size in a.shape[:-2]]
    rows, depth, columns = int(a.shape[-2]), int(a.shape[-1]), int(b.shape[-1])
    count, n = math.prod(outer), tile.columns
    down, across = _upto(rows, tile.rows), _upto(columns, n)
    packed = te.compute(
        (count, across // n, depth, n),
        lambda g, t, k, j: te.if_then_else(
            t * n + j < columns, b(*_unravelled(g, outer), k, te.min(t * n + j, columns - 1)), 0.0
        ), name=PACK,
    )  # fmt: skip
    source = _rows_padded(lambda g, m, k: a(*_unravelled(g, outer), m, k), count, rows, down, depth)
    axis = te.reduce_axis((0, depth), "k")
    total = te.compute(
        (count, down, across),
        lambda g, m, j: te.sum(source(g, m, axis) * packed[g, te.indexdiv(j, n), axis, te.indexmod(j, n)], axis),
        name=ACCUMULATE, attrs={ROWS: tile.rows, FLAT: 0},
    )  # fmt: skip
    return te.compute(
        (*outer, rows, columns), lambda *i: total(_ravelled(i[:-2], outer), i[-2], i[-1]), name=OUT
    )  # fmt: skip


def _conv2d(builder: Any, call: Any, chip: Processor, made: list[str]) -> Any:
    data, weight = _sizes(call.args[0]), _constant(call.args[1])
    attributes = call.attrs
    groups = int(attributes.groups)
    if data is None or weight is None or attributes.data_layout != "NHWC" or call.ty.dtype != "float32":
        return _default(builder, call)
    strides, dilation = (tuple(map(int, values)) for values in (attributes.strides, attributes.dilation))
    padding = tuple(map(int, attributes.padding))
    outputs, high, wide, inputs = weight.shape
    size = _sizes(call)
    assert size is not None
    window = Window(size, strides, padding, dilation)
    if groups == data[-1] and outputs == groups and inputs == 1:
        taps = np.ascontiguousarray(weight[..., 0].transpose(1, 2, 0))
        made.append(f"depthwise {size[1]}x{size[2]}x{size[3]}")
        return _emit(
            builder, lambda a, w: depthwise(a, w, window), call.args[0], relax.const(taps),
            hint="tcc_depthwise",
        )  # fmt: skip
    if groups != 1:
        return _default(builder, call)
    matrix = weight.transpose(1, 2, 3, 0).reshape(-1, outputs)
    if high == wide == 1 and strides == (1, 1) and not any(padding):
        chosen = plan(size[:-1], outputs, inputs, chip)
        made.append(_described("convolution 1x1", size[:-1], outputs, inputs, chosen))
        packed = relax.const(pack(matrix, chosen.tile))
        return _emit(builder, lambda a, w: product(a, w, outputs, chosen), call.args[0], packed, hint="tcc_conv1x1")
    tile = plan(size[2:3], outputs, high * wide * inputs, chip).tile
    made.append(_described(f"convolution {high}x{wide}", size[:-1], outputs, inputs, Plan(tile, flat=False)))
    packed = relax.const(pack(matrix, tile).reshape(-1, high, wide, inputs, tile.columns))
    return _emit(
        builder, lambda a, w: convolution(a, w, window, tile), call.args[0], packed,
        hint="tcc_conv",
    )  # fmt: skip


def _padded(a: Any, padding: Sequence[int], width: int) -> Any:
    """NHWC with zeros around, and to the right as far as ``width`` columns; the tensor itself where none are."""
    top, left, bottom, _ = padding
    n, high, wide, channels = (int(size) for size in a.shape)
    if not (top or left or bottom) and width <= wide:
        return a
    return te.compute(
        (n, high + top + bottom, max(width, wide + left), channels),
        lambda b, h, w, c: te.if_then_else(
            te.all(h >= top, h < high + top, w >= left, w < wide + left), a(b, h - top, w - left, c), 0.0
        ), name=PAD,
    )  # fmt: skip


def convolution(a: Any, w: Any, window: Window, tile: Tile) -> Any:
    """NHWC with weights packed [⌈O/n⌉, KH, KW, I, n] → NHWC; a row of the output is computed in tiles of pixels."""
    blocks, high, wide, inputs, n = (int(extent) for extent in w.shape)
    size, strides, dilation = window.size, window.strides, window.dilation
    across = _upto(size[2], tile.rows)
    needed = (across - 1) * strides[1] + (wide - 1) * dilation[1] + 1
    source = _padded(a, window.padding, needed)
    y, x, c = te.reduce_axis((0, high), "y"), te.reduce_axis((0, wide), "x"), te.reduce_axis((0, inputs), "c")
    total = te.compute(
        (size[0], size[1], across, blocks * n),
        lambda b, i, j, o: te.sum(
            source(b, i * strides[0] + y * dilation[0], j * strides[1] + x * dilation[1], c)
            * w[te.indexdiv(o, n), y, x, c, te.indexmod(o, n)], [y, x, c],
        ), name=ACCUMULATE, attrs={ROWS: tile.rows, FLAT: 0},
    )  # fmt: skip
    return te.compute(tuple(size), total, name=OUT)


def depthwise(a: Any, w: Any, window: Window) -> Any:
    """NHWC with weights [KH, KW, C] → NHWC."""
    high, wide = int(w.shape[0]), int(w.shape[1])
    size, strides, dilation = window.size, window.strides, window.dilation
    source = _padded(a, window.padding, (size[2] - 1) * strides[1] + (wide - 1) * dilation[1] + 1)
    y, x = te.reduce_axis((0, high), "y"), te.reduce_axis((0, wide), "x")
    total = te.compute(
        tuple(size),
        lambda b, i, j, c: te.sum(
            source(b, i * strides[0] + y * dilation[0], j * strides[1] + x * dilation[1], c) * w[y, x, c], [y, x]
        ), name=DEPTHWISE,
    )  # fmt: skip
    return te.compute(tuple(size), total, name=OUT)
