"""Calibration data verifies what generated inputs cannot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

import tcc
from tcc.diagnostics import Exit, fail
from tcc.ir import feeds
from tcc.passes.manager import Snapshot
from tcc.passes.verification import Verifier
from tests.bad_input.cases import model, node

FAR = [{"x": np.full((2, 4), 2000.0 + i, np.float32)} for i in range(40)]
NEAR = [{"x": np.full((2, 4), float(i), np.float32)} for i in range(40)]


def thresholded() -> Any:
    """Of which small inputs show nothing: ``Relu(x - 1000)``."""
    return model([node("Sub", "x c", "h", "sub"), node("Relu", "h", "y", "relu")],
                 weights=[numpy_helper.from_array(np.array(1000, np.float32), "c")])  # fmt: skip


@pytest.mark.parametrize("level", [1, 2])
def test_samples_that_make_a_difference_take_the_place_of_inputs_that_do_not(level: int) -> None:
    assert "W0702" in {d.code for d in tcc.compile(thresholded(), level).diagnostics}
    done = tcc.compile(thresholded(), level, calibration=FAR)
    assert not {d.code for d in done.diagnostics} & {"W0701", "W0702"}
    assert done.report["verification"]["verified"]


def test_samples_that_make_none_are_no_better() -> None:
    assert "W0702" in {d.code for d in tcc.compile(thresholded(), 1, calibration=NEAR).diagnostics}


def test_a_pass_manager_s_samples_serve_too() -> None:
    assert "W0702" not in {
        d.code for d in tcc.PassManager("canonicalize", calibration=FAR).run(thresholded()).diagnostics
    }


def test_samples_verify_where_no_generated_inputs_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_arguments: object, **_options: object) -> None:
        raise fail(Exit.DATA, "E0605", "nothing runs")

    monkeypatch.setattr(feeds, "exercised", none)
    original = Snapshot.of(tcc.compile(thresholded(), 0, verify=False).model)
    assert Verifier(original).reason
    verifier = Verifier(original, samples=FAR)
    assert not verifier.reason
    assert [feed["x"][0, 0] for feed in verifier.feeds] == [2000.0, 2001.0, 2002.0, 2003.0]
