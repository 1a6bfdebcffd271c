"""Scaled dot-product attention written out, as ONNX's Attention."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import RewriteOrRule, String, eq, ne, rewrite, rule, union

from tcc.ir.host import given
from tcc.ir.language import (
    MODERATE,
    Add,
    Attention,
    Cast,
    Concat,
    Div,
    Expand,
    MatMul,
    Mul,
    Pad,
    Reshape,
    Softmax,
    Sub,
    Tensor,
    Transpose,
    Trilu,
    Where,
    absent,
    cons,
    dimension,
    form,
    kind,
    known,
    literal,
    masked,
    nil,
    view,
)  # fmt: skip
from tcc.rewrites import _attention as attention
from tcc.rewrites import _conditions as when
from tcc.rewrites import _numbers as number
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
ATTENTION = "Vaswani et al., Attention is all you need, 2017; ONNX operator specification, Attention"
GROUPED = "Ainslie et al., GQA, 2023; ONNX operator specification, Attention"
FIRST = 23
SWAP = '{"perm":[0,1,3,2]}'
LOW, ZERO = '["float32",[],[-1e+37]]', '["float32",[],[0.0]]'
SMALL, ALL, ROWS, FACTOR = map(String, (MODERATE, "all", "rows", "factor"))


def _attention(q: Tensor, k: Tensor, v: Tensor, m: Tensor, n: String) -> Tensor:
    """Attention of transposed keys."""
    return Attention(q, Transpose(k, SWAP), v, m, absent(), absent(), n)


@exact(Equality.VALUE, ATTENTION, "Softmax", "MatMul", first_opset=FIRST)
def attention_without_mask(
    q: Tensor, k: Tensor, v: Tensor, c: Tensor, a: String, kq: String, kk: String, kv: String, z: String, n: String
) -> Rewrites:
    """Softmax(c Q Kt) V = Attention(Q, K, V) with the scale c, heads as many in all or one in K and V; in float32."""
    types = eq(kq).to(kind(q)), eq(kk).to(kind(k)), eq(kv).to(kind(v))
    whole = MatMul(Softmax(MatMul(q, k), a), v)
    yield rewrite(whole).to(
        _attention(q, k, v, absent(), n), *types, *given(n, attention.attributes_of(kq, kk, kv, a, String("")))
    )
    whole = MatMul(Softmax(Mul(MatMul(q, k), c), a), v)
    yield rewrite(whole).to(
        _attention(q, k, v, absent(), n), *types, eq(z).to(known(c)), number.is_positive(z),
        *given(n, attention.attributes_of(kq, kk, kv, a, z)),
    )  # fmt: skip


def _choices(t: Tensor, m: Tensor, c: Tensor, x: Tensor, y: Tensor, z: String, w: String) -> Rewrites:
    """Which choices between two tensors are such masks."""
    same = form(m, x, SMALL, ALL)
    # What depends on a chosen number keeps its value, or takes one that hides as much and is not the lowest.
    numbers = eq(z).to(known(x)), eq(w).to(known(y))
    yield rule(eq(t).to(Where(c, x, y)), *numbers, attention.is_moderate(z), attention.is_moderate(w)).then(
        form(t, t, SMALL, ALL)
    )
    yield rule(eq(t).to(Where(c, x, y)), *numbers, attention.is_moderate(z), attention.is_lowest(w)).then(
        form(Where(c, x, literal(LOW)), t, SMALL, ALL)
    )
    yield rule(eq(t).to(Where(c, x, y)), *numbers, attention.is_lowest(z), attention.is_moderate(w)).then(
        form(Where(c, literal(LOW), y), t, SMALL, ALL)
    )
    # So does what is chosen where a condition holds, such as a bias of positions.
    low = eq(z).to(known(y)), attention.is_lowest(z)
    yield rule(eq(t).to(Where(c, x, y)), same, *low).then(form(Where(c, m, literal(LOW)), t, SMALL, ALL))
    yield rule(eq(t).to(Where(c, y, x)), same, *low).then(form(Where(c, literal(LOW), m), t, SMALL, ALL))
    low = eq(z).to(known(y)), attention.is_moderate(z)
    for chosen, made in ((Where(c, x, y), Where(c, m, y)), (Where(c, y, x), Where(c, y, m))):
        yield rule(eq(t).to(chosen), same, *low).then(form(made, t, SMALL, ALL))


def _masks(t: Tensor, m: Tensor, c: Tensor, d: Tensor, x: Tensor, y: Tensor, a: String, z: String, w: String, k: String,
           ) -> Rewrites:  # fmt: skip
    """Which tensors are masks without infinities and without a type's lowest number, which hides all it is added to."""
    same = form(m, x, SMALL, ALL)
    yield rule(eq(t).to(Pad(x, c, d, y, a)), form(x, x, SMALL, ALL), eq(z).to(known(d)), attention.is_moderate(z)).then(
        form(t, t, SMALL, ALL)
    )
    for shrunk, small in ((Mul(x, c), attention.shrinks(z)), (Div(x, c), attention.is_large_divisor(z))):
        yield rule(eq(t).to(shrunk), form(x, x, SMALL, ALL), eq(z).to(known(c)), small).then(form(t, t, SMALL, ALL))
    # An integer is below 2 ** 63, so that its product with a number that is a factor is moderate.
    integer = eq(k).to(kind(x)), when.is_integer(k), form(y, y, SMALL, FACTOR)
    for product in (Mul(Cast(x, a), y), Mul(y, Cast(x, a))):
        yield rule(eq(t).to(product), *integer).then(form(t, t, SMALL, ALL))
    yield from _choices(t, m, c, x, y, z, w)
    # (1 - flag) times the lowest number, the flag an integer.
    flags = eq(k).to(kind(x)), when.is_integer(k), eq(z).to(known(y)), when.all_equal_to(z, 1)
    flipped = Sub(y, Cast(x, a))
    low = eq(t).to(Mul(flipped, c)), eq(w).to(known(c))
    yield rule(*low, *flags, attention.is_lowest(w)).then(form(Mul(flipped, literal(LOW)), t, SMALL, ALL))
    yield rule(*low, *flags, attention.is_moderate(w)).then(form(t, t, SMALL, ALL))
    for moved, made in (
        (Reshape(x, c, a), Reshape(m, c, a)), (Expand(x, c, a), Expand(m, c, a)), (Trilu(x, c, a), Trilu(m, c, a))
    ):  # fmt: skip
        yield rule(eq(t).to(moved), same).then(form(made, t, SMALL, ALL))
    factors = form(x, x, SMALL, FACTOR), form(y, y, SMALL, FACTOR)
    yield rule(eq(t).to(Mul(x, y)), *factors).then(form(t, t, SMALL, ALL))
    filled = eq(t).to(Expand(x, c, a)), eq(z).to(known(x))
    yield rule(*filled, attention.is_lowest(z)).then(form(Expand(literal(LOW), c, a), t, SMALL, ALL))
    triangle = eq(t).to(Trilu(Expand(x, c, a), d, k)), eq(z).to(known(x)), attention.is_minus_infinity(z)
    yield rule(*triangle, eq(w).to(known(d)), attention.is_later(k, w)).then(form(t, t, SMALL, ROWS))


