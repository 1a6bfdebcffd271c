"""Rotary position embeddings written out, as ONNX's RotaryEmbedding."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from egglog import RewriteOrRule, String, eq, rewrite, rule, union

from tcc.ir.host import given
from tcc.ir.language import (
    Add,
    Cast,
    Concat,
    Cos,
    Expand,
    Gather,
    Mul,
    Neg,
    Reshape,
    RotaryEmbedding,
    Shape,
    Sin,
    Slice,
    Split,
    Sub,
    Tensor,
    Tile,
    Transpose,
    absent,
    cons,
    dimension,
    form,
    kind,
    known,
    literal,
    nil,
    project,
    structure,
    turned,
    view,
)  # fmt: skip
from tcc.rewrites import _rotary as rotary
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
ROPE = "Su et al., RoFormer, 2021; ONNX operator specification, RotaryEmbedding"
FIRST = 23
SWAP = '{"perm":[0,2,1,3]}'
PART, TWICE, ACROSS = map(String, ("part of pairs", "twice along last", "turned by a right angle"))
"""Steps: one of each pair of the last axis; each angle twice along it; (a, b) as (-b, a) for each pair."""
HALVES, PAIRS, APART = map(String, (rotary.HALVES, rotary.PAIRS, rotary.APART))
REAL, IMAGINARY = map(String, ("real of ", "imaginary of "))


@exact(Equality.VALUE, ROPE, "Concat", "Mul", "Neg|Sub", first_opset=FIRST)
def rotary_embedding(
    t: Tensor, x: Tensor, y: Tensor, c: Tensor, s: Tensor, p: Tensor, q: Tensor, r: Tensor, u: Tensor, v: Tensor,
    w: Tensor, a: String, k: String, f: String, m: String, n: String, n0: String, n1: String, n2: String,
    n3: String, n4: String, n5: String, ks: String, ke: String, kc: String, kp: String,
) -> Rewrites:  # fmt: skip
    """x cos + (-x2, x1) sin = RotaryEmbedding(x) for pairs (x1, x2), halves or neighbours, and an angle for each place.

    So is (x1 cos - x2 sin, x1 sin + x2 cos), joined.
    """
    yield from _parts(x, p, c, s, q, r, a, k, f, m, n, ks, ke, kc, kp)
    yield from _repetitions(c, x, y, u, w, a, k, f, m, n)
    yield from _turned_whole(t, x, c, s, p, q, r, u, v, y, a, k, f, m, n)
    yield from _turned_parts(t, x, c, s, p, q, r, u, v, y, a, k, f, m, n)
    types = eq(k).to(kind(x)), eq(f).to(kind(c)), eq(m).to(kind(s)), turned(t, x, c, s, n)
    shapes = (
        *given(n0, rotary.bounds(0, k, f, n)), *given(n1, rotary.bounds(1, k, f, n)), *given(n2, rotary.cache(k, f, n)),
    )  # fmt: skip
    zero, last, ones = literal('["int64",[1],[0]]'), literal('["int64",[1],[-1]]'), literal('["int64",[2],[1,1]]')
    known_count = given(n3, rotary.repeats(k, f, n)), literal(n3)
    symbolic = given(n3, rotary.samples(k, f, n)), Concat(cons(dimension(n3), cons(ones, nil())), '{"axis":0}')
    yield rule(*types, *symbolic[0]).then(union(dimension(n3)).with_(Gather(Shape(x, "{}"), zero, '{"axis":0}')))
    for count, shape in (known_count, symbolic):
        angles = [
            Expand(Reshape(Slice(each, zero, literal(n0), last, literal(n1)), literal(n2)), shape) for each in (c, s)
        ]
        yield rule(*types, *shapes, *count, *given(a, rotary.key(k, f, m, n))).then(
            union(t).with_(RotaryEmbedding(x, angles[0], angles[1], absent(), a))
        )
        facts = given(n4, rotary.merged_heads(k)), given(n5, rotary.parted_heads(k))
        made = RotaryEmbedding(Reshape(x, literal(n4)), angles[0], angles[1], absent(), a)
        yield rule(*types, *shapes, *count, *given(a, rotary.joined_key(k, f, m, n)), *facts[0], *facts[1]).then(
            union(t).with_(Reshape(made, literal(n5)))
        )


def _parts(x: Tensor, p: Tensor, c: Tensor, s: Tensor, q: Tensor, r: Tensor, a: String, k: String, f: String,
           m: String, n: String, ks: String, ke: String, kc: String, kp: String) -> Rewrites:  # fmt: skip
    """What is one of each pair of elements along the last axis."""
    bounds = eq(ks).to(known(c)), eq(ke).to(known(s)), eq(kc).to(known(q)), eq(kp).to(known(r))
    yield rule(
        eq(p).to(Slice(x, c, s, q, r, a)), eq(k).to(kind(x)), *bounds, *given(n, rotary.part(k, ks, ke, kc, kp))
    ).then(form(p, x, PART, n))
    yield rule(
        eq(p).to(Gather(x, c, a)), eq(k).to(kind(x)), eq(f).to(kind(p)), eq(m).to(known(c)),
        *given(n, rotary.gathered_part(k, f, a, m)),
    ).then(form(p, x, PART, n))  # fmt: skip
    for index in (0, 1):
        types = eq(q).to(project(Split(x, c, a), index)), eq(k).to(kind(x)), eq(f).to(kind(q))
        yield rule(*types, *given(n, rotary.split_part(index, a, k, f))).then(form(q, x, PART, n))
        yield rule(*types, view(p, q), eq(m).to(kind(p)), *given(n, rotary.split_pair(index, a, k, m))).then(
            form(p, x, PART, n)
        )


def _repetitions(c: Tensor, x: Tensor, y: Tensor, u: Tensor, w: Tensor, a: String, k: String, f: String, m: String,
                 n: String) -> Rewrites:  # fmt: skip
    """What has each element of its last axis twice: one half like the other, or each neighbour like the other."""
    same = form(x, x, TWICE, n)
    twice = eq(y).to(Concat(cons(x, cons(x, nil())), a)), eq(k).to(kind(y))
    yield rule(*twice, rotary.joins_last(a, k)).then(form(y, y, TWICE, HALVES))
    apart = eq(y).to(Concat(cons(u, cons(u, nil())), a)), view(u, x), eq(k).to(kind(y)), eq(f).to(kind(x))
    closed = view(c, y), eq(m).to(kind(c)), rotary.closes_up(m, k)
    yield rule(*apart, rotary.stacks(a, k, f), *closed).then(form(c, c, TWICE, PAIRS))
    for made in (Expand(u, w), Tile(u, w)):
        spread = eq(y).to(made), view(u, x), eq(k).to(kind(y)), eq(f).to(kind(x))
        yield rule(*spread, rotary.stacks(String('{"axis":-1}'), k, f), *closed).then(form(c, c, TWICE, PAIRS))
    for made in (Cos(x), Sin(x), Cast(x, a)):
        yield rule(eq(y).to(made), same).then(form(y, y, TWICE, n))
    for made in (Mul(x, u), Mul(u, x)):
        yield rule(
            eq(y).to(made), same, eq(k).to(kind(u)), eq(f).to(kind(x)), rotary.is_same_along_last(k, f)
        ).then(form(y, y, TWICE, n))  # fmt: skip
    types = eq(k).to(kind(y)), eq(f).to(kind(x))
    yield rule(view(y, x), same, *types, rotary.keeps_last(k, f)).then(form(y, y, TWICE, n))
    yield rule(eq(y).to(Gather(x, u, a)), same, eq(f).to(kind(x)), rotary.leaves_last(a, f)).then(form(y, y, TWICE, n))
    yield rule(eq(a).to(structure(x)), eq(k).to(kind(x)), *given(n, rotary.repetition(a, k))).then(form(x, x, TWICE, n))


def _turned_whole(t: Tensor, x: Tensor, c: Tensor, s: Tensor, p: Tensor, q: Tensor, r: Tensor, u: Tensor, v: Tensor,
                  y: Tensor, a: String, k: String, f: String, m: String, n: String) -> Rewrites:  # fmt: skip
    """x cos + (-x2, x1) sin, each cosine and sine twice."""
    parts = form(p, x, PART, f), form(q, x, PART, m)
    joined = eq(r).to(Concat(cons(Neg(q), cons(p, nil())), a)), eq(k).to(kind(r)), rotary.joins_last(a, k)
    yield rule(*joined, *parts, eq(rotary.halves_of(f, m)).to(HALVES)).then(form(r, x, ACROSS, HALVES))
    stacked = (
        eq(y).to(Concat(cons(u, cons(v, nil())), a)), view(u, Neg(q)), view(v, p), eq(k).to(kind(y)),
        eq(n).to(kind(p)), rotary.stacks(a, k, n),
    )  # fmt: skip
    of_pairs = eq(rotary.halves_of(f, m)).to(PAIRS)
    yield rule(view(r, y), *stacked, *parts, of_pairs, rotary.closes_up(kind(r), k)).then(form(r, x, ACROSS, PAIRS))
    twice = form(r, x, ACROSS, n), form(c, c, TWICE, n), form(s, s, TWICE, n)
    for first, second in itertools.product((Mul(x, c), Mul(c, x)), (Mul(r, s), Mul(s, r))):
        for total in (Add(first, second), Add(second, first)):
            yield rule(eq(t).to(total), *twice).then(turned(t, x, c, s, n))


def _turned_parts(t: Tensor, x: Tensor, c: Tensor, s: Tensor, p: Tensor, q: Tensor, r: Tensor, u: Tensor, v: Tensor,
                  y: Tensor, a: String, k: String, f: String, m: String, n: String) -> Rewrites:  # fmt: skip
    """(x1 cos - x2 sin, x1 sin + x2 cos), joined as the parts were taken."""
    parts = form(p, x, PART, f), form(q, x, PART, m), *given(n, rotary.halves_of(f, m))
    orders = itertools.product((Mul(p, c), Mul(c, p)), (Mul(q, s), Mul(s, q)))
    for first, second in orders:
        yield rule(eq(r).to(Sub(first, second)), *parts).then(turned(r, x, c, s, REAL + n))
    for first, second in itertools.product((Mul(p, s), Mul(s, p)), (Mul(q, c), Mul(c, q))):
        for total in (Add(first, second), Add(second, first)):
            yield rule(eq(r).to(total), *parts).then(turned(r, x, c, s, IMAGINARY + n))
    for of in (HALVES, PAIRS, APART):
        both = turned(p, x, c, s, REAL + of), turned(q, x, c, s, IMAGINARY + of)
        if of is HALVES:
            joined = eq(t).to(Concat(cons(p, cons(q, nil())), a)), eq(k).to(kind(t)), rotary.joins_last(a, k)
            yield rule(*joined, *both).then(turned(t, x, c, s, of))
            continue
        stacked = (
            eq(y).to(Concat(cons(u, cons(v, nil())), a)), view(u, p), view(v, q), eq(k).to(kind(y)),
            eq(f).to(kind(p)), rotary.stacks(a, k, f),
        )  # fmt: skip
        if of is APART:
            yield rule(*stacked, *both).then(turned(y, x, c, s, of))
        else:
            yield rule(*stacked, *both, view(t, y), eq(m).to(kind(t)), rotary.closes_up(m, k)).then(
                turned(t, x, c, s, of)
            )


@exact(Equality.VALUE, ROPE, "RotaryEmbedding|Neg|Sub", "Transpose", first_opset=FIRST)
def rotary_embedding_of_moved_heads(
    y: Tensor, c: Tensor, s: Tensor, a: String, p: String, k: String, n: String, n4: String, n5: String
) -> Rewrites:
    """RotaryEmbedding(Transpose(y)) of heads that are moved forward = Transpose(RotaryEmbedding(y)), heads joined."""
    made = RotaryEmbedding(Reshape(y, literal(n4)), c, s, absent(), n)
    yield rewrite(RotaryEmbedding(Transpose(y, p), c, s, absent(), a)).to(
        Transpose(Reshape(made, literal(n5)), SWAP), eq(k).to(kind(y)), *given(n, rotary.swapped_key(a, p, k)),
        *given(n4, rotary.merged_heads(k)), *given(n5, rotary.parted_heads(k)),
    )  # fmt: skip


@exact(Equality.VALUE, ROPE, "RotaryEmbedding|Neg|Sub", "Concat", "Slice", first_opset=FIRST)
def rotary_embedding_of_leading_part(
    x: Tensor, c: Tensor, s: Tensor, p: Tensor, s1: Tensor, e1: Tensor, c1: Tensor, p1: Tensor, s2: Tensor, e2: Tensor,
    c2: Tensor, p2: Tensor, a: String, b: String, k: String, m: String, n: String, k1: String, k2: String, k3: String,
    k4: String, l1: String, l2: String, l3: String, l4: String,
) -> Rewrites:  # fmt: skip
    """Concat(RotaryEmbedding(x[..., :r]), x[..., r:]) = RotaryEmbedding(x) with the size r."""
    first = eq(k1).to(known(s1)), eq(k2).to(known(e1)), eq(k3).to(known(c1)), eq(k4).to(known(p1))
    second = eq(l1).to(known(s2)), eq(l2).to(known(e2)), eq(l3).to(known(c2)), eq(l4).to(known(p2))
    yield rewrite(Concat(cons(RotaryEmbedding(p, c, s, absent(), a), cons(Slice(x, s2, e2, c2, p2), nil())), b)).to(
        RotaryEmbedding(x, c, s, absent(), n), eq(p).to(Slice(x, s1, e1, c1, p1)), eq(k).to(kind(x)),
        eq(m).to(kind(p)), *first, *second, *given(n, rotary.leading_key(a, b, k, m, k1, k2, k3, k4, l1, l2, l3, l4)),
    )  # fmt: skip
