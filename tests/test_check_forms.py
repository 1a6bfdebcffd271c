"""``tcc check``: forms of operators that TensorRT refuses, and corpora of ONNX's node tests on every target."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks import checks
from tcc import backends, frontends, targets
from tcc.backends import Settings
from tcc.compiler.checking import check, problems
from tcc.diagnostics import Exit, TccError
from tcc.ir.inference import annotate
from tcc.ir.model import Model

FLOAT = TensorProto.FLOAT
_OPSET = 20
Form = tuple[str, list[str], int, dict[str, Any]]
REFUSED: dict[str, Form] = {
    "ReduceSum with input 1 that is not constant": ("ReduceSum", ["x", "axes"], 1, {}),
    "Resize with input 2 that is not constant": ("Resize", ["x", "", "scales"], 1, {}),
    "Resize with antialias = 1": ("Resize", ["x", "", "", "sizes"], 1, {"antialias": 1, "mode": "linear"}),
    "LayerNormalization with more than 1 output": ("LayerNormalization", ["x", "one"], 3, {}),
    "MaxPool with dilations = [2, 2]": ("MaxPool", ["x"], 1, {"kernel_shape": [2, 2], "dilations": [2, 2]}),
    "LpPool with p = 3": ("LpPool", ["x"], 1, {"kernel_shape": [2, 2], "p": 3}),
    "ScatterElements with reduction = add": ("ScatterElements", ["x", "i", "x"], 1, {"reduction": "add"}),
    "Max with inputs of uint8": ("Max", ["u", "u"], 1, {}),
}  # fmt: skip
TAKEN: tuple[Form, ...] = (
    ("ReduceSum", ["x", "known"], 1, {}), ("ReduceSum", ["x"], 1, {}), ("Resize", ["x", "", "by"], 1, {}),
    ("LayerNormalization", ["x", "one"], 1, {}), ("MaxPool", ["x"], 1, {"kernel_shape": [2, 2], "dilations": [1, 1]}),
    ("LpPool", ["x"], 1, {"kernel_shape": [2, 2], "p": 1}), ("ScatterElements", ["x", "i", "x"], 1, {}),
    ("Max", ["x", "x"], 1, {}),
)  # fmt: skip


def write(path: Path, nodes: list[onnx.NodeProto], given: dict[str, Any], outputs: dict[str, tuple[int, int]]) -> Path:
    """A model: inputs as (element type, sizes), constants as arrays, outputs as (element type, rank)."""
    inputs = [helper.make_tensor_value_info(name, *kind) for name, kind in given.items() if isinstance(kind, tuple)]
    constants = [numpy_helper.from_array(v, name) for name, v in given.items() if isinstance(v, np.ndarray)]
    kinds = [helper.make_tensor_value_info(name, kind, [None] * rank) for name, (kind, rank) in outputs.items()]
    graph = helper.make_graph(nodes, "forms", inputs, kinds, constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=10)
    onnx.save(onnx.shape_inference.infer_shapes(made), path)
    return path


GIVEN = {
    "x": (FLOAT, [1, 2, 8, 8]), "axes": (TensorProto.INT64, [1]), "scales": (FLOAT, [4]),
    "sizes": (TensorProto.INT64, [4]), "i": (TensorProto.INT64, [1, 2, 8, 8]), "u": (TensorProto.UINT8, [3]),
    "one": np.ones(8, np.float32), "known": np.array([1]), "by": np.array([1, 1, 2, 2], np.float32),
}  # fmt: skip


def save(path: Path) -> Path:
    """Every refused form, two of each, and what is like them and taken."""
    nodes: list[onnx.NodeProto] = []
    outputs: dict[str, tuple[int, int]] = {}
    rows = [*REFUSED.values(), *REFUSED.values(), *TAKEN]
    for k, (operator, inputs, count, attributes) in enumerate(rows):
        kind = "refused" if k < len(rows) - len(TAKEN) else "taken"
        names = [f"{operator}{k}_{i}" for i in range(count)]
        nodes.append(helper.make_node(operator, inputs, names, f"{kind}{k}_{operator}", **attributes))
        outputs |= dict.fromkeys(names, (TensorProto.UINT8, 1) if "u" in inputs else (FLOAT, 4))
    return write(path, nodes, GIVEN, outputs)


def test_all_forms_are_told_at_once_with_their_nodes_and_a_remedy(tmp_path: Path) -> None:
    found = check(save(tmp_path / "m.onnx"), targets.parse_target("l4"))
    told = {f.message.removeprefix("tensorrt takes no "): f for f in found.findings}
    assert told.keys() == REFUSED.keys()
    for k, key in enumerate(REFUSED):
        operator = REFUSED[key][0]
        assert told[key].nodes == (f"refused{k}_{operator}", f"refused{k + len(REFUSED)}_{operator}")
        assert told[key].where.endswith(f"refused{k}_{operator} [{operator}]")
        assert told[key].code == "E0414"
        assert told[key].remedy.startswith("it stays; ")
        assert len(told[key].remedy) > len("it stays; onnxruntime-cuda or onnxruntime runs the model on l4, slower")


def test_sizes_are_constant_and_what_nobody_reads_is_solved(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ReduceMean", ["x", "axis"], ["y"], "unread"), helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Sub", ["s", "s"], ["n"]), helper.make_node("ReduceMean", ["x", "n"], ["z"], "sizes"),
    ]  # fmt: skip
    given = {"x": (FLOAT, [3]), "axis": (TensorProto.INT64, [1])}
    source = write(tmp_path / "m.onnx", nodes, given, {"z": (FLOAT, 1)})
    (finding,) = check(source, targets.parse_target("l4")).findings
    assert (finding.nodes, finding.solved, finding.remedy) == (("unread",), True, "tcc -O2 removes it")


@pytest.mark.parametrize(("limited", "collecting"), [(False, True), (True, True), (False, False)])
def test_a_loop_that_collects_needs_a_trip_count(tmp_path: Path, *, limited: bool, collecting: bool) -> None:
    """As TensorRT-RTX's own parser has it."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Add", ["carried", "carried"], ["next"]),
            helper.make_node("Less", ["next", "most"], ["going"]), helper.make_node("Identity", ["next"], ["kept"]),
        ], "body", [value("k", TensorProto.INT64, []), value("on", TensorProto.BOOL, []), value("carried", FLOAT, [])],
        [value("going", TensorProto.BOOL, []), value("next", FLOAT, [])] + [value("kept", FLOAT, [])] * collecting,
    )  # fmt: skip
    inputs = ["count" if limited else "", "true", "x"]
    node = helper.make_node("Loop", inputs, ["y", "ys"][: 1 + collecting], "loop", body=body)
    given: dict[str, Any] = {"x": (FLOAT, []), "true": np.array(True), "most": np.array(100, np.float32)}
    given |= {"count": np.array(8)} if limited else {}
    outputs: dict[str, tuple[int, int]] = {"y": (FLOAT, 0)}
    if collecting:
        outputs["ys"] = (FLOAT, 1)
    found = check(write(tmp_path / "m.onnx", [node], given, outputs), targets.parse_target("l4")).findings
    told = [f.message for f in found]
    assert told == (
        ["tensorrt takes no Loop with collected outputs and no trip count"] if not limited and collecting else []
    )


