"""Data movement: views, transpositions and shapes that are known before the program runs."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import RewriteOrRule, String, eq, rewrite, rule, union

from tcc.ir.host import given
from tcc.ir.language import (
    Abs,
    Cast,
    Erf,
    Exp,
    Expand,
    Gemm,
    LeakyRelu,
    Neg,
    ReduceMax,
    ReduceMean,
    ReduceSum,
    Relu,
    Reshape,
    Shape,
    Sigmoid,
    Size,
    Sqrt,
    Tanh,
    Tensor,
    Tile,
    Transpose,
    kind,
    known,
    literal,
    view,
)  # fmt: skip
from tcc.rewrites import _conditions as when
from tcc.rewrites import _linear as linear
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
ONNX = "ONNX operator specification"
TASO = "TASO, SOSP 2019"
VIEWS = "Reshape|Flatten|Squeeze|Unsqueeze|Transpose"


@exact(Equality.BITS, ONNX, VIEWS)
def view_of_own_shape(t: Tensor, x: Tensor, k: String, m: String) -> Rewrites:
    """A view of x (Reshape, Flatten, Squeeze, Unsqueeze, any chain of them) that has x's shape is x."""
    yield rule(view(t, x), eq(k).to(kind(t)), eq(m).to(kind(x)), when.same_kind(k, m)).then(union(t).with_(x))


@exact(Equality.BITS, ONNX, VIEWS, first_opset=5)
def view_is_reshape(t: Tensor, x: Tensor, k: String, m: String, s: String) -> Rewrites:
    """A chain of views of x is one Reshape of x, if at most one of its sizes is to be inferred."""
    yield rule(view(t, x), eq(k).to(kind(t)), eq(m).to(kind(x)), *given(s, when.reshape_target(k, m))).then(
        union(t).with_(Reshape(x, literal(s)))
    )


@exact(Equality.BITS, ONNX, "Shape")
def shape_of_static(x: Tensor, a: String, k: String, s: String) -> Rewrites:
    """Shape(x) is a constant if the dimensions asked for are."""
    yield rewrite(Shape(x, a)).to(literal(s), eq(k).to(kind(x)), *given(s, when.shape_value(k, a)))


@exact(Equality.BITS, ONNX, "Size")
def size_of_static(x: Tensor, a: String, k: String, s: String) -> Rewrites:
    """Size(x) is a constant if x's shape is."""
    yield rewrite(Size(x, a)).to(literal(s), eq(k).to(kind(x)), *given(s, when.size_value(k)))


@exact(Equality.BITS, ONNX, "Expand")
def expand_to_static(x: Tensor, s: Tensor, a: String, k: String, d: String) -> Rewrites:
    """Expand(x, s) = Expand(x, c) if the result's shape c is known."""
    t = Expand(x, s, a)
    yield rewrite(t).to(Expand(x, literal(d), a), eq(k).to(kind(t)), *given(d, when.static_shape(k)))


@exact(Equality.BITS, ONNX, "Tile", first_opset=8)
def tile_is_expand(x: Tensor, s: Tensor, a: String, k: String, n: String) -> Rewrites:
    """Tile(x, s) = Expand(x, s) if x has the size 1 wherever it is repeated."""
    yield rewrite(Tile(x, s, a)).to(Expand(x, s), eq(k).to(kind(x)), eq(n).to(known(s)), when.repeats_ones(k, n))


@exact(Equality.BITS, TASO, "Transpose")
def transpose_of_transpose(x: Tensor, a: String, b: String, k: String, c: String) -> Rewrites:
    """Transpose(Transpose(x, p), q) = Transpose(x, p[q])."""
    yield rewrite(Transpose(Transpose(x, a), b)).to(
        Transpose(x, c), eq(k).to(kind(x)), *given(c, when.composed(a, b, k))
    )


@exact(Equality.BITS, ONNX, "Transpose")
def transpose_nothing(x: Tensor, a: String, k: String) -> Rewrites:
    """Transpose(x, identity) = x."""
    yield rewrite(Transpose(x, a)).to(x, eq(k).to(kind(x)), when.is_identity_permutation(a, k))


@exact(Equality.BITS, TASO, "Transpose", "Relu|Sigmoid|Tanh|Erf|Exp|Sqrt|Neg|Abs|LeakyRelu|Cast")
def transpose_through_elementwise(x: Tensor, p: String, a: String) -> Rewrites:
    """f(Transpose(x)) = Transpose(f(x)) for a function of each element."""
    for f in (Relu, Sigmoid, Tanh, Erf, Exp, Sqrt, Neg, Abs, LeakyRelu, Cast):
        yield rewrite(f(Transpose(x, p), a)).to(Transpose(f(x, a), p))


@exact(Equality.VALUE, "ONNX operator specification, Gemm: transA, transB", "Gemm", "Transpose")
def gemm_of_transpose(x: Tensor, y: Tensor, c: Tensor, p: String, a: String, k: String, b: String) -> Rewrites:
    """Gemm(Transpose(x), y) = Gemm(x, y, transA toggled), and the same for y."""
    matrix = eq(k).to(kind(x)), when.is_matrix_transposition(p, k)
    yield rewrite(Gemm(Transpose(x, p), y, c, a)).to(Gemm(x, y, c, b), *matrix, *given(b, linear.toggled(a, "transA")))
    yield rewrite(Gemm(y, Transpose(x, p), c, a)).to(Gemm(y, x, c, b), *matrix, *given(b, linear.toggled(a, "transB")))


@exact(Equality.BITS, ONNX, "ReduceMean|ReduceSum|ReduceMax", VIEWS)
def reduce_without_dimensions(
    t: Tensor, x: Tensor, s: Tensor, a: String, b: String, k: String, m: String, v: String
) -> Rewrites:
    """A view that drops the dimensions a reduction kept is the reduction with keepdims=0."""
    for reduce in (ReduceMean, ReduceSum, ReduceMax):
        kept = reduce(x, s, a)
        types = eq(k).to(kind(t)), eq(m).to(kind(kept)), eq(v).to(known(s))
        yield rule(view(t, kept), *types, *given(b, when.without_kept(a, v, k, m))).then(
            union(t).with_(reduce(x, s, b))
        )
