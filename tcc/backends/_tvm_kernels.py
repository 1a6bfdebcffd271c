"""Convolutions and matrix products as TVM computes them here: operands packed for the registers, bodies in TE."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tcc.backends._tvm_integers import widened
from tcc.backends._tvm_tiles import Tiles
from tcc.cost_models._tiles import WIDTH, Dot, Kernel, Plan, Tile

# An extra: whoever calls has checked that it is there.
with contextlib.suppress(ModuleNotFoundError):
    from tvm import relax, te
    from tvm.ir import GenericConst

ACCUMULATE, PACK, PAD, OUT, DEPTHWISE = "tcc_accumulate", "tcc_pack", "tcc_pad", "tcc_out", "tcc_depthwise"
"""The names of the blocks that schedules look for."""
ROWS, COLUMNS, FLAT, DOT = "tcc_rows", "tcc_columns", "tcc_flat", "tcc_dot"
"""The annotations of an accumulating block: its tile's rows and columns, whether rows run over all leading axes as one,
and the name of the instruction that adds up products of bytes ('' for floats)."""
_FUSABLE = 4
"""TVM's kOutEWiseFusable: elementwise operators that follow join the function."""
Legalizer = Callable[[Any, Any], Any]


def legalizers(tiles: Tiles) -> dict[str, Legalizer]:
    """How relax's operators become functions of this module; others, and what does not fit, keep TVM's own.

    ``tiles`` says in which tiles, and notes what was lowered here.
    """
    return {
        "relax.matmul": lambda builder, call: _matmul(builder, call, tiles),
        "relax.nn.conv2d": lambda builder, call: _conv2d(builder, call, tiles),
    }


@dataclass(frozen=True)
class Window:
    """How a convolution slides: ``size`` is that of its NHWC output; padding is top, left, bottom, right.

    ``filled`` is what stands in the padding: of bytes it is their zero point.
    """

    size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    filled: int = 0


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


def _matmul(builder: Any, call: Any, tiles: Tiles) -> Any:
    given, zero, dot = _data(builder, call, tiles)
    left, right, weight = _sizes(given), _sizes(call.args[1]), _constant(call.args[1])
    if left is None or right is None or len(left) < 2 or (dot is None and not _floats(call)):
        return _default(builder, call)
    what = "matmul" if dot is None else "matmul int8"
    if weight is not None and weight.ndim == 2:
        chosen = tiles.take(Kernel(what, left[:-1], right[1], right[0]))
        packed, off = relax.const(pack(weight, chosen.tile, dot)), _off(zero, weight.sum(axis=0))
        return _emit(
            builder, lambda a, w, *o: product(a, w, right[1], chosen, dot, *o), given, packed, *off, hint="tcc_matmul"
        )  # fmt: skip
    other = (call.args[1], 0) if dot is None else widened(builder, call.args[1])
    fits = len(left) == len(right) and left[:-2] == right[:-2] and len(left) >= 3
    if not fits or other is None or other[1] or zero or (dot is not None and str(other[0].ty.dtype) != "int8"):
        return _default(builder, call)
    tile = tiles.take(Kernel(f"batched {what}", left[:-1], right[-1], right[-2])).tile
    return _emit(builder, lambda a, b: batched(a, b, tile, dot), given, other[0], hint="tcc_batched")


