"""``tcc check`` on models that no target takes: everything in the way is listed at once, with all nodes it is about."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from tcc import targets
from tcc.compiler.checking import check

_NEWEST = 23
"""The opset of the corpus, as far as a target's own is not newer."""
_OPERATORS: dict[str, tuple[Sequence[str], int, dict[str, Any]]] = {
    "BitwiseNot": (["i"], 1, {}), "Det": (["x"], 1, {}), "Bernoulli": (["x"], 1, {}), "BitwiseAnd": (["i", "i"], 1, {}),
    "DynamicQuantizeLinear": (["x"], 3, {}), "Unique": (["i"], 4, {}), "Multinomial": (["x"], 1, {"sample_size": 2}),
    "SequenceConstruct": (["x", "x"], 1, {}), "NonZero": (["x"], 1, {}), "Compress": (["x", "b"], 1, {"axis": 0}),
    "BitShift": (["u", "u"], 1, {"direction": "LEFT"}),
}  # fmt: skip
"""Inputs, the number of outputs and attributes of operators that some target refuses."""
_TYPES = {
    "bfloat16": TensorProto.BFLOAT16, "float64": TensorProto.DOUBLE, "float16": TensorProto.FLOAT16,
    "float8e4m3fn": TensorProto.FLOAT8E4M3FN, "string": TensorProto.STRING, "uint64": TensorProto.UINT64,
    "int4": TensorProto.INT4,
}  # fmt: skip


_KEPT = "domain 'org.example'"
"""What outputs are computed by."""


class Wrong:
    """A model with everything that a target does not take, each thing twice; ``expected`` are its nodes by a key."""

    def __init__(self, target: targets.Target) -> None:
        self.target = target
        self.nodes: list[onnx.NodeProto] = [helper.make_node("Relu", ["x"], ["y"], "fine")]
        self.expected: dict[str, list[str]] = {}
        for twice in range(2):
            for domain in ("com.acme", "org.example"):
                self._add(f"domain {domain!r}", helper.make_node("Own", ["x"], [], domain=domain), twice)
            for operator in sorted(_OPERATORS.keys() & set(target.illegal_operators)):
                inputs, outputs, attributes = _OPERATORS[operator]
                made = helper.make_node(operator, inputs, [], **attributes)
                self._add(f"operator {operator} is", made, twice, outputs)
            for name in sorted(_TYPES.keys() - target.dtypes):
                self._add(f"type {name} is", helper.make_node("Cast", ["x"], [], to=_TYPES[name]), twice)

    def _add(self, key: str, node: onnx.NodeProto, twice: int, outputs: int = 1) -> None:
        node.name = f"{node.op_type}{len(self.nodes)}_{twice}"
        node.output.extend(f"{node.name}_{i}" for i in range(outputs))
        self.nodes.append(node)
        self.expected.setdefault(key, []).append(node.name)

    def save(self, path: Path) -> Path:
        kinds = {"x": TensorProto.FLOAT, "i": TensorProto.INT32, "u": TensorProto.UINT8, "b": TensorProto.BOOL}
        sizes = {"b": [4]}
        inputs = [helper.make_tensor_value_info(n, kind, sizes.get(n, [4, 4])) for n, kind in kinds.items()]
        # Only these are read: -O2 removes the rest.
        kept = ["y", *(f"{name}_0" for name in self.expected[_KEPT])]
        outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 4]) for name in kept]
        graph = helper.make_graph(self.nodes, "wrong", inputs, outputs)
        domains = [helper.make_opsetid(name, 1) for name in ("com.acme", "org.example")]
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _NEWEST), *domains], ir_version=10)
        onnx.save(made, path)
        return path


@pytest.mark.parametrize("name", targets.available())
def test_everything_in_the_way_is_listed_at_once(name: str, tmp_path: Path) -> None:
    target = targets.parse_target(name)
    wrong = Wrong(target)
    found = check(wrong.save(tmp_path / "wrong.onnx"), target)
    told = {f.message: f for f in found.findings}
    for key, nodes in wrong.expected.items():
        about = [f for message, f in told.items() if key in message]
        assert sorted(n for f in about for n in f.nodes) == sorted(nodes), (key, list(told))
        assert {f.solved for f in about} == {key != _KEPT}, about
        assert all(("removes it" in f.remedy) == f.solved for f in about)
    assert (target.max_opset < _NEWEST) == any(message.startswith("opset is") for message in told)
    assert not any("fine" in f.nodes for f in found.findings)
    assert len({f.code for f in found.findings}) >= 2
    assert found.entry()["runs"] is False


def test_an_operator_may_be_illegal_in_one_type() -> None:
    target = targets.parse_target("l4")
    assert target.legality("", "Attention", ["float16"]) is None
    assert target.legality("", "Attention", ["float32"]) == "operator Attention is not supported in float32 on l4"
    assert target.avoids("Attention")
    assert not target.avoids("Softmax")
