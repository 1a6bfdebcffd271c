"""A fixed tenth of the model corpus through -O1 and -O2; `make corpus` runs all of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks import compiling, figures, judging, models
from tests.corpus_support import require, tenth


@pytest.mark.parametrize("name", tenth() or ["none"])
def test_the_tenth_compiles_to_equal_smaller_models(name: str) -> None:
    require("topologies")
    for row in compiling.check(f"topologies:{name}", ["1", "2"]):
        assert row["failures"] == [], f"-O{row['level']}"


def test_the_tenth_is_a_tenth_and_spread() -> None:
    require("topologies")
    names, index = tenth(), models.index()
    assert len(names) == len(index) // 10
    assert {name.partition("_")[0] for name in names} == {"hand", "hf", "timm", "tv"}
    assert {index[name]["exporter"] for name in names} == {known["exporter"] for known in index.values()} - {"none"}


def test_light_models_of_onnx_compile() -> None:
    for name in ("light_squeezenet", "light_shufflenet"):
        for row in compiling.check(f"light:{name}", ["0", "1", "2"]):
            assert row["failures"] == [], f"{name} -O{row['level']}"


def scaled(folder: Path, factor: float, *, file: str) -> Path:
    """A model that multiplies its input by ``factor``, which constants alone compute."""
    half = numpy_helper.from_array(np.array(factor / 2, np.float32), "half")
    nodes = [helper.make_node("Add", ["half", "half"], ["factor"]), helper.make_node("Mul", ["x", "factor"], ["y"])]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy")
    graph = helper.make_graph(nodes, "scaled", [x], [y], [half])
    path = folder / file
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize(("factor", "bits", "equal"), [
    (1.0, True, True), (1.0000001, True, False), (1.000001, False, True), (1.0001, False, False),
])  # fmt: skip
def test_the_judge_sees_what_is_above_its_tolerance(tmp_path: Path, factor: float, bits: bool, equal: bool) -> None:  # noqa: FBT001
    feeds = [{"x": np.array([1, 2, 3, 4], np.float32)}, {"x": np.array([4, 3, 2, -1], np.float32)}]
    reference = judging.Reference(scaled(tmp_path, 1.0, file="a.onnx"), feeds)
    assert reference.depends_on_inputs
    verdict = reference.judge(scaled(tmp_path, factor, file="b.onnx"), bits=bits)
    assert verdict.equal is equal
    assert not verdict.chaotic


def test_nodes_that_constants_feed_do_not_depend_on_inputs(tmp_path: Path) -> None:
    found = figures.figures(scaled(tmp_path, 2.0, file="a.onnx"))
    assert (found.nodes, found.dependent) == (2, 1)
    assert found.nbytes == (tmp_path / "a.onnx").stat().st_size


def test_nodes_of_bodies_are_counted(tmp_path: Path) -> None:
    x, y, c = (helper.make_tensor_value_info(n, t, []) for n, t in (("x", 1), ("y", 1), ("c", TensorProto.BOOL)))
    bodies = [
        helper.make_graph([helper.make_node(op, ["x"], [op])], op, [], [helper.make_tensor_value_info(op, 1, [])])
        for op in ("Neg", "Abs")
    ]
    branch = helper.make_node("If", ["c"], ["y"], then_branch=bodies[0], else_branch=bodies[1])
    one = helper.make_node("Constant", [], ["unread"], value=numpy_helper.from_array(np.array(1, np.float32)))
    model = helper.make_model(helper.make_graph([one, branch], "g", [x, c], [y]), ir_version=8)
    onnx.save(model, tmp_path / "m.onnx")
    found = figures.figures(tmp_path / "m.onnx")
    assert (found.nodes, found.dependent) == (3, 3)
