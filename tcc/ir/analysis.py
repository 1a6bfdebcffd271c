"""Rules that carry the facts (type, constancy, known value, view) to the classes that rewrites make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from egglog import RewriteOrRule, Ruleset, String, eq, i64, join, rule, ruleset, set_, union, var

from tcc.ir.fact_functions import (
    has_several,
    infer_first,
    infer_opaque,
    infer_output,
    is_coefficient,
    is_deterministic,
    is_filling,
    is_fixed,
    is_moderate,
    is_single,
    kind_of_literal,
    moves_nothing,
)
from tcc.ir.host import given
from tcc.ir.language import (
    COEFFICIENT,
    MODERATE,
    OPERATORS,
    WANTED,
    Abs,
    Add,
    Cast,
    Clip,
    Concat,
    Conv,
    Div,
    Einsum,
    Erf,
    Exp,
    Expand,
    Flatten,
    Gather,
    GatherElements,
    Gelu,
    Gemm,
    HardSigmoid,
    HardSwish,
    LayerNormalization,
    LeakyRelu,
    Log,
    MatMul,
    Mish,
    Mul,
    Neg,
    Not,
    Pad,
    Range,
    Reciprocal,
    Relu,
    Reshape,
    RMSNormalization,
    Shape,
    Sigmoid,
    Slice,
    Softmax,
    Softplus,
    Split,
    Sqrt,
    Sub,
    Swish,
    Tanh,
    Tensor,
    Tensors,
    Tile,
    Transpose,
    absent,
    cons,
    constant,
    constants,
    dimension,
    dimension_scalar,
    form,
    kind,
    kinds,
    known,
    knowns,
    literal,
    nil,
    opaque,
    project,
    view,
)
from tcc.ir.symbolic import (
    VIEWS,
    concatenated,
    convolved,
    counted,
    expanded,
    filled,
    flattened,
    joined,
    repeated,
    reshaped,
    shape_of,
    size_of_symbol,
    sliced,
)

VALUE_INPUTS = {
    "Reshape": (1,), "Expand": (1,), "Unsqueeze": (1,), "Squeeze": (1,), "Tile": (1,), "ReduceMean": (1,),
    "ReduceSum": (1,), "ReduceMax": (1,), "ReduceProd": (1,), "ReduceLogSumExp": (1,),
    "Resize": (2, 3), "Pad": (1, 3), "Slice": (1, 2, 3, 4), "Split": (1,), "OneHot": (1,),
}  # fmt: skip
"""Inputs whose value decides the output's shape: inference waits until it is known."""
_ELEMENTWISE = (
    Abs, Cast, Erf, Exp, Gelu, HardSigmoid, HardSwish, LeakyRelu, Log, Mish, Neg, Not, Reciprocal, Relu, Sigmoid,
    Softmax, Softplus, Sqrt, Swish, Tanh,
)  # fmt: skip
"""Operators of one tensor that a transposition moves past; a Softmax where its axis stays."""


@ruleset
def common(
    t: Tensor, x: Tensor, y: Tensor, xs: Tensors, ys: Tensors, k: String, s: String, i: i64
) -> Iterator[RewriteOrRule]:
    """Facts of leaves and lists; a fixed known value is as good as the literal; views of views are views."""
    yield rule(eq(t).to(absent())).then(set_(kind(t)).to(String("")), set_(known(t)).to(String("")), constant(t))
    yield rule(eq(t).to(literal(k))).then(set_(known(t)).to(k), set_(kind(t)).to(kind_of_literal(k)), constant(t))
    yield rule(eq(k).to(known(t)), is_fixed(k)).then(union(t).with_(literal(k)))
    yield rule(eq(xs).to(nil())).then(set_(kinds(xs)).to(String("")), constants(xs))
    yield rule(eq(xs).to(cons(x, ys)), eq(k).to(kind(x)), eq(s).to(kinds(ys))).then(
        set_(kinds(xs)).to(join(k, String("|"), s))
    )
    yield rule(eq(xs).to(cons(x, ys)), constant(x), constants(ys)).then(constants(xs))
    yield rule(view(t, x), view(x, y)).then(view(t, y))
    yield rule(eq(t).to(project(opaque(k, xs), i)), constants(xs), is_deterministic(k)).then(constant(t))


