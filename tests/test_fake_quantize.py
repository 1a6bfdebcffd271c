"""Fake quantisation for training elsewhere: the same bits with float weights, and back."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

import tcc
from tests.quantized_models import optimised
from tests.test_static_int8 import IMAGES, residual

INTEGERS = {TensorProto.INT8, TensorProto.UINT8}


def quantised(target: str) -> onnx.ModelProto:
    result = tcc.compile(
        residual(), passes="simplify,compress{techniques=static-int8,objective=size,slower=true}", target=target,
        calibration={"x": IMAGES}, max_loss=0.05,
    )  # fmt: skip
    return result.to_proto()


def run(model: onnx.ModelProto) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(None, {"x": IMAGES[:4]})[0]
    return found


def weights(model: onnx.ModelProto) -> Counter[int]:
    return Counter(t.data_type for t in model.graph.initializer if np.prod(t.dims) > 64)


@pytest.mark.parametrize("target", ["x86-64-vnni", "jetson"])
def test_weights_are_floats_behind_their_rounding_and_come_back(target: str) -> None:
    before = quantised(target)
    fake = tcc.PassManager(["fake-quantize"], target=target).run(before).to_proto()
    assert np.array_equal(run(fake), run(before))
    assert INTEGERS & set(weights(before))
    assert set(weights(fake)) == {TensorProto.FLOAT}
    assert optimised(fake)["QLinearConv"] == optimised(before)["QLinearConv"]
    # What training leaves is nearby: the integers are made anew.
    for tensor in fake.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) > 64:
            array = numpy_helper.to_array(tensor)
            nudged = array + np.float32(0.01) * array.std() * np.sign(array)
            tensor.CopyFrom(numpy_helper.from_array(nudged.astype(np.float32), tensor.name))
    back = tcc.compile(fake, opt_level=2, target=target).to_proto()
    assert np.allclose(run(back), run(fake), rtol=1e-4, atol=1e-4)
    assert weights(back) == weights(before)
    assert optimised(back)["QLinearConv"] == optimised(before)["QLinearConv"]


def test_a_model_without_integers_stays_as_it_is() -> None:
    result = tcc.PassManager(["fake-quantize"], target="x86-64-vnni").run(residual())
    (record,) = (r for r in result.records if r.name == "fake-quantize")
    assert not record.changed
