"""TensorRT's kernels of elementwise chains and attention, as programs are priced by them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from tcc import frontends
from tcc.cost_models import _fusions
from tcc.cost_models.roofline import Roofline
from tcc.ir.inference import annotate
from tcc.passes._pricing import Pricing, predicted_seconds, whole_program
from tcc.targets import parse_target
from tests.quantized_models import Builder

FLOAT16 = 10
_SHAPE = (1, 16, 28, 28)


def priced(b: Builder, y: str, target: str = "jetson-agx-orin-64gb") -> tuple[Counter[str], float]:
    """The kernels, and the seconds of the whole."""
    loaded = frontends.load(b.model(y))
    annotate(loaded)
    pricing: Pricing = whole_program(loaded.graph, Roofline(parse_target(target)), {})
    kernels = Counter(name for c, node in pricing.program() if (name := pricing.kernel(c, node)))
    return kernels, predicted_seconds(loaded, parse_target(target), {})


def chained(b: Builder, x: str, *, squashed: bool = True) -> str:
    """x · sigmoid(x + 3)."""
    y = b.op("Add", x, b.constant(3.0))
    return b.op("Mul", x, b.op("Sigmoid", y) if squashed else y)


def conv(b: Builder, x: str) -> str:
    return b.op("Conv", x, b.constant(b.random.random((16, 16, 3, 3))), pads=[1] * 4)


def test_a_chain_is_one_kernel_and_a_longer_one_costs_no_launch() -> None:
    b = Builder()
    kernels, long = priced(b, chained(b, b.op("Max", b.input(*_SHAPE), b.input(*_SHAPE))))
    assert kernels == {"PointWise": 1}
    b = Builder()
    _, short = priced(b, chained(b, b.op("Max", b.input(*_SHAPE), b.input(*_SHAPE)), squashed=False))
    assert 0 <= long - short < parse_target("jetson").launch_overhead / 4


def test_onnxruntime_runs_each_by_itself() -> None:
    b = Builder()
    kernels, _ = priced(b, chained(b, b.op("Max", b.input(*_SHAPE), b.input(*_SHAPE))), "x86-64-vnni")
    assert kernels["PointWise"] == 0
    assert kernels.total() > 1


def test_a_value_that_is_stored_anyway_ends_a_chain() -> None:
    b = Builder()
    x = b.op("Max", b.input(*_SHAPE), b.input(*_SHAPE))
    kernels, _ = priced(b, b.op("Concat", b.op("Tanh", x), b.op("Transpose", x, perm=[0, 1, 3, 2]), axis=1))
    assert kernels == {"Max": 1, "Tanh": 1, "Transpose": 1, "Concat": 1}


def test_other_shapes_end_a_chain() -> None:
    """A gate for each channel is computed once, not for each pixel."""
    b = Builder()
    gate = b.op("Sigmoid", b.op("Abs", b.input(1, 16, 1, 1)))
    kernels, _ = priced(b, b.op("Tanh", b.op("Mul", gate, b.input(*_SHAPE))))
    assert kernels == {"PointWise": 2}


@pytest.mark.parametrize("other", [False, True])
def test_a_convolution_takes_a_chain_in_that_reads_nothing_else(*, other: bool) -> None:
    b = Builder()
    y = chained(b, conv(b, b.input(*_SHAPE)))
    kernels, _ = priced(b, b.op("Tanh", b.op("Max", y, b.input(*_SHAPE))) if other else b.op("Tanh", y))
    assert kernels == ({"Conv": 1, "PointWise": 1} if other else {"Conv": 1})


def test_integers_are_converted_within_a_chain() -> None:
    b = Builder()
    x = b.op("Transpose", b.both(b.input(*_SHAPE), "int8"), perm=[0, 1, 3, 2])
    y = b.op("Mul", b.both(x, "int8"), b.op("Tanh", b.both(b.input(*_SHAPE), "int8")))
    kernels, whole = priced(b, b.op("MaxPool", b.both(y, "int8"), kernel_shape=[2, 2]))
    assert kernels["PointWise"] == 1
    assert not kernels.keys() & {"Mul", "Tanh", "QLinearMul"}
    parts = [_seconds(operator) for operator in ("Mul", "Tanh")]
    assert whole < sum(parts) + 6 * parse_target("jetson").launch_overhead


def _seconds(operator: str) -> float:
    b = Builder()
    inputs = [b.input(*_SHAPE) for _ in range(2 if operator == "Mul" else 1)]
    return priced(b, b.op(operator, *inputs))[1]


def test_sums_of_integers_have_the_bytes_of_integers() -> None:
    def total(both: Callable[[Builder, str], str]) -> float:
        b = Builder()
        x, y = (b.op("Transpose", b.input(1, 64, 112, 112), perm=[0, 1, 3, 2]) for _ in range(2))
        added = both(b, b.op("Relu", b.op("Add", both(b, x), both(b, y))))
        return priced(b, b.op("MaxPool", added, kernel_shape=[2, 2]))[1]

    assert total(lambda b, x: b.both(x, "int8")) < 2 * total(lambda _, x: x)


def attention(b: Builder, dtype: int, head: int, *, mask: bool = False, scaled: bool = False) -> str:
    q, k, v = (b.op("Cast", b.input(1, 12, 64, head), to=dtype) for _ in range(3))
    scores = b.op("MatMul", q, b.op("Transpose", k, perm=[0, 1, 3, 2]))
    scores = b.op("Mul", scores, b.op("Cast", b.constant(0.125), to=dtype)) if scaled else scores
    scores = b.op("Add", scores, b.op("Cast", b.input(1, 1, 64, 64), to=dtype)) if mask else scores
    return b.op("Cast", b.op("MatMul", b.op("Softmax", scores, axis=-1), v), to=1)


@pytest.mark.parametrize("mask", [False, True])
def test_attention_is_one_kernel(*, mask: bool) -> None:
    b = Builder()
    kernels, _ = priced(b, attention(b, FLOAT16, 64, mask=mask))
    assert kernels["Attention"] == 1
    assert not kernels.keys() & {"MatMul", "FusedMatMul", "Softmax", "Add"}


@pytest.mark.parametrize(
    ("target", "dtype", "head", "scaled"),
    [
        ("jetson-agx-orin-64gb", 1, 64, False),
        ("jetson-agx-orin-64gb", FLOAT16, 512, False),
        ("jetson-agx-orin-64gb", FLOAT16, 64, True),
        ("jetson-agx-xavier", FLOAT16, 64, False),
        ("x86-64-vnni", FLOAT16, 64, False),
    ],
)
def test_other_attention_is_in_parts(target: str, dtype: int, head: int, *, scaled: bool) -> None:
    b = Builder()
    kernels, _ = priced(b, attention(b, dtype, head, scaled=scaled), target)
    assert kernels["Attention"] == 0
    assert kernels["Softmax"] == 1


def test_long_keys_cost_more() -> None:
    """The keys' and values' length counts, wherever it stands in their shapes."""

    def seconds(tokens: int) -> float:
        b = Builder()
        q, k, v = (b.op("Cast", b.input(1, 12, n, 64), to=FLOAT16) for n in (64, tokens, tokens))
        scores = b.op("MatMul", q, b.op("Transpose", k, perm=[0, 1, 3, 2]))
        return priced(b, b.op("Cast", b.op("MatMul", b.op("Softmax", scores, axis=-1), v), to=1))[1]

    assert seconds(65_536) > 8 * seconds(4_096)


def test_tables_say_what_joins() -> None:
    assert _fusions.read("onnxruntime").pointwise is None
    found = _fusions.read("tensorrt").pointwise
    assert found is not None
    assert found.into == {"Conv"}
    assert {"Add", "Sigmoid", "QuantizeLinear"} < found.operators
    assert not found.operators & {"Softmax", "ReduceMean", "MatMul", "Transpose"}
