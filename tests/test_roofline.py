"""The roofline: operation counts against formulas by hand, bounds, and prices that only grow."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tcc.cost_models
from tcc.cost_models import cost_model
from tcc.cost_models._operations import COUNTS, VIEWS
from tcc.cost_models.roofline import SLOWER, Price, Roofline
from tcc.diagnostics import TccError
from tcc.ir.types import BITS, TensorType
from tcc.targets import parse_target

MODEL = Roofline(parse_target("x86-64-vnni"))
JETSON = Roofline(parse_target("jetson-orin-nano-8gb"))


def tensor(*shape: int | str | None, dtype: str = "float32") -> TensorType:
    return TensorType(dtype, shape)


def price(operator: str, inputs: list[TensorType | None], output: TensorType, **attributes: Any) -> Price:
    return MODEL.price(operator, attributes, inputs, [output])


IMAGE, RESULT = tensor(2, 16, 28, 28), tensor(2, 32, 14, 14)
COUNTED: list[tuple[str, list[TensorType | None], TensorType, dict[str, Any], float]] = [
    ("Conv", [IMAGE, tensor(32, 16, 3, 3)], RESULT, {}, 2 * (2 * 32 * 14 * 14) * (16 * 9)),
    ("Conv", [IMAGE, tensor(32, 16, 3, 3), tensor(32)], RESULT, {}, 2 * (2 * 32 * 14 * 14) * (16 * 9)),
    ("Conv", [IMAGE, tensor(32, 4, 3, 3)], RESULT, {"group": 4}, 2 * (2 * 32 * 14 * 14) * (4 * 9)),
    ("Conv", [tensor(1, 8, 50), tensor(4, 8, 5)], tensor(1, 4, 46), {}, 2 * 4 * 46 * 8 * 5),
    ("ConvTranspose", [tensor(1, 8, 7, 7), tensor(8, 4, 2, 2)], tensor(1, 4, 14, 14), {}, 2 * 8 * 49 * 4 * 4),
    ("QLinearConv",
     [IMAGE, None, None, tensor(32, 16, 1, 1, dtype="int8"), None, None, None, None],
     tensor(2, 32, 28, 28, dtype="uint8"), {}, 2 * (2 * 32 * 28 * 28) * 16),
    ("MatMul", [tensor(4, 8, 16), tensor(16, 5)], tensor(4, 8, 5), {}, 2 * 4 * 8 * 5 * 16),
    ("MatMul", [tensor(16), tensor(16)], tensor(), {}, 2 * 16),
    ("Gemm", [tensor(8, 16), tensor(5, 16), tensor(5)], tensor(8, 5), {"transB": 1}, 8 * 5 * (2 * 16 + 1)),
    ("Gemm", [tensor(16, 8), tensor(16, 5)], tensor(8, 5), {"transA": 1}, 8 * 5 * 2 * 16),
    ("MatMulInteger", [tensor(8, 16, dtype="uint8"), tensor(16, 5, dtype="int8")], tensor(8, 5, dtype="int32"), {},
     2 * 8 * 5 * 16),
    ("Einsum", [tensor(3, 4, 5), tensor(3, 5, 6)], tensor(3, 4, 6), {"equation": "bij,bjk->bik"}, 2 * 3 * 4 * 5 * 6),
    ("Einsum", [tensor(7, 3, 4, 5), tensor(5, 6)], tensor(7, 3, 4, 6), {"equation": b"... j, jk -> ...k"},
     2 * 7 * 3 * 4 * 5 * 6),
    ("LSTM", [tensor(10, 2, 8), tensor(1, 64, 8), tensor(1, 64, 16)], tensor(10, 1, 2, 16), {},
     2 * 20 * 64 * (8 + 16) + 10 * 320),
    ("Attention", [tensor(1, 4, 10, 16), tensor(1, 4, 12, 16), tensor(1, 4, 12, 16)], tensor(1, 4, 10, 16), {},
     4 * (4 * 10 * 16) * 12 + 10 * 640),
    ("Attention", [tensor(2, 10, 16), tensor(16, 48), tensor(48)], tensor(2, 10, 16), {},
     2 * 20 * 16 * 48 + 4 * 20 * 10 * 16),
    ("MaxPool", [IMAGE], RESULT, {"kernel_shape": [3, 3]}, 2 * 32 * 14 * 14 * 9),
    ("GlobalAveragePool", [IMAGE], tensor(2, 16, 1, 1), {}, 2 * 16 * 28 * 28),
    ("Relu", [IMAGE], IMAGE, {}, 2 * 16 * 28 * 28),
    ("Transpose", [IMAGE], IMAGE, {"perm": [0, 2, 3, 1]}, 0),
    ("Reshape", [IMAGE, tensor(2, dtype="int64")], tensor(2, 12544), {}, 0),
    ("NoSuchOperator", [IMAGE], RESULT, {}, 2 * 32 * 14 * 14),
]  # fmt: skip


@pytest.mark.parametrize(("operator", "inputs", "output", "attributes", "expected"), COUNTED)
def test_operations_by_hand(
    operator: str, inputs: list[TensorType | None], output: TensorType, attributes: dict[str, Any], expected: float
) -> None:
    assert price(operator, inputs, output, **attributes).operations == pytest.approx(expected, abs=0)


def test_bytes_are_what_is_read_and_written() -> None:
    assert price("Relu", [IMAGE], IMAGE).nbytes == 2 * 4 * 2 * 16 * 28 * 28
    packed = tensor(64, 64, dtype="int4")
    assert price("DequantizeLinear", [packed, tensor()], tensor(64, 64)).nbytes == 64 * 64 / 2 + 4 + 4 * 64 * 64
    table, rows = tensor(30_000, 768), tensor(1, 10, dtype="int64")
    assert price("Gather", [table, rows], tensor(1, 10, 768)).nbytes == 2 * 4 * 7680 + 80
    assert price("Reshape", [IMAGE], IMAGE).nbytes == 0


def test_the_roof_is_the_slower_of_computing_and_moving() -> None:
    # Of a target whose back end has no costs of its own.
    target = JETSON.target
    square = tensor(2048, 2048)
    product = JETSON.price("MatMul", {}, [square, square], [square])
    computing = product.operations / target.peak["float32"] / 0.7
    assert product.seconds - target.launch_overhead == pytest.approx(computing, rel=0.01)
    big = tensor(64, 1024, 1024)
    moved = JETSON.price("Add", {}, [big, big], [big])
    moving = moved.nbytes / target.bandwidth / 0.7
    assert moved.seconds - target.launch_overhead == pytest.approx(moving, rel=0.01)


def test_what_kernels_do_besides_their_arithmetic_is_paid_for() -> None:
    def convolution(channels: int, kernel: int) -> float:
        x, weight = tensor(1, channels, 64, 64, dtype="uint8"), tensor(64, channels, kernel, kernel, dtype="int8")
        made = MODEL.price(
            "QLinearConv", {}, [x, None, None, weight, None, None, None, None], [tensor(1, 64, 64, 64, dtype="uint8")]
        )
        return made.seconds * MODEL.target.peak["int8"] / made.operations

    # Few channels: results are rescaled for little arithmetic, and windows are copied element by element.
    assert convolution(3, 3) > 2 * convolution(64, 3)
    assert convolution(3, 1) > 2 * convolution(256, 1)
    byte = tensor(4, 12, 128, 128, dtype="uint8")
    integer = MODEL.price("QLinearSoftmax", {}, [byte, None, None, None, None], [byte])
    assert integer.seconds > MODEL.price("Softmax", {}, [tensor(4, 12, 128, 128)], [tensor(4, 12, 128, 128)]).seconds
    x, w = tensor(128, 64, dtype="uint8"), tensor(64, 128, dtype="uint8")
    inputs, out = [x, None, None, w, None, None, None, None], [tensor(128, 128, dtype="uint8")]
    constant, variable = (
        MODEL.price("QLinearMatMul", {}, inputs, out, [False, *[is_constant] * 7]) for is_constant in (True, False)
    )
    assert variable.seconds > constant.seconds


def test_depthwise_convolutions_want_whole_vectors_of_channels() -> None:
    def depthwise(channels: int) -> float:
        image = tensor(1, channels, 56, 56)
        return price("Conv", [image, tensor(channels, 1, 3, 3)], image, group=channels).seconds / channels

    assert depthwise(100) > 2 * depthwise(96)


def test_lower_precision_is_cheaper_where_the_target_has_it() -> None:
    def product(model: Roofline, dtype: str) -> float:
        square = tensor(1024, 1024, dtype=dtype)
        return model.price("MatMul", {}, [square, square], [square]).seconds

    assert product(JETSON, "int8") < product(JETSON, "float16") < product(JETSON, "float32")
    without = Roofline(parse_target("jetson-orin-nano-8gb-fp16"))
    assert product(without, "float16") > product(JETSON, "float16")
    # Emulated half precision computes in float32 between casts: never a gain in computing.
    assert product(MODEL, "float16") > product(MODEL, "float32")


def test_quantised_operators_compute_in_int8() -> None:
    square = tensor(1024, 1024)
    byte = tensor(1024, 1024, dtype="uint8")
    as_float = MODEL.price("MatMul", {}, [square, square], [square]).seconds
    as_integer = MODEL.price("QLinearMatMul", {}, [byte, None, None, byte, None, None, None, None], [byte]).seconds
    assert as_integer < as_float / 2


def test_channels_are_padded_to_the_lanes() -> None:
    def convolution(channels: int) -> Price:
        weight = tensor(channels, 256, 3, 3)
        return price("Conv", [tensor(1, 256, 56, 56), weight], tensor(1, channels, 56, 56))

    assert convolution(129).seconds == pytest.approx(convolution(144).seconds, rel=0.01)
    assert convolution(128).seconds < convolution(129).seconds
    assert convolution(129).operations < convolution(144).operations


def test_depthwise_multipliers_idle() -> None:
    image = tensor(1, 512, 56, 56)
    grouped = price("Conv", [image, tensor(512, 8, 3, 3)], image, group=64)
    dense = price("Conv", [tensor(1, 8, 56, 56), tensor(512, 8, 3, 3)], image)
    assert grouped.operations == dense.operations
    assert grouped.seconds > dense.seconds


def test_initialisers_stream_and_activations_stay_in_the_cache() -> None:
    small = tensor(128, 1024)
    assert (
        MODEL.price("Add", {}, [small, small], [small], [False, True]).seconds
        > MODEL.price("Add", {}, [small, small], [small], [False, False]).seconds
    )


def test_folded_nodes_cost_next_to_nothing_unless_random() -> None:
    one = tensor(1000)
    folded = MODEL.price("Exp", {}, [one], [one], [True])
    assert 0 < folded.seconds < MODEL.target.launch_overhead / 100
    assert MODEL.price("RandomNormalLike", {}, [one], [one], [True]).seconds > MODEL.target.launch_overhead


def test_a_depthwise_convolution_whose_weight_is_computed_takes_many_times_as_long() -> None:
    # Profiled on one AVX512-VNNI core: 1,084 µs against 60 µs with a weight that is known when the model is loaded.
    image, weight = tensor(1, 768, 7, 7), tensor(768, 1, 7, 7)

    def seconds(*constant: bool) -> float:
        return MODEL.price("Conv", {"group": 768}, [image, weight], [image], constant).seconds

    assert seconds(False, False) > 5 * seconds(False, True)
    image, weight = tensor(1, 64, 56, 56), tensor(64, 64, 1, 1)
    dense = [MODEL.price("Conv", {}, [image, weight], [image], (False, known)).seconds for known in (False, True)]
    assert dense[0] < 1.5 * dense[1]


@pytest.mark.parametrize("name", ["x86-64-vnni", "rpi5"])
def test_small_models_stay_in_the_caches(name: str) -> None:
    target = parse_target(name)
    prices = [
        Roofline(target, weights=nbytes).price("Gemm", {}, [row, matrix], [row], (False, True)).seconds
        for nbytes in (1e5, 3e6, math.inf)
        for row, matrix in [(tensor(1, 256), tensor(256, 256))]
    ]
    assert prices[0] < prices[1] < prices[2]


def test_integer_convolutions_pad_their_filters_wherever_the_channels_lie() -> None:
    weight = tensor(64, 64, 1, 1, dtype="int8")

    def seconds(*shape: int) -> float:
        image = tensor(*shape, dtype="uint8")
        return MODEL.price("QLinearConv", {}, [image, None, None, weight, *[None] * 4], [image]).seconds

    assert seconds(1, 7, 7, 64) == seconds(1, 64, 7, 7)


def test_symbols_size_the_symbolic_dimensions() -> None:
    model = Roofline(parse_target("rpi5"), {"batch": 8}, default_dimension=3)
    assert model.price("Relu", {}, [tensor("batch", 10)], [tensor("batch", 10)]).operations == 80
    assert model.price("Relu", {}, [tensor("other", 10)], [tensor("other", None)]).operations == 9


OPERATORS = [*sorted({*COUNTS, *VIEWS}), "NoSuchOperator"]
SHAPES = st.none() | st.lists(st.none() | st.just("n") | st.integers(0, 40), max_size=5).map(tuple)
TENSORS = st.none() | st.builds(TensorType, st.sampled_from([*BITS, "undefined"]), SHAPES)


@given(st.sampled_from(OPERATORS), st.lists(TENSORS, max_size=6), st.lists(TENSORS, max_size=2), st.data())
def test_any_node_has_a_positive_finite_price(
    operator: str, inputs: list[TensorType | None], outputs: list[TensorType | None], data: st.DataObject
) -> None:
    choices: list[dict[str, Any]] = [{}, {"kernel_shape": (3, 3)}, {"equation": "ab,bc->ac"}, {"transA": 1}]
    attributes = data.draw(st.sampled_from(choices))
    found = MODEL.price(operator, attributes, inputs, outputs)
    assert 0 < found.seconds < math.inf
    assert found.operations >= 0
    assert found.nbytes >= 0


@given(
    st.sampled_from(["Conv", "MatMul", "Relu", "Exp", "Softmax", "Transpose", "Concat"]),
    st.integers(1, 300),
    st.integers(1, 300),
    st.sampled_from(["jetson", "x86-64-vnni", "rpi4"]),
)
def test_more_channels_never_cost_less(operator: str, one: int, other: int, name: str) -> None:
    model = Roofline(parse_target(name))

    def seconds(channels: int) -> float:
        image, weight = tensor(1, channels, 14, 14), tensor(channels, channels, 3, 3)
        if operator == "MatMul":
            image, weight = tensor(14, channels), tensor(channels, channels)
        inputs = [image, weight] if operator in ("Conv", "MatMul") else [image]
        return model.price(operator, {}, inputs, [image]).seconds

    few, many = sorted((one, other))
    assert seconds(few) <= seconds(many)


@pytest.mark.parametrize("dtype", sorted(BITS))
def test_every_element_type_has_a_rate(dtype: str) -> None:
    seen = set()
    while dtype != "float32":
        assert dtype not in seen
        seen.add(dtype)
        dtype = SLOWER[dtype][0]


def test_cost_models_are_found_by_file_name() -> None:
    assert cost_model("roofline") is Roofline
    folder = Path(tcc.cost_models.__file__).parent
    assert tcc.cost_models.available() == tuple(sorted(path.stem for path in folder.glob("[!_]*.py")))
    with pytest.raises(TccError, match=r"unknown cost model 'roof'.*\n.*known: .*roofline"):
        cost_model("roof")
