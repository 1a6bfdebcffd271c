"""Wrong forms of ``tcc.rewrites.recurrent``."""

# A rule's parameters are its pattern variables.
# ruff: noqa: PLR0917
from __future__ import annotations

from egglog import String, eq, rule, union

from tcc.ir.language import Results, Tensor, Tensors, absent, cons, constant, opaque
from tcc.rewrites import _recurrent as recurrent
from tests.rules.wrong._seeding import Rewrites, seeded


@seeded
def zero_initial_state__any_constant(
    x: Tensor, w: Tensor, r: Tensor, b: Tensor, n: Tensor, h: Tensor, xs: Tensors, y: Results, k: String
) -> Rewrites:
    """The state may be any constant."""
    given = cons(x, cons(w, cons(r, cons(b, cons(n, cons(h, xs))))))
    left = cons(x, cons(w, cons(r, cons(b, cons(n, cons(absent(), xs))))))
    yield rule(eq(y).to(opaque(k, given)), constant(h), recurrent.is_recurrent(k)).then(union(y).with_(opaque(k, left)))


@seeded
def zero_initial_state__other_input(
    x: Tensor, w: Tensor, r: Tensor, b: Tensor, n: Tensor, h: Tensor, xs: Tensors, y: Results, k: String
) -> Rewrites:
    """The lengths of the sequences are dropped as well."""
    given = cons(x, cons(w, cons(r, cons(b, cons(n, cons(h, xs))))))
    left = cons(x, cons(w, cons(r, cons(b, cons(absent(), cons(h, xs))))))
    yield rule(eq(y).to(opaque(k, given)), recurrent.is_recurrent(k)).then(union(y).with_(opaque(k, left)))
