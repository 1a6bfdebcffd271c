"""Quantized tensors: scales and zero points go with the axis that they belong to."""

from __future__ import annotations

from tcc.ir.channels.links import Factors, Link, Operand, Reduction, tied
from tcc.ir.channels.patterns import pattern
from tcc.ir.channels.rule import MICROSOFT, Rule
from tcc.ir.channels.rules.pointwise import first_input
from tcc.ir.channels.site import Site


def _scaled(site: Site) -> list[Link]:
    """One scale for all, one an index of ``axis``, or one a block of them."""
    rank = len(site.shape() or ())
    axis = int(site.attribute("axis", 1)) % max(rank, 1)
    axes: list[Factors] = [(f"a{i}",) for i in range(rank)]
    scale = site.shape(1) or ()
    own: list[Factors] | None = None
    if len(scale) == 1 and scale[0] > 1:
        own = [axes[axis]]
    elif len(scale) == rank and rank > 1:
        own = list(axes)
        own[axis], axes[axis] = ("s",), ("s", "b")
    operands: list[Operand] = [(0, axes), (~0, axes)]
    if own is not None:
        operands += [(port, own) for port in (1, 2)]
    return tied(site, operands, rigid=("b",))


def _dynamic(site: Site) -> list[Link]:
    """The range is over all elements, and always includes 0."""
    rank = len(site.shape() or ())
    axes: list[Factors] = [(f"a{i}",) for i in range(rank)]
    return tied(site, [(0, axes), (~0, axes)], reduced={f"a{i}": Reduction.SUM for i in range(rank)})


def _broadcast(site: Site) -> list[Link]:
    """``(A, A_scale, A_zero, B, B_scale, B_zero, C_scale, C_zero)``."""
    rank = len(site.shape_out() or ())
    axes: list[Factors] = [(f"a{i}",) for i in range(rank)]
    ports = [(port, axes[rank - len(site.shape(port) or ()) :]) for port in (0, 3)]
    return tied(site, [*ports, (~0, axes)])


def _pooled(site: Site) -> list[Link]:
    last = site.attribute("channels_last", 0)
    return pattern("n ~ c -> n ~ c" if last else "n c ~ -> n c ~")(site)


def _gemm(site: Site) -> list[Link]:
    """``com.microsoft.QGemm(A, a_scale, a_zero, B, b_scale, b_zero, C, y_scale, y_zero)``."""
    a: list[Factors] = [("k",), ("m",)] if site.attribute("transA", 0) else [("m",), ("k",)]
    b: list[Factors] = [("n",), ("k",)] if site.attribute("transB", 0) else [("k",), ("n",)]
    operands: list[Operand] = [(0, a), (3, b), (~0, [("m",), ("n",)])]
    operands += [(port, [("n",)]) for port in (4, 5, 6) if len(site.shape(port) or ()) == 1]
    return tied(site, operands, reduced={"k": Reduction.SUM})


RULES = {
    "QuantizeLinear": Rule(_scaled),
    "DequantizeLinear": Rule(_scaled),
    "DynamicQuantizeLinear": Rule(_dynamic),
    (MICROSOFT, "QuantizeLinear"): Rule(_scaled),
    (MICROSOFT, "DequantizeLinear"): Rule(_scaled),
    (MICROSOFT, "QLinearAdd"): Rule(_broadcast),
    (MICROSOFT, "QLinearMul"): Rule(_broadcast),
    (MICROSOFT, "QLinearSigmoid"): Rule(first_input),
    (MICROSOFT, "QLinearLeakyRelu"): Rule(first_input),
    (MICROSOFT, "QLinearGlobalAveragePool"): Rule(_pooled),
    (MICROSOFT, "QLinearAveragePool"): Rule(_pooled),
    (MICROSOFT, "QGemm"): Rule(_gemm, parametric=True, zero_points={0: 2, 3: 5}),
}
