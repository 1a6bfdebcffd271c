"""Wrong forms of ``tcc.rewrites.movement``."""

# A rule's parameters are its pattern variables.
# ruff: noqa: PLR0917
from __future__ import annotations

from egglog import String, eq, rewrite, rule, union

from tcc.ir.host import given
from tcc.ir.language import Expand, Gemm, ReduceMean, Reshape, Shape, Tensor, Tile, Transpose, kind, literal, view
from tcc.rewrites import _conditions as when
from tcc.rewrites import _linear as linear
from tests.rules.wrong import _conditions as flawed
from tests.rules.wrong._seeding import Rewrites, seeded


@seeded
def view_of_own_shape__transposed(t: Tensor, x: Tensor, y: Tensor, p: String, k: String, m: String) -> Rewrites:
    """A transposition is taken for a view."""
    yield rule(view(t, x), eq(x).to(Transpose(y, p)), eq(k).to(kind(t)), eq(m).to(kind(y)), when.same_kind(k, m)).then(
        union(t).with_(y)
    )


@seeded
def view_is_reshape__transposed(
    t: Tensor, x: Tensor, y: Tensor, p: String, k: String, m: String, s: String
) -> Rewrites:
    """A transposition is taken for a view."""
    yield rule(
        view(t, x),
        eq(x).to(Transpose(y, p)),
        eq(k).to(kind(t)),
        eq(m).to(kind(y)),
        *given(s, when.reshape_target(k, m)),
    ).then(union(t).with_(Reshape(y, literal(s))))


@seeded
def view_is_reshape__symbols_moved(t: Tensor, x: Tensor, k: String, m: String, s: String) -> Rewrites:
    """A symbolic size is copied from the same place, whatever stands there."""
    yield rule(view(t, x), eq(k).to(kind(t)), eq(m).to(kind(x)), *given(s, flawed.copied_target(k, m))).then(
        union(t).with_(Reshape(x, literal(s)))
    )


@seeded
def shape_of_static__of_part(x: Tensor, a: String, k: String, s: String) -> Rewrites:
    """Start and end are not looked at."""
    yield rewrite(Shape(x, a)).to(literal(s), eq(k).to(kind(x)), *given(s, when.static_shape(k)))


@seeded
def tile_is_expand__of_more(x: Tensor, s: Tensor, a: String) -> Rewrites:
    """What is repeated may have any size."""
    yield rewrite(Tile(x, s, a)).to(Expand(x, s))


@seeded
def transpose_of_transpose__other_order(x: Tensor, a: String, b: String, k: String, c: String) -> Rewrites:
    """The permutations are composed the other way round."""
    yield rewrite(Transpose(Transpose(x, a), b)).to(
        Transpose(x, c), eq(k).to(kind(x)), *given(c, when.composed(b, a, k))
    )


@seeded
def transpose_nothing__same_type(x: Tensor, a: String, k: String, m: String) -> Rewrites:
    """A square matrix is its transpose."""
    t = Transpose(x, a)
    yield rewrite(t).to(x, eq(k).to(kind(x)), eq(m).to(kind(t)), when.same_kind(k, m))


@seeded
def gemm_of_transpose__not_toggled(x: Tensor, y: Tensor, c: Tensor, p: String, a: String) -> Rewrites:
    """The transposition is lost."""
    yield rewrite(Gemm(Transpose(x, p), y, c, a)).to(Gemm(x, y, c, a))


@seeded
def gemm_of_transpose__other_operand(x: Tensor, y: Tensor, c: Tensor, p: String, a: String, b: String) -> Rewrites:
    """The other operand is transposed."""
    yield rewrite(Gemm(Transpose(x, p), y, c, a)).to(Gemm(x, y, c, b), *given(b, linear.toggled(a, "transB")))


@seeded
def reduce_without_dimensions__any_view(t: Tensor, x: Tensor, s: Tensor, a: String, b: String) -> Rewrites:
    """The view may drop other dimensions."""
    yield rule(view(t, ReduceMean(x, s, a)), *given(b, flawed.not_kept(a))).then(union(t).with_(ReduceMean(x, s, b)))
