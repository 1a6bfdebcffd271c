"""Whole programs are priced as the kernels that ONNX Runtime makes of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx
import pytest

from tcc import frontends
from tcc.cost_models import _fusions
from tcc.cost_models._fusions import Pattern
from tcc.cost_models.roofline import Roofline
from tcc.ir.fixed_sizes import fixed_types
from tcc.ir.inference import annotate
from tcc.passes._pricing import predicted_seconds, whole_program
from tcc.passes.base import Context
from tcc.passes.simplify import Simplify
from tcc.targets import parse_target
from tests.quantized_models import Builder, optimised

TARGET = parse_target("x86-64-vnni")
LAYOUT = {"ReorderInput", "ReorderOutput", "Reshape"}
RENAMED = {"FusedConv": "Conv", "FusedGemm": "Gemm"}
CASES: dict[str, Callable[[Builder], str]] = {}


def case(build: Callable[[Builder], str]) -> Callable[[Builder], str]:
    CASES[build.__name__] = build
    return build


def predicted(model: onnx.ModelProto) -> Counter[str]:
    loaded = frontends.load(model)
    annotate(loaded)
    pricing = whole_program(loaded.graph, Roofline(TARGET), {})
    return Counter(name for c, node in pricing.program() if (name := pricing.kernel(c, node)))


def conv(b: Builder, x: str) -> str:
    weight = b.constant(b.random.random((16, 16, 3, 3)))
    return b.op("Conv", x, weight, b.constant([1.0] * 16), pads=[1] * 4)


def after_conv(operator: str) -> Callable[[Builder], str]:
    def build(b: Builder) -> str:
        limits = [b.constant(0.0), b.constant(6.0)] if operator == "Clip" else []
        return b.op(operator, conv(b, b.input(1, 16, 14, 14)), *limits)

    return build


def after_gemm(operator: str) -> Callable[[Builder], str]:
    def build(b: Builder) -> str:
        y = b.op("Gemm", b.input(8, 64), b.constant(b.random.random((64, 32))), b.constant([1.0] * 32))
        return b.op(operator, y)

    return build


for _operator in ("Relu", "Clip", "Sigmoid", "Tanh", "LeakyRelu", "HardSigmoid", "Elu", "Softplus"):
    CASES[f"Conv-{_operator}"] = after_conv(_operator)
for _operator in ("Relu", "Sigmoid", "Tanh", "LeakyRelu", "HardSigmoid", "Elu", "Softplus", "Erf"):
    CASES[f"Gemm-{_operator}"] = after_gemm(_operator)


@case
def batch_normalization(b: Builder) -> str:
    y = b.op("BatchNormalization", conv(b, b.input(1, 16, 14, 14)), *[b.constant([1.0] * 16) for _ in range(4)])
    return b.op("Relu", y)


@case
def hard_swish_between_kernels(b: Builder) -> str:
    return b.op("Abs", b.op("HardSwish", conv(b, b.input(1, 16, 14, 14))))


@case
def gate_between_kernels(b: Builder) -> str:
    y = conv(b, b.input(1, 16, 14, 14))
    return b.op("Abs", b.op("Mul", y, b.op("HardSigmoid", y, alpha=1 / 6)))


@case
def gate_at_the_end(b: Builder) -> str:
    y = conv(b, b.input(1, 16, 14, 14))
    return b.op("Mul", b.op("HardSigmoid", y, alpha=1 / 6), y)


@case
def scaled_convolution(b: Builder) -> str:
    return b.op("Mul", conv(b, b.input(1, 16, 14, 14)), b.constant(b.random.random((1, 16, 1, 1))))


@case
def residual_block(b: Builder) -> str:
    x = b.op("Relu", conv(b, b.input(1, 16, 14, 14)))
    return b.op("Relu", b.op("Add", conv(b, x), x))


@case
def shared_convolution(b: Builder) -> str:
    """A result that another node reads too keeps its activation apart."""
    y = conv(b, b.input(1, 16, 14, 14))
    return b.op("Concat", b.op("Relu", y), b.op("Erf", y), axis=1)


def normalized(b: Builder, x: str) -> str:
    d = b.op("Sub", x, b.op("ReduceMean", x, axes=[-1]))
    variance = b.op("ReduceMean", b.op("Pow", d, b.constant(2.0)), axes=[-1])
    y = b.op("Div", d, b.op("Sqrt", b.op("Add", variance, b.constant(1e-5))))
    return b.op("Add", b.op("Mul", y, b.constant([1.0] * 64)), b.constant([1.0] * 64))


@case
def layer_normalization(b: Builder) -> str:
    return normalized(b, b.input(2, 8, 64))


@case
def skipped_layer_normalization(b: Builder) -> str:
    return normalized(b, b.op("Add", b.input(2, 8, 64), b.input(2, 8, 64)))


def gelu_of(b: Builder, x: str) -> str:
    wave = b.op("Add", b.op("Erf", b.op("Div", x, b.constant(2**0.5))), b.constant(1.0))
    return b.op("Mul", b.op("Mul", x, wave), b.constant(0.5))


@case
def gelu(b: Builder) -> str:
    return gelu_of(b, b.input(2, 8, 64))


@case
def biased_gelu(b: Builder) -> str:
    return gelu_of(b, b.op("Add", b.input(2, 8, 64), b.constant([1.0] * 64)))


@case
def silu(b: Builder) -> str:
    x = b.input(2, 8)
    return b.op("Mul", x, b.op("Sigmoid", x))


@case
def attention_scores(b: Builder) -> str:
    keys = b.op("Transpose", b.input(2, 8, 64), perm=[0, 2, 1])
    return b.op("Softmax", b.op("Mul", b.op("MatMul", b.input(2, 8, 64), keys), b.constant(0.125)))


@case
def quantized_block(b: Builder) -> str:
    x = b.both(b.input(1, 16, 14, 14), zero=0)
    y = b.op("Conv", x, b.weight(16, 16, 3, 3), b.bias(16), pads=[1] * 4)
    return b.op("Erf", b.both(b.op("Relu", y)))


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_kernels_are_those_that_onnxruntime_runs(name: str) -> None:
    b = Builder()
    model = b.model(CASES[name](b))
    run = Counter(RENAMED.get(name, name) for name in optimised(model).elements() if name not in LAYOUT)
    # Integer convolutions run channels last, between transposes.
    if "QLinearConv" in run:
        del run["Transpose"]
    assert predicted(model) == run


def test_a_normalisation_of_a_large_convolution_becomes_its_bias() -> None:
    b = Builder()
    weight = b.constant(b.random.normal(size=(64, 3, 7, 7)))
    y = b.op("Conv", b.input(1, 3, 4096, 4096), weight, strides=[2, 2], pads=[3] * 4)
    y = b.op("BatchNormalization", y, *(b.constant(b.random.random(64) + 0.5) for _ in range(4)))
    loaded = frontends.load(b.model(b.op("Relu", y)))
    simplified = Simplify().run(loaded, Context(TARGET)).model
    assert simplified.operator_counts == {"Conv": 1, "Relu": 1}


def test_symbols_size_what_is_computed_from_the_inputs_shapes() -> None:
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 64])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["rows", "columns"])
    node = onnx.helper.make_node
    nodes = [node("Shape", ["x"], ["s"]), node("ConstantOfShape", ["s"], ["u"]), node("Exp", ["u"], ["y"])]
    graph = onnx.helper.make_graph(nodes, "symbolic", [x], [y])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=10)
    loaded = frontends.load(model)
    annotate(loaded)
    assert fixed_types(loaded, {"batch": 8})["u"].shape == (8, 64)
    few, many = (predicted_seconds(loaded, TARGET, {"batch": n}) for n in (1, 10_000))
    assert many > 10 * few


def test_products_with_packed_weights_have_their_sizes() -> None:
    node = onnx.helper.make_node(
        "MatMulNBits", ["x", "w", "s"], ["h"], "packed", domain="com.microsoft", K=64, N=4096, bits=4, block_size=32
    )
    ports = [onnx.helper.make_tensor_value_info(*port) for port in (("x", 1, [8, 64]), ("y", 1, [8, 4096]))]
    weights = [
        onnx.numpy_helper.from_array(np.zeros((4096, 2, 16), np.uint8), "w"),
        onnx.numpy_helper.from_array(np.ones(8192, np.float32), "s"),
    ]
    graph = onnx.helper.make_graph(
        [node, onnx.helper.make_node("Exp", ["h"], ["y"])], "packed", ports[:1], ports[1:], weights
    )
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("com.microsoft", 1)]
    loaded = frontends.load(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10))
    annotate(loaded)
    assert fixed_types(loaded, {})["h"].shape == (8, 4096)
    assert predicted_seconds(loaded, TARGET, {}) > 2 * 8 * 64 * 4096 / TARGET.peak["float32"]


def test_patterns_name_their_terms() -> None:
    pattern = Pattern.parse("Gelu", "x", "Mul(Mul(x, Add(Erf(Div(x, c:root)), c:one)), _)")
    root = pattern.terms[pattern.root]
    assert (root.operator, len(root.operands)) == ("Mul", 2)
    assert [t.name for t in pattern.terms if t.constant] == ["c:root", "c:one"]
    assert [t.operator for t in pattern.terms if t.operator] == ["Div", "Erf", "Add", "Mul", "Mul"]
    for table in map(_fusions.read, ("onnxruntime", "tensorrt")):
        for found in table.patterns:
            assert set(found.operands) <= {term.name for term in found.terms}
