"""Models that draw random numbers compile: what is drawn is compared by its statistics, the rest as ever."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import tcc
from tcc.diagnostics import TccError
from tcc.ir.execution import Runner
from tcc.passes import _drawn
from tcc.passes.base import Effect
from tcc.passes.manager import Snapshot, Verifier

MODELS = {
    "normal": """g (float[4, 64] x) => (float[4, 64] y, float[4, 64] z)
        <float one = {1}> {
            noise = RandomNormalLike <mean = 3.0> (x)
            a = Identity (x)
            y = Add (a, noise)
            z = Mul (x, one)
        }""",
    "dropout": """g (float[4, 64] x) => (float[4, 64] y)
        <float ratio = {0.5}, bool training = {1}> {
            a = Identity (x)
            b, mask = Dropout (a, ratio, training)
            y = Relu (b)
        }""",
    "uniform": """g (float[4, 64] x) => (float[4, 64] y)
        {
            a = Identity (x)
            noise = RandomUniform <shape = [4, 64], low = -1.0, high = 1.0> ()
            y = Add (noise, a)
        }""",
    "bernoulli": """g (float[4, 64] x) => (float[4, 64] y)
        {
            p = Sigmoid (x)
            q = Identity (p)
            y = Bernoulli (q)
        }""",
}


def made(name: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {MODELS[name]}')


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("name", MODELS)
def test_they_compile_and_the_file_runs(name: str, level: int, tmp_path: Path) -> None:
    result = tcc.compile(made(name), level, output=tmp_path / "out.onnx")
    assert result.report["verification"]["verified"]
    assert Runner(tmp_path / "out.onnx").run({"x": np.ones((4, 64), np.float32)})[0].shape == (4, 64)
    if level:
        assert result.report["result"]["nodes"] < len(made(name).graph.node)


def test_the_report_says_what_was_compared_how() -> None:
    result = tcc.compile(made("normal"), 2)
    note = result.report["verification"]["note"]
    said = [d.message for d in result.diagnostics if d.code == "W0706"]
    assert said == ([note] if note else [])
    proto = made("normal")
    assert _drawn.drawing(proto) == {0: ["RandomNormalLike"]}
    assert _drawn.drawing(made("dropout")) == {0: ["Dropout"]}


def test_dropout_outside_training_draws_nothing() -> None:
    proto = made("dropout")
    training = next(t for t in proto.graph.initializer if t.name == "training")
    training.CopyFrom(onnx.numpy_helper.from_array(np.array(False), "training"))
    assert not _drawn.drawing(proto)


def changed(proto: onnx.ModelProto, old: str, new: str) -> Snapshot:
    from tcc import frontends

    text = onnx.printer.to_text(proto)
    assert old in text
    return Snapshot.of(frontends.load(onnx.parser.parse_model(text.replace(old, new))), "broken")


@pytest.mark.parametrize(
    ("old", "new"),
    [("mean: float = 3", "mean: float = 3.5"), ("Identity (x)", "Neg (x)"), ("Mul (x, one)", "Add (x, one)")],
)
def test_other_draws_and_other_values_are_noticed(old: str, new: str) -> None:
    proto = made("normal")
    original = changed(proto, "one", "one")
    verifier = Verifier(original)
    with pytest.raises(TccError, match="changed the outputs"):
        verifier.verify(changed(proto, old, new), Effect.VALUE)


def test_other_draws_of_the_same_kind_are_alike() -> None:
    proto = made("normal")
    verifier = Verifier(changed(proto, "one", "one"))
    found = verifier.verify(changed(proto, "mean: float = 3", "mean: float = 3, seed: float = 5"), Effect.VALUE)
    assert found.outcome == "value"
    assert "random numbers (RandomNormalLike)" in found.note
    assert verifier.diagnostics[-1].code == "W0706"
