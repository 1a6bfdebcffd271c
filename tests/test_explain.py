"""Which rules made a node and why others declined: true, the same whoever asks, and free where nobody does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tcc
from tcc import cli
from tcc.diagnostics import Exit
from tcc.ir.declining import reason
from tcc.ir.matches import command
from tcc.passes.base import DECLINES, ORIGINS
from tcc.rewrites import stored
from tests import test_siblings

TARGET = "x86-64-vnni"


def _model(nodes: list[onnx.NodeProto], weights: Mapping[str, Any], shape: list[int | str], path: Path) -> Path:
    initializers = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    kinds = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", kinds[:1], kinds[1:], initializers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def _gelu(folder: Path) -> Path:
    """x W + b, then a Gelu written with Erf: what three rules make two operators of."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"], "product"),
        helper.make_node("Add", ["product", "b"], ["sum"], "sum"),
        helper.make_node("Div", ["sum", "root"], ["scaled"], "scaled"),
        helper.make_node("Erf", ["scaled"], ["erf"], "erf"),
        helper.make_node("Add", ["erf", "one"], ["raised"], "raised"),
        helper.make_node("Mul", ["sum", "raised"], ["twice"], "twice"),
        helper.make_node("Mul", ["twice", "half"], ["y"], "last"),
    ]
    weights = {
        "w": rng.standard_normal((8, 8), np.float32), "b": rng.standard_normal(8, np.float32),
        "root": np.float32(np.sqrt(2)), "one": np.float32(1), "half": np.float32(0.5),
    }  # fmt: skip
    return _model(nodes, weights, [4, 8], folder / "gelu.onnx")


def _compile(path: Path, output: Path, *words: str) -> int:
    return cli.main([str(path), "-O2", f"--target={TARGET}", "-o", str(output), "--no-measure", *words])


