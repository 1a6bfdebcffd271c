"""Wrong forms of ``tcc.rewrites.rotary``."""

# A rule's parameters are its pattern variables.
# ruff: noqa: PLR0917
from __future__ import annotations

from egglog import Fact, String, eq, rewrite

from tcc.ir.host import given
from tcc.ir.language import (
    Add,
    Concat,
    Mul,
    Neg,
    Reshape,
    RotaryEmbedding,
    Slice,
    Split,
    Sub,
    Tensor,
    Transpose,
    absent,
    cons,
    kind,
    known,
    literal,
    nil,
    project,
)  # fmt: skip
from tcc.rewrites import _rotary as rotary
from tcc.rewrites.rotary import SWAP
from tests.rules.wrong._seeding import Rewrites, seeded

HALVES = String(rotary.HALVES)


def _angles(c: Tensor, n: String, n0: String) -> Tensor:
    zero, last, one = literal('["int64",[1],[0]]'), literal('["int64",[1],[-1]]'), literal('["int64",[1],[1]]')
    return Reshape(Slice(c, zero, literal(n0), last, one), literal(n))


def _facts(x: Tensor, c: Tensor, s: Tensor, k: String, f: String, n: String, n0: String, a: String) -> tuple[Fact, ...]:
    return (
        eq(k).to(kind(x)), eq(f).to(kind(c)), eq(f).to(kind(s)), *given(n, rotary.cache(k, f, HALVES)),
        *given(n0, rotary.bounds(0, k, f, HALVES)), *given(a, rotary.key(k, f, f, HALVES)),
    )  # fmt: skip


@seeded
def rotary_embedding__any_angles(x: Tensor, c: Tensor, s: Tensor, p: Tensor, q: Tensor, r: Tensor, k: String, f: String,
                                 n: String, n0: String, a: String, b: String, d: String) -> Rewrites:  # fmt: skip
    """The two elements of a pair may have angles of their own."""
    halves = Split(x, r, d)
    across = Concat(cons(Neg(project(halves, 1)), cons(project(halves, 0), nil())), b)
    for first in (Mul(x, c), Mul(c, x)):
        for second in (Mul(across, s), Mul(s, across)):
            for total in (Add(first, second), Add(second, first)):
                yield rewrite(total).to(
                    RotaryEmbedding(x, _angles(c, n, n0), _angles(s, n, n0), absent(), a),
                    *_facts(x, c, s, k, f, n, n0, a),
                )


@seeded
def rotary_embedding__other_direction(x: Tensor, c: Tensor, s: Tensor, r: Tensor, k: String, f: String, n: String,
                                      n0: String, a: String, b: String, d: String) -> Rewrites:  # fmt: skip
    """The sign may stand at either element."""
    halves = Split(x, r, d)
    across = Concat(cons(project(halves, 1), cons(Neg(project(halves, 0)), nil())), b)
    for first in (Mul(x, c), Mul(c, x)):
        for second in (Mul(across, s), Mul(s, across)):
            for total in (Add(first, second), Add(second, first)):
                yield rewrite(total).to(
                    RotaryEmbedding(x, _angles(c, n, n0), _angles(s, n, n0), absent(), a),
                    *_facts(x, c, s, k, f, n, n0, a),
                )


@seeded
def rotary_embedding__sum_of_parts(x: Tensor, c: Tensor, s: Tensor, r: Tensor, k: String, f: String, n: String,
                                   n0: String, a: String, b: String, d: String) -> Rewrites:  # fmt: skip
    """The real part may be a sum."""
    halves = Split(x, r, d)
    p, q = project(halves, 0), project(halves, 1)
    for operator in (Add, Sub):
        for first, second in ((Mul(p, c), Mul(q, s)), (Mul(c, p), Mul(s, q)), (Mul(p, c), Mul(s, q)),
                              (Mul(c, p), Mul(q, s))):  # fmt: skip
            for real in (operator(first, second), operator(second, first)):
                imaginary = Add(Mul(p, s), Mul(q, c))
                yield rewrite(Concat(cons(real, cons(imaginary, nil())), b)).to(
                    RotaryEmbedding(x, _angles(c, n, n0), _angles(s, n, n0), absent(), a),
                    *_facts(x, c, s, k, f, n, n0, a),
                )


@seeded
def rotary_embedding_of_moved_heads__any_order(y: Tensor, c: Tensor, s: Tensor, a: String, p: String, k: String,
                                               n: String, n4: String, n5: String) -> Rewrites:  # fmt: skip
    """Any two dimensions may have been moved."""
    made = RotaryEmbedding(Reshape(y, literal(n4)), c, s, absent(), n)
    yield rewrite(RotaryEmbedding(Transpose(y, p), c, s, absent(), a)).to(
        Transpose(Reshape(made, literal(n5)), SWAP), eq(k).to(kind(y)),
        *given(n, rotary.swapped_key(a, String(SWAP), k)), *given(n4, rotary.merged_heads(k)),
        *given(n5, rotary.parted_heads(k)),
    )  # fmt: skip


@seeded
def rotary_embedding_of_leading_part__gap(x: Tensor, c: Tensor, s: Tensor, s1: Tensor, e1: Tensor, c1: Tensor,
                                          s2: Tensor, e2: Tensor, c2: Tensor, a: String, b: String, k: String,
                                          m: String, n: String, k1: String, k2: String, k3: String,
                                          l3: String, l2: String) -> Rewrites:  # fmt: skip
    """What follows may begin anywhere."""
    p = Slice(x, s1, e1, c1, absent())
    facts = eq(k1).to(known(s1)), eq(k2).to(known(e1)), eq(k3).to(known(c1)), eq(l3).to(known(c2)), eq(l2).to(known(e2))
    key = rotary.leading_key(a, b, k, m, k1, k2, k3, String(""), k2, l2, l3, String(""))
    yield rewrite(
        Concat(cons(RotaryEmbedding(p, c, s, absent(), a), cons(Slice(x, s2, e2, c2, absent()), nil())), b)
    ).to(RotaryEmbedding(x, c, s, absent(), n), eq(k).to(kind(x)), eq(m).to(kind(p)), *facts, *given(n, key))
