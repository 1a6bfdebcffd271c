"""The pass manager: what it verifies, what it says where a pass breaks its promise, what can be watched."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import onnx_graphsurgeon
import onnx_ir
import pytest
from onnx import TensorProto, helper, numpy_helper

import tcc
from tcc.diagnostics import Exit, TccError
from tcc.frontends import load
from tcc.ir import execution, feeds
from tcc.ir.model import Model
from tcc.passes.base import Context, Effect, Pass, PassResult
from tcc.passes.instruments import PrintIR, Statistics
from tcc.passes.manager import Instrument, Record
from tcc.passes.verification import TOLERANCE
from tests.bad_input.cases import model, node

Edit = Callable[[Model], None]
EDITS: dict[str, Edit] = {}


def edit(function: Edit) -> Edit:
    EDITS[function.__name__] = function
    return function


@dataclass(frozen=True)
class Edited(Pass):
    """A pass that does one of ``EDITS``, and promises ``promise``."""

    what: str
    promise: str = "bits"
    says_changed: bool = True

    effect: ClassVar[Effect] = Effect.LOSSY

    @property
    def promises(self) -> Effect:
        return Effect(self.promise)

    def run(self, model: Model, context: Context) -> PassResult:
        del context
        EDITS[self.what](model)
        return PassResult(model, self.says_changed, {"did": self.what})


@dataclass(frozen=True)
class Needy(Edited):
    """A pass that needs calibration data."""

    needs: ClassVar[frozenset[str]] = frozenset({"calibration"})


@edit
def nothing(made: Model) -> None:
    pass


def scale(made: Model, factor: float, name: str = "w") -> None:
    value = made.graph.initializers[name]
    assert value.const_value is not None
    value.const_value = onnx_ir.tensor(value.const_value.numpy() * np.float32(factor), name=name)


@edit
def nudge(made: Model) -> None:
    scale(made, 1 + 2e-6)


@edit
def shove(made: Model) -> None:
    scale(made, 1.01)


@edit
def overflow(made: Model) -> None:
    scale(made, 2e37)


@edit
def rename_output(made: Model) -> None:
    made.graph.outputs[0].name = "z"


@edit
def unplug(made: Model) -> None:
    """Make a node read its own result."""
    first = next(iter(made.graph))
    first.replace_input_with(0, first.outputs[0])


@edit
def unknown_attribute(made: Model) -> None:
    next(iter(made.graph)).attributes["zeal"] = onnx_ir.AttrInt64("zeal", 1)


@edit
def crash(made: Model) -> None:
    scale(made, 3.0)
    message = "the cat\nis on the keyboard"
    raise RuntimeError(message)


@edit
def run_out_of_memory(made: Model) -> None:
    raise MemoryError


def source(weight: np.ndarray[Any, Any] | None = None) -> onnx.ModelProto:
    """y = relu(x · w) · w2, with weights that are large enough to be stripped."""
    random = np.random.default_rng(0)
    weight = random.standard_normal((4, 128)).astype(np.float32) if weight is None else weight
    last = random.standard_normal((128, 4)).astype(np.float32)
    nodes = [node("MatMul", "x w", "h", "first"), node("Relu", "h", "a", "act"), node("MatMul", "a w2", "y", "last")]
    return model(nodes, weights=[numpy_helper.from_array(weight, "w"), numpy_helper.from_array(last, "w2")])


def run(*steps: str | Pass, made: object = None, **options: Any) -> tcc.Result:
    return tcc.PassManager(steps, target="x86-64-avx2", **options).run(source() if made is None else made)


def failure(*steps: Pass, **options: Any) -> TccError:
    with pytest.raises(TccError) as caught:
        run(*steps, **options)
    return caught.value


@pytest.fixture(autouse=True)
def _reproducers_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_a_pass_within_its_promise_passes() -> None:
    result = run(Edited("nothing"), Edited("nudge", "value"))
    assert [(r.changed, r.verification and r.verification.outcome) for r in result.records] == [
        (True, "bits"),
        (True, "value"),
    ]
    checked = result.records[1].verification
    assert checked is not None
    assert checked.comparison is not None
    assert 0 < checked.comparison.largest_scaled <= TOLERANCE
    assert result.records[1].facts == {"did": "nudge"}
    assert result.diagnostics == ()


@pytest.mark.parametrize("promise", ["bits", "value"])
def test_a_wrong_result_names_the_pass_and_the_node(promise: str) -> None:
    error = failure(Edited("nothing"), Edited("shove", promise))
    assert error.exit_code == Exit.VERIFICATION
    (diagnostic,) = error.diagnostics
    assert diagnostic.code == "E0703"
    assert diagnostic.where.endswith(":first [MatMul]")
    assert "shove" in diagnostic.message
    assert f"it promises {promise}" in diagnostic.notes


def test_bits_are_stricter_than_value() -> None:
    assert failure(Edited("nudge")).diagnostics[0].code == "E0703"


def test_small_errors_do_not_add_up() -> None:
    error = failure(*[Edited("nudge", "value")] * 20)
    assert error.diagnostics[0].code == "E0703"


def test_a_lossy_pass_may_differ_but_must_stay_finite() -> None:
    result = run(Edited("shove", "lossy"), Edited("nothing"), Edited("nudge", "value"))
    assert [r.verification.outcome for r in result.records if r.verification] == ["lossy", "bits", "value"]
    assert "no longer finite" in str(failure(Edited("overflow", "lossy")))


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("rename_output", "E0702", "output 'y' is gone"),
        ("unplug", "E0701", "no longer valid"),
        ("unknown_attribute", "E0701", "zeal"),
    ],
)
def test_broken_models_are_refused(name: str, code: str, words: str) -> None:
    error = failure(Edited(name))
    assert error.exit_code == Exit.VERIFICATION
    assert error.diagnostics[0].code == code
    assert words in str(error)
    assert name in str(error)


def test_a_change_that_is_not_admitted_is_verified_all_the_same() -> None:
    @edit
    def drop_activation(made: Model) -> None:
        act = made.graph.node("act")
        before = act.inputs[0]
        assert before is not None
        act.outputs[0].replace_all_uses_with(before)
        made.graph.remove(act, safe=True)

    assert failure(Edited("drop_activation", "bits", says_changed=False)).diagnostics[0].code == "E0703"


def replay_command(text: str) -> list[str]:
    found = re.search(r"tcc (/\S+/model\.onnx.*)", text)
    assert found is not None, text
    return shlex.split(found[1])


def test_a_crash_leaves_what_reproduces_it(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as caught:
        run(Edited("nothing"), Edited("crash"))
    notes = "\n".join(caught.value.__notes__)
    assert "in pass test-manager{what=crash}" in notes
    path, passes, target, *_ = replay_command(notes)
    assert (passes, target) == ("--passes=test-manager{what=crash}", "--target=x86-64-avx2")
    kept = load(path)
    # What the pass had done before it crashed is not in it, and neither are the weights.
    assert kept.signature == load(source()).signature
    assert not any(np.any(t.numpy()) for t in kept.constants() if t.nbytes >= 1024)
    assert (tmp_path / Path(path).parent / "pipeline.txt").read_text() == "test-manager{what=crash}\n"
    assert kept.node_count == 3


def test_a_failed_verification_leaves_what_reproduces_it() -> None:
    path, *_ = replay_command(str(failure(Edited("shove"))))
    assert load(path).node_count == 3


def test_running_out_of_memory_is_no_crash(tmp_path: Path) -> None:
    error = failure(Edited("run_out_of_memory"))
    assert error.exit_code == Exit.LIMIT
    assert list(tmp_path.iterdir()) == []


def test_errors_of_the_user_pass_through(tmp_path: Path) -> None:
    @edit
    def complain(made: Model) -> None:
        raise TccError(Exit.INFEASIBLE, [tcc.Diagnostic("E0501", "it cannot be done")])

    error = failure(Edited("complain"))
    assert error.exit_code == Exit.INFEASIBLE
    assert list(tmp_path.iterdir()) == []


def test_inputs_are_made_once_and_the_original_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made, loaded = [], []
    exercise, initialise = feeds.exercised, execution.Runner.__init__

    def counted(*arguments: Any, **options: Any) -> Any:
        made.append(1)
        return exercise(*arguments, **options)

    def counted_runner(self: execution.Runner, *arguments: Any, **options: Any) -> None:
        loaded.append(options.get("optimise", False))
        initialise(self, *arguments, **options)

    monkeypatch.setattr(feeds, "exercised", counted)
    monkeypatch.setattr(execution.Runner, "__init__", counted_runner)
    run(Edited("nothing"), Edited("nudge", "value"), "canonicalize")
    assert len(made) == 1
    assert loaded == [False] * 2  # the original, and the form that computes something else


def amplifying() -> onnx.ModelProto:
    """A convolution of about 10,000, from which a BatchNormalization takes all but a small rest."""
    random = np.random.default_rng(1)
    weight = random.standard_normal((8, 1, 3, 3)).astype(np.float32)
    constants = {
        "w": weight, "b": np.full(8, 1e4, np.float32), "g": np.ones(8, np.float32), "z": np.zeros(8, np.float32),
        "m": np.full(8, 1e4, np.float32), "v": np.full(8, 0.9, np.float32),
    }  # fmt: skip
    nodes = [node("Conv", "x w b", "c", "conv"), node("BatchNormalization", "c g z m v", "y", "norm")]
    shapes = {"x": [1, 1, 8, 8], "y": [1, 8, 6, 6]}
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items())
    graph = helper.make_graph(nodes, "g", [x], [y], [numpy_helper.from_array(a, n) for n, a in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_graph_that_amplifies_rounding_widens_the_tolerance_and_says_so() -> None:
    result = run("simplify", made=amplifying())
    assert result.model.operator_counts == {"Conv": 1}
    (warning,) = [d for d in result.diagnostics if d.code == "W0703"]
    assert "amplifies rounding" in warning.message
    checked = result.records[0].verification
    assert checked is not None
    assert checked.comparison is not None
    assert checked.tolerance is not None
    assert TOLERANCE < checked.comparison.largest_scaled <= checked.tolerance < 1e-2


def test_the_widened_tolerance_still_finds_a_wrong_pass() -> None:
    assert failure(Edited("shove", "value"), made=amplifying()).diagnostics[0].code == "E0703"


def test_a_model_that_cannot_run_is_called_unverified() -> None:
    made = model([node("Foo", "x", "h", "foo", domain="my.ops"), node("Relu", "h", "y")])
    made.opset_import.add(domain="my.ops", version=1)
    result = run(Edited("nothing"), made=made)
    (warning,) = result.diagnostics
    assert warning.code == "W0701"
    assert "unverified" in warning.message
    assert "Foo" in warning.text()
    checked = result.records[0].verification
    assert checked is not None
    assert checked.outcome == "unverified"
    assert checked.note


def test_an_output_that_ignores_the_inputs_is_warned_of() -> None:
    made = model([node("Mul", "x z", "h", "mul"), node("Add", "h z", "y")],
                 weights=[numpy_helper.from_array(np.zeros((2, 4), np.float32), "z")])  # fmt: skip
    assert [d.code for d in run(Edited("nothing"), made=made).diagnostics] == ["W0702"]


def test_without_verification_nothing_is_checked() -> None:
    result = run(Edited("shove"), verify=False)
    assert result.records[0].verification is None


def test_what_a_pass_needs_is_asked_for_before_anything_runs() -> None:
    error = failure(Edited("crash"), Needy("nothing"), Needy("nudge", "value"))
    assert error.exit_code == Exit.USAGE
    assert [d.code for d in error.diagnostics] == ["E0235", "E0235"]
    assert "--calib" in error.diagnostics[0].help
    sample = {"x": np.ones((2, 4), np.float32)}
    assert run(Needy("nothing"), calibration=[sample]).records[0].changed


def test_passes_are_given_inputs_and_the_target() -> None:
    seen: list[Context] = []

    @dataclass(frozen=True)
    class Looking(Edited):
        def run(self, model: Model, context: Context) -> PassResult:
            seen.append(context)
            return PassResult(model, changed=False)

    run(Looking("nothing"), symbols={"n": 3})
    (context,) = seen
    assert context.target.name == "x86-64-avx2"
    assert context.symbols == {"n": 3}
    assert [feed["x"].shape for feed in context.feeds] == [(2, 4), (2, 4)]


def test_instruments_see_every_pass() -> None:
    lines: list[str] = []
    seen: list[tuple[str, int, int]] = []

    class Watching(Instrument):
        def begin(self, text: str, number: int, count: int) -> None:
            seen.append((text, number, count))

        def after(self, record: Record, model: Model) -> None:
            seen.append((record.text, model.node_count, record.after.nodes))

    run("fold", "canonicalize", instruments=[Watching(), PrintIR(lines.append, "fold"), Statistics(lines.append)])
    assert seen == [("fold", 1, 2), ("fold", 3, 3), ("canonicalize", 2, 2), ("canonicalize", 3, 3)]
    printed, *statistics = lines
    assert printed.startswith("// after fold (nothing changed)\n<\n")
    assert "y = MatMul (a, w2)" in printed
    assert len(printed) < 1000  # neither weight is in it
    assert [line.split(":")[0] for line in statistics] == ["fold", "canonicalize"]
    assert "3 nodes, 4096 bytes" in statistics[0]


@pytest.mark.parametrize(
    "convert", [lambda m: m, onnx_graphsurgeon.import_onnx, onnx_ir.from_proto, load, onnx.ModelProto.SerializeToString]
)
def test_all_sources_are_welcome_and_left_alone(convert: Callable[[onnx.ModelProto], object], tmp_path: Path) -> None:
    given = convert(source())
    result = run(Edited("shove", "lossy"), made=given)
    assert result.to_proto().graph.node[0].op_type == "MatMul"
    assert result.to_gs().nodes[0].op == "MatMul"
    assert result.to_ir().graph.name == "g"
    (path,) = result.save(tmp_path / "out.onnx")
    onnx.checker.check_model(path)
    weights: Mapping[str, Any] = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    original = {t.name: numpy_helper.to_array(t) for t in load(given).to_proto().graph.initializer}
    assert np.allclose(weights["w"], original["w"] * np.float32(1.01))
    assert np.array_equal(weights["w2"], original["w2"])
