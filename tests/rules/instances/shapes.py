"""Instances of ``tcc.rewrites.shapes``."""

from __future__ import annotations

import numpy as np
import onnx

from tests.rules import operators as op
from tests.rules.draw import Draw, Value

UNCONDITIONAL = frozenset({"entry_of_shape"})
COMPANIONS = {
    "view_of_size": ("size_of_symbol",),
    "where_on_shapes": ("size_of_symbol", "shape_from_sizes", "entry_of_shape"),
    "shape_from_sizes": ("size_of_symbol", "entry_of_shape"),
    "entry_of_shape": ("size_of_symbol", "shape_from_sizes"),
    "sizes_of_one_value": ("size_arithmetic", "size_of_symbol"),
    "size_arithmetic": ("gather_of_shape",),
    "product_of_sizes": ("sizes_of_one_value", "slice_of_shape", "size_of_symbol"),
}


def _symbolic(draw: Draw) -> tuple[Value, list[str | int]]:
    """An input with two symbolic and a few fixed sizes, and its declared dimensions."""
    declared: list[str | int] = draw.shuffled(["n", "m", *([3, 4][: draw.integer(1, 2)])])
    sizes = {"n": 2, "m": 5}
    shape = [size if isinstance(size, int) else sizes[size] for size in declared]
    return draw.input_of(draw.array(shape), names=declared), declared


Indices = int | list[int]


def _gathered(draw: Draw, x: Value, indices: Indices) -> Value:
    return draw.node("Gather", draw.node("Shape", x), draw.constant(np.array(indices, np.int64)))


def _notation(draw: Draw, axis: int, rank: int) -> int:
    return axis - rank if draw.chance(0.3) else axis