@ruleset
def sizes(t: Tensor, s: String) -> Iterator[RewriteOrRule]:
    """A symbol is the value of the size that it stands for."""
    yield rule(eq(t).to(dimension(s))).then(set_(known(t)).to(size_of_symbol(s, 1)))
    yield rule(eq(t).to(dimension_scalar(s))).then(set_(known(t)).to(size_of_symbol(s, 0)))


def _symbolic_shape(
    t: Tensor, x: Tensor, y: Tensor, a: String, k: String, s: String, n: String
) -> Iterator[RewriteOrRule]:
    yield rule(eq(t).to(Shape(x, a)), eq(k).to(kind(x)), *given(n, shape_of(k, a))).then(set_(known(t)).to(n))
    # What is filled is of no typed operator: its value is an attribute that is a tensor.
    made = eq(t).to(project(opaque(a, cons(y, nil())), 0)), is_filling(a)
    yield rule(*made, eq(k).to(kind(t)), eq(s).to(known(y)), *given(n, filled(k, s))).then(set_(kind(t)).to(n))


def _symbolic_range(
    t: Tensor, y: Tensor, z: Tensor, u: Tensor, a: String, b: String, c: String, d: String, n: String
) -> Iterator[RewriteOrRule]:
    bounds = eq(b).to(known(y)), eq(c).to(known(z)), eq(d).to(known(u))
    yield rule(eq(t).to(Range(y, z, u, a)), *bounds, *given(n, counted(b, c, d))).then(set_(kind(t)).to(n))


def _symbolic_slice(t: Tensor, x: Tensor, y: Tensor, z: Tensor, u: Tensor, v: Tensor, a: String, b: String, c: String,
                    d: String, k: String, s: String, n: String) -> Iterator[RewriteOrRule]:  # fmt: skip
    bounds = eq(b).to(known(y)), eq(c).to(known(z)), eq(d).to(known(u)), eq(s).to(known(v))
    sizes = given(n, sliced(k, b, c, d, s))
    yield rule(eq(t).to(Slice(x, y, z, u, v, a)), eq(k).to(kind(x)), *bounds, *sizes).then(set_(kind(t)).to(n))


def _symbolic_concat(
    t: Tensor, x: Tensor, xs: Tensors, ys: Tensors, a: String, k: String, s: String, n: String
) -> Iterator[RewriteOrRule]:
    yield rule(eq(xs).to(nil())).then(set_(knowns(xs)).to(String("")))
    yield rule(eq(xs).to(cons(x, ys)), eq(k).to(known(x)), eq(s).to(knowns(ys))).then(
        set_(knowns(xs)).to(join(k, String("|"), s))
    )
    yield rule(eq(t).to(Concat(xs, a)), eq(k).to(knowns(xs)), *given(n, concatenated(a, k))).then(set_(known(t)).to(n))
    yield rule(eq(t).to(Concat(xs, a)), eq(k).to(kinds(xs)), *given(n, joined(a, k))).then(set_(kind(t)).to(n))


def _symbolic_flatten(t: Tensor, x: Tensor, a: String, k: String, n: String) -> Iterator[RewriteOrRule]:
    yield rule(eq(t).to(Flatten(x, a)), eq(k).to(kind(x)), *given(n, flattened(k, a))).then(set_(kind(t)).to(n))


def _symbolic_expand(
    t: Tensor, x: Tensor, y: Tensor, a: String, k: String, s: String, n: String
) -> Iterator[RewriteOrRule]:
    yield rule(eq(t).to(Expand(x, y, a)), eq(k).to(kind(x)), eq(s).to(known(y)), *given(n, expanded(k, s))).then(
        set_(kind(t)).to(n)
    )


def _symbolic_reshape(
    t: Tensor, x: Tensor, y: Tensor, a: String, k: String, s: String, n: String
) -> Iterator[RewriteOrRule]:
    yield rule(eq(t).to(Reshape(x, y, a)), eq(k).to(kind(x)), eq(s).to(known(y)), *given(n, reshaped(k, s, a))).then(
        set_(kind(t)).to(n)
    )


