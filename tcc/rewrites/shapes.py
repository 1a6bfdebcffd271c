"""Shape arithmetic: sizes that are numbers become constants, sizes of one symbol become one value."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import RewriteOrRule, String, eq, rewrite, rule, set_, union

from tcc.ir.host import given
from tcc.ir.language import (
    Add,
    Concat,
    Div,
    Equal,
    Gather,
    Mul,
    ReduceProd,
    Shape,
    Slice,
    Sub,
    Tensor,
    Where,
    cons,
    dimension,
    dimension_scalar,
    entry,
    kind,
    known,
    literal,
    nil,
    view,
)  # fmt: skip
from tcc.rewrites import _shapes as sizes
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
ONNX = "ONNX operator specification"
SYMBOLS = "ONNX IR specification, symbolic dimensions: one name is one size"
VIEWS = "Reshape|Flatten|Squeeze|Unsqueeze"


@exact(Equality.BITS, ONNX, "Gather", "Shape")
def gather_of_shape(x: Tensor, i: Tensor, a: String, g: String, k: String, v: String, n: String) -> Rewrites:
    """Gather(Shape(x), i) is a constant if the sizes at i are."""
    yield rewrite(Gather(Shape(x, a), i, g)).to(
        literal(n), eq(k).to(kind(x)), eq(v).to(known(i)), *given(n, sizes.gathered_sizes(k, a, v))
    )


@exact(Equality.BITS, SYMBOLS, "Gather", "Shape")
def size_of_symbol(
    t: Tensor, x: Tensor, i: Tensor, a: String, g: String, k: String, v: String, n: String, m: String
) -> Rewrites:
    """Gather(Shape(x), i) = Gather(Shape(y), j) if both sizes have the same symbol; a vector of one from a scalar."""
    picked = eq(t).to(Gather(Shape(x, a), i, g)), eq(k).to(kind(x)), eq(v).to(known(i))
    yield rule(*picked, *given(n, sizes.gathered_symbol(k, a, v, 1))).then(union(t).with_(dimension(n)))
    yield rule(*picked, *given(n, sizes.gathered_symbol(k, a, v, 0)), *given(m, sizes.index_vector(v))).then(
        union(t).with_(dimension_scalar(n)), union(dimension(n)).with_(Gather(Shape(x, a), literal(m), g))
    )


@exact(Equality.BITS, ONNX, "Slice", "Shape", first_opset=10)
def slice_of_shape(
    x: Tensor, s: Tensor, e: Tensor, c: Tensor, p: Tensor, t: Tensor, a: String, b: String, k: String, ks: String,
    ke: String, kp: String, n: String,
) -> Rewrites:  # fmt: skip
    """Slice(Shape(x)) is a constant if the sizes it takes are; its symbolic value is known otherwise."""
    facts = eq(k).to(kind(x)), eq(ks).to(known(s)), eq(ke).to(known(e)), eq(kp).to(known(p))
    yield rule(
        eq(t).to(Slice(Shape(x, a), s, e, c, p, b)), *facts, *given(n, sizes.sliced_sizes(k, a, ks, ke, kp))
    ).then(set_(known(t)).to(n))


@exact(Equality.BITS, SYMBOLS, "Shape")
def sizes_of_one_value(t: Tensor, v: String, n: String) -> Rewrites:
    """Integers that are the same sum of products of sizes, whatever the sizes, are one value."""
    yield rule(eq(v).to(known(t)), *given(n, sizes.symbolic(v, 1))).then(union(t).with_(dimension(n)))
    yield rule(eq(v).to(known(t)), *given(n, sizes.symbolic(v, 0))).then(union(t).with_(dimension_scalar(n)))


@exact(Equality.BITS, SYMBOLS, VIEWS, "Gather", "Shape")
def view_of_size(t: Tensor, x: Tensor, n: String, k: String) -> Rewrites:
    """A size as a scalar and as a vector of one are views of each other."""
    yield rule(view(t, x), eq(x).to(dimension_scalar(n)), eq(k).to(kind(t)), sizes.is_vector_of_one(k)).then(
        union(t).with_(dimension(n))
    )
    yield rule(view(t, x), eq(x).to(dimension(n)), eq(k).to(kind(t)), sizes.is_integer_scalar(k)).then(
        union(t).with_(dimension_scalar(n))
    )


@exact(Equality.BITS, f"{ONNX}, Where, Equal", "Where", "Equal")
def where_on_shapes(
    t: Tensor, a: Tensor, b: Tensor, x: Tensor, y: Tensor, va: String, vb: String, vx: String, vy: String, n: String
) -> Rewrites:
    """Where(a == b, x, y) on shapes is known where a and b differ for every size: a symbol is never negative."""
    facts = eq(va).to(known(a)), eq(vb).to(known(b)), eq(vx).to(known(x)), eq(vy).to(known(y))
    yield rule(eq(t).to(Where(Equal(a, b), x, y)), *facts, *given(n, sizes.chosen(va, vb, vx, vy))).then(
        set_(known(t)).to(n)
    )


@exact(Equality.BITS, SYMBOLS, "Where|Concat|Slice", "Shape")
def shape_from_sizes(t: Tensor, v: String, e0: String, e1: String, e2: String, e3: String, e4: String) -> Rewrites:
    """A shape whose entries are known, as numbers or symbols, is their Concat."""
    entries = e0, e1, e2, e3, e4
    for length in (2, 3, 4, 5):
        used = entries[:length]
        inputs = nil()
        for e in reversed(used):
            inputs = cons(entry(e), inputs)
        taken = [fact for i, e in enumerate(used) for fact in given(e, sizes.element(v, i, length))]
        yield rule(eq(v).to(known(t)), *taken).then(union(t).with_(Concat(inputs, '{"axis":0}')))


@exact(Equality.BITS, SYMBOLS, "Where|Concat|Slice", "Shape")
def entry_of_shape(t: Tensor, e: String, n: String) -> Rewrites:
    """An entry of a shape is its number or the size of its symbol."""
    yield rule(eq(t).to(entry(e)), *given(n, sizes.number(e))).then(union(t).with_(literal(n)))
    yield rule(eq(t).to(entry(e)), sizes.is_symbol(e)).then(union(t).with_(dimension(e)), set_(kind(t)).to("int64[1]"))


@exact(Equality.BITS, ONNX, "Add|Sub|Mul|Div", "Shape|Size")
def size_arithmetic(t: Tensor, a: Tensor, b: Tensor, x: String, y: String, k: String, n: String) -> Rewrites:
    """Sums, differences, products and quotients of sizes that are known are constants, and so are views of them."""
    facts = eq(x).to(known(a)), eq(y).to(known(b))
    for made, operator in ((Add(a, b), "+"), (Sub(a, b), "-"), (Mul(a, b), "*"), (Div(a, b), "/")):
        yield rule(eq(t).to(made), *facts, *given(n, sizes.computed(String(operator), x, y))).then(set_(known(t)).to(n))
    yield rule(view(t, a), eq(x).to(known(a)), eq(k).to(kind(t)), *given(n, sizes.viewed(x, k))).then(
        set_(known(t)).to(n)
    )


@exact(Equality.BITS, ONNX, "ReduceProd", "Shape")
def product_of_sizes(t: Tensor, x: Tensor, i: Tensor, a: String, v: String, n: String) -> Rewrites:
    """The product of all sizes of a known shape, symbols included, is known."""
    yield rule(eq(t).to(ReduceProd(x, i, a)), eq(v).to(known(x)), *given(n, sizes.multiplied(v, a))).then(
        set_(known(t)).to(n)
    )
