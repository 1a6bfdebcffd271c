"""Back ends: found by name, declared abilities checked, providers checked, paired measurement."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir
import pytest
from onnx import ModelProto, parser

from tcc import backends, frontends
from tcc.backends import PLACEMENT, _measure
from tcc.diagnostics import Exit, TccError
from tcc.ir.execution import Runner
from tcc.ir.model import Model


def parsed(text: str, opset: int = 21) -> ModelProto:
    model: ModelProto = parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}, "custom" : 1]> g {text}')
    return model


def small() -> Model:
    return frontends.load(parsed("(float[1,4] x) => (float[1,4] y) { a = Relu(x) y = Neg(a) }"))


def test_back_ends_are_found_by_their_file_names() -> None:
    folder = Path(backends.__file__).parent
    files = {path.stem.replace("_", "-") for path in folder.glob("*.py") if not path.stem.startswith("_")}
    assert set(backends.names()) == files
    for name in backends.names():
        assert backends.backend(name).name == name


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(TccError, match=r"E0231.*\n.*onnxruntime, onnxruntime-cuda") as caught:
        backends.backend("_measure")
    assert caught.value.exit_code is Exit.USAGE


def test_the_fallback_chain_ends_on_the_cpu() -> None:
    assert [b.name for b in backends.fallbacks("onnxruntime-cuda")] == ["onnxruntime-cuda", "onnxruntime"]
    for name in backends.names():
        assert list(backends.fallbacks(name))[-1].name == "onnxruntime"


def test_lowers_loads_and_runs(tmp_path: Path) -> None:
    chosen = backends.backend("onnxruntime")
    (written,) = chosen.lower(small(), tmp_path / "out.onnx").files
    (y,) = chosen.load(written).run({"x": np.array([[-1, 0, 2, 3]], np.float32)})
    assert y.tolist() == [[0, 0, -2, -3]]
    assert [path.name for path in tmp_path.iterdir()] == ["out.onnx"]


def test_everything_in_the_way_is_reported_and_no_file_is_left(tmp_path: Path) -> None:
    model = small()
    nodes = list(model.graph)
    for node, operator in zip(nodes, ("Foo", "Bar"), strict=True):
        node.domain, node.op_type, node.name = "custom", operator, f"n_{operator}"
    model.ir.opset_imports[""] = 99
    model.ir.ir_version = 99
    with pytest.raises(TccError) as caught:
        backends.backend("onnxruntime").lower(model, tmp_path / "out.onnx")
    assert caught.value.exit_code is Exit.UNSUPPORTED
    assert [diagnostic.code for diagnostic in caught.value.diagnostics] == ["E0411", "E0411", "E0412", "E0412"]
    assert caught.value.diagnostics[3].where.endswith("n_Bar [Bar]")
    assert not list(tmp_path.iterdir())


def test_types_that_are_not_taken() -> None:
    model = Model(frontends.load(parsed("(float[2] x) => (float[2] y) { y = Identity(x) }")).ir)
    taken = backends.backend("onnxruntime").unsupported(model)
    for value in (*model.graph.inputs, *model.graph.outputs):
        value.dtype = onnx_ir.DataType.COMPLEX64
    (diagnostic,) = backends.backend("onnxruntime").unsupported(model)
    assert not taken
    assert diagnostic.code == "E0413"
    assert "complex64" in diagnostic.message


def test_the_models_own_functions_are_at_home() -> None:
    model = parser.parse_model("""<ir_version: 10, opset_import: ["" : 21, "mine" : 1]>
        g (float[2] x) => (float[2] y) { y = mine.Twice(x) }
        <opset_import: ["" : 21], domain: "mine"> Twice (a) => (b) { b = Add(a, a) }
    """)
    assert not backends.backend("onnxruntime").unsupported(frontends.load(model))


def test_a_provider_that_is_not_installed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    backends.backend("onnxruntime").lower(small(), tmp_path / "m.onnx")
    with pytest.raises(TccError, match=r"E0803 onnxruntime .* has no CUDAExecutionProvider, only CPU") as caught:
        backends.backend("onnxruntime-cuda").load(tmp_path / "m.onnx")
    assert caught.value.exit_code is Exit.BACKEND


def test_a_provider_that_drops_out_on_loading_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FellBack(Runner):
        """A session that took the CPU although CUDA was wanted, as happens without the driver's libraries."""

        def __init__(self, path: Path, *, optimise: bool, threads: int, providers: tuple[str, ...]) -> None:
            assert providers[0] == "CUDAExecutionProvider"
            super().__init__(path, optimise=optimise, threads=threads)

    backends.backend("onnxruntime").lower(small(), tmp_path / "m.onnx")
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr("tcc.ir.execution.Runner", FellBack)
    with pytest.raises(TccError, match="E0803 onnxruntime loaded CPUExecutionProvider, should be CUDA"):
        backends.backend("onnxruntime-cuda").load(tmp_path / "m.onnx")


