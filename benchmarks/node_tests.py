"""ONNX's own backend node tests: what ONNX Runtime computes right must stay right through tcc."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from benchmarks.children import explained
from tcc.diagnostics import TccError
from tcc.ir.execution import Runner

if TYPE_CHECKING:
    from onnx.backend.test.case.test_case import TestCase

Verdict = Literal["passed", "changed", "rejected", "crashed", "not run"]

_IR_VERSION = 13
"""The newest file format that ONNX Runtime 1.31 reads; the tests are written in onnx's newest."""


@dataclass(frozen=True)
class Outcome:
    """What became of one test.

    ``not run``: ONNX Runtime itself, its optimisations off, does not run the model or does not give the expected
    outputs, so that there is nothing to keep. ``passed``: compiled, the outputs are still as expected. ``changed``:
    they are not, or the compiled model does not run. ``rejected``: tcc refused the model with a diagnostic.
    ``crashed``: any other exception.
    """

    name: str
    verdict: Verdict
    detail: str = ""


Through = Callable[[onnx.ModelProto], onnx.ModelProto]


@functools.cache
def node_tests() -> tuple[TestCase, ...]:
    """All node tests, by name."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the expected values of the overflow tests overflow
        found = load_model_tests(kind="node")
    return tuple(sorted(found, key=lambda test: test.name))


def pipeline(model: onnx.ModelProto) -> onnx.ModelProto:
    """What -O2's passes make, whatever its size and unverified: the outputs are judged here."""
    import tcc
    from tcc.compiler import levels

    return tcc.PassManager(levels.pipeline_text(2), verify=False).run(model).to_proto()


def compiled(model: onnx.ModelProto) -> onnx.ModelProto:
    """What ``tcc -O2`` ships, verified."""
    import tcc

    return tcc.compile(model, 2).to_proto()


WAYS: Mapping[str, Through] = {"pipeline": pipeline, "compile": compiled}


def judge(test: TestCase, through: Through) -> Outcome:
    """Run one test before and after."""
    assert test.model is not None
    before = onnx.ModelProto()
    before.CopyFrom(test.model)
    before.ir_version = min(before.ir_version, _IR_VERSION)
    if reason := _complaint(before, test):
        return Outcome(test.name, "not run", reason)
    try:
        after = through(before)
    except TccError as error:
        return Outcome(test.name, "rejected", explained(error))
    except Exception as error:  # noqa: BLE001 - that there is none is what is tested
        return Outcome(test.name, "crashed", explained(error))
    # Where the test's own model does not pass onnx's full check, that is not asked of what is made of it.
    reason = (not _flaw(before) and _flaw(after)) or _complaint(after, test)
    return Outcome(test.name, "changed" if reason else "passed", reason)


def _flaw(model: onnx.ModelProto) -> str:
    """What onnx's checker and its strict inference say against a model; '' for nothing."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # noqa: BLE001 - inference and checker have no common base
        return f"invalid: {explained(error)}"
    return ""


def _complaint(model: onnx.ModelProto, test: TestCase) -> str:
    """Why a model does not give the expected outputs, by onnx's own comparison and tolerances; '' where it does."""
    from onnx.backend.test.runner import Runner as Judge

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            runner = Runner(model)
            for inputs, expected in test.data_sets or ():
                # Judged in the order of the outputs, so that a reordered signature is a change as well.
                outputs = runner.run(_feeds(test, inputs))
                Judge.assert_similar_outputs([_value(v) for v in expected], outputs, test.rtol, test.atol)
    except Exception as error:  # noqa: BLE001 - whatever it is, this is not the expected output
        return explained(error)
    return ""


def _feeds(test: TestCase, inputs: Sequence[Any]) -> dict[str, Any]:
    assert test.model is not None
    names = [value.name for value in test.model.graph.input]
    return {name: _value(value) for name, value in zip(names, inputs, strict=False)}


def _value(value: Any) -> Any:
    """Test data as arrays: it comes as protobufs and numpy scalars, too."""
    if isinstance(value, TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, onnx.SequenceProto):
        return numpy_helper.to_list(value)
    if isinstance(value, onnx.OptionalProto):
        return numpy_helper.to_optional(value)
    return np.asarray(value) if isinstance(value, np.generic | int | float) else value