def pack(weight: np.ndarray, tile: Tile, dot: Dot | None = None) -> np.ndarray:
    """[K, N] → [⌈N/n⌉, K, n], of bytes [⌈N/n⌉, ⌈K/4⌉, n, 4]; zeros behind the last column and row."""
    depth, columns = weight.shape
    blocks = -(-columns // tile.columns)
    steps = WIDTH if dot is not None else 1
    kind = np.int8 if dot is not None else weight.dtype
    padded = np.zeros((_upto(depth, steps), blocks * tile.columns), kind)
    padded[:depth, :columns] = weight
    made = padded.reshape(-1, steps, blocks, tile.columns).transpose(2, 0, 3, 1)
    return np.ascontiguousarray(made if dot is not None else made[..., 0])


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


def product(a: Any, w: Any, columns: int, chosen: Plan, dot: Dot | None = None, *off: Any) -> Any:
    """[..., K] times packed [⌈N/n⌉, K, n] less ``off`` [N] → [..., N]."""
    outer, depth = [int(size) for size in a.shape[:-1]], int(a.shape[-1])
    lead = [1] if chosen.flat else outer[:-1]
    rows = math.prod(outer) if chosen.flat else outer[-1]
    count, n = math.prod(lead), chosen.tile.columns
    padded = _upto(rows, chosen.tile.rows)

    def element(g: Any, m: Any, k: Any) -> Any:
        return a(*(_unravelled(m, outer) if chosen.flat else [*_unravelled(g, lead), m]), k)

    source = _rows_padded(element, (count, rows, depth), padded, a.dtype, dot)
    total = te.compute(
        (count, padded, int(w.shape[0]) * n),
        _inner(
            (int(w.shape[1]),), dot, lambda g, m, _, k: source(g, m, k),
            lambda _, j, *k: w(te.indexdiv(j, n), k[0], te.indexmod(j, n), *k[1:]),
        ), name=ACCUMULATE, attrs=_marks(chosen, dot),
    )  # fmt: skip

    def out(*indices: Any) -> Any:
        *where, column = indices
        if chosen.flat:
            return total(0, _ravelled(where, outer), column)
        return total(_ravelled(where[:-1], lead), where[-1], column)

    return _out((*outer, columns), out, *off)


def _out(shape: Sequence[int], total: Callable[..., Any], *off: Any) -> Any:
    """The result, less what a zero point adds to each column, where there is one."""
    return te.compute(tuple(shape), lambda *i: total(*i) - sum(o(i[-1]) for o in off) if off else total(*i), name=OUT)


def _marks(chosen: Plan, dot: Dot | None) -> dict[str, Any]:
    return {ROWS: chosen.tile.rows, FLAT: int(chosen.flat), DOT: dot.name if dot is not None else ""}


def _inner(
    steps: Sequence[int], dot: Dot | None, left: Callable[..., Any], right: Callable[..., Any]
) -> Callable[..., Any]:
    """The sum over ``steps``, the last of which are elements (of bytes: fours), of ``left`` times ``right``.

    ``left`` takes the indices of the result, and those of a sum of floats; ``right`` the group, the column and the
    indices of the packed operand.
    """
    axes = [te.reduce_axis((0, size), f"k{i}") for i, size in enumerate(steps)]
    if dot is None:
        return lambda *i: te.sum(left(*i, *axes) * right(i[0], i[-1], *axes), axes)
    part = te.reduce_axis((0, WIDTH), "part")
    *outer, last = axes

    def term(*i: Any) -> Any:
        data, weight = left(*i, *outer, last * WIDTH + part), right(i[0], i[-1], *axes, part)
        return te.sum(data.astype("int32") * weight.astype("int32"), [*axes, part])

    return term


def _rows_padded(
    element: Callable[[Any, Any, Any], Any], shape: tuple[int, int, int], down: int, dtype: str, dot: Dot | None
) -> Callable[[Any, Any, Any], Any]:
    """The rows of ``shape`` (groups, rows, depth), with zeros behind the last one where a tile reaches further.

    Bytes are read in fours, and so the depth is filled up too.
    """
    count, rows, depth = shape
    full = _upto(depth, WIDTH) if dot is not None else depth
    if (down, full) == (rows, depth):
        return element
    made: Callable[[Any, Any, Any], Any] = te.compute(
        (count, down, full),
        lambda g, m, k: te.if_then_else(
            te.all(m < rows, k < depth), element(g, te.min(m, rows - 1), te.min(k, depth - 1)), te.const(0, dtype)
        ), name=PAD,
    )  # fmt: skip
    return made


def batched(a: Any, b: Any, tile: Tile, dot: Dot | None = None) -> Any:
    """[..., M, K] times [..., K, N], both computed at run time: the second is packed first."""
    outer = [int(size) for size in a.shape[:-2]]
    rows, depth, columns = int(a.shape[-2]), int(a.shape[-1]), int(b.shape[-1])
    count, n = math.prod(outer), tile.columns
    down, across = _upto(rows, tile.rows), _upto(columns, n)
    width = WIDTH if dot is not None else 1
    steps = -(-depth // width)

    def element(g: Any, t: Any, k: Any, j: Any, *part: Any) -> Any:
        row, column = k * width + sum(part), t * n + j
        value = b(*_unravelled(g, outer), te.min(row, depth - 1), te.min(column, columns - 1))
        return te.if_then_else(te.all(row < depth, column < columns), value, te.const(0, b.dtype))

    parts = (WIDTH,) if dot is not None else ()
    packed = te.compute((count, across // n, steps, n, *parts), element, name=PACK)
    source = _rows_padded(
        lambda g, m, k: a(*_unravelled(g, outer), m, k), (count, rows, depth), down, a.dtype, dot
    )  # fmt: skip
    total = te.compute(
        (count, down, across),
        _inner(
            (steps,), dot, lambda g, m, _, k: source(g, m, k),
            lambda g, j, *k: packed(g, te.indexdiv(j, n), k[0], te.indexmod(j, n), *k[1:]),
        ), name=ACCUMULATE, attrs=_marks(Plan(tile, flat=False), dot),
    )  # fmt: skip
    return te.compute(
        (*outer, rows, columns), lambda *i: total(_ravelled(i[:-2], outer), i[-2], i[-1]), name=OUT
    )  # fmt: skip


def _conv2d(builder: Any, call: Any, tiles: Tiles) -> Any:
    given, zero, dot = _data(builder, call, tiles)
    weight, groups, data = _constant(call.args[1]), int(call.attrs.groups), _sizes(given)
    if data is None or weight is None or call.attrs.data_layout != "NHWC" or (dot is None and not _floats(call)):
        return _default(builder, call)
    window = _window(call, zero)
    outputs, high, wide, inputs = weight.shape
    size = window.size
    matrix = weight.transpose(1, 2, 3, 0)
    off = _off(zero, matrix.reshape(-1, outputs).sum(axis=0)) if dot is not None else []
    if groups == data[-1] and outputs == groups and inputs == 1:
        taps = relax.const(np.ascontiguousarray(matrix[:, :, 0]).astype(np.float32))
        kernel = Kernel(f"depthwise{' int8' if dot else ''}", size[:-1], outputs, taps=high * wide)
        tile = tiles.take(kernel).tile if outputs % tiles.chip.lanes == 0 else None
        return _emit(
            builder, lambda a, w, *o: depthwise(a, w, window, tile, *o), given, taps, *off, hint="tcc_depthwise"
        )  # fmt: skip
    if groups != 1:
        return _default(builder, call) if dot is not None else _grouped(builder, call, window, tiles)
    what = f"convolution{'' if dot is None else ' int8'} {high}x{wide}"
    if high == wide == 1 and window.strides == (1, 1) and not any(window.padding):
        chosen = tiles.take(Kernel(what, size[:-1], outputs, inputs))
        packed = relax.const(pack(matrix.reshape(inputs, outputs), chosen.tile, dot))
        return _emit(
            builder, lambda a, w, *o: product(a, w, outputs, chosen, dot, *o), given, packed, *off, hint="tcc_conv1x1"
        )  # fmt: skip
    what += " strided" if high == wide == 1 else ""
    tile = tiles.take(Kernel(what, size[:-1], outputs, inputs, taps=high * wide)).tile
    each = [[pack(matrix[y, x], tile, dot) for x in range(wide)] for y in range(high)]
    packed = relax.const(np.ascontiguousarray(np.moveaxis(np.asarray(each), 2, 0)))
    return _emit(
        builder, lambda a, w, *o: convolution(a, w, window, tile, dot, *o), given, packed, *off, hint="tcc_conv"
    )  # fmt: skip


def _grouped(builder: Any, call: Any, window: Window, tiles: Tiles) -> Any:
    """As many groups at once as fill whole vectors with their outputs; zeros stand between them."""
    weight, groups, lanes = _constant(call.args[1]), int(call.attrs.groups), tiles.chip.lanes
    assert weight is not None
    outputs, high, wide, inputs = weight.shape
    merged = next((m for m in range(1, lanes + 1) if groups % m == 0 and outputs // groups * m % lanes == 0), 0)
    if not merged:
        return _default(builder, call)
    each, groups = outputs // groups, groups // merged
    matrix = np.zeros((high, wide, merged, inputs, outputs), weight.dtype)
    for column in range(outputs):
        matrix[:, :, column // each % merged, :, column] = weight[column]
    matrix = matrix.reshape(high, wide, merged * inputs, outputs)
    what = f"convolution {high}x{wide} in groups"
    tile = tiles.take(Kernel(what, window.size[:-1], outputs, merged * inputs, high * wide, outputs // groups)).tile
    each_tap = [[pack(matrix[y, x], tile) for x in range(wide)] for y in range(high)]
    packed = relax.const(np.ascontiguousarray(np.moveaxis(np.asarray(each_tap), 2, 0)))
    return _emit(
        builder, lambda a, w: convolution(a, w, window, tile, groups=groups), call.args[0], packed, hint="tcc_conv"
    )  # fmt: skip


def _data(builder: Any, call: Any, tiles: Tiles) -> tuple[Any, int, Dot | None]:
    """The first operand; of bytes without the widening, their zero point and the instruction for them."""
    given, chip = call.args[0], tiles.chip
    if chip.dot is None or str(call.ty.dtype) != "int32":
        return given, 0, None
    found, weight = widened(builder, given), _constant(call.args[1])
    if found is None or str(found[0].ty.dtype) != chip.dot.data:
        return given, 0, None
    if weight is not None and (weight.min(initial=0) < -_SIGN or weight.max(initial=0) >= _SIGN):
        return given, 0, None
    return *found, chip.dot


def _off(zero: int, sums: np.ndarray) -> list[Any]:
    """What a zero point adds to the sums over each column; nothing where it is 0."""
    return [relax.const((zero * sums).astype(np.int32))] if zero else []


_SIGN = 128


def _floats(call: Any) -> bool:
    return str(call.ty.dtype) == "float32" == str(call.args[0].ty.dtype)


def _window(call: Any, filled: int) -> Window:
    strides, padding, dilation = (
        tuple(map(int, values)) for values in (call.attrs.strides, call.attrs.padding, call.attrs.dilation)
    )
    return Window(_sizes(call) or (), strides, padding, dilation, filled)


def _padded(a: Any, window: Window, width: int, channels: int) -> Any:
    """NHWC with the padding around, as far as ``width`` columns and ``channels``; the tensor itself where that is."""
    top, left, bottom, _ = window.padding
    n, high, wide, inputs = (int(size) for size in a.shape)
    if not (top or left or bottom) and width <= wide and channels == inputs:
        return a
    return te.compute(
        (n, high + top + bottom, max(width, wide + left), channels),
        lambda b, h, w, c: te.if_then_else(
            te.all(h >= top, h < high + top, w >= left, w < wide + left, c < inputs),
            a(b, h - top, w - left, te.min(c, inputs - 1)), te.const(window.filled, a.dtype),
        ), name=PAD,
    )  # fmt: skip


def convolution(a: Any, w: Any, window: Window, tile: Tile, dot: Dot | None = None, *off: Any, groups: int = 1) -> Any:
    """NHWC with weights packed [⌈O/n⌉, KH, KW, I, n] → NHWC; a row of the output is computed in tiles of pixels.

    Of bytes the weights are [⌈O/n⌉, KH, KW, ⌈I/4⌉, n, 4]; ``off`` [O] is taken off the sums. With several ``groups``
    I is that of one of them, and n divides a group's outputs.
    """
    blocks, high, wide, steps, n = (int(extent) for extent in w.shape[:5])
    size, strides, dilation = window.size, window.strides, window.dilation
    across = _upto(size[2], tile.rows)
    needed = (across - 1) * strides[1] + (wide - 1) * dilation[1] + 1
    source = _padded(a, window, needed, steps * WIDTH if dot is not None else int(a.shape[3]))
    total = te.compute(
        (size[0], size[1], across, blocks * n),
        _inner(
            (high, wide, steps), dot,
            lambda b, i, j, o, y, x, c: source(
                b, i * strides[0] + y * dilation[0], j * strides[1] + x * dilation[1],
                te.indexdiv(te.indexdiv(o, n), blocks // groups) * steps + c if groups > 1 else c,
            ), lambda _, o, *k: w(te.indexdiv(o, n), *k[:3], te.indexmod(o, n), *k[3:]),
        ), name=ACCUMULATE, attrs=_marks(Plan(tile, flat=False), dot),
    )  # fmt: skip
    return _out(size, total, *off)


def depthwise(a: Any, w: Any, window: Window, tile: Tile | None, *off: Any) -> Any:
    """NHWC with weights [KH, KW, C] → NHWC, in tiles of pixels × channels.

    Bytes are added up in floats, which hold such sums exactly, to int32.
    """
    high, wide = int(w.shape[0]), int(w.shape[1])
    size, strides, dilation = window.size, window.strides, window.dilation
    source = _padded(a, window, (size[2] - 1) * strides[1] + (wide - 1) * dilation[1] + 1, int(a.shape[3]))
    y, x = te.reduce_axis((0, high), "y"), te.reduce_axis((0, wide), "x")
    total = te.compute(
        tuple(size),
        lambda b, i, j, c: te.sum(
            source(b, i * strides[0] + y * dilation[0], j * strides[1] + x * dilation[1], c).astype("float32")
            * w[y, x, c], [y, x]
        ), name=DEPTHWISE, attrs={} if tile is None else {ROWS: tile.rows, COLUMNS: tile.columns},
    )  # fmt: skip
    result = "float32" if a.dtype == "float32" else "int32"
    return _out(size, lambda *i: total(*i).astype(result), *off)