def _scaled_sums(
    p: Tensor, t: Tensor, s: Tensor, m: Tensor, x: Tensor, c: Tensor, d: Tensor, a: String, ks: String, z: String,
    w: String,
) -> Rewrites:  # fmt: skip
    """Scores that are scaled behind their mask are those that are scaled before, the mask's numbers too."""
    low = Where(c, literal(ZERO), literal(LOW)), Where(c, literal(LOW), literal(ZERO))
    scaled = eq(p).to(Softmax(t, a)), eq(w).to(known(d)), eq(ks).to(kind(s)), when.is_single(ks)
    for total in (Add(s, x), Add(x, s)):
        yield rule(*scaled, eq(t).to(Mul(total, d)), form(m, x, SMALL, ALL), attention.keeps_hiding(w)).then(
            masked(t, Mul(s, d), Mul(m, d))
        )
    hidden = eq(z).to(known(x)), attention.hides(z), attention.keeps_hiding(w)
    for chosen, made in ((Where(c, s, x), low[0]), (Where(c, x, s), low[1])):
        yield rule(*scaled, eq(t).to(Mul(chosen, d)), *hidden).then(masked(t, Mul(s, d), made))


@exact(Equality.VALUE, ATTENTION, "Softmax", "MatMul", "Add|Where", first_opset=FIRST)
def attention_with_mask(
    t: Tensor, s: Tensor, q: Tensor, k: Tensor, v: Tensor, c: Tensor, m: Tensor, d: Tensor, x: Tensor, y: Tensor,
    a: String, kq: String, kk: String, kv: String, km: String, ks: String, z: String, w: String, n: String, r: String,
) -> Rewrites:  # fmt: skip
    """Softmax(c Q Kt + M) V = Attention(Q, K, V, M), scores that are replaced by a low number included.

    M has the scores' last two dimensions, or is repeated for every query. A type's lowest number, which runtimes take
    for minus infinity, becomes -1e37: it hides every score up to 1e29 as the lowest does.
    """
    yield from _masks(t, m, c, d, x, y, a, z, w, ks)
    yield from _scaled_sums(q, t, s, m, x, c, d, a, ks, z, w)
    single = eq(ks).to(kind(s)), when.is_single(ks)
    for total in (Add(s, x), Add(x, s)):
        yield rule(eq(q).to(Softmax(t, a)), eq(t).to(total), form(m, x, SMALL, ALL), *single).then(masked(t, s, m))
        yield rule(masked(k, t, d), eq(t).to(total), form(m, x, SMALL, ALL), *single).then(masked(k, s, Add(d, m)))
        yield rule(eq(q).to(Softmax(t, a)), eq(t).to(total), form(x, x, SMALL, ROWS), *single).then(masked(t, s, x))
    low = Where(c, literal(ZERO), literal(LOW)), Where(c, literal(LOW), literal(ZERO))
    hides = eq(z).to(known(x)), attention.hides(z), *single
    for chosen, made in ((Where(c, s, x), low[0]), (Where(c, x, s), low[1])):
        yield rule(eq(q).to(Softmax(t, a)), eq(t).to(chosen), *hides).then(masked(t, s, made))
        yield rule(masked(k, t, d), eq(t).to(chosen), *hides).then(masked(k, s, Add(d, made)))
    types = eq(kq).to(kind(q)), eq(kk).to(kind(k)), eq(kv).to(kind(v)), eq(km).to(kind(m)), eq(ks).to(kind(s))
    ones = literal('["int64",[2],[1,1]]')
    last = literal('["int64",[1],[1]]')
    shape = Concat(cons(ones, cons(dimension(r), cons(last, nil()))), '{"axis":0}')
    scaled = eq(z).to(known(c)), number.is_positive(z)
    forms = (
        (eq(s).to(MatMul(q, k)), given(n, attention.attributes_of(kq, kk, kv, a, String("")))),
        (eq(s).to(Mul(MatMul(q, k), c)), (*scaled, *given(n, attention.attributes_of(kq, kk, kv, a, z)))),
    )
    for scores, key in forms:
        whole = eq(y).to(MatMul(Softmax(t, a), v)), masked(t, s, m), scores, *types, *key
        yield rule(*whole, attention.fits(km, ks)).then(union(y).with_(_attention(q, k, v, m, n)))
        yield rule(*whole, *given(r, attention.rows(km, ks))).then(
            union(y).with_(_attention(q, k, v, Expand(m, literal(r)), n))
        )
        yield rule(*whole, *given(r, attention.symbolic_rows(km, ks))).then(
            union(y).with_(_attention(q, k, v, Expand(m, shape), n))
        )


