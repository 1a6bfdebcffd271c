"""Instances of ``tcc.rewrites.products``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.rules import operators as op
from tests.rules.draw import Draw, Value

if TYPE_CHECKING:
    import onnx

_FLOATS = ("float32", "float32", "float64")


def _sizes(draw: Draw) -> tuple[int, int, int]:
    """Rows, inner size and columns of a product; rows and columns that may be 1 or equal."""
    return draw.choice((1, 2, 3, 4)), draw.integer(1, 5), draw.choice((1, 2, 3, 4))


def _one_way(draw: Draw, rows: int, columns: int) -> tuple[int, ...]:
    """A shape that broadcasts one way to the matrix."""
    return draw.choice(((), (1,), (columns,), (1, columns), (rows, 1), (rows, columns), (1, 1)))


def matmul_bias_is_gemm(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    (rows, inner, columns), dtype = _sizes(draw), draw.choice(_FLOATS)
    x = draw.tensor((rows, inner), dtype)
    w = draw.operand(draw.array((inner, columns), dtype), constant=draw.chance())
    c = draw.operand(draw.array(_one_way(draw, rows, columns), dtype), constant=draw.chance())
    return draw.model(draw.node("Add", *draw.shuffled((draw.node("MatMul", x, w), c))))


def _product_plus(draw: Draw, x: tuple[int, ...], w: tuple[int, ...], c: tuple[int, ...]) -> onnx.ModelProto:
    draw.versions(9)
    product = draw.node("MatMul", draw.input(x), draw.constant(draw.array(w)))
    c_value = draw.operand(draw.array(c), constant=draw.chance(0.7))
    return draw.model(draw.node("Add", *draw.shuffled((product, c_value))))


def matmul_bias_is_gemm__widens(draw: Draw) -> onnx.ModelProto:
    x, w, c = draw.choice((((1, 3), (3, 4), (5, 4)), ((2, 3), (3, 1), (4,)), ((2, 3), (3, 4), (2, 2, 4)),
                           ((1, 3), (3, 4), (2, 1))))  # fmt: skip
    return _product_plus(draw, x, w, c)


def matmul_bias_is_gemm__batched(draw: Draw) -> onnx.ModelProto:
    x, w, c = draw.choice(
        (((2, 2, 3), (3, 4), (4,)), ((3,), (3, 4), (4,)), ((2, 3), (3,), (2,)), ((2, 3), (2, 3, 4), (4,)))
    )
    return _product_plus(draw, x, w, c)


def matmul_bias_is_gemm__integer(draw: Draw) -> onnx.ModelProto:
    draw.versions(14)
    dtype = draw.choice(("int32", "int64"))
    product = draw.node("MatMul", draw.input((2, 3), dtype), draw.constant(draw.array((3, 4), dtype)))
    return draw.model(draw.node("Add", product, draw.constant(draw.array((4,), dtype))))


def _gemm(draw: Draw, sizes: tuple[int, int, int], dtype: str, *, bias: bool | None = None, beta: bool = False,
          fed: bool = False, symbols: float = 0.2) -> Value:  # fmt: skip
    """A Gemm with random attributes; ``fed`` feeds its weight."""
    rows, inner, columns = sizes
    attributes: dict[str, Any] = {"transA": draw.choice((None, 0, 1)), "transB": draw.choice((None, 0, 1))}
    attributes["alpha"] = draw.choice((None, 1.0, 0.5))
    attributes["beta"] = 0.5 if beta else draw.choice((None, 1.0))
    x = draw.tensor((inner, rows) if attributes["transA"] else (rows, inner), dtype, symbols=symbols)
    w = draw.operand(
        draw.array((columns, inner) if attributes["transB"] else (inner, columns), dtype), constant=not fed
    )
    has_bias = draw.chance() or draw.opset < 11 if bias is None else bias
    b = draw.constant(draw.array(_one_way(draw, rows, columns), dtype)) if has_bias else None
    return draw.node("Gemm", x, w, b, **attributes)


def batched_linear_is_gemm(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    (rows, inner, columns), dtype = _sizes(draw), draw.choice(_FLOATS)
    x = draw.tensor((*draw.shape(1, 3), rows, inner), dtype)
    product = draw.node("MatMul", x, draw.constant(draw.array((inner, columns), dtype)))
    return draw.model(draw.node("Add", product, draw.constant(draw.array((draw.choice((1, columns)),), dtype))))


def batched_linear_is_gemm__of_rank(draw: Draw) -> onnx.ModelProto:
    x, w, c = draw.choice((((2, 2, 3), (3, 4), (2, 4)), ((2, 2, 3), (3, 4), ()), ((2, 2, 3), (2, 3, 4), (4,)),
                           ((2, 3), (3, 4), (4,)), ((2, 2, 3), (3,), (2,)),
                           ((2, 2, 3), (3, 4), (2, 1, 4))))  # fmt: skip
    return _product_plus(draw, x, w, c)


def batched_linear_is_gemm__widens(draw: Draw) -> onnx.ModelProto:
    x, w, c = draw.choice(
        (((2, 2, 3), (3, 1), (4,)), ((2, 2, 3), (3, 4), (3, 1, 1, 4)), ((1, 2, 3), (3, 4), (2, 1, 4)))
    )
    return _product_plus(draw, x, w, c)


def batched_linear_is_gemm__integer(draw: Draw) -> onnx.ModelProto:
    draw.versions(14)
    product = draw.node("MatMul", draw.input((2, 2, 3), "int32"), draw.constant(draw.array((3, 4), "int32")))
    return draw.model(draw.node("Add", product, draw.constant(draw.array((4,), "int32"))))


def batched_linear_is_gemm__empty(draw: Draw) -> onnx.ModelProto:
    """A symbolic size that is 0 when the model runs."""
    draw.versions(13)
    names: tuple[str | int, ...] = draw.choice((("n", 2, 3), (2, "n", 3), ("m", "n", 3)))
    shape = [0 if size == "n" else 2 if size == "m" else int(size) for size in names]
    product = draw.node("MatMul", draw.input_of(draw.array(shape), names=names), draw.constant(draw.array((3, 4))))
    return draw.model(draw.node("Add", product, draw.constant(draw.array((4,)))))


def batched_linear_is_gemm__fed(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    product = draw.node("MatMul", draw.input((2, 2, 3)), draw.input((3, 4)))
    return draw.model(draw.node("Add", product, draw.input((4,))))


def shift_into_gemm(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    sizes, dtype = _sizes(draw), draw.choice(_FLOATS)
    gemm = _gemm(draw, sizes, dtype, fed=draw.chance(0.3))
    return draw.model(draw.node("Add", gemm, draw.constant(draw.array(_one_way(draw, sizes[0], sizes[2]), dtype))))


def shift_into_gemm__scaled_bias(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    gemm = _gemm(draw, (2, 3, 4), "float32", beta=True, bias=draw.chance(0.8))
    return draw.model(draw.node("Add", gemm, draw.constant(draw.array((4,)))))


def shift_into_gemm__widens(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    gemm = _gemm(draw, (1, 3, 4), "float32", symbols=0.0)
    return draw.model(draw.node("Add", gemm, draw.constant(draw.array(draw.choice(((5, 4), (5, 1), (2, 1, 4)))))))


def shift_into_gemm__fed(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    return draw.model(draw.node("Add", _gemm(draw, (2, 3, 4), "float32"), draw.input((4,))))


def scale_into_gemm(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    sizes, dtype = _sizes(draw), draw.choice(_FLOATS)
    shape = draw.choice(((), (1,), (sizes[2],), (1, sizes[2]), (1, 1)))
    gemm = _gemm(draw, sizes, dtype, bias=None)
    return draw.model(draw.node("Mul", gemm, draw.constant(draw.array(shape, dtype))))


def scale_into_gemm__along_rows(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    size = draw.integer(2, 4)
    gemm = _gemm(draw, (size, 3, draw.choice((size, 5))), "float32", symbols=0.0)
    return draw.model(draw.node("Mul", gemm, draw.constant(draw.array((size, 1)))))


def scale_into_gemm__scaled_bias(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    gemm = _gemm(draw, (2, 3, 4), "float32", beta=True, bias=True)
    return draw.model(draw.node("Mul", gemm, draw.constant(draw.array((4,)))))


def scale_into_gemm__widens(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    gemm = _gemm(draw, (draw.choice((1, 2)), 3, 1), "float32", bias=draw.chance(), symbols=0.0)
    return draw.model(draw.node("Mul", gemm, draw.constant(draw.array(draw.choice(((4,), (1, 4), (2, 1, 1)))))))


def scale_into_gemm__full_bias(draw: Draw) -> onnx.ModelProto:
    draw.versions(11)
    x, w = draw.input((2, 3)), draw.constant(draw.array((3, 4)))
    b = draw.operand(draw.array((2, 4)), constant=draw.chance())
    return draw.model(draw.node("Mul", draw.node("Gemm", x, w, b), draw.constant(draw.array((4,)))))


def reassociate_constants(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    (rows, inner, columns), dtype = _sizes(draw), draw.choice(_FLOATS)
    if draw.chance():
        v, w = draw.constant(draw.array((rows, 3), dtype)), draw.constant(draw.array((3, inner), dtype))
        x = draw.tensor(draw.choice(((*draw.shape(0, 2), inner, columns), (inner,))), dtype)
        return draw.model(draw.node("MatMul", v, draw.node("MatMul", w, x)))
    x = draw.tensor((*draw.shape(0, 2), rows, inner), dtype)
    v, w = draw.constant(draw.array((inner, 3), dtype)), draw.constant(draw.array((3, columns), dtype))
    return draw.model(draw.node("MatMul", draw.node("MatMul", x, v), w))


def reassociate_constants__batched(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    v, w = draw.choice((((4, 3), (2, 3, 5)), ((2, 4, 3), (3, 5)), ((4, 3), (3,)), ((2, 4, 3), (2, 3, 5))))
    product = draw.node("MatMul", draw.input((2, 3, 4)), draw.constant(draw.array(v)))
    return draw.model(draw.node("MatMul", product, draw.constant(draw.array(w))))


def reassociate_constants__vector(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    v, w = draw.constant(draw.array((4, 3))), draw.constant(draw.array((3, 5)))
    return draw.model(draw.node("MatMul", draw.node("MatMul", draw.input((4,)), v), w))


def scale_into_weight(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    (rows, inner, columns), dtype = _sizes(draw), draw.choice(_FLOATS)
    x = draw.tensor((*draw.shape(0, 2), rows, inner), dtype)
    product = draw.node("MatMul", x, draw.constant(draw.array((inner, columns), dtype)))
    shape = draw.choice(((), (1,), (columns,), (1, columns), (1, 1)))
    return draw.model(draw.node("Mul", product, draw.constant(draw.array(shape, dtype))))


def scale_into_weight__along_rows(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    product = draw.node("MatMul", draw.input((3, 3), symbols=0.0), draw.constant(draw.array((3, draw.choice((3, 4))))))
    return draw.model(draw.node("Mul", product, draw.constant(draw.array((3, 1)))))


def scale_into_weight__widens(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    x, shape = draw.choice((((2, 3), (4,)), ((2, 3), (1, 4)), ((3,), (1, 1)), ((3,), (2, 1)), ((2, 3), (2, 1, 1))))
    product = draw.node("MatMul", draw.input(x, symbols=0.0), draw.constant(draw.array((3, 1))))
    return draw.model(draw.node("Mul", product, draw.constant(draw.array(shape))))


def scale_into_weight__vector(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    product = draw.node("MatMul", draw.input((3,), symbols=0.0), draw.constant(draw.array((3, 4))))
    return draw.model(draw.node("Mul", product, draw.constant(draw.array(draw.choice(((4,), (1, 4), (1, 1)))))))


def scale_into_weight__batched(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    product = draw.node("MatMul", draw.input((2, 3, 4)), draw.constant(draw.array((2, 4, 3))))
    return draw.model(draw.node("Mul", product, draw.constant(draw.array(draw.choice(((3,), (1, 3)))))))


def scale_of_operand(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    dtype = draw.choice(_FLOATS)
    x, y = draw.choice((((2, 3), (3, 4)), ((2, 2, 3), (3, 4)), ((3,), (3, 4)), ((2, 3), (3,)), ((3,), (3,)),
                        ((2, 1, 2, 3), (2, 3, 4))))  # fmt: skip
    product = draw.node("MatMul", draw.tensor(x, dtype), draw.operand(draw.array(y, dtype), constant=draw.chance(0.3)))
    return draw.model(draw.node("Mul", product, draw.constant(draw.array(draw.choice(((), (1,))), dtype))))


def scale_of_operand__vector(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    product = draw.node("MatMul", draw.input((3, 3)), draw.input((3, 3)))
    return draw.model(draw.node("Mul", product, draw.constant(draw.array(draw.choice(((3,), (3, 1)))))))


def scale_of_operand__of_rank(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    product = draw.node("MatMul", draw.input((3,)), draw.input((3,)))
    return draw.model(draw.node("Mul", product, draw.constant(draw.array(draw.choice(((1,), (1, 1)))))))


def scale_of_operand__fed(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    product = draw.node("MatMul", draw.input((2, 3)), draw.input((3, 2)))
    return draw.model(draw.node("Mul", product, draw.input(())))


def _permutation(draw: Draw, rank: int) -> list[int] | None:
    return None if draw.chance(0.2) else draw.shuffled(range(rank))


def scale_through_transpose(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    shape, dtype = draw.shape(1, 4), draw.choice(("float32", "int64", "float64"))
    y = draw.node("Transpose", draw.tensor(shape, dtype), perm=_permutation(draw, len(shape)))
    return draw.model(draw.node("Mul", y, draw.constant(draw.array(draw.choice(((), (1,))), dtype))))


def scale_through_transpose__vector(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    y = draw.node("Transpose", draw.input((3, 3)))
    return draw.model(draw.node("Mul", y, draw.constant(draw.array(draw.choice(((3,), (3, 1), (1, 1, 1)))))))


def scale_through_transpose__scalar(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)  # older inference says nothing of a transposed scalar
    y = draw.node("Transpose", draw.input(()))
    return draw.model(draw.node("Mul", y, draw.constant(draw.array(draw.choice(((), (1,)))))))


def scale_through_reshape(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    shape, dtype = draw.shape(0, 4), draw.choice(("float32", "int64", "float64"))
    target = draw.shuffled(shape) if draw.chance() else [-1]
    y = op.reshape(draw, draw.tensor(shape, dtype), target)
    return draw.model(draw.node("Mul", y, draw.constant(draw.array(draw.choice(((), (), (1,))), dtype))))


def scale_through_reshape__vector(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    y = op.reshape(draw, draw.input((2, 3)), [3, 2])
    return draw.model(draw.node("Mul", y, draw.constant(draw.array(draw.choice(((2,), (3, 1), (1, 1, 1)))))))


def scale_through_reshape__scalar(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    x = draw.input(draw.choice(((), (1,))))
    y = op.reshape(draw, x, [] if draw.chance(0.7) and draw.opset > 12 else [1])
    return draw.model(draw.node("Mul", y, draw.constant(draw.array((1,)))))


def scale_of_shifted(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    shape, dtype = draw.shape(0, 4), draw.choice(_FLOATS)
    total = draw.node(
        "Add", draw.tensor(shape, dtype, symbols=0.1), draw.constant(draw.array(draw.broadcast_to(shape), dtype))
    )
    return draw.model(draw.node("Mul", total, draw.constant(draw.array(draw.choice(((), (1,))), dtype))))


def scale_of_shifted__vector(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    total = draw.node("Add", draw.input((2, 3)), draw.constant(draw.array((3,))))
    return draw.model(draw.node("Mul", total, draw.constant(draw.array(draw.choice(((3,), (2, 1), (1, 1)))))))


def scale_of_shifted__widens(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    total = draw.node("Add", draw.input((1,)), draw.constant(draw.array((2, 3))))
    return draw.model(draw.node("Mul", total, draw.constant(draw.array(()))))


def scale_of_shifted__fed(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    total = draw.node(draw.choice(("Add", "Sub")), draw.input((2, 3)), draw.input((3,)))
    return draw.model(draw.node("Mul", total, draw.constant(draw.array(()))))
