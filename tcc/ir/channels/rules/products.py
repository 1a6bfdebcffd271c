"""Matrix products: what is summed over goes together in both operands."""

from __future__ import annotations

from tcc.ir.channels.links import Factors, Link, Operand, Reduction, tied
from tcc.ir.channels.rule import MICROSOFT, Rule
from tcc.ir.channels.site import Site

_OVER_K = {"k": Reduction.SUM}


def _product(site: Site, left: int, right: int, others: dict[int, Factors | None] | None = None) -> list[Link]:
    """``numpy.matmul``: batch axes broadcast, a vector has no row or column."""
    a, b = (len(site.shape(port) or ()) for port in (left, right))
    batch = max(a, b) - 2
    operands: list[Operand] = [
        (left, [*_batch(batch, a - 2), ("m",), ("k",)] if a > 1 else [("k",)]),
        (right, [*_batch(batch, b - 2), ("k",), ("n",)] if b > 1 else [("k",)]),
        (~0, [*_batch(batch, batch), *([("m",)] if a > 1 else []), *([("n",)] if b > 1 else [])]),
    ]
    operands += [(port, [factors]) for port, factors in (others or {}).items() if len(site.shape(port) or ()) == 1]
    return tied(site, operands, reduced=_OVER_K)


def _batch(batch: int, own: int) -> list[Factors]:
    return [(f"b{i}",) for i in range(batch - max(own, 0), batch)]


def _matmul(site: Site) -> list[Link]:
    return _product(site, 0, 1)


def _matmul_integer(site: Site) -> list[Link]:
    return _product(site, 0, 1, {3: ("n",)})


def _qlinear_matmul(site: Site) -> list[Link]:
    return _product(site, 0, 3, {4: ("n",), 5: ("n",)})


def _dynamic_quantized(site: Site) -> list[Link]:
    """``com.microsoft.DynamicQuantizeMatMul(A, B, b_scale, b_zero_point, bias)``: A's range is over all of A."""
    return _product(site, 0, 1, {2: ("n",), 3: ("n",), 4: ("n",)})


def _integer_to_float(site: Site) -> list[Link]:
    """``com.microsoft.MatMulIntegerToFloat(A, B, a_scale, b_scale, a_zero, b_zero, bias)``."""
    return _product(site, 0, 1, {3: ("n",), 5: ("n",), 6: ("n",)})


def _gemm(site: Site) -> list[Link]:
    a: list[Factors] = [("k",), ("m",)] if site.attribute("transA", 0) else [("m",), ("k",)]
    b: list[Factors] = [("n",), ("k",)] if site.attribute("transB", 0) else [("k",), ("n",)]
    rows_columns: list[Factors] = [("m",), ("n",)]
    c = rows_columns[2 - len(site.shape(2) or ()) :]
    return tied(site, [(0, a), (1, b), (2, c), (~0, rows_columns)], reduced=_OVER_K)


def _einsum(site: Site) -> list[Link]:
    """A letter is a factor; ``...`` stands for axes aligned from the right."""
    equation = str(site.attribute("equation", "")).replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if not arrow:
        letters = left.replace(",", "").replace(".", "")
        right = "..." * ("..." in left) + "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    operands = [(i, _letters(term, len(site.shape(i) or ()))) for i, term in enumerate(terms)]
    operands.append((~0, _letters(right, len(site.shape_out() or ()))))
    reduced = {c: Reduction.SUM for c in set(left) if c.isalpha() and c not in right}
    return tied(site, operands, reduced=reduced)


def _letters(term: str, rank: int) -> list[Factors]:
    head, dots, tail = term.partition("...")
    extra = rank - len(head) - len(tail) if dots else 0
    middle: list[Factors] = [(f"...{i}",) for i in range(extra, 0, -1)]
    return [*((c,) for c in head), *middle, *((c,) for c in tail)]


RULES = {
    "MatMul": Rule(_matmul, parametric=True),
    "MatMulInteger": Rule(_matmul_integer, parametric=True, zero_points={0: 2, 1: 3}),
    "QLinearMatMul": Rule(_qlinear_matmul, parametric=True, zero_points={0: 2, 3: 5}),
    "Gemm": Rule(_gemm, parametric=True),
    "Einsum": Rule(_einsum, parametric=True),
    (MICROSOFT, "MatMulIntegerToFloat"): Rule(_integer_to_float, parametric=True, zero_points={0: 4, 1: 5}),
    (MICROSOFT, "DynamicQuantizeMatMul"): Rule(_dynamic_quantized, parametric=True, mask_all=True, zero_points={1: 3}),
}