def gather_of_shape(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    x, declared = _symbolic(draw)
    fixed = [_notation(draw, axis, len(declared)) for axis, size in enumerate(declared) if isinstance(size, int)]
    options: list[Indices] = [fixed[0], fixed, [*fixed, *fixed], [fixed[-1]]]
    return draw.model(_gathered(draw, x, draw.choice(options)))


def gather_of_shape__symbolic(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    x, declared = _symbolic(draw)
    return draw.model(_gathered(draw, x, [declared.index("n"), declared.index(3)]))


def gather_of_shape__fed(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    index = draw.input_of(np.array(draw.integer(0, 1), np.int64))
    return draw.model(draw.node("Gather", draw.node("Shape", draw.input((2, 3), symbols=0.0)), index))


def gather_of_shape__of_part(draw: Draw) -> onnx.ModelProto:
    """The indices count from the start that the Shape is asked for."""
    draw.versions(15)
    x = draw.input((2, 3, 4, 5), symbols=0.3)
    part = draw.node("Shape", x, start=draw.choice((1, -2, None)), end=draw.choice((3, -1, 4, None)))
    return draw.model(draw.node("Gather", part, draw.constant(np.array([0, -1][: draw.integer(1, 2)], np.int64))))


def size_of_symbol(draw: Draw) -> onnx.ModelProto:
    """Two sizes of one symbol: of two inputs, each as a scalar or as a vector."""
    draw.versions(11)
    (x, first), (y, second) = _symbolic(draw), _symbolic(draw)
    symbol = draw.choice(("n", "m"))
    picked = []
    for value, declared in ((x, first), (y, second)):
        at = _notation(draw, declared.index(symbol), len(declared))
        size = _gathered(draw, value, at if draw.chance() else [at])
        picked.append(draw.node("Cast", size, to=onnx.TensorProto.FLOAT))
    return draw.model(draw.node("Add", *picked), *picked)


def size_of_symbol__other(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    x, declared = _symbolic(draw)
    scalar = draw.chance()
    sizes = [_gathered(draw, x, at if scalar else [at]) for at in (declared.index("n"), declared.index("m"))]
    return draw.model(draw.node("Sub", *sizes), *sizes)


def size_of_symbol__many(draw: Draw) -> onnx.ModelProto:
    """A vector of two equal sizes, and a matrix of one."""
    draw.versions(11)
    x, declared = _symbolic(draw)
    at = declared.index("n")
    table = draw.node("Gather", draw.node("Shape", x), draw.constant(np.array([[at]], np.int64)))
    return draw.model(_gathered(draw, x, [at, at]), _gathered(draw, x, [at]), table, _gathered(draw, x, at))


def slice_of_shape(draw: Draw) -> onnx.ModelProto:
    draw.versions(10)
    sizes = draw.shape(2, 5)
    declared: list[str | int] = list(sizes)
    if draw.chance():
        declared[0] = "n"
    shape = draw.node("Shape", draw.input_of(draw.array(sizes), names=declared))
    start = draw.integer(1, len(sizes) - 1)
    end = draw.choice((len(sizes), 2**31 - 1, 2**63 - 1, start + 1))
    axes, steps = draw.choice(((None, None), ([0], None), ([0], [1]), ([-1], [1])))
    return draw.model(op.slice_(draw, shape, [_notation(draw, start, len(sizes))], [end], axes, steps=steps))


def slice_of_shape__steps(draw: Draw) -> onnx.ModelProto:
    draw.versions(10)
    shape = draw.node("Shape", draw.input((2, 3, 4, 5), symbols=draw.choice((0.0, 0.3))))
    start, end, step = draw.choice(((0, 4, 2), (3, 0, -1), (-1, -9, -1), (1, 4, 2)))
    return draw.model(op.slice_(draw, shape, [start], [end], [0], steps=[step]))


def slice_of_shape__nothing(draw: Draw) -> onnx.ModelProto:
    draw.versions(10)
    shape = draw.node("Shape", draw.input((2, 3, 4), symbols=0.3))
    start, end = draw.choice(((2, 1), (3, 9), (0, 0), (1, -2)))
    sliced = op.slice_(draw, shape, [start], [end], [0])
    return draw.model(draw.node("Concat", sliced, draw.constant(np.array([7], np.int64)), axis=0))


def slice_of_shape__of_part(draw: Draw) -> onnx.ModelProto:
    draw.versions(15)
    part = draw.node(
        "Shape", draw.input((2, 3, 4, 5), symbols=0.2), start=draw.choice((1, -3)), end=draw.choice((4, -1))
    )
    return draw.model(op.slice_(draw, part, [draw.choice((0, 1, -1))], [draw.choice((9, 2))], [0]))


def view_of_size(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    (x, first), (y, second) = _symbolic(draw), _symbolic(draw)
    symbol = draw.choice(("n", "m"))
    scalar, vector = _gathered(draw, x, first.index(symbol)), _gathered(draw, y, [second.index(symbol)])
    if draw.chance():
        made = op.unsqueeze(draw, scalar, [0]) if draw.chance() else op.reshape(draw, scalar, [1])
    else:
        made = op.squeeze(draw, vector, draw.choice(([0], None)))
    outputs = [draw.node("Neg", v) for v in (scalar, vector, made)] if draw.opset > 12 else [scalar, vector, made]
    return draw.model(*outputs)


def view_of_size__matrix(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    x, declared = _symbolic(draw)
    scalar, vector = _gathered(draw, x, declared.index("n")), _gathered(draw, x, [declared.index("n")])
    return draw.model(op.reshape(draw, scalar, [1, 1]), op.unsqueeze(draw, vector, [0]), scalar)


def _target(draw: Draw, x: Value, declared: list[str | int]) -> Value:
    """The sizes of x as exporters write them: gathered one by one and concatenated, numbers as constants."""
    parts = [draw.constant(np.array([size], np.int64)) if isinstance(size, int) else _gathered(draw, x, [at])
             for at, size in enumerate(declared)]  # fmt: skip
    return draw.node("Concat", *parts, axis=0)


_SIZES: tuple[Indices, ...] = (2, 5, [-1, 5, 2, 5], [2, 2, 2, 2], 0)
"""What a size may well be equal to."""
_NO_SIZES: tuple[Indices, ...] = (-1, [-1, -1, -1, -1])


def _chosen_shape(draw: Draw, compared: Indices, *, swapped: bool = False) -> onnx.ModelProto:
    draw.versions(11)
    x, declared = _symbolic(draw)
    shape, other = _target(draw, x, declared), draw.constant(np.full(len(declared), 1, np.int64))
    against = draw.constant(np.array(compared if isinstance(compared, int) else compared[: len(declared)], np.int64))
    branches = (shape, other) if swapped else (other, shape)
    return draw.model(draw.node("Where", draw.node("Equal", *draw.shuffled((shape, against))), *branches))


def where_on_shapes(draw: Draw) -> onnx.ModelProto:
    return _chosen_shape(draw, draw.choice(_NO_SIZES), swapped=draw.chance(0.2))


def where_on_shapes__possible(draw: Draw) -> onnx.ModelProto:
    """A size may well be the number that it is compared with."""
    return _chosen_shape(draw, draw.choice(_SIZES), swapped=draw.chance())


def where_on_shapes__scalars(draw: Draw) -> onnx.ModelProto:
    """All scalars: the result has no dimension."""
    draw.versions(11)
    a, b = draw.constant(np.array(draw.integer(0, 1), np.int64)), draw.constant(np.array(0, np.int64))
    chosen = draw.node(
        "Where", draw.node("Equal", a, b), draw.constant(np.array(3, np.int64)), draw.constant(np.array(4))
    )
    x = draw.input((2, 3))
    return draw.model(draw.node("Mul", x, draw.node("Cast", chosen, to=onnx.TensorProto.FLOAT)), chosen)


def where_on_shapes__floats(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    a, b = draw.constant(np.array([0, 1], np.int64)), draw.constant(np.array([0, 0], np.int64))
    values = [draw.constant(np.array([0.5, 1.5], np.float32)), draw.constant(np.float32(2.5))]
    chosen = draw.node("Where", draw.node("Equal", a, b), *values)
    return draw.model(draw.node("Mul", draw.input((3, 2)), chosen), chosen)


def where_on_shapes__matrices(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    a, b = draw.constant(np.array([[0, 1]], np.int64)), draw.constant(np.array([0], np.int64))
    values = [draw.constant(np.array([5, 6], np.int64)), draw.constant(np.array([[7, 8]], np.int64))]
    chosen = draw.node("Where", draw.node("Equal", a, b), *values)
    return draw.model(draw.node("Add", draw.input((3, 2), "int64"), chosen), chosen)


def shape_from_sizes(draw: Draw) -> onnx.ModelProto:
    """One shape made in two ways: gathered size by size from one input, all at once from another."""
    draw.versions(11)
    x, declared = _symbolic(draw)
    y = draw.input_of(draw.array(x.shape), names=declared)
    gathered, whole = _target(draw, y, declared), draw.node("Shape", x)
    if draw.chance():
        longer = draw.node("Concat", whole, draw.constant(np.array([7], np.int64)), axis=0)
        whole = op.slice_(draw, longer, [0], [len(declared)], [0])
    z = draw.input_of(draw.array((int(np.prod(x.shape)),)), names=["all"])
    shaped = [draw.declare(draw.node("Reshape", z, shape), declared) for shape in (gathered, whole)]
    return draw.model(*shaped, whole)


def shape_from_sizes__other_order(draw: Draw) -> onnx.ModelProto:
    """The same symbols in another order, and an entry that is a number."""
    draw.versions(11)
    x, declared = _symbolic(draw)
    order = draw.shuffled(range(len(declared)))
    shape = _target(draw, x, declared)
    turned = draw.node("Gather", shape, draw.constant(np.array(order, np.int64)))
    joined = draw.node("Concat", turned, draw.constant(np.array([1], np.int64)), axis=0)
    y = draw.declare(draw.node("Reshape", x, joined), [*(declared[i] for i in order), 1])
    return draw.model(y, turned, shape)


def entry_of_shape(draw: Draw) -> onnx.ModelProto:
    """A shape taken whole from one input, and its sizes gathered from another with one more dimension."""
    draw.versions(11)
    x, declared = _symbolic(draw)
    y = draw.input_of(draw.array((9, *x.shape)), names=[9, *declared])
    sizes = [_gathered(draw, y, [at + 1]) for at, size in enumerate(declared) if isinstance(size, str)]
    z = draw.input_of(draw.array((int(np.prod(x.shape)),)), names=["all"])
    shaped = draw.declare(draw.node("Reshape", z, draw.node("Shape", x)), declared)
    first = draw.node("Concat", *sizes, draw.constant(np.array([7], np.int64)), axis=0)
    return draw.model(shaped, first, *sizes)


def _sizes_combined(draw: Draw, names: list[str | int]) -> onnx.ModelProto:
    draw.versions(13)
    x = draw.input_of(draw.array((4, 6)), names=names)
    shape = draw.node("Shape", x)
    a = draw.node("Gather", shape, draw.constant(np.array(draw.choice((0, 1)), np.int64)))
    b = draw.constant(np.array(draw.choice((2, 3)), np.int64))
    combined = draw.node(draw.choice(("Add", "Sub", "Mul", "Div")), a, b)
    if draw.chance():
        combined = op.unsqueeze(draw, combined, [0])
    return draw.model(draw.node("Mul", x, draw.node("Cast", combined, to=1)))


def size_arithmetic(draw: Draw) -> onnx.ModelProto:
    return _sizes_combined(draw, [4, 6])


def size_arithmetic__symbolic(draw: Draw) -> onnx.ModelProto:
    return _sizes_combined(draw, ["n", "m"])


def size_arithmetic__negative(draw: Draw) -> onnx.ModelProto:
    """Quotients of negative numbers are rounded towards zero."""
    draw.versions(13)
    x = draw.input((4, 6), symbols=0.0)
    size = draw.node("Gather", draw.node("Shape", x), draw.constant(np.array(0, np.int64)))
    less = draw.node("Sub", size, draw.constant(np.array(7, np.int64)))
    quotient = draw.node("Div", less, draw.constant(np.array(2, np.int64)))
    return draw.model(draw.node("Mul", x, draw.node("Cast", quotient, to=1)))


def _sizes_of(draw: Draw, x: Value, declared: list[str | int]) -> tuple[Value, Value]:
    first, second = (_gathered(draw, x, declared.index(symbol)) for symbol in ("n", "m"))
    return first, second


def sizes_of_one_value(draw: Draw) -> onnx.ModelProto:
    """A sum or product of sizes that is written in two ways."""
    draw.versions(11)
    (x, first), (y, second) = _symbolic(draw), _symbolic(draw)
    (n, m), (o, p) = _sizes_of(draw, x, first), _sizes_of(draw, y, second)
    two = draw.constant(np.array(2, np.int64))
    pairs = [
        (draw.node("Add", n, m), draw.node("Add", p, o)),
        (draw.node("Mul", n, two), draw.node("Add", o, o)),
        (
            draw.node("Mul", draw.node("Add", n, m), two),
            draw.node("Add", draw.node("Add", o, p), draw.node("Add", p, o)),
        ),
        (draw.node("Sub", draw.node("Add", n, m), n), p),
        (draw.node("Div", draw.node("Mul", n, m), m), o),
    ]
    made = [draw.node("Cast", size, to=onnx.TensorProto.FLOAT) for size in draw.choice(pairs)]
    return draw.model(draw.node("Add", *made), *made)


def sizes_of_one_value__of_others(draw: Draw) -> onnx.ModelProto:
    """Sizes that are alike, and a quotient that leaves something over."""
    draw.versions(11)
    (x, first), (y, second) = _symbolic(draw), _symbolic(draw)
    (n, m), (o, p) = _sizes_of(draw, x, first), _sizes_of(draw, y, second)
    two = draw.constant(np.array(2, np.int64))
    pairs = [
        (draw.node("Add", n, m), draw.node("Mul", o, p)),
        (draw.node("Mul", draw.node("Div", p, two), two), m),
        (draw.node("Sub", n, m), draw.node("Sub", p, o)),
    ]
    made = [draw.node("Cast", size, to=onnx.TensorProto.FLOAT) for size in draw.choice(pairs)]
    return draw.model(draw.node("Add", *made), *made)


def product_of_sizes(draw: Draw) -> onnx.ModelProto:
    """Sizes whose product is a number, or the one size that another node computes."""
    draw.versions(18)
    x, declared = _symbolic(draw)
    begin = draw.integer(0, len(declared) - 1)
    end = begin + 1
    while end < len(declared) and isinstance(declared[begin], int) and isinstance(declared[end], int):
        end += 1
    part = draw.node("Slice", draw.node("Shape", x), *(draw.constant(np.array([n])) for n in (begin, end, 0)))
    axes = draw.constant(np.array([0])) if draw.chance() else None
    count = draw.node("ReduceProd", part, axes, keepdims=draw.integer(0, 1))
    return draw.model(draw.node("Mul", count, _gathered(draw, x, [begin])))


def product_of_sizes__of_none(draw: Draw) -> onnx.ModelProto:
    """Without axes nothing is multiplied."""
    draw.versions(18)
    x, _ = _symbolic(draw)
    part = draw.node("Slice", draw.node("Shape", x), *(draw.constant(np.array([n])) for n in (0, 2, 0)))
    return draw.model(draw.node("Mul", draw.node("ReduceProd", part, noop_with_empty_axes=1), part))
