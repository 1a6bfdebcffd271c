"""Sequences that are only taken apart again become slices."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from tcc import frontends
from tcc.ir.execution import Runner
from tcc.passes.canonicalize import Canonicalize

_HEAD = '<ir_version: 8, opset_import: ["" : 17]>\n'


def rewritten(text: str) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    proto = onnx.parser.parse_model(_HEAD + text)
    return proto, Canonicalize().run(frontends.load(proto), None).model.to_proto()  # type: ignore[arg-type]


CASES = {
    "a list of sizes": (
        (
            "g (float[2,7] x) => (float[2,3] y, float[2,4] z) { n = Constant<value = int64[2] {3, 4}>()"
            " o = Constant<value = int64 {1}>() f = Constant<value = int64 {0}>() s = SplitToSequence<axis=-1>(x, n)"
            " y = SequenceAt(s, f) z = SequenceAt(s, o) }"
        ),
        {"Slice": 2},
    ),
    "one size, the last part smaller": (
        (
            "g (float[2,7] x) => (float[2,3] y, float[2,1] z) { n = Constant<value = int64 {3}>()"
            " o = Constant<value = int64 {2}>() f = Constant<value = int64 {0}>() s = SplitToSequence<axis=1>(x, n)"
            " y = SequenceAt(s, f) z = SequenceAt(s, o) }"
        ),
        {"Slice": 2},
    ),
    "single indices": (
        (
            "g (float[2,7] x) => (float[7] y, float[1,7] z) { o = Constant<value = int64 {1}>()"
            " s = SplitToSequence<keepdims=0>(x) y = SequenceAt(s, o) t = SplitToSequence(x) z = SequenceAt(t, o) }"
        ),
        {"Gather": 1, "Slice": 1},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_an_element_at_a_fixed_place_is_a_slice(case: str) -> None:
    text, operators = CASES[case]
    before, after = rewritten(text)
    assert {node.op_type for node in after.graph.node} == set(operators)
    x = np.random.default_rng(0).standard_normal((2, 7)).astype(np.float32)
    for a, b in zip(Runner(before).run({"x": x}), Runner(after).run({"x": x}), strict=True):
        assert np.array_equal(a, b)
    onnx.checker.check_model(after, full_check=True)


def test_what_is_computed_or_counted_from_the_end_stays() -> None:
    _, after = rewritten(
        "g (float[2,8] x, int64 i) => (float[2,4] y, float[2,4] z) { n = Constant<value = int64 {4}>()"
        " m = Constant<value = int64 {-1}>() s = SplitToSequence<axis=1>(x, n) y = SequenceAt(s, i)"
        " z = SequenceAt(s, m) }"
    )
    assert [node.op_type for node in after.graph.node] == ["SplitToSequence", "SequenceAt", "SequenceAt"]