def _symbolic_tile(
    t: Tensor, x: Tensor, y: Tensor, a: String, k: String, s: String, n: String
) -> Iterator[RewriteOrRule]:
    yield rule(eq(t).to(Tile(x, y, a)), eq(k).to(kind(x)), eq(s).to(known(y)), *given(n, repeated(k, s))).then(
        set_(kind(t)).to(n)
    )


def _symbolic_convolution(
    t: Tensor, x: Tensor, w: Tensor, b: Tensor, a: String, k: String, s: String, n: String
) -> Iterator[RewriteOrRule]:
    yield rule(eq(t).to(Conv(x, w, b, a)), eq(k).to(kind(x)), eq(s).to(kind(w)), *given(n, convolved(k, s, a))).then(
        set_(kind(t)).to(n)
    )


SYMBOLIC = {
    "Shape": ruleset(_symbolic_shape), "Range": ruleset(_symbolic_range), "Slice": ruleset(_symbolic_slice),
    "Concat": ruleset(_symbolic_concat), "Flatten": ruleset(_symbolic_flatten),
    "Expand": ruleset(_symbolic_expand), "Reshape": ruleset(_symbolic_reshape),
    "Tile": ruleset(_symbolic_tile), "Conv": ruleset(_symbolic_convolution),
}  # fmt: skip
"""Shapes that are put together of sizes and symbols, and the types that follow from them, by operator."""


@ruleset
def coefficients(c: Tensor, k: String) -> Iterator[RewriteOrRule]:
    """Which constants change what they multiply, and keep it a number: a scalar as its value tells, and any other."""
    found = form(c, c, String(COEFFICIENT), String(""))
    yield rule(constant(c), eq(k).to(known(c)), is_coefficient(k)).then(found)
    yield rule(constant(c), eq(k).to(kind(c)), has_several(k)).then(found)


@ruleset
def moderates(
    t: Tensor, x: Tensor, y: Tensor, c: Tensor, d: Tensor, e: Tensor, xs: Tensors, a: String, k: String
) -> Iterator[RewriteOrRule]:
    """Which tensors have no infinity and nothing near the largest number, as what is added to scores has to."""
    small, every = String(MODERATE), String("all")
    moved = (
        Reshape(x, c, a), Expand(x, c, a), Slice(x, c, d, e, y, a), Gather(x, c, a), GatherElements(x, c, a),
        Transpose(x, a), Pad(x, c, absent(), y, a),
    )  # fmt: skip
    for made in moved:
        yield rule(eq(t).to(made), form(x, x, small, every)).then(form(t, t, small, every))
    yield rule(view(t, x), form(x, x, small, every)).then(form(t, t, small, every))
    yield rule(eq(t).to(Add(x, y)), form(x, x, small, every), form(y, y, small, every)).then(form(t, t, small, every))
    for shifted in (Add(x, c), Add(c, x)):
        yield rule(eq(t).to(shifted), form(x, x, small, every), eq(k).to(known(c)), is_moderate(k)).then(
            form(t, t, small, every)
        )
    for product in (MatMul(x, y), Gemm(x, y, c, a), Einsum(xs, a)):
        yield rule(eq(t).to(product), eq(k).to(kind(t)), is_single(k)).then(form(t, t, small, every))
    # What is between 0 and 1 stays moderate under a factor that is.
    yield rule(eq(t).to(Sigmoid(x, a))).then(form(t, t, small, every))
    for made in (Mul(Sigmoid(x, a), c), Mul(c, Sigmoid(x, a))):
        yield rule(eq(t).to(made), eq(k).to(known(c)), is_moderate(k)).then(form(t, t, small, every))


