"""Operators that compute each element from the elements at the same place."""

from __future__ import annotations

from tcc.ir.channels.links import Link, Operand, tied
from tcc.ir.channels.rule import MICROSOFT, Rule, Table
from tcc.ir.channels.site import Site


def broadcast(site: Site) -> list[Link]:
    """Axes aligned from the right; one of size 1 is broadcast."""
    rank = len(site.shape_out() or ())
    operands = [_aligned(site, port, rank) for port in range(len(site.node.inputs)) if site.input(port) is not None]
    return tied(site, [*operands, _aligned(site, ~0, rank)])


def _aligned(site: Site, port: int, rank: int) -> Operand:
    own = len(site.port_shape(port) or ())
    return port, [(f"a{i}",) for i in range(rank - own, rank)]


def first_input(site: Site) -> list[Link]:
    """The first input's axes are the outputs'; nothing is said about the other inputs."""
    rank = len(site.shape_out() or ())
    outputs = [_aligned(site, ~i, rank) for i in range(len(site.node.outputs)) if site.output(i) is not None]
    return tied(site, [_aligned(site, 0, rank), *outputs])


_BROADCAST = (
    "Add And BitShift BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min "
    "Mod Mul Or PRelu Pow Sub Sum Where Xor"
)
_FIRST = (
    "Abs Acos Acosh Asin Asinh Atan Atanh Bernoulli BitwiseNot Cast CastLike Ceil Celu Clip Cos Cosh Dropout Elu Erf "
    "Exp Floor Gelu HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Log Mish Neg Not RandomNormalLike "
    "RandomUniformLike Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Swish Tan Tanh "
    "ThresholdedRelu"
)
_MICROSOFT_BROADCAST = "BiasGelu FastGelu BiasAdd"
_MICROSOFT_FIRST = "Gelu QuickGelu"

RULES: Table = {
    **{name: Rule(broadcast) for name in _BROADCAST.split()},
    **{name: Rule(first_input) for name in _FIRST.split()},
    **{(MICROSOFT, name): Rule(broadcast) for name in _MICROSOFT_BROADCAST.split()},
    **{(MICROSOFT, name): Rule(first_input) for name in _MICROSOFT_FIRST.split()},
}
