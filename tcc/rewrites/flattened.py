"""Products of rows that were flattened to a matrix, as TensorFlow writes dense layers and heads."""

from __future__ import annotations

from collections.abc import Iterator

from egglog import RewriteOrRule, String, eq, rule, union

from tcc.ir.host import given
from tcc.ir.language import Add, MatMul, Reshape, Tensor, constant, kind, literal, view
from tcc.rewrites import _flattened as rows
from tcc.rewrites.rule import Equality, exact

Rewrites = Iterator[RewriteOrRule]
VIEWS = "Reshape|Flatten|Squeeze|Unsqueeze"
PRODUCT = "ONNX operator specification, MatMul: the last two dimensions are matrices, the others a stack of them"


@exact(Equality.VALUE, PRODUCT, "MatMul", VIEWS)
def product_of_flattened_rows(
    t: Tensor, p: Tensor, v: Tensor, x: Tensor, w: Tensor, k: String, m: String, n: String, q: String
) -> Rewrites:
    """MatMul(v, w) under the shape of x's rows = MatMul(x, w) for the rows v of x as a matrix and a matrix w."""
    yield rule(
        view(t, p), eq(p).to(MatMul(v, w)), view(v, x), eq(k).to(kind(t)), eq(m).to(kind(x)), eq(n).to(kind(w)),
        eq(q).to(kind(v)), rows.flattens_rows(q, m), rows.restores_rows(k, m, n),
    ).then(union(t).with_(MatMul(x, w)))  # fmt: skip


@exact(Equality.BITS, "ONNX operator specification, multidirectional broadcasting", "Add", VIEWS, first_opset=7)
def bias_of_split_columns(
    t: Tensor, v: Tensor, y: Tensor, c: Tensor, a: String, m: String, k: String, q: String, n: String
) -> Rewrites:
    """v + c = a view of y + c' for a constant c over the dimensions of v into which the last one of y is split."""
    facts = view(v, y), eq(m).to(kind(v)), eq(k).to(kind(y)), constant(c), eq(q).to(kind(c))
    for total in (Add(v, c, a), Add(c, v, a)):
        yield rule(eq(t).to(total), *facts, *given(n, rows.column(q, m, k))).then(
            view(t, Add(y, Reshape(c, literal(n)), a))
        )