@ruleset
def orders(
    t: Tensor, x: Tensor, y: Tensor, z: Tensor, u: Tensor, c: Tensor, d: Tensor, e: Tensor, f: Tensor, xs: Tensors,
    a: String, p: String, i: i64,
) -> Iterator[RewriteOrRule]:  # fmt: skip
    """Which tensors are transposed later on, after operators that dimensions may be moved past."""
    name = String(WANTED)
    yield rule(eq(t).to(Transpose(x, p))).then(form(x, x, name, p))
    passed = [of(x, a) for of in _ELEMENTWISE]
    passed += [made for of in (Add, Sub, Mul, Div) for made in (of(x, y, a), of(y, x, a))]
    passed += [
        RMSNormalization(x, c, a),
        LayerNormalization(x, c, d, a),
        Clip(x, c, d, a),
        Slice(x, c, d, e, f, a),
        Pad(x, c, d, e, a),
    ]
    passed += [project(Split(x, c, a), i)]
    for inputs in (cons(x, xs), cons(y, cons(x, xs)), cons(y, cons(z, cons(x, xs))),
                   cons(y, cons(z, cons(u, cons(x, xs))))):  # fmt: skip
        passed += [Concat(inputs, a)]
    for made in passed:
        yield rule(eq(t).to(made), form(t, t, name, p)).then(form(x, x, name, p))


@ruleset
def transposed_views(t: Tensor, x: Tensor, a: String, k: String) -> Iterator[RewriteOrRule]:
    """A transposition that only moves dimensions of size 1 is a view."""
    yield rule(eq(t).to(Transpose(x, a)), eq(k).to(kind(x)), moves_nothing(a, k)).then(view(t, x))


def constancy(name: str) -> Ruleset:
    """An operator's output is constant if its inputs are; a view's relation to its input."""
    operator = OPERATORS[name]
    result = ruleset(name=f"constancy_{name}")
    t, a = var("t", Tensor), var("a", String)
    if operator.variadic:
        xs = var("xs", Tensors)
        result.append(rule(eq(t).to(operator.function(xs, a)), constants(xs)).then(constant(t)))
        return result
    inputs = [var(f"x{i}", Tensor) for i in range(operator.inputs)]
    node = operator.function(*inputs, a)
    made = eq(t).to(project(node, var("o", i64)) if operator.several else node)
    result.append(rule(made, *(constant(x) for x in inputs)).then(constant(t)))
    if name in VIEWS:
        result.append(rule(made).then(view(t, inputs[0])))
    return result


def inference(name: str, opset: int) -> Ruleset:
    """The type of an operator's output, from those of its inputs."""
    operator = OPERATORS[name]
    result = ruleset(name=f"types_{name}_{opset}")
    t, a = var("t", Tensor), var("a", String)
    if operator.variadic:
        xs, k = var("xs", Tensors), var("k", String)
        inferred = infer_first(name, opset, a, k, "")
        result.append(rule(eq(t).to(operator.function(xs, a)), eq(k).to(kinds(xs))).then(set_(kind(t)).to(inferred)))
        return result
    inputs = [var(f"x{i}", Tensor) for i in range(operator.inputs)]
    node = operator.function(*inputs, a)
    output = var("o", i64)
    types = [var(f"k{i}", String) for i in range(operator.inputs)]
    values = {i: var(f"v{i}", String) for i in VALUE_INPUTS.get(name, ())}
    given = [eq(k).to(kind(x)) for k, x in zip(types, inputs, strict=True)]
    given += [eq(v).to(known(inputs[i])) for i, v in values.items()]
    all_types, all_values = _joined(types), _joined([values.get(i, String("")) for i in range(operator.inputs)])
    if operator.several:
        inferred = infer_output(name, opset, a, all_types, all_values, output)
    else:
        inferred = infer_first(name, opset, a, all_types, all_values)
    made = eq(t).to(project(node, output) if operator.several else node)
    result.append(rule(made, *given).then(set_(kind(t)).to(inferred)))
    return result


def opaque_inference(opset: int) -> Ruleset:
    """The types of the outputs of nodes that no rule names."""
    t, a, xs, k, o, n = (
        var("t", Tensor), var("a", String), var("xs", Tensors), var("k", String), var("o", i64), var("n", String),
    )  # fmt: skip
    result = ruleset(name=f"types_opaque_{opset}")
    made = eq(t).to(project(opaque(a, xs), o)), eq(k).to(kinds(xs))
    result.append(rule(*made, *given(n, infer_opaque(a, opset, k, o))).then(set_(kind(t)).to(n)))
    return result


def _joined(texts: Sequence[String]) -> String:
    parts = [part for text in texts for part in (String("|"), text)][1:]
    return join(*parts) if len(parts) > 1 else parts[0]
