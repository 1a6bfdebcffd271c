"""What quantisation makes of models that are not plain: integer operators, unknown ones, bodies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tcc
from tcc.diagnostics import Exit, TccError
from tests.quantized_models import Builder, optimised
from tests.test_static_int8 import IMAGES, residual

DRAW = np.random.default_rng(3)


def compiled(model: onnx.ModelProto, data: np.ndarray) -> onnx.ModelProto:
    return tcc.compile(
        model, opt_level=3, target="x86-64-vnni", calibration={"x": data}, max_loss=0.05, measure=False
    ).to_proto()  # fmt: skip


def test_a_model_of_integer_operators_keeps_them(tmp_path: Path) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is untyped
        def __init__(self) -> None:
            self.left = iter([{"x": IMAGES[i : i + 1]} for i in range(4)])

        def get_next(self) -> Any:
            return next(self.left, None)

    onnx.save(residual(), tmp_path / "m.onnx")
    quantize_static(
        str(tmp_path / "m.onnx"), str(tmp_path / "q.onnx"), Reader(), quant_format=QuantFormat.QOperator,
        per_channel=True,
    )  # fmt: skip
    before = onnx.load(tmp_path / "q.onnx")
    assert {"QLinearConv", "QGemm"} <= {node.op_type for node in before.graph.node}
    after = compiled(before, IMAGES)
    assert after.ByteSize() <= before.ByteSize()
    kept = optimised(after)
    assert all(kept[name] >= count for name, count in optimised(before).items() if name.startswith("Q"))


def test_an_unknown_operator_is_one_clear_line() -> None:
    model = residual()
    model.graph.node.append(helper.make_node("Strange", ["y"], ["z"], domain="my.operators"))
    model.graph.output[0].name = "z"
    model.opset_import.append(helper.make_opsetid("my.operators", 1))
    with pytest.raises(TccError, match=r"does not know the operator my\.operators::Strange") as raised:
        compiled(model, IMAGES)
    assert raised.value.exit_code is Exit.UNSUPPORTED
    assert len(raised.value.diagnostics) == 1


def test_what_stands_around_a_body_is_compressed() -> None:
    names = ["h0", "h", "y"]
    state = helper.make_tensor_value_info("h", TensorProto.FLOAT, [1, 64])
    more = [helper.make_tensor_value_info(name, kind, []) for name, kind in (("i", 7), ("on", 9))]
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["h", "w"], ["p"]), helper.make_node("Tanh", ["p"], ["next"]),
            helper.make_node("Identity", ["on"], ["still"]),
        ],
        "body", [*more, state],
        [helper.make_tensor_value_info("still", TensorProto.BOOL, []),
         helper.make_tensor_value_info("next", TensorProto.FLOAT, [1, 64])],
    )  # fmt: skip
    constants = {
        "w": DRAW.normal(size=(64, 64)) / 8, "before": DRAW.normal(size=(128, 64)) / 8,
        "after": DRAW.normal(size=(64, 128)) / 8,
    }  # fmt: skip
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "before"], [names[0]]),
            helper.make_node("Loop", ["count", "always", names[0]], [names[1]], body=body),
            helper.make_node("MatMul", [names[1], "after"], [names[2]]),
        ],
        "loop", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 128])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 128])],
        [
            numpy_helper.from_array(np.array(3), "count"), numpy_helper.from_array(np.array(True), "always"),
            *(numpy_helper.from_array(array.astype(np.float32), name) for name, array in constants.items()),
        ],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    after = compiled(model, DRAW.normal(size=(40, 128)).astype(np.float32))
    assert after.ByteSize() < 0.6 * model.ByteSize()
    assert [node.op_type for node in after.graph.node].count("Loop") == 1


def test_a_quantised_model_is_simplified_too() -> None:
    """Each weight's DequantizeLinear runs each time, and counts among the nodes that the model may have."""
    b = Builder()
    x = b.both(b.input(1, 16, 8, 8))
    for _ in range(2):
        x = b.op("Relu", b.op("Conv", x, b.weight(16, 16, 3, 3), b.bias(16), pads=[1] * 4))
        x = b.both(b.op("Relu", x))
    made = tcc.compile(b.model(x), opt_level=2, target="x86-64-vnni", measure=False)
    (graph,) = next(r for r in made.report["passes"] if r["pass"].startswith("simplify"))["facts"]["graphs"]
    assert "declined" not in graph
    assert made.report["result"]["operators"]["Relu"] == 2