@exact(Equality.VALUE, ATTENTION, "Attention|Softmax", "Mul", first_opset=FIRST)
def scale_into_attention(
    q: Tensor, k: Tensor, v: Tensor, m: Tensor, c: Tensor, n: String, z: String, y: String, kq: String, ks: String
) -> Rewrites:
    """Attention(c Q, K, V) = Attention(Q, c K, V) = Attention(Q, K, V) with the scale c times as large."""
    for scaled, made in (
        (Attention(Mul(q, c), k, v, m, absent(), absent(), n), Attention(q, k, v, m, absent(), absent(), y)),
        (Attention(k, Mul(q, c), v, m, absent(), absent(), n), Attention(k, q, v, m, absent(), absent(), y)),
    ):
        # What has the factor apart is never better: to offer both for every layer makes the choice harder to solve.
        yield rewrite(scaled, subsume=True).to(
            made, eq(z).to(known(c)), number.is_positive(z), eq(kq).to(kind(q)), eq(ks).to(kind(Mul(q, c))),
            attention.keeps_shape(ks, kq), *given(y, attention.rescaled(n, z)), ne(y).to(n),
        )  # fmt: skip


@exact(Equality.VALUE, ATTENTION, "Attention|Softmax", "Transpose", first_opset=FIRST)
def heads_into_attention(
    t: Tensor, o: Tensor, q: Tensor, k: Tensor, v: Tensor, m: Tensor, q4: Tensor, k4: Tensor, v4: Tensor, q3: Tensor,
    k3: Tensor, v3: Tensor, a: String, b: String, c: String, d: String, n: String, y: String, tq: String, tk: String,
    tv: String, to: String, sq: String, sk: String, sv: String, st: String,
) -> Rewrites:  # fmt: skip
    """Attention with the heads as a dimension, made and undone by views and transpositions, is that without it."""
    swapped = (attention.swaps_heads(key) for key in (a, b, c, d))
    types = (
        eq(tq).to(kind(q4)), eq(tk).to(kind(k4)), eq(tv).to(kind(v4)), eq(to).to(kind(o)), eq(sq).to(kind(q3)),
        eq(sk).to(kind(k3)), eq(sv).to(kind(v3)), eq(st).to(kind(t)),
    )  # fmt: skip
    yield rule(
        eq(o).to(Transpose(Attention(q, k, v, m, absent(), absent(), n), d)), eq(q).to(Transpose(q4, a)),
        eq(k).to(Transpose(k4, b)), eq(v).to(Transpose(v4, c)), view(q4, q3), view(k4, k3), view(v4, v3), view(t, o),
        *swapped, *types, *given(y, attention.joined_heads(n, tq, sq, tk, sk, tv, sv, to, st)),
    ).then(union(t).with_(Attention(q3, k3, v3, m, absent(), absent(), y)))  # fmt: skip


