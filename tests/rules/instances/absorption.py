"""Instances of ``tcc.rewrites.absorption``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.rules.draw import Draw

if TYPE_CHECKING:
    import onnx

_FLOATS = ("float32", "float32", "float16")


def _along(draw: Draw, channels: int, rank: int) -> tuple[int, ...]:
    """A shape that varies at most along the channels, and does not widen a tensor of that spatial rank."""
    shapes = ((channels, *[1] * rank), (1, channels, *[1] * rank), (1,), ())
    return draw.choice(shapes)


def _read_by_conv(draw: Draw, operator: str, groups: int, inside: int, outside: int, *, dtype: str = "float32",
                  fed: str = "", bias: bool | None = None, shape: tuple[int, ...] | None = None,
                  **options: Any) -> onnx.ModelProto:  # fmt: skip
    """A convolution of an input with a constant; ``inside`` and ``outside`` channels a group."""
    draw.versions(9)
    rank, channels = draw.integer(1, 2), inside * groups
    x = draw.tensor((draw.integer(1, 2), channels, *[draw.integer(5, 6)] * rank), dtype)
    shape = _along(draw, channels, rank) if shape is None else shape
    c = draw.operand(draw.array(shape, dtype), constant="c" not in fed)
    made = draw.node(operator, x, c)
    window = [draw.integer(1, 3) for _ in range(rank)]
    w = draw.operand(draw.array((outside * groups, inside, *window), dtype), constant="w" not in fed)
    has_bias = draw.chance() if bias is None else bias
    b = draw.operand(draw.array((outside * groups,), dtype), constant="b" not in fed) if has_bias else None
    if (pads := options.pop("pads", None)) is not None:
        options["pads"] = [pads] * (2 * rank)
    if draw.chance(0.3):
        options["strides"] = [2] * rank
    return draw.model(draw.node("Conv", made, w, b, group=groups if groups > 1 else None, **options))


def scale_before_conv(draw: Draw) -> onnx.ModelProto:
    groups, inside, outside = draw.choice(((1, 2, 3), (1, 3, 2), (1, 4, 1), (3, 1, 1), (4, 1, 1)))
    fed = "b" if draw.chance(0.2) else ""
    return _read_by_conv(
        draw, "Mul", groups, inside, outside, dtype=draw.choice(_FLOATS), fed=fed, pads=draw.choice((None, 1))
    )


def scale_before_conv__of_several_groups(draw: Draw) -> onnx.ModelProto:
    groups, inside, outside = draw.choice(((2, 2, 1), (2, 2, 2), (3, 1, 2), (2, 1, 3)))
    return _read_by_conv(draw, "Mul", groups, inside, outside)


def scale_before_conv__widened(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    x = draw.input((draw.choice((1, 2)), 1, 4, 4), symbols=0.0)
    made = draw.node("Mul", x, draw.constant(draw.array(draw.choice(((3, 1, 1), (3, 1, 4), (3, 4, 4))))))
    return draw.model(draw.node("Conv", made, draw.constant(draw.array((2, 3, 1, 1)))))


def scale_before_conv__wrong_axis(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    x = draw.input((4, 4, 4, 4), symbols=0.0)
    shape = draw.choice(((4,), (4, 1), (4, 4), (4, 1, 1, 1)))
    made = draw.node("Mul", x, draw.constant(draw.array(shape)))
    return draw.model(draw.node("Conv", made, draw.constant(draw.array((2, 4, 1, 1)))))


def scale_before_conv__fed(draw: Draw) -> onnx.ModelProto:
    return _read_by_conv(draw, "Mul", 1, 2, 3, fed=draw.choice(("c", "w")))


def shift_before_conv(draw: Draw) -> onnx.ModelProto:
    _, inside, outside = draw.choice(((1, 2, 3), (1, 3, 2), (1, 1, 4)))
    auto_pad = draw.choice((None, None, "VALID"))
    pads = draw.choice((None, 0)) if auto_pad is None else None
    return _read_by_conv(draw, "Add", 1, inside, outside, dtype=draw.choice(_FLOATS), auto_pad=auto_pad, pads=pads)


def shift_before_conv__padded(draw: Draw) -> onnx.ModelProto:
    if draw.chance():
        return _read_by_conv(draw, "Add", 1, 2, 3, pads=1)
    return _read_by_conv(draw, "Add", 1, 2, 3, auto_pad="SAME_UPPER")


def shift_before_conv__of_several_groups(draw: Draw) -> onnx.ModelProto:
    groups, inside, outside = draw.choice(((2, 2, 1), (2, 2, 2), (3, 1, 2), (3, 1, 1)))
    return _read_by_conv(draw, "Add", groups, inside, outside)


def shift_before_conv__wrong_axis(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    x = draw.input((4, 4, 4, 4), symbols=0.0)
    shape = draw.choice(((4,), (4, 1), (4, 4), (4, 1, 1, 1)))
    made = draw.node("Add", x, draw.constant(draw.array(shape)))
    return draw.model(draw.node("Conv", made, draw.constant(draw.array((2, 4, 1, 1)))))


def shift_before_conv__fed(draw: Draw) -> onnx.ModelProto:
    fed = draw.choice(("c", "w", "b"))
    return _read_by_conv(draw, "Add", 1, 2, 3, fed=fed, bias=True)


def _product(draw: Draw, shape: tuple[int, ...], *, fed: str = "", gemm: bool = False,
             **options: Any) -> onnx.ModelProto:  # fmt: skip
    """A product with a tensor [..., 3] or [3, ...] that is multiplied by a constant."""
    draw.versions(9)
    dtype = draw.choice(_FLOATS) if not gemm else "float32"
    rows = draw.integer(2, 4)
    if gemm:
        x = draw.tensor((3, rows) if options.get("transA") else (rows, 3), dtype, symbols=0.0)
        w = draw.operand(draw.array((4, 3) if options.get("transB") else (3, 4), dtype), constant="w" not in fed)
    else:
        x = draw.tensor((*draw.choice(((), (2,), (2, 2))), rows, 3), dtype)
        w = draw.operand(draw.array((*draw.choice(((), (2,))), 3, 4), dtype), constant="w" not in fed)
    made = draw.node("Mul", x, draw.operand(draw.array(shape, dtype), constant="c" not in fed))
    if not gemm:
        return draw.model(draw.node("MatMul", made, w))
    b = draw.constant(draw.array((4,))) if draw.opset < 11 or draw.chance() else None
    return draw.model(draw.node("Gemm", made, w, b, alpha=draw.choice((None, 0.5)), **options))


def scale_before_product(draw: Draw) -> onnx.ModelProto:
    shape = draw.choice(((3,), (1, 3), (1, 1), (1,), ()))
    trans = draw.choice((None, 1))
    return _product(draw, shape, gemm=True, transB=trans) if draw.chance() else _product(draw, shape)


def scale_before_product__along_rows(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    gemm = draw.chance()
    x = draw.input((3, 3) if gemm else (2, 3, 3), symbols=0.0)
    shapes: tuple[tuple[int, ...], ...] = ((3, 1), (3, 3)) if gemm else ((3, 1), (2, 1, 1), (2, 1, 3))
    made = draw.node("Mul", x, draw.constant(draw.array(draw.choice(shapes))))
    w, b = draw.constant(draw.array((3, 3))), draw.constant(draw.array((3,)))
    return draw.model(draw.node("Gemm", made, w, b) if gemm else draw.node("MatMul", made, w))


def scale_before_product__transposed(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    made = draw.node("Mul", draw.input((3, 3), symbols=0.0), draw.constant(draw.array((3,))))
    w, b = draw.constant(draw.array((3, 3))), draw.constant(draw.array((3,)))
    return draw.model(draw.node("Gemm", made, w, b, transA=1))


def scale_before_product__widened(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    made = draw.node("Mul", draw.input((2, 4, 1), symbols=0.0), draw.constant(draw.array((3,))))
    return draw.model(draw.node("MatMul", made, draw.constant(draw.array((3, 2)))))


def scale_before_product__of_vector(draw: Draw) -> onnx.ModelProto:
    draw.versions(9)
    made = draw.node("Mul", draw.input((3,), symbols=0.0), draw.constant(draw.array((3,))))
    return draw.model(draw.node("MatMul", made, draw.constant(draw.array(draw.choice(((3,), (3, 2)))))))


def scale_before_product__fed(draw: Draw) -> onnx.ModelProto:
    return _product(draw, (3,), fed=draw.choice(("w", "c")), gemm=draw.chance())
