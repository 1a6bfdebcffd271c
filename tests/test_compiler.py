"""The compiler: gates, legality, what is written and what is reported."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import pytest
from onnx import numpy_helper

import tcc
from tcc import report
from tcc.backends import Artefact
from tcc.backends.onnxruntime import OnnxRuntime
from tcc.compiler import measuring
from tcc.diagnostics import Exit, TccError
from tcc.ir import holding, saving
from tcc.ir.model import Model
from tcc.passes.base import Context, Effect, Pass, PassResult
from tcc.passes.manager import Instrument
from tcc.report import table
from tests.bad_input.cases import model, node, write

TARGET = "x86-64-avx2"


@dataclass(frozen=True)
class Fattened(Pass):
    """A pass that adds weights, which nothing reads, or nodes, which do nothing."""

    weights: int = 0
    nodes: int = 0

    effect: ClassVar[Effect] = Effect.BITS

    def run(self, model: Model, context: Context) -> PassResult:
        del context
        for i in range(self.weights):
            tensor = onnx_ir.tensor(np.ones(1000, np.float32), name=f"fat_{i}")
            model.graph.register_initializer(onnx_ir.Value(name=tensor.name, const_value=tensor))
        for i in range(self.nodes):
            first = next(iter(model.graph))
            identity = onnx_ir.node("Identity", [first.inputs[0]], name=f"fat_{i}")
            model.graph.insert_before(first, identity)
            first.replace_input_with(0, identity.outputs[0])
        return PassResult(model, changed=True)


@dataclass(frozen=True)
class Replaced(Pass):
    """A pass that writes another operator in the place of the first node's."""

    operator: str
    lossy: bool = False

    effect: ClassVar[Effect] = Effect.LOSSY

    @property
    def promises(self) -> Effect:
        return Effect.LOSSY if self.lossy else Effect.BITS

    def run(self, model: Model, context: Context) -> PassResult:
        del context
        next(iter(model.graph)).op_type = self.operator
        return PassResult(model, changed=True)


@dataclass(frozen=True)
class Coarsened(Pass):
    """A pass that rounds each weight to a third of its tensor's largest."""

    effect: ClassVar[Effect] = Effect.LOSSY

    def run(self, model: Model, context: Context) -> PassResult:
        del context
        for name, value in model.graph.initializers.items():
            assert value.const_value is not None
            array = value.const_value.numpy()
            if array.ndim > 1:
                step = np.abs(array).max() / np.float32(3)
                value.const_value = onnx_ir.tensor(np.round(array / step) * step, name=name)
        return PassResult(model, changed=True)


def relu(folder: Path, operator: str = "Relu") -> Path:
    return write(folder, model([node(operator, "x", "h", "first"), node("Identity", "h", "y", "last")]), "in.onnx")


def compiled(source: object, *passes: str | Pass, **options: Any) -> tcc.Result:
    options = {"target": TARGET, "passes": passes or None} | options
    return tcc.compile(source, **options)


def failure(source: object, *passes: str | Pass, **options: Any) -> TccError:
    with pytest.raises(TccError) as caught:
        compiled(source, *passes, **options)
    return caught.value


def codes(result: tcc.Result) -> list[str]:
    return [d.code for d in result.diagnostics]


@pytest.mark.parametrize("level", ["0", 1, 2, 3, "s", "z"])
def test_each_level_makes_a_model_that_runs_the_same(level: int | str, digits: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.onnx"
    result = compiled(digits / "digits.onnx", opt_level=level, output=path, max_loss=0.0)
    assert result.files == (path,)
    assert list(tmp_path.iterdir()) == [path]
    images = np.load(digits / "digits_test.npz")["image"]
    before, after = (
        onnxruntime.InferenceSession(file).run(None, {"image": images})[0] for file in (digits / "digits.onnx", path)
    )
    assert np.mean(before.argmax(-1) == after.argmax(-1)) > 0.99
    assert path.stat().st_size <= (digits / "digits.onnx").stat().st_size
    assert result.report["result"]["bytes"] == path.stat().st_size
    assert result.report["result"]["nodes"] <= result.report["input"]["nodes"]


def test_level_0_keeps_the_weights_byte_for_byte(digits: Path) -> None:
    result = compiled(digits / "digits.onnx", opt_level=0)
    before = {t.name: numpy_helper.to_array(t) for t in onnx.load(digits / "digits.onnx").graph.initializer}
    after = {t.name: numpy_helper.to_array(t) for t in result.to_proto().graph.initializer}
    assert list(before) == list(after)
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)


def test_level_2_is_smaller_and_says_by_how_much(digits: Path) -> None:
    result = compiled(digits / "digits.onnx")
    assert result.model.node_count < result.report["input"]["nodes"]
    assert result.report["predicted"]["seconds_after"] < result.report["predicted"]["seconds_before"]
    assert result.report["verification"]["promise"] == "value"
    assert 0 < result.report["verification"]["difference"]["scaled"] < 1e-5
    assert result.report["accuracy"] == {"status": "unmeasured", "reason": "no calibration data"}


