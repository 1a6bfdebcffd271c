"""Instances of ``tcc.rewrites.common_operands``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.rules.draw import Draw, Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

_FLOATS = ("float32", "float32", "float64")


def _product(draw: Draw, x: Value, y: Value) -> Value:
    return draw.node("Mul", *draw.shuffled((x, y)))


def common_factor(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    shape, dtype = draw.shape(1, 3), draw.choice(_FLOATS)
    x = draw.tensor(shape, dtype)
    parts = [draw.tensor(draw.broadcast_to(shape), dtype, symbols=0.0) for _ in range(2)]
    return draw.model(draw.node(draw.choice(("Add", "Sub")), *(_product(draw, x, y) for y in parts)))


def common_factor__integer(draw: Draw) -> onnx.ModelProto:
    draw.versions(14)
    x, y, z = (draw.input((2, 3), "int64") for _ in range(3))
    return draw.model(draw.node("Add", _product(draw, x, y), _product(draw, x, z)))


def common_factor__other(draw: Draw) -> onnx.ModelProto:
    """No factor is in both."""
    draw.versions(9)
    x, y, z, u = (draw.input((2, 3)) for _ in range(4))
    return draw.model(draw.node("Add", _product(draw, x, y), _product(draw, z, u)))


def _order(draw: Draw, rank: int) -> list[int]:
    order = draw.shuffled(range(rank))
    return order[1:] + order[:1] if order == sorted(order) else order


def _moved(draw: Draw, shapes: Sequence[Sequence[int]], order: Sequence[int]) -> list[Value]:
    return [draw.node("Transpose", draw.tensor(shape, symbols=0.0), perm=list(order)) for shape in shapes]


def common_permutation(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    rank = draw.integer(2, 4)
    shape = [draw.integer(2, 4) for _ in range(rank)]
    order = _order(draw, rank)
    # The other one may be broadcast, as long as the permutation moves what is left of it.
    other = [1, *shape[1:]] if rank > 2 and order[0] == rank - 1 and order[-1] != 1 else shape
    return draw.model(draw.node(draw.choice(("Add", "Sub", "Mul", "Div")), *_moved(draw, (shape, other), order)))


def common_permutation__of_other_ranks(draw: Draw) -> onnx.ModelProto:
    """What reverses all axes has no permutation stated, and stands for another one where there are more."""
    draw.versions(13)
    x, y = (draw.node("Transpose", draw.input(shape)) for shape in ((3, 3, 3), (3, 3)))
    return draw.model(draw.node("Add", x, y))


def common_permutation__of_two_permutations(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    x, y = (draw.node("Transpose", draw.input((3, 3, 3)), perm=perm) for perm in ([1, 2, 0], [2, 0, 1]))
    return draw.model(draw.node("Add", x, y))


def common_permutation_of_joined(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    rank = draw.integer(2, 4)
    shape = [draw.integer(2, 4) for _ in range(rank)]
    order = _order(draw, rank)
    axis = draw.integer(0, rank - 1)
    shapes = []
    for _ in range(draw.integer(2, 4)):
        own = list(shape)
        own[order[axis]] = draw.integer(2, 4)
        shapes.append(own)
    joined = draw.node("Concat", *_moved(draw, shapes, order), axis=axis - rank * draw.chance())
    return draw.model(joined)


def common_permutation_of_joined__of_two_permutations(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    x, y = (draw.node("Transpose", draw.input((3, 3, 3)), perm=perm) for perm in ([1, 2, 0], [2, 0, 1]))
    return draw.model(draw.node("Concat", x, y, axis=draw.integer(0, 2)))