def test_rules_and_sources_of_every_new_node(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out.onnx"
    assert _compile(_gelu(tmp_path), output, "-q", f"--report={output.with_suffix('.json')}") == Exit.DONE
    nodes = json.loads(output.with_suffix(".json").read_text())["nodes"]
    made = {entry["operator"]: entry for entry in nodes.values()}
    assert made.keys() == {"Gemm", "Gelu"} == {node.op_type for node in onnx.load(output).graph.node}
    assert made["Gemm"]["of"] == ["product", "sum"]
    assert made["Gemm"]["steps"][-1]["rules"] == ["matmul_bias_is_gemm"]
    assert {"scaled", "erf", "raised", "twice", "last"} <= set(made["Gelu"]["of"])
    assert made["Gelu"]["steps"][-1]["rules"][-1].startswith("gelu")
    capsys.readouterr()
    assert cli.main(["explain", str(output), "y"]) == Exit.DONE
    told = capsys.readouterr().out
    assert "[Gelu] computes y" in told
    assert "erf" in told.splitlines()[-1]
    assert cli.main(["explain", str(output), "erf"]) == Exit.DONE
    assert "a node of the input; it went into" in capsys.readouterr().out
    assert cli.main(["explain", str(output), "--json"]) == Exit.DONE
    every = json.loads(capsys.readouterr().out)
    assert len(every) == 2
    assert all(entry["steps"] for entry in every.values())
    assert cli.main(["explain", str(output)]) == Exit.DONE
    assert "simplify: matmul_bias_is_gemm" in capsys.readouterr().out


def test_without_the_rule_that_is_named_the_node_is_not_made(tmp_path: Path) -> None:
    """What is told is why: with every rule but those that are named for a node, the node is gone."""
    path = _gelu(tmp_path)
    made = tcc.compile(path, 2, TARGET, explain=[ORIGINS]).report["nodes"]
    for entry in made.values():
        named = set(entry["steps"][-1]["rules"])
        others = "+".join(rule.name for rule in stored() if rule.name not in named)
        left = tcc.compile(path, 2, TARGET, passes=f"canonicalize,fold,simplify{{only={others}}}").to_proto()
        assert entry["operator"] not in {node.op_type for node in left.graph.node}


def test_with_the_rules_that_are_named_alone_the_node_is_made(tmp_path: Path) -> None:
    path = _gelu(tmp_path)
    for entry in tcc.compile(path, 2, TARGET, explain=[ORIGINS]).report["nodes"].values():
        named = "+".join(entry["steps"][-1]["rules"])
        left = tcc.compile(path, 2, TARGET, passes=f"canonicalize,fold,simplify{{only={named}}}").to_proto()
        assert entry["operator"] in {node.op_type for node in left.graph.node}


def test_rules_that_opened_the_way_are_named_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A Cast to the type that a product has stands between it and its bias."""
    model = onnx.load(_gelu(tmp_path))
    model.graph.node.insert(1, helper.make_node("Cast", ["product"], ["cast"], "cast", to=TensorProto.FLOAT))
    model.graph.node[2].input[0] = "cast"
    path, output = tmp_path / "cast.onnx", tmp_path / "out.onnx"
    onnx.save(model, path)
    assert _compile(path, output, "-q", f"--report={tmp_path / 'out.json'}") == Exit.DONE
    nodes = json.loads((tmp_path / "out.json").read_text())["nodes"]
    (gemm,) = (entry for entry in nodes.values() if entry["operator"] == "Gemm")
    (step,) = gemm["steps"]
    assert step["rules"] == ["matmul_bias_is_gemm"]
    assert step["given"] == ["cast_to_own_type"]
    assert gemm["of"] == ["product", "sum"]
    capsys.readouterr()
    assert cli.main(["explain", str(output), "sum"]) == Exit.DONE
    assert "which rely on cast_to_own_type" in capsys.readouterr().out


def test_nodes_of_the_input_are_no_unknown_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of an Add of zeros nothing is left; a product whose scale was folded away computes the scaled value."""
    nodes = [
        helper.make_node("Add", ["x", "zero"], ["same"], "nothing"),
        helper.make_node("MatMul", ["same", "w"], ["product"], "product"),
        helper.make_node("Mul", ["product", "two"], ["scaled"], "scale"),
        helper.make_node("Tanh", ["scaled"], ["y"], "last"),
    ]
    weights = {
        "zero": np.zeros(1, np.float32),
        "w": np.random.default_rng(0).random((8, 8), np.float32),
        "two": np.float32(2),
    }
    output = tmp_path / "out.onnx"
    path = _model(nodes, weights, [4, 8], tmp_path / "m.onnx")
    assert _compile(path, output, "-q", f"--report={output.with_suffix('.json')}") == Exit.DONE
    assert cli.main(["explain", str(output), "nothing"]) == Exit.DONE
    assert "nothing is a node of the input; nothing is left of it" in capsys.readouterr().out
    assert cli.main(["explain", str(output), "same"]) == Exit.DONE, "a value is as good a name as its node's"
    assert "nothing is a node of the input; nothing is left of it" in capsys.readouterr().out
    assert cli.main(["explain", str(output), "scaled"]) == Exit.DONE
    assert "scale" in capsys.readouterr().out.split("made of ")[1]
    assert cli.main(["explain", str(output), "scale"]) == Exit.DONE
    assert "scale is a node of the input; it went into" in capsys.readouterr().out
    assert cli.main(["explain", str(output), "nothings"]) == Exit.USAGE
    assert "did you mean 'nothing'?" in capsys.readouterr().err


def test_siblings_and_nodes_that_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, output, report = tmp_path / "siblings.onnx", tmp_path / "out.onnx", tmp_path / "r.json"
    onnx.save(test_siblings.model("Conv", 17, (4, 4, 8, 16)), path)
    assert _compile(path, output, "-q", f"--report={report}") == Exit.DONE
    made = json.loads(report.read_text())["nodes"]
    assert {entry["operator"] for entry in made.values()} == {"Conv", "Split"}
    for entry in made.values():
        assert entry["steps"][-1]["rules"] == ["siblings"]
        assert len(entry["of"]) == 4
    capsys.readouterr()
    assert cli.main(["explain", str(output), "z0", f"--report={report}"]) == Exit.DONE
    assert "stands in the input as it is" in capsys.readouterr().out


@pytest.mark.parametrize("asked", [[ORIGINS], [DECLINES], [ORIGINS, DECLINES]])
def test_asking_changes_nothing(tmp_path: Path, digits: Path, asked: list[str]) -> None:
    for path in (digits / "digits.onnx", _gelu(tmp_path)):
        plain, told = tcc.compile(path, 2, TARGET), tcc.compile(path, 2, TARGET, explain=asked)
        assert plain.model.to_bytes() == told.model.to_bytes()
        facts = [{**graph} for step in told.report["passes"] for graph in step["facts"].get("graphs", ())]
        for graph in facts:
            graph.pop(DECLINES, None)
        assert facts == [graph for step in plain.report["passes"] for graph in step["facts"].get("graphs", ())]


def test_why_rules_declined(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same product with a bias, in three dimensions with two symbolic sizes: no matrix, and no shape to go back."""
    path = _gelu(tmp_path)
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.CopyFrom(helper.make_tensor_value_info(value.name, TensorProto.FLOAT, ["batch", "length", 8]))
    onnx.save(model, path)
    assert _compile(path, tmp_path / "out.onnx", "-v") == Exit.DONE
    told = {line.split()[0]: line for line in capsys.readouterr().err.splitlines() if " declined at " in line}
    assert "not so: the tensor has that many dimensions (type of x)" in told["matmul_bias_is_gemm"]
    assert " as sum: " in told["matmul_bias_is_gemm"]
    assert "add_zero" not in told, "one operator alone is no pattern that was nearly there"
    assert _compile(path, tmp_path / "out.onnx", "-vv") == Exit.DONE
    assert "add_zero declined at " in capsys.readouterr().err
    assert _compile(path, tmp_path / "out.onnx") == Exit.DONE
    assert " declined at " not in capsys.readouterr().err


def test_every_condition_of_every_rule_has_a_reason() -> None:
    for rule in stored():
        for query in rule.queries:
            made = command(query)
            assert set(made.pattern_variables) <= made.sorts.keys()
            for condition in made.conditions:
                assert len(reason(condition, made)) > len("x and y"), query.name


def test_reports_that_are_none(tmp_path: Path, digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output, other = tmp_path / "out.onnx", tmp_path / "other.onnx"
    report = output.with_suffix(".json")
    assert _compile(digits / "digits.onnx", output, "-q") == Exit.DONE
    assert cli.main(["explain", str(output)]) == Exit.USAGE
    assert "E0250" in capsys.readouterr().err
    assert _compile(_gelu(tmp_path), other, "-q", f"--report={report}") == Exit.DONE
    assert cli.main(["explain", str(output)]) == Exit.USAGE
    assert "is the report of another file" in capsys.readouterr().err
    report.write_text("{}")
    assert cli.main(["explain", str(output)]) == Exit.USAGE
    assert "E0251" in capsys.readouterr().err
    assert _compile(digits / "digits.onnx", output, "-q", f"--report={report}") == Exit.DONE
    assert cli.main(["explain", str(output), "head/head.3/Gemm"]) == Exit.USAGE
    assert "did you mean '/head/head.3/Gemm'?" in capsys.readouterr().err
    assert cli.main(["explain", str(tmp_path / "none.onnx")]) == Exit.USAGE


def test_a_lossy_model_is_explained_too(tmp_path: Path, digits: Path) -> None:
    output = tmp_path / "out.onnx"
    words = ["-O3", f"--target={TARGET}", f"--calib={digits / 'digits_calib.npz'}", "--no-measure", "-q"]
    report = tmp_path / "out.json"
    assert cli.main([str(digits / "digits.onnx"), *words, f"--report={report}", "-o", str(output)]) == Exit.DONE
    made = json.loads(report.read_text())["nodes"]
    passes = {step["pass"].partition("{")[0] for entry in made.values() for step in entry["steps"]}
    assert passes == {"simplify", "compress"}
    inputs = {node.name for node in onnx.load(digits / "digits.onnx").graph.node}
    assert all(name in inputs for entry in made.values() for name in entry["of"])
    convolution = next(entry for entry in made.values() if entry["operator"] in ("Conv", "QLinearConv"))
    assert {step["pass"].partition("{")[0] for step in convolution["steps"]} >= {"simplify"}
    page = tmp_path / "r.html"
    pytest.importorskip("altair")
    assert _compile(_gelu(tmp_path), output, "-q", f"--report={page}") == Exit.DONE
    assert "matmul_bias_is_gemm" in page.read_text()