def test_the_same_input_gives_the_same_bytes_and_the_same_report(digits: Path, tmp_path: Path) -> None:
    reports, files = [], []
    for _ in range(2):
        path = tmp_path / "out.onnx"
        result = compiled(digits / "digits.onnx", output=path)
        files.append(path.read_bytes())
        kept = {key: value for key, value in result.report.items() if key != "measured"}
        reports.append(report.text(kept))
        assert set(result.report["measured"]) == {"seconds", "passes", "latency"}
    assert files[0] == files[1]
    assert reports[0] == reports[1]
    assert json.loads(reports[0])["schema"] == report.SCHEMA


def test_saving_the_result_writes_the_same_file(digits: Path, tmp_path: Path) -> None:
    result = compiled(digits / "digits.onnx", output=tmp_path / "out.onnx")
    (saved,) = result.save(tmp_path / "saved.onnx")
    assert saved.read_bytes() == (tmp_path / "out.onnx").read_bytes()


@pytest.mark.parametrize("fat", [Fattened(weights=1), Fattened(nodes=2)], ids=["bytes", "nodes"])
def test_a_result_that_grew_is_not_shipped(fat: Pass, tmp_path: Path) -> None:
    result = compiled(relu(tmp_path), fat)
    assert result.report["shipped"] == "the canonical copy of the input"
    assert result.report["verification"]["promise"] == "bits"
    assert result.model.node_count == 2
    assert "N0701" in codes(result)
    assert any(d.message.startswith("no-gain") for d in result.diagnostics)


def test_the_last_form_that_did_not_grow_is_shipped(tmp_path: Path) -> None:
    result = compiled(relu(tmp_path), "simplify", Fattened(weights=1), Fattened(nodes=3))
    assert result.report["shipped"] == "the model after simplify"
    assert result.model.operator_counts == {"Relu": 1}
    assert codes(result) == ["N0701", "N0701"]


def test_where_even_the_copy_is_larger_the_input_itself_is_shipped(tmp_path: Path) -> None:
    weight = onnx.TensorProto(name="w", data_type=onnx.TensorProto.INT64, dims=[4, 1000], int64_data=[1] * 4000)
    made = model([node("Gather", "w i", "g"), node("Cast", "g", "c", to=1), node("Add", "c x", "y")], weights=[weight])
    made.graph.initializer.append(numpy_helper.from_array(np.zeros((2, 4), np.int64), "i"))
    made.graph.node[0].attribute.append(onnx.helper.make_attribute("axis", 1))
    made.graph.initializer[-1].CopyFrom(numpy_helper.from_array(np.array([3, 1, 2, 0]), "i"))
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    made.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 4
    path = write(tmp_path, made)
    result = compiled(path, opt_level=0, output=tmp_path / "out.onnx")
    assert result.report["shipped"] == "the input's own bytes"
    assert (tmp_path / "out.onnx").read_bytes() == path.read_bytes()
    assert result.save(tmp_path / "saved.onnx")[0].read_bytes() == path.read_bytes()


def test_functions_are_counted_at_each_call(tmp_path: Path) -> None:
    made = model([node("Twice", "x", "h", "one", domain="own"), node("Twice", "h", "y", "two", domain="own")])
    body = [node("Relu", "a", "b"), node("Neg", "b", "c")]
    imports = [onnx.helper.make_opsetid("", 17)]
    made.functions.append(onnx.helper.make_function("own", "Twice", ["a"], ["c"], body, imports))
    made.opset_import.add(domain="own", version=1)
    result = compiled(write(tmp_path, made), "inline")
    assert result.model.operator_counts == {"Neg": 2, "Relu": 2}
    assert not [d for d in result.diagnostics if "nodes" in d.message]


def test_what_the_target_never_took_is_warned_of_by_exact_levels(tmp_path: Path) -> None:
    made = model([node("BitwiseNot", "x", "y", "flip")], integers=["x", "y"], opset=18)
    path = write(tmp_path, made)
    result = compiled(path, opt_level=2, target="jetson")
    (warning,) = [d for d in result.diagnostics if d.code == "W0412"]
    assert warning.where == f"{path}:flip [BitwiseNot]"
    assert "jetson" in warning.message
    error = failure(path, opt_level=3, target="jetson")
    assert error.exit_code == Exit.UNSUPPORTED
    assert error.diagnostics[0].code == "E0412"