@exact(Equality.VALUE, GROUPED, "Attention|Softmax", "Expand", first_opset=FIRST)
def grouped_heads_into_attention(
    q: Tensor, k: Tensor, v: Tensor, m: Tensor, k1: Tensor, v1: Tensor, k2: Tensor, v2: Tensor, k3: Tensor, v3: Tensor,
    s: Tensor, u: Tensor, n: String, ta: String, tb: String, tc: String, td: String, te: String, tf: String, tg: String,
    th: String,
) -> Rewrites:  # fmt: skip
    """Attention of keys and values that are repeated for groups of query heads is that of the keys and values."""
    keys = view(k, k3), eq(k3).to(Expand(k2, s)), view(k2, k1), eq(ta).to(kind(k1)), eq(tb).to(kind(k2))
    values = view(v, v3), eq(v3).to(Expand(v2, u)), view(v2, v1), eq(te).to(kind(v1)), eq(tf).to(kind(v2))
    yield rewrite(Attention(q, k, v, m, absent(), absent(), n)).to(
        Attention(q, k1, v1, m, absent(), absent(), n), *keys, eq(tc).to(kind(k3)), eq(td).to(kind(k)), *values,
        eq(tg).to(kind(v3)), eq(th).to(kind(v)), attention.repeats_heads(ta, tb, tc, td),
        attention.repeats_heads(te, tf, tg, th),
    )  # fmt: skip
