"""Wrong forms of ``tcc.rewrites.shapes``."""

# A rule's parameters are its pattern variables.
# ruff: noqa: PLR0917
from __future__ import annotations

from egglog import String, eq, rewrite, rule, set_, union

from tcc.ir.host import given
from tcc.ir.language import (
    Div,
    Equal,
    Gather,
    Shape,
    Slice,
    Sub,
    Tensor,
    Where,
    dimension,
    dimension_scalar,
    kind,
    known,
    literal,
)  # fmt: skip
from tcc.rewrites import _shapes as sizes
from tests.rules.wrong import _conditions as flawed
from tests.rules.wrong._seeding import Rewrites, seeded


@seeded
def gather_of_shape__of_part(x: Tensor, i: Tensor, a: String, g: String, k: String, v: String, n: String) -> Rewrites:
    """The indices count from the first dimension, wherever the Shape begins."""
    picked = eq(k).to(kind(x)), eq(v).to(known(i)), *given(n, flawed.gathered(k, v))
    yield rewrite(Gather(Shape(x, a), i, g)).to(literal(n), *picked)


@seeded
def size_of_symbol__any(t: Tensor, x: Tensor, i: Tensor, a: String, g: String, v: String) -> Rewrites:
    """All symbols are one size."""
    yield rule(eq(t).to(Gather(Shape(x, a), i, g)), eq(v).to(known(i)), flawed.is_vector_of_one(v)).then(
        union(t).with_(dimension("any"))
    )


@seeded
def slice_of_shape__any_step(t: Tensor, x: Tensor, s: Tensor, e: Tensor, c: Tensor, p: Tensor, a: String, b: String,
                             k: String, ks: String, ke: String, n: String) -> Rewrites:  # fmt: skip
    """The step is not looked at."""
    facts = eq(k).to(kind(x)), eq(ks).to(known(s)), eq(ke).to(known(e))
    yield rule(eq(t).to(Slice(Shape(x, a), s, e, c, p, b)), *facts, *given(n, flawed.sliced(k, ks, ke))).then(
        set_(known(t)).to(n)
    )


@seeded
def where_on_shapes__never_equal(t: Tensor, a: Tensor, b: Tensor, x: Tensor, y: Tensor) -> Rewrites:
    """No size is the number that it is compared with."""
    yield rule(eq(t).to(Where(Equal(a, b), x, y))).then(union(t).with_(y))


@seeded
def size_arithmetic__turned(t: Tensor, a: Tensor, b: Tensor, x: String, y: String, n: String) -> Rewrites:
    """b - a and b / a in place of a - b and a / b."""
    for made, operator in ((Sub(a, b), "-"), (Div(a, b), "/")):
        yield rule(
            eq(t).to(made), eq(x).to(known(a)), eq(y).to(known(b)), *given(n, sizes.computed(String(operator), y, x))
        ).then(set_(known(t)).to(n))


@seeded
def sizes_of_one_value__of_a_symbol(t: Tensor, v: String, n: String) -> Rewrites:
    """What has a symbol in it is the symbol's size."""
    yield rule(eq(v).to(known(t)), *given(n, flawed.first_symbol(v))).then(union(t).with_(dimension_scalar(n)))