def test_a_pair_is_measured_on_real_sessions(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    backends.backend("onnxruntime").lower(small(), path)
    feeds = [{"x": np.full((1, 4), n, np.float32)} for n in (1, 2)]
    result = backends.measure_pair(path, path, feeds, budget_seconds=0.02)
    assert result.low <= result.ratio <= result.high
    assert result.latency_a > 0
    assert result.rounds >= 8
    assert result.verdict in result.text()


class Machine:
    """A clock and runs that take a stated time on it, with a drift that slows everything down."""

    def __init__(self, drift: float = 0.0, jitter: tuple[float, ...] = (1.0,)) -> None:
        self.now, self.drift, self.jitter = 0.0, drift, itertools.cycle(jitter)
        self.order: list[str] = []

    def run(self, name: str, seconds: float) -> Callable[[], None]:
        def work() -> None:
            self.order.append(name)
            self.now += seconds * next(self.jitter) * (1 + self.drift * self.now)

        return work

    def measure(self, a: float, b: float, budget: float = 10.0) -> backends.PairedLatency:
        runs = [[self.run("a", a), self.run("null", a), self.run("b", b)]]
        return _measure.compare_runs(runs, budget_seconds=budget, clock=lambda: self.now)


def test_a_true_difference_is_found_and_an_equal_pair_is_the_same() -> None:
    faster, slower, same = Machine().measure(0.02, 0.01), Machine().measure(0.01, 0.02), Machine().measure(0.01, 0.01)
    assert (faster.verdict, slower.verdict, same.verdict) == ("faster", "slower", "same")
    assert faster.ratio == pytest.approx(0.5)
    assert (faster.latency_a, faster.latency_b) == pytest.approx((0.02, 0.01))
    assert same.noise == pytest.approx(PLACEMENT / 0.01)


def test_a_machine_that_slows_down_is_not_a_slower_model() -> None:
    result = Machine(drift=0.5).measure(0.01, 0.01)
    assert result.verdict == "same"
    assert result.ratio == pytest.approx(1, abs=0.01)


def test_a_difference_within_the_noise_floor_is_none() -> None:
    jitter = (1.0, 1.3, 0.8, 1.1, 0.9, 1.2, 1.0)
    result = Machine(jitter=jitter).measure(0.01, 0.0101)
    assert result.noise > 0.01
    assert result.verdict == "same"


def test_runs_are_interleaved_and_each_position_is_taken_equally_often() -> None:
    machine = Machine()
    machine.measure(0.01, 0.01, budget=0.01 * 3 * 60)
    rounds = list(zip(*[iter(machine.order[3:])] * 3, strict=True))
    assert all(sorted(r) == ["a", "b", "null"] for r in rounds)
    whole = rounds[: len(rounds) // 6 * 6]
    for position in range(3):
        counts = [sum(r[position] == name for r in whole) for name in ("a", "null", "b")]
        assert len(set(counts)) == 1


def test_a_slow_model_still_gets_enough_rounds_for_an_interval() -> None:
    result = Machine().measure(100.0, 100.0, budget=1.0)
    assert result.rounds == 8


@pytest.mark.parametrize(("count", "low", "high"), [(8, 0, 7), (100, 39, 60), (2, 0, 1)])
def test_the_interval_of_the_median_is_between_the_right_order_statistics(count: int, low: int, high: int) -> None:
    # Binomial(100, ½): P(40 ≤ X ≤ 60) = 0.965 and P(41 ≤ X ≤ 59) = 0.943; Binomial(8, ½): P(1 ≤ X ≤ 7) = 0.992.
    assert _measure._median_interval([float(n) for n in range(count)]) == (low, high)
