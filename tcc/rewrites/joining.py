"""Joins and their parts: what a Split takes out of a Concat."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import RewriteOrRule, String, eq, rewrite

from tcc.ir.language import Concat, Split, Tensor, cons, kinds, known, nil, project
from tcc.rewrites import _joins as joins
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]


@exact(Equality.BITS, "TASO, SOSP 2019, table 2: split of concat", "Split", "Concat")
def split_of_concat(
    x: Tensor, y: Tensor, z: Tensor, u: Tensor, s: Tensor, a: String, b: String, k: String, v: String
) -> Rewrites:
    """Split(Concat(x, y, ...)) has the parts x, y, ... (two to four), if it cuts where they were joined."""
    inputs = x, y, z, u
    for parts in (2, 3, 4):
        joined = nil()
        for part in reversed(inputs[:parts]):
            joined = cons(part, joined)
        taken = Split(Concat(joined, a), s, b)
        for i, part in enumerate(inputs[:parts]):
            yield rewrite(project(taken, i)).to(
                part, eq(k).to(kinds(joined)), eq(v).to(known(s)), joins.cuts_where_joined(a, k, b, v)
            )
