"""Prices of quantised programs: the kernels that ONNX Runtime runs, and regions whose totals are right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx
import pytest

from tcc import frontends
from tcc.cost_models import _fusions
from tcc.cost_models.roofline import Roofline
from tcc.ir import importing
from tcc.ir.frozen import freeze
from tcc.ir.inference import annotate
from tcc.ir.problem import Budgets, Edge, Problem, Weights
from tcc.ir.types import TensorType
from tcc.passes._choosing import Choosing
from tcc.targets import parse_target
from tests.quantized_models import Builder, optimised

ROOFLINE = Roofline(parse_target("x86-64-vnni"))


def chosen(model: onnx.ModelProto, prices: Roofline = ROOFLINE) -> tuple[Choosing, Problem]:
    loaded = frontends.load(model)
    imported = importing.import_graph(loaded.graph, annotate(loaded))
    choosing = Choosing(imported, freeze(imported.egraph), prices)
    return choosing, choosing.problem(Weights(), Budgets())


def kernels(model: onnx.ModelProto) -> Counter[str]:
    """The integer kernels that the prices stand for, and every Q and DQ of an activation that is paid for."""
    choosing, _ = chosen(model)
    found: Counter[str] = Counter()
    for c, eclass in enumerate(choosing.frozen.classes):
        for node in eclass.nodes:
            if not node.inputs or eclass.constant:
                continue
            quantized = choosing._pricing._quantized
            name = quantized.kernel(c, node)
            found[name or ""] += name is not None
            if node.operator in {"QuantizeLinear", "DequantizeLinear"}:
                found[node.operator] += not quantized.is_free(c, node)
            for i, _ in quantized.owed(c, node):
                found["DequantizeLinear"] += not choosing.frozen.classes[i].constant
    return +Counter({name: count for name, count in found.items() if name})


def seconds(model: onnx.ModelProto) -> float:
    """The price of the whole model."""
    _choosing, problem = chosen(model)
    assert all(len(candidates) == 1 for candidates in problem.candidates.values())
    return problem.total({c: found[0] for c, found in problem.candidates.items()}).seconds


def product(b: Builder, operator: str, x: str) -> str:
    if operator == "Conv":
        return b.op("Conv", x, b.weight(16, 16, 3, 3), b.bias(16), pads=[1] * 4)
    if operator == "Gemm":
        return b.op("Gemm", x, b.weight(64, 32, axis=1), b.bias(32))
    return b.op("MatMul", x, b.weight(64, 32, axis=1))


def shape_for(operator: str) -> tuple[int, ...]:
    return (1, 16, 14, 14) if operator == "Conv" else (8, 64)


CASES: dict[str, Callable[[Builder], str]] = {}


def case(build: Callable[[Builder], str]) -> Callable[[Builder], str]:
    CASES[build.__name__] = build
    return build


def static(
    operator: str, dtype: str, zero: int, after: str = "", limit: float = 6.0, *, out: bool = True
) -> Callable[[Builder], str]:
    def build(b: Builder) -> str:
        y = product(b, operator, b.both(b.input(*shape_for(operator)), dtype, zero=zero))
        if after == "Clip":
            y = b.op("Clip", y, b.constant(0.0), b.constant(limit))
        elif after:
            y = b.op(after, y)
        return b.both(y, dtype, zero=zero) if out else y

    return build


for _operator in ("Conv", "MatMul", "Gemm"):
    for _dtype, _zero in (("uint8", 128), ("int8", 0), ("uint8", 0), ("int8", -128)):
        CASES[f"{_operator}-{_dtype}-{_zero}"] = static(_operator, _dtype, _zero)
        CASES[f"{_operator}-{_dtype}-{_zero}-relu"] = static(_operator, _dtype, _zero, "Relu")
    CASES[f"{_operator}-clip6"] = static(_operator, "uint8", 0, "Clip")
    CASES[f"{_operator}-clip4"] = static(_operator, "uint8", 0, "Clip", 4.0)
    CASES[f"{_operator}-to-float"] = static(_operator, "uint8", 128, out=False)


def two_sided(operator: str) -> Callable[[Builder], str]:
    axis = {"axis": 1} if operator == "Concat" else {}
    return lambda b: b.both(b.op(operator, b.both(b.input(2, 8)), b.both(b.input(2, 8)), **axis))


def one_sided(operator: str) -> Callable[[Builder], str]:
    return lambda b: b.both(b.op(operator, b.both(b.input(1, 8, 4, 4), zero=128)))


for _operator in ("Add", "Mul", "Sub", "Concat"):
    CASES[_operator] = two_sided(_operator)
for _operator in ("Softmax", "Sigmoid", "LeakyRelu", "GlobalAveragePool", "Relu", "Tanh", "Erf"):
    CASES[_operator] = one_sided(_operator)


@case
def transpose(b: Builder) -> str:
    return b.both(b.op("Transpose", b.both(b.input(2, 8)), perm=[1, 0]))


@case
def transpose_to_float(b: Builder) -> str:
    return b.op("Transpose", b.both(b.input(2, 8)), perm=[1, 0])


@case
def transpose_to_another_scale(b: Builder) -> str:
    return b.both(b.op("Transpose", b.both(b.input(2, 8)), perm=[1, 0]), scale=0.03)


@case
def weight_only(b: Builder) -> str:
    return b.op("MatMul", b.input(8, 64), b.weight(64, 32, axis=1))


@case
def bias_before_quantize(b: Builder) -> str:
    return b.both(b.op("Add", product(b, "MatMul", b.both(b.input(8, 64))), b.constant([1.0] * 32)))


@case
def bias_without_quantize(b: Builder) -> str:
    return b.op("Add", product(b, "MatMul", b.both(b.input(8, 64))), b.constant([1.0] * 32))


@case
def activations_only(b: Builder) -> str:
    return b.both(b.op("MatMul", b.both(b.input(2, 8, 64)), b.both(b.input(2, 64, 8))))


@case
def residual(b: Builder) -> str:
    x = b.both(b.input(1, 16, 14, 14))
    one = b.both(b.op("Relu", product(b, "Conv", x)))
    return b.both(b.op("Relu", b.op("Add", b.both(product(b, "Conv", one)), x)))


@case
def float_reader(b: Builder) -> str:
    """One reader fuses the DequantizeLinear, the other one has it run."""
    x = b.both(b.input(1, 16, 14, 14))
    return b.op("Add", b.op("Erf", x), b.both(product(b, "Conv", x)))


_KERNELS = {*_fusions.read("onnxruntime").integer.values(), "MatMulIntegerToFloat", "MatMulNBits", "QuantizeLinear"}


def _compared(found: Counter[str]) -> dict[str, int]:
    # ONNX Runtime runs a MatMul with a bias as a QGemm; both are integer products of one size.
    renamed = Counter("QGemm" if name == "QLinearMatMul" else name for name in found.elements())
    return {name: count for name, count in renamed.items() if name in _KERNELS}


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_kernels_are_those_that_onnxruntime_runs(name: str) -> None:
    b = Builder()
    model = b.model(CASES[name](b))
    assert _compared(kernels(model)) == _compared(optimised(model))


def kernel_seconds(operator: str, inputs: list[TensorType | None], output: TensorType) -> float:
    constants = [i > 0 for i in range(len(inputs))]
    return ROOFLINE.price(operator, {}, inputs, [output], constants).seconds


def test_a_region_costs_its_kernel_and_the_passes_at_its_border() -> None:
    b = Builder()
    model = b.model(static("MatMul", "uint8", 128)(b))
    x, y = TensorType("uint8", (8, 64)), TensorType("uint8", (8, 32))
    kernel = kernel_seconds("QLinearMatMul", [x, None, None, TensorType("int8", (64, 32))], y)
    scalars: list[TensorType | None] = [TensorType("float32", ()), TensorType("uint8", ())]
    first = kernel_seconds("QuantizeLinear", [TensorType("float32", (8, 64)), *scalars], x)
    last = ROOFLINE.price("DequantizeLinear", {}, [y, *scalars], [TensorType("float32", (8, 32))]).seconds
    assert seconds(model) == pytest.approx(kernel + first + last, rel=1e-3)


def test_a_quantised_product_pays_and_one_that_does_not_fuse_costs_more_than_floating_point() -> None:
    def plain(b: Builder) -> str:
        weight = b.constant(b.random.random((1024, 1024)))
        return b.op("Clip", b.op("MatMul", b.input(256, 1024), weight), b.constant(0.0), b.constant(4.0))

    def quantized(b: Builder, limit: float) -> str:
        y = b.op("MatMul", b.both(b.input(256, 1024)), b.weight(1024, 1024, axis=1))
        return b.both(b.op("Clip", y, b.constant(0.0), b.constant(limit)))

    one, two, three = Builder(), Builder(), Builder()
    floating = seconds(one.model(plain(one)))
    assert seconds(two.model(quantized(two, 6.0))) < floating / 2
    assert seconds(three.model(quantized(three, 4.0))) > floating


def test_a_dynamic_product_rescales_its_own_result() -> None:
    b = Builder()
    x = b.input(8, 64)
    b.nodes.append(onnx.helper.make_node("DynamicQuantizeLinear", [x], ["q", "s", "z"], "dynamic"))
    weight = b.constant(b.random.integers(-9, 9, (64, 32)), np.int8)
    y = b.op("Cast", b.op("MatMulInteger", "q", weight, "z"), to=onnx.TensorProto.FLOAT)
    scale = b.op("Mul", "s", b.constant(0.01))
    y = b.op("Add", b.op("Mul", y, scale), b.constant([1.0] * 32))
    choosing, _ = chosen(b.model(y))
    free = Counter(
        node.operator
        for c, eclass in enumerate(choosing.frozen.classes)
        for node in eclass.nodes
        if node.inputs and choosing._pricing._quantized.is_free(c, node)
    )
    assert free == {"Cast": 1, "Mul": 1, "Add": 1}


def test_what_a_lossy_edge_leads_to_is_needed_as_it_is() -> None:
    b = Builder()
    model = b.model(static("Conv", "uint8", 128)(b))
    loaded = frontends.load(model)
    imported = importing.import_graph(loaded.graph, annotate(loaded))
    choosing = Choosing(imported, freeze(imported.egraph), ROOFLINE)
    (made,) = (c for c, e in enumerate(choosing.frozen.classes) for n in e.nodes if n.operator == "Conv")
    conv = choosing.frozen.classes[made].nodes[0]
    choosing.problem(Weights(), Budgets())
    assert choosing._pricing._quantized.kernel(made, conv) == "QLinearConv"
    choosing.problem(Weights(), Budgets(), edges=[Edge("site", choosing.frozen.of[1], made)], loss={"site": 0.0})
    assert choosing._pricing._quantized.kernel(made, conv) is None


def test_a_weight_that_is_dequantised_in_each_run_is_paid_with_what_its_readers_take_longer() -> None:
    b = Builder()
    x, weight = b.input(1, 64, 28, 28), b.constant(b.random.random((64, 1, 7, 7)))
    y = b.op("Conv", x, weight, group=64, pads=[3] * 4)
    stored = b.op("DequantizeLinear", b.constant(b.random.integers(-9, 9, (64, 1, 7, 7)), np.int8), b.constant(0.1))
    model = b.model(y, b.op("Identity", stored))
    loaded = frontends.load(model)
    imported = importing.import_graph(loaded.graph, annotate(loaded))
    choosing = Choosing(imported, freeze(imported.egraph), ROOFLINE)
    classes = choosing.frozen.classes
    (dequantized,) = (c for c, e in enumerate(classes) for n in e.nodes if n.operator == "DequantizeLinear")
    (conv,) = (n for e in classes for n in e.nodes if n.operator == "Conv")
    node = next(n for n in classes[dequantized].nodes if n.operator == "DequantizeLinear")
    choosing.problem(Weights(), Budgets())
    alone = choosing._pricing.seconds(dequantized, node)
    choosing.problem(Weights(), Budgets(), edges=[Edge("site", conv.inputs[1], dequantized)], loss={"site": 0.0})
    made = next(c for c, e in enumerate(classes) if conv in e.nodes)
    instead = choosing._pricing.seconds(dequantized, node)
    assert instead > alone + 3 * choosing._pricing.seconds(made, conv)


@pytest.mark.parametrize("name", ["onnxruntime", "tensorrt"])
def test_every_table_of_fusions_is_sound(name: str) -> None:
    table = _fusions.read(name)
    assert table.source
    assert table.through <= table.unchanged
    assert table.integer


def test_targets_use_the_table_of_their_first_back_end() -> None:
    assert _fusions.fusions_of(parse_target("jetson")) == _fusions.read("tensorrt")
    assert _fusions.fusions_of(parse_target("rpi5")) == _fusions.read("onnxruntime")
