"""2:4 sparsity: two of four weights of each sum, within the loss budget, only where kernels skip the zeros."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from tcc import frontends
from tcc.diagnostics import TccError
from tcc.passes.base import Context
from tcc.passes.sparsify import Sparsify, has_kernels
from tcc.targets import available, parse_target
from tests import channel_models

TEXT = """g (float[B,4,6,6] x, float[8,4,3,3] w0, float[6,8,1,1] w1, float[6,16] w2, float[5,16] w3) => (float[B,5] y) {
    a = Conv(x, w0)  r = Relu(a)  c = Conv(r, w1)  p = GlobalAveragePool(c)  f = Flatten(p)  h = MatMul(f, w2)
    y = Gemm<transB=1>(h, w3) }"""


def sparse(target: str, max_loss: float = 1e3, *, data: bool = True) -> Any:
    proto = channel_models.with_weights(onnx.parser.parse_model(channel_models.HEAD.format(opset=17) + TEXT), {})
    feeds = tuple(channel_models.feeds(proto, 12))
    context = Context(parse_target(target), feeds=feeds, calibration=feeds if data else None, max_loss=max_loss)
    return Sparsify().run(frontends.load(proto), context)


def weight(result: Any, name: str) -> np.ndarray:
    return np.asarray(result.model.graph.initializers[name].const_value.numpy())


def test_two_of_four_along_the_sum_are_zero() -> None:
    result = sparse("a100")
    assert sorted(result.facts["sparse"]) == ["w0", "w1", "w3"]
    assert result.facts["layers"] == 3  # w2 sums over six
    for name, axis in (("w0", 1), ("w1", 1), ("w3", 1)):
        fours = np.moveaxis(weight(result, name), axis, -1).reshape(-1, 4)
        assert ((fours == 0).sum(axis=1) == 2).all()
    assert np.count_nonzero(weight(result, "w2") == 0) == 0
    onnx.checker.check_model(result.model.to_proto(), full_check=True)


def test_the_loss_budget_is_kept() -> None:
    whole = sparse("h100").facts["loss"]
    some = sparse("h100", whole / 2)
    assert some.facts["loss"] <= whole / 2
    assert len(some.facts.get("sparse", ())) < 3
    none = sparse("h100", 1e-9)
    assert not none.changed
    assert "within the budget" in none.facts["declined"]["all"]


def test_elsewhere_it_is_said_to_bring_nothing() -> None:
    with_kernels = {name for name in available() if has_kernels(parse_target(name))}
    assert {"a100", "h100", "l4", "jetson", "jetson-orin-nano-8gb"} <= with_kernels
    assert not with_kernels & {"x86-64-vnni", "rpi5", "jetson-xavier-nx"}
    result = sparse("x86-64-vnni", data=False)
    assert not result.changed
    assert "zeros would bring nothing" in result.facts["declined"]["all"]


def test_it_needs_data() -> None:
    with pytest.raises(TccError) as raised:
        sparse("a100", data=False)
    assert raised.value.diagnostics[0].code == "E0235"
    with pytest.raises(ValueError, match="share"):
        Sparsify(share=0.0)
