"""Initial states of recurrent networks that are zero are not given."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import RewriteOrRule, String, eq, rule, union

from tcc.ir.language import (
    Concat,
    Expand,
    Gather,
    Results,
    Slice,
    Tensor,
    Tensors,
    Tile,
    Transpose,
    absent,
    cons,
    form,
    known,
    nil,
    opaque,
    project,
    structure,
    view,
)
from tcc.rewrites import _conditions as when
from tcc.rewrites import _recurrent as recurrent
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
STATES = "ONNX operator specification, LSTM, GRU and RNN: an initial state that is not given is zero"
ZEROS, PLAIN = String("zeros"), String("")
"""The form of a tensor of positive zeros."""


@exact(Equality.BITS, STATES, "LSTM|GRU|RNN")
def zero_initial_state(
    t: Tensor, x: Tensor, w: Tensor, r: Tensor, b: Tensor, n: Tensor, h: Tensor, c: Tensor, s: Tensor, e: Tensor,
    p: Tensor, u: Tensor, xs: Tensors, y: Results, a: String, k: String, v: String,
) -> Rewrites:  # fmt: skip
    """LSTM, GRU and RNN with an initial state of zeros, however it is put together, are those without it."""
    zero, made = form(t, t, ZEROS, PLAIN), form(x, x, ZEROS, PLAIN)
    yield rule(eq(v).to(known(t)), when.all_positive_zero(v)).then(zero)
    yield rule(eq(structure(t)).to(String("filled 0.0"))).then(zero)
    yield rule(eq(t).to(project(opaque(k, xs), 0)), recurrent.fills_with_zeros(k)).then(zero)
    yield rule(view(t, x), made).then(zero)
    for moved in (Expand(x, s, a), Tile(x, s, a), Transpose(x, a), Slice(x, s, e, p, u, a), Gather(x, s, a)):
        yield rule(eq(t).to(moved), made).then(zero)
    yield rule(eq(t).to(Concat(cons(x, cons(h, nil())), a)), made, form(h, h, ZEROS, PLAIN)).then(zero)
    facts = form(h, h, ZEROS, PLAIN), recurrent.is_recurrent(k)
    for before in ((x, w, r, b, n), (x, w, r, b, n, c)):
        given, left = _listed((*before, h), xs), _listed((*before, absent()), xs)
        yield rule(eq(y).to(opaque(k, given)), *facts).then(union(y).with_(opaque(k, left)))


def _listed(tensors: tuple[Tensor, ...], rest: Tensors) -> Tensors:
    for tensor in reversed(tensors):
        rest = cons(tensor, rest)
    return rest
