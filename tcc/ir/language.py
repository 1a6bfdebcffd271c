"""The e-graph's language: one sort of tensors, one typed constructor for each ONNX operator that some rule names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from egglog import Expr, String, StringLike, Unit, function, i64Like, relation

from tcc.ir.fact_functions import better_kind, better_kinds, better_known

NO_ATTRIBUTES = "{}"
"""The attribute key of a node whose attributes are absent or at their defaults."""


class Tensor(Expr):
    """A value of the graph: one e-class of programs that compute it."""


class Tensors(Expr):
    """The inputs of a variadic operator, in order."""


class Results(Expr):
    """All outputs of an operator that has several; ``project`` takes one."""


@function(egg_fn="value")
def value(number: i64Like) -> Tensor:
    """The tensor that the imported graph calls by this number."""


@function(egg_fn="literal")
def literal(constant: StringLike) -> Tensor:
    """A small constant, written out as ``tcc.ir.facts.Known`` does."""


@function(egg_fn="absent")
def absent() -> Tensor:
    """An optional input that is not given."""


@function(egg_fn="dimension")
def dimension(symbol: StringLike) -> Tensor:
    """The size that a symbol stands for, as a tensor ``int64[1]``: no program of its own, only a class."""


@function(egg_fn="dimension_scalar")
def dimension_scalar(symbol: StringLike) -> Tensor:
    """The size that a symbol stands for, as a scalar."""


@function(egg_fn="entry")
def entry(text: StringLike) -> Tensor:
    """One entry of a shape, a number or a symbol, as a tensor ``int64[1]``."""


@function(egg_fn="list_value")
def list_value(number: i64Like) -> Tensors:
    """The list of inputs that the import calls by this number."""


@function(egg_fn="results_value")
def results_value(number: i64Like) -> Results:
    """The outputs of the imported node of this number."""


@function(egg_fn="nil")
def nil() -> Tensors:
    """No further input."""


@function(egg_fn="cons")
def cons(head: Tensor, tail: Tensors) -> Tensors:
    """An input and those after it."""


@function(egg_fn="opaque")
def opaque(key: StringLike, inputs: Tensors) -> Results:
    """A node that no rule names: carried through untouched under an interned key."""


@function(egg_fn="project")
def project(results: Results, output: i64Like) -> Tensor:
    """One output of a node with several."""


@function(egg_fn="kind", merge=better_kind)
def kind(tensor: Tensor) -> String:
    """Fact: the tensor's type, as ``tcc.ir.facts`` writes types."""


@function(egg_fn="known", merge=better_known)
def known(tensor: Tensor) -> String:
    """Fact: the tensor's value, where it is small and known before the program runs."""


@function(egg_fn="structure", merge=lambda old, _new: old)
def structure(tensor: Tensor) -> String:
    """Fact: what all elements of a constant follow from, as ``tcc.ir.structures`` writes it: filled, identity, mean."""


@function(egg_fn="kinds", merge=better_kinds)
def kinds(tensors: Tensors) -> String:
    """Fact: the types of a list of inputs, each followed by a bar."""


@function(egg_fn="knowns", merge=better_known)
def knowns(tensors: Tensors) -> String:
    """Fact: the known values of a list of inputs, each followed by a bar."""


