"""ONNX's own backend node tests, all of them, through -O2."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from benchmarks import node_tests
from benchmarks.conformance import is_failure

if TYPE_CHECKING:
    from onnx.backend.test.case.test_case import TestCase

_PARTS = 16
_RUN_BY_ONNXRUNTIME = 1450
"""Of 1,884 tests with onnx 1.23 and onnxruntime 1.31: 1,489 when this was written."""


@pytest.mark.parametrize("part", range(_PARTS))
def test_what_onnxruntime_computes_right_stays_right(part: int) -> None:
    tests = node_tests.node_tests()[part::_PARTS]
    outcomes = [node_tests.judge(test, node_tests.pipeline) for test in tests]
    failures = [o for o in outcomes if is_failure(o.verdict, o.detail)]
    assert failures == []
    counts = Counter(outcome.verdict for outcome in outcomes)
    assert counts["passed"] > _RUN_BY_ONNXRUNTIME // _PARTS * 0.9, counts


def the_test(name: str) -> TestCase:
    return next(test for test in node_tests.node_tests() if test.name == name)


def negated(model: onnx.ModelProto) -> onnx.ModelProto:
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    changed.graph.node[0].op_type = "Neg"
    return changed


def with_a_dangling_output(model: onnx.ModelProto) -> onnx.ModelProto:
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    changed.graph.output[0].name = "nobody"
    return changed


def with_more_rank(model: onnx.ModelProto) -> onnx.ModelProto:
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    inner = changed.graph.node[0].output[0]
    changed.graph.node[0].output[0] = "inner"
    changed.graph.initializer.append(numpy_helper.from_array(np.array([0], np.int64), "axes"))
    changed.graph.node.append(onnx.helper.make_node("Unsqueeze", ["inner", "axes"], [inner]))
    del changed.graph.output[0].type.tensor_type.shape.dim[:]
    changed.graph.output[0].type.tensor_type.ClearField("shape")
    return changed


@pytest.mark.parametrize("wrong", [negated, with_a_dangling_output, with_more_rank])
def test_a_wrong_transformation_is_noticed(wrong: node_tests.Through) -> None:
    assert node_tests.judge(the_test("test_abs"), wrong).verdict == "changed"


def test_an_exception_is_a_crash() -> None:
    def broken(_model: onnx.ModelProto) -> onnx.ModelProto:
        raise ZeroDivisionError

    outcome = node_tests.judge(the_test("test_abs"), broken)
    assert outcome.verdict == "crashed"
    assert is_failure(outcome.verdict, outcome.detail)


def test_opsets_that_are_not_read_are_refused_with_their_code() -> None:
    outcome = node_tests.judge(the_test("test_not_2d"), node_tests.pipeline)
    assert outcome.verdict == "rejected"
    assert "E0403" in outcome.detail
    assert not is_failure(outcome.verdict, outcome.detail)
    assert is_failure("rejected", "E0501 for another reason")