def test_everything_that_a_target_does_not_take_is_reported_together(tmp_path: Path) -> None:
    nodes = [node("BitwiseNot", "x", "a", "one"), node("BitwiseNot", "a", "b", "two")]
    nodes += [node("Cast", "b", "c", to=onnx.TensorProto.DOUBLE), node("Cast", "c", "y", to=onnx.TensorProto.INT64)]
    made = model(nodes, integers=["x", "y"], opset=21)
    error = failure(write(tmp_path, made), "fold", opt_level=3, passes=None, target="jetson@jp6.0")
    assert sorted(d.code for d in error.diagnostics) == ["E0411", "E0412", "E0413"]
    assert ("and 1 more like it",) in [d.notes for d in error.diagnostics]


def test_a_pass_may_not_bring_in_what_the_target_does_not_take(tmp_path: Path) -> None:
    error = failure(relu(tmp_path), Replaced("Det"), target="jetson", verify=False)
    assert (error.exit_code, error.diagnostics[0].code) == (Exit.UNSUPPORTED, "E0412")


def test_an_operator_that_nothing_runs_is_copied_and_called_unverified(tmp_path: Path) -> None:
    made = model([node("Foo", "x", "h", "foo", domain="my.ops"), node("Identity", "h", "y")])
    made.opset_import.add(domain="my.ops", version=1)
    result = compiled(write(tmp_path, made), opt_level=0, output=tmp_path / "out.onnx")
    assert {"W0412", "W0701"} <= set(codes(result))
    assert not result.report["verification"]["verified"]
    assert onnx.load(tmp_path / "out.onnx").graph.node[0].domain == "my.ops"
    error = failure(tmp_path / "model.onnx", opt_level=0, warnings_as_errors=["unverified"])
    assert (error.exit_code, error.diagnostics[0].code) == (Exit.VERIFICATION, "E0701")


def test_a_missing_back_end_falls_back_loudly_or_fails(tmp_path: Path) -> None:
    path = relu(tmp_path)
    assert "W0801" in codes(compiled(path, target="jetson"))
    error = failure(path, target="jetson", output=tmp_path / "out.onnx", warnings_as_errors=["fallback"])
    assert (error.exit_code, error.diagnostics[0].code) == (Exit.BACKEND, "E0801")
    assert list(tmp_path.iterdir()) == [path]


def test_the_written_file_is_what_was_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = relu(tmp_path)

    def corrupted(_backend: OnnxRuntime, lowered: Model, to: Path) -> Artefact:
        next(iter(lowered.graph)).op_type = "Neg"
        return Artefact(lowered.save(to))

    monkeypatch.setattr(OnnxRuntime, "lower", corrupted)
    error = failure(path, output=tmp_path / "out.onnx")
    assert (error.exit_code, error.diagnostics[0].code) == (Exit.VERIFICATION, "E0705")
    assert list(tmp_path.iterdir()) == [path]


def test_an_interruption_leaves_nothing(tmp_path: Path) -> None:
    class Interrupting(Instrument):
        def begin(self, text: str, number: int, count: int) -> None:
            del text, number, count
            raise KeyboardInterrupt

    path = relu(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        compiled(path, output=tmp_path / "out.onnx", instruments=[Interrupting()])
    assert list(tmp_path.iterdir()) == [path]


def test_an_output_that_is_a_link_stays_one_and_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "real.onnx").write_bytes(b"old")
    (tmp_path / "real.onnx").chmod(0o640)
    (tmp_path / "link.onnx").symlink_to("real.onnx")
    compiled(relu(tmp_path), output=tmp_path / "link.onnx")
    assert os.readlink(tmp_path / "link.onnx") == "real.onnx"  # noqa: PTH115 - the text of the link
    assert onnx.load(tmp_path / "real.onnx").graph.node
    assert (tmp_path / "real.onnx").stat().st_mode & 0o777 == 0o640


def test_weights_beside_the_model_move_with_it(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "PROTOBUF_LIMIT", saving._HEADROOM)  # as if the model were larger than 2 GiB
    path, weights = tmp_path / "out.onnx", tmp_path / "out.onnx.data"
    result = compiled(digits / "digits.onnx", output=path)
    assert result.files == (path, weights)
    assert sorted(tmp_path.iterdir()) == [path, weights]
    assert result.report["shipped"] == "the model after strip"
    assert onnx.load(path).graph.node


def test_types_that_the_input_does_not_state_are_not_written(tmp_path: Path) -> None:
    bare = compiled(relu(tmp_path), "fold", Replaced("Identity", lossy=True))
    assert not bare.to_proto().graph.value_info
    made = onnx.load(relu(tmp_path))
    stated = compiled(onnx.shape_inference.infer_shapes(made), "fold", Replaced("Neg", lossy=True))
    assert [value.name for value in stated.to_proto().graph.value_info] == ["h"]