constant = relation("constant", Tensor, egg_fn="constant")
"""Fact: the tensor does not depend on any input of the model."""
constants = relation("constants", Tensors, egg_fn="constants")
"""Fact: none of these tensors depends on an input of the model."""
original_constant = relation("original_constant", Tensor, egg_fn="original_constant")
"""Fact: the tensor is an initialiser of the imported model, not one that a rule has made."""
view: Callable[[Tensor, Tensor], Unit] = relation("view", Tensor, Tensor, egg_fn="view")  # type: ignore[call-overload]
"""Fact: the first tensor has the second one's elements in the same row-major order, under another shape."""
masked: Callable[[Tensor, Tensor, Tensor], Unit] = relation("masked", Tensor, Tensor, Tensor)
"""Fact: the first tensor has the softmax of the sum of the second and of the third, a mask without infinities."""
turned: Callable[[Tensor, Tensor, Tensor, Tensor, StringLike], Unit] = relation(  # type: ignore[call-overload]
    "turned", Tensor, Tensor, Tensor, Tensor, String
)
"""Fact: the first tensor is the part of this name of the second one's pairs of elements, each pair turned by an angle:
its cosine is in the third, its sine in the fourth."""
form = relation("form", Tensor, Tensor, String, String)
"""Fact: the first tensor is the formula of this name of the second, under these attributes: a step of a pattern."""
COEFFICIENT = "coefficient"
"""The form of a constant that is no 0 and no 1: with these, ever new sums and products of constants are one value."""
MODERATE = "moderate"
"""The form of a tensor whose elements are finite and far from the largest number; with ``ROWS``, only those that
decide a softmax over the last axis: each row has such an element, and no NaN; with ``FACTOR``, those whose product with
any integer is moderate."""
WANTED = "order wanted"
"""The form of a tensor that, with nothing but operators behind it that dimensions may be moved past, is transposed by
this permutation."""


def coefficients(*tensors: Tensor) -> tuple[Any, ...]:
    """The facts that tensors are constants, and neither 0 nor 1."""
    return tuple(form(tensor, tensor, String(COEFFICIENT), String("")) for tensor in tensors)


@dataclass(frozen=True)
class Operator:
    """What the importer and the read-out must know of one constructor."""

    name: str
    function: Callable[..., Any]
    inputs: int
    variadic: bool = False
    several: bool = False


OPERATORS: dict[str, Operator] = {}
"""Every typed operator by its ONNX name, in the order of declaration."""


def _declare(
    name: str, operator: Callable[..., Any], inputs: int, *, variadic: bool = False, several: bool = False
) -> Any:
    operator.__name__ = operator.__qualname__ = name
    constructor: Callable[..., Any] = function(egg_fn=name)(operator)
    OPERATORS[name] = Operator(name, constructor, inputs, variadic, several)
    return constructor


def _operator(name: str, inputs: int) -> Callable[..., Tensor]:
    """The constructor of an operator with that many inputs (absent ones included) and one output."""

    def one(a: Tensor, attributes: StringLike = NO_ATTRIBUTES) -> Tensor: ...
    def two(a: Tensor, b: Tensor, attributes: StringLike = NO_ATTRIBUTES) -> Tensor: ...
    def three(a: Tensor, b: Tensor, c: Tensor, attributes: StringLike = NO_ATTRIBUTES) -> Tensor: ...
    def four(a: Tensor, b: Tensor, c: Tensor, d: Tensor, attributes: StringLike = NO_ATTRIBUTES) -> Tensor: ...
    def five(
        a: Tensor, b: Tensor, c: Tensor, d: Tensor, e: Tensor, attributes: StringLike = NO_ATTRIBUTES
    ) -> Tensor: ...
    def six(
        a: Tensor, b: Tensor, c: Tensor, d: Tensor, e: Tensor, f: Tensor, attributes: StringLike = NO_ATTRIBUTES
    ) -> Tensor: ...

    constructor: Callable[..., Tensor] = _declare(name, (one, two, three, four, five, six)[inputs - 1], inputs)
    return constructor


def _variadic(name: str) -> Callable[..., Tensor]:
    def operator(inputs: Tensors, attributes: StringLike = NO_ATTRIBUTES) -> Tensor: ...

    constructor: Callable[..., Tensor] = _declare(name, operator, 1, variadic=True)
    return constructor


def _several(name: str) -> Callable[..., Results]:
    def operator(a: Tensor, b: Tensor, attributes: StringLike = NO_ATTRIBUTES) -> Results: ...

    constructor: Callable[..., Results] = _declare(name, operator, 2, several=True)
    return constructor