def listed(model: Model, target: targets.Target) -> dict[str, tuple[str, ...]]:
    """What is in the way, versions left out, with the nodes."""
    first = next(name for name in target.backends if name in backends.names())
    found = problems(model, target, first)
    return {
        key.partition(", the type of")[0]: nodes for key, (problem, nodes) in found.items() if problem.code != "E0411"
    }


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Model], Model]:
    """Every eighth of ONNX's node tests without bodies, each by itself, and all of them in one model."""
    folder = tmp_path_factory.mktemp("corpus")
    chosen = []
    for name, model in list(checks.models())[::8]:
        has_bodies = any(a.type == onnx.AttributeProto.GRAPH for node in model.graph.node for a in node.attribute)
        domains = {entry.domain for entry in model.opset_import} | {node.domain for node in model.graph.node}
        opset = max((entry.version for entry in model.opset_import if not entry.domain), default=0)
        same = all(checks._since(n.op_type, opset) == checks._since(n.op_type, checks._OPSET) for n in model.graph.node)
        if not opset or has_bodies or domains - {"", "ai.onnx"} or not same or model.functions:
            continue
        made = onnx.compose.add_prefix(model, f"{name}/")
        for k, node in enumerate(made.graph.node):
            node.name = f"{name}/{k}"
        del made.opset_import[:]
        made.opset_import.extend([helper.make_opsetid("", checks._OPSET)])
        made.ir_version = 12
        chosen.append(made)
    whole = onnx.ModelProto()
    whole.CopyFrom(chosen[0])
    for part in chosen[1:]:
        for field in ("node", "input", "output", "initializer", "value_info"):
            getattr(whole.graph, field).extend(getattr(part.graph, field))
    parts = []
    for k, proto in enumerate([*chosen, whole]):
        onnx.save(proto, folder / f"{k}.onnx")
        try:
            loaded = frontends.load(folder / f"{k}.onnx")
        except TccError:
            assert k < len(chosen)
            continue
        annotate(loaded)
        parts.append(loaded)
    return parts[:-1], parts[-1]


@pytest.mark.parametrize("name", targets.available())
def test_of_many_operators_all_are_listed_at_once(name: str, corpus: tuple[list[Model], Model]) -> None:
    parts, whole = corpus
    target = targets.parse_target(name)
    each: dict[str, list[str]] = {}
    for part in parts:
        for key, nodes in listed(part, target).items():
            each.setdefault(key, []).extend(nodes)
    together = listed(whole, target)
    for key, names in each.items():
        # A type that no node's own reason names is told of the model as a whole.
        of_type = f"type {key.rpartition(' ')[2]} is"
        assert key in together or (not names and any(of_type in other for other in together)), key
        assert set(names) <= set(together.get(key, ())), key
    assert len(parts) > 80
    assert sum(len(nodes) for nodes in together.values()) >= 3


@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx (extra: tensorrt) is missing"
)
@pytest.mark.parametrize("key", ["LpPool with p = 3", "MaxPool with dilations = [2, 2]"])
def test_tensorrt_refuses_such_forms_and_names_the_node(key: str, tmp_path: Path) -> None:
    operator, inputs, _, attributes = REFUSED[key]
    node = helper.make_node(operator, inputs, ["y"], "culprit", **attributes)
    write(tmp_path / "m.onnx", [node], {"x": GIVEN["x"]}, {"y": (FLOAT, 4)})
    with pytest.raises(TccError) as caught:
        backends.backend("tensorrt-rtx").lower(
            frontends.load(tmp_path / "m.onnx"), tmp_path / "m.engine", Settings(targets.parse_target("l4"))
        )
    assert caught.value.exit_code is Exit.UNSUPPORTED
    assert f"culprit [{operator}]" in caught.value.diagnostics[0].where
    assert caught.value.diagnostics[0].help
