"""Instances of ``tcc.rewrites.einsums``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.rules.draw import Draw, Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

_FLOATS = ("float32", "float64")
_SIZES = {"a": 2, "b": 3, "c": 4, "d": 2, "e": 5, "f": 3}


def _operand(draw: Draw, term: str, dtype: str = "float32", *, symbols: float = 0.0) -> Value:
    # One name is one size: letters of one size may share a symbol.
    return draw.input([_SIZES[letter] for letter in term.replace("...", "")], dtype, symbols=symbols)


def _einsum(draw: Draw, equation: str, shapes: Sequence[Sequence[int]] = (), **options: float) -> onnx.ModelProto:
    dtype = draw.choice(_FLOATS)
    terms = equation.partition("->")[0].replace(" ", "").split(",")
    operands = [_operand(draw, term, dtype, **options) for term in terms]
    if shapes:
        operands = [draw.input(shape, dtype, symbols=0.0) for shape in shapes]
    return draw.model(draw.node("Einsum", *operands, equation=equation))


def _term(draw: Draw, letters: str) -> str:
    return "".join(draw.shuffled(letters))


def einsum_is_matmul(draw: Draw) -> onnx.ModelProto:
    draw.versions(12)
    if draw.chance(0.2):
        return _einsum(draw, "...ab,...bc->...ac", ((2, 3, 4, 5), (2, 3, 5, 2)))
    letters = draw.shuffled("abcdef")
    batch, summed, left, right = (
        "".join(letters[i : i + n])
        for i, n in zip(
            (0, 1, 3, 4), (draw.integer(0, 1), draw.integer(1, 2), draw.integer(0, 1), draw.integer(0, 2)), strict=True
        )
    )
    first, second = _term(draw, batch + summed + left), _term(draw, batch + summed + right)
    return _einsum(draw, f"{first},{second}->{_term(draw, batch + left + right)}", symbols=draw.choice((0.0, 0.0, 0.3)))


def einsum_is_matmul__three(draw: Draw) -> onnx.ModelProto:
    draw.versions(12)
    return _einsum(draw, "ab,bc,cd->ad")


def einsum_is_matmul__summed_alone(draw: Draw) -> onnx.ModelProto:
    """A letter of one operand is not in the result."""
    draw.versions(12)
    return _einsum(draw, draw.choice(("abc,cd->ad", "ab,bcd->ac", "abc,c->a")))


def einsum_is_matmul__broadcast(draw: Draw) -> onnx.ModelProto:
    """A size of 1 stands for any other."""
    draw.versions(12)
    return _einsum(draw, "abc,acd->abd", draw.choice((((1, 2, 3), (4, 3, 2)), ((4, 2, 3), (1, 3, 2)))))


def einsum_is_matmul__dots(draw: Draw) -> onnx.ModelProto:
    draw.versions(12)
    return _einsum(draw, "...ab,...bc->...ac", ((1, 2, 3), (4, 3, 2)))


def einsum_is_matmul__implicit(draw: Draw) -> onnx.ModelProto:
    """The result is what stands once, in order of the alphabet."""
    draw.versions(12)
    return _einsum(draw, draw.choice(("ba,cb", "ab,bc")))


def einsum_is_matmul__diagonal(draw: Draw) -> onnx.ModelProto:
    draw.versions(12)
    return _einsum(draw, "aab,bc->ac", ((3, 3, 2), (2, 4)))


def einsum_is_mul(draw: Draw) -> onnx.ModelProto:
    draw.versions(12)
    letters = draw.shuffled("abcdef")
    batch, left, right = "".join(letters[:2]), letters[2], "".join(letters[3 : 3 + draw.integer(0, 2)])
    first, second = _term(draw, batch + left), _term(draw, batch + right)
    return _einsum(draw, f"{first},{second}->{_term(draw, batch + left + right)}", symbols=draw.choice((0.0, 0.3)))


def einsum_is_mul__summed(draw: Draw) -> onnx.ModelProto:
    draw.versions(12)
    return _einsum(draw, draw.choice(("abc,ab->ab", "ab,cb->ac", "ab,cd->ac")))


def einsum_is_mul__broadcast(draw: Draw) -> onnx.ModelProto:
    draw.versions(12)
    return _einsum(draw, "ab,b->ab", ((3, 4), (1,)))


def einsum_of_one(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    letters = "".join(draw.shuffled("abcdef")[: draw.integer(1, 4)])
    result = _term(draw, "".join(draw.subset(letters)))
    return _einsum(draw, f"{letters}->{result}", symbols=draw.choice((0.0, 0.3)))


def einsum_of_one__diagonal(draw: Draw) -> onnx.ModelProto:
    draw.versions(13)
    return _einsum(draw, draw.choice(("aa->a", "aa->")), [(3, 3)])