# One line an operator, its inputs in the order of the operator's schema (the widest version's).
Abs = _operator("Abs", 1)
Add = _operator("Add", 2)
And = _operator("And", 2)
ArgMax = _operator("ArgMax", 1)
ArgMin = _operator("ArgMin", 1)
Attention = _operator("Attention", 6)
AveragePool = _operator("AveragePool", 1)
BatchNormalization = _operator("BatchNormalization", 5)
Cast = _operator("Cast", 1)
Ceil = _operator("Ceil", 1)
Clip = _operator("Clip", 3)
Concat = _variadic("Concat")
Conv = _operator("Conv", 3)
ConvTranspose = _operator("ConvTranspose", 3)
Cos = _operator("Cos", 1)
DequantizeLinear = _operator("DequantizeLinear", 3)
Div = _operator("Div", 2)
Dropout = _operator("Dropout", 3)
Einsum = _variadic("Einsum")
Equal = _operator("Equal", 2)
Erf = _operator("Erf", 1)
Exp = _operator("Exp", 1)
Expand = _operator("Expand", 2)
Flatten = _operator("Flatten", 1)
Floor = _operator("Floor", 1)
Gather = _operator("Gather", 2)
GatherElements = _operator("GatherElements", 2)
GatherND = _operator("GatherND", 2)
Gelu = _operator("Gelu", 1)
Gemm = _operator("Gemm", 3)
GlobalAveragePool = _operator("GlobalAveragePool", 1)
Greater = _operator("Greater", 2)
GreaterOrEqual = _operator("GreaterOrEqual", 2)
GroupNormalization = _operator("GroupNormalization", 3)
HardSigmoid = _operator("HardSigmoid", 1)
HardSwish = _operator("HardSwish", 1)
Identity = _operator("Identity", 1)
InstanceNormalization = _operator("InstanceNormalization", 3)
IsNaN = _operator("IsNaN", 1)
LayerNormalization = _operator("LayerNormalization", 3)
LeakyRelu = _operator("LeakyRelu", 1)
Less = _operator("Less", 2)
LessOrEqual = _operator("LessOrEqual", 2)
Log = _operator("Log", 1)
LogSoftmax = _operator("LogSoftmax", 1)
MatMul = _operator("MatMul", 2)
Max = _variadic("Max")
MaxPool = _operator("MaxPool", 1)
Mean = _variadic("Mean")
Min = _variadic("Min")
Mish = _operator("Mish", 1)
Mul = _operator("Mul", 2)
Neg = _operator("Neg", 1)
Not = _operator("Not", 1)
OneHot = _operator("OneHot", 3)
Or = _operator("Or", 2)
Pad = _operator("Pad", 4)
Pow = _operator("Pow", 2)
PRelu = _operator("PRelu", 2)
QuantizeLinear = _operator("QuantizeLinear", 3)
Range = _operator("Range", 3)
Reciprocal = _operator("Reciprocal", 1)
ReduceLogSumExp = _operator("ReduceLogSumExp", 2)
ReduceMax = _operator("ReduceMax", 2)
ReduceMean = _operator("ReduceMean", 2)
ReduceProd = _operator("ReduceProd", 2)
ReduceSum = _operator("ReduceSum", 2)
Relu = _operator("Relu", 1)
Reshape = _operator("Reshape", 2)
Resize = _operator("Resize", 4)
RMSNormalization = _operator("RMSNormalization", 2)
RotaryEmbedding = _operator("RotaryEmbedding", 4)
Round = _operator("Round", 1)
Shape = _operator("Shape", 1)
Sigmoid = _operator("Sigmoid", 1)
Sin = _operator("Sin", 1)
Size = _operator("Size", 1)
Slice = _operator("Slice", 5)
Softmax = _operator("Softmax", 1)
Softplus = _operator("Softplus", 1)
Split = _several("Split")
Sqrt = _operator("Sqrt", 1)
Squeeze = _operator("Squeeze", 2)
Sub = _operator("Sub", 2)
Sum = _variadic("Sum")
Swish = _operator("Swish", 1)
Tanh = _operator("Tanh", 1)
Tile = _operator("Tile", 2)
Transpose = _operator("Transpose", 1)
Trilu = _operator("Trilu", 2)
Unsqueeze = _operator("Unsqueeze", 2)
Where = _operator("Where", 3)