def test_loss_is_measured_on_calibration_data_and_held_to_the_budget(digits: Path, tmp_path: Path) -> None:
    data = digits / "digits_calib.npz"
    result = compiled(digits / "digits.onnx", calibration=data)
    assert "N0601" in codes(result)  # the labels are no input
    assert result.report["accuracy"] == {"status": "unmeasured", "reason": "nothing lossy was done"}
    images = np.load(data)["image"]
    images = images[holding.held(len(images), 4)]  # what passes do not see
    lossy = compiled(digits / "digits.onnx", Coarsened(), calibration=data, max_loss=1.0, output=tmp_path / "out.onnx")
    before, after = (
        onnxruntime.InferenceSession(file).run(None, {"image": images})[0]
        for file in (digits / "digits.onnx", tmp_path / "out.onnx")
    )
    accuracy = lossy.report["accuracy"]
    sure = np.exp(before) / np.exp(before).sum(axis=-1, keepdims=True)
    lost = sure.max(axis=-1) - sure[np.arange(len(sure)), after.argmax(axis=-1)]
    assert accuracy["loss"] == pytest.approx(np.mean(lost), rel=1e-3)
    assert accuracy["loss"] > 0
    assert (accuracy["metric"], accuracy["samples"], accuracy["data"]) == ("lost confidence", len(images), "given")
    held = compiled(digits / "digits.onnx", Coarsened(), calibration=data, max_loss=accuracy["loss"] / 2)
    assert held.report["shipped"] == "the canonical copy of the input"


def test_random_numbers_are_no_calibration_data_unless_asked_for(tmp_path: Path) -> None:
    path = relu(tmp_path)
    lossy = Replaced("Elu", lossy=True)
    without = compiled(path, lossy)
    assert without.report["accuracy"]["status"] == "unmeasured"
    asked = compiled(path, lossy, calibration="synthetic:64", max_loss=0.5)
    assert asked.report["accuracy"]["data"] == "synthetic"
    assert asked.report["accuracy"]["samples"] == 32
    assert asked.report["accuracy"]["status"] == "measured"
    assert asked.report["accuracy"]["loss"] < 0.5


def test_what_loses_more_than_the_budget_is_not_shipped(tmp_path: Path) -> None:
    result = compiled(relu(tmp_path), "simplify", Replaced("Neg", lossy=True), calibration="synthetic:8")
    assert result.report["shipped"] == "the model after simplify"
    assert "budget 0.01" in result.diagnostics[-1].message


def test_latency_is_measured_here_only(tmp_path: Path) -> None:
    path = relu(tmp_path)
    assert compiled(path).report["measured"]["latency"] == "not asked for"
    assert compiled(path, target="jetson", measure=True).report["measured"]["latency"] == "this machine is no jetson"
    latency = compiled(path, target="native", measure=True).report["measured"]["latency"]
    assert latency["verdict"] in {"faster", "slower", "same"}
    assert latency["rounds"] >= 8


def test_a_processor_stands_for_one_target_at_most() -> None:
    targets = [tcc.parse_target(name) for name in ("x86-64-avx2", "x86-64-vnni", "rpi5")]
    assert sum(not measuring.unmeasurable(target) for target in targets) <= 1
    assert measuring.unmeasurable(tcc.parse_target("rpi5"))


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"opt_level": 9}, "E0236"),
        ({"max_loss": 1.5}, "E0238"),
        ({"max_loss": float("nan")}, "E0238"),
        ({"warnings_as_errors": ["nothing"]}, "E0237"),
        ({"calibration": "synthetic:many"}, "E0239"),
        ({"calibration": "synthetic:0"}, "E0239"),
        ({"target": "toaster"}, "E0201"),
    ],
)
def test_bad_options_are_usage_errors(options: dict[str, Any], code: str, tmp_path: Path) -> None:
    error = failure(relu(tmp_path), **options)
    assert (error.exit_code, error.diagnostics[0].code) == (Exit.USAGE, code)
    assert error.diagnostics[0].help


def test_the_table_holds_what_the_report_says(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = compiled(digits / "digits.onnx", target="native", measure=True)
    rows = {name.strip(): cells for name, *cells in table.rows(result.report)}
    assert rows["nodes"][:2] == ["17", "13"]
    assert rows["BatchNormalization"] == ["4", "0", "-100.0%"]
    assert rows["accuracy"][1:] == ["unmeasured", "no calibration data"]
    assert "noise" in rows["measured latency"][2]
    table.show(result.report, color=False)
    shown = capsys.readouterr().out
    assert "\033" not in shown
    assert all(name in shown for name in rows)


@pytest.mark.parametrize("name", ["mlperf_kws_dscnn", "mnist_cntk_cnn"])
def test_pretrained_models_come_out_no_larger(name: str, zoo: Path, tmp_path: Path) -> None:
    result = compiled(zoo / name / "model.onnx", output=tmp_path / "out.onnx")
    assert result.report["verification"]["verified"]
    assert result.report["result"]["bytes"] <= result.report["input"]["bytes"]
