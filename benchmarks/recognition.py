"""Counts normalisations, GELUs and attentions that a model is written with, and how many are left after -O2.

Instances are counted on the graph alone, by what each form cannot do without, whatever the rest looks like: a square
root of a mean of squares, an erf or a tanh of a cubic, a softmax of a product of two activations that a product takes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import children, models

if TYPE_CHECKING:
    import onnx

KINDS = ("normalisation", "GELU", "attention")
_OPERATORS = {
    "LayerNormalization": "normalisation",
    "RMSNormalization": "normalisation",
    "Gelu": "GELU",
    "Attention": "attention",
}
_CARRIED = frozenset({"Cast", "CastLike", "Dropout", "Identity", "Where", "Reshape", "Squeeze", "Unsqueeze", "IsNaN"})
"""What stands between a softmax and the product that takes it."""
_SCORED = _CARRIED | {"Add", "Sub", "Mul", "Div", "Transpose"}
"""What stands between a product and the softmax of it."""
_MARKS = frozenset({"Erf", "Softmax", *_OPERATORS})


def main(argv: Sequence[str] | None = None) -> int:
    """Print what was found and what is left, by architecture; 1 where a model failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("patterns", nargs="*", default=["hf_*", "timm_*", "tv_*"], help="topologies, as globs")
    parser.add_argument("--target", default="native")
    parser.add_argument("--json", type=Path, help="where to write all figures")
    options = parser.parse_args(argv)
    if models.folder("topologies") is None:
        print("the topologies are not here; TCC_TOPOLOGIES names their folder")
        return 1
    chosen = [name for name in sorted(models.index()) if _is_chosen(name, options.patterns)]
    rows, failed = [], 0
    print(f"{'model':34} {'s':>6}  " + "  ".join(f"{kind:>24}" for kind in KINDS))
    for name in chosen:
        answer = children.call("benchmarks.recognition:recognise", name, options.target)
        if not answer.value:
            print(f"{name:34} FAILED {answer.problem}"[:300], flush=True)
            failed += 1
            continue
        rows.append(answer.value)
        print(_line(answer.value), flush=True)
    print(_line({"model": "all", "seconds": sum(row["seconds"] for row in rows), **_totals(rows)}))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return int(bool(failed))


def _is_chosen(name: str, patterns: Sequence[str]) -> bool:
    operators = models.index()[name]["ops"]
    marked = bool(_MARKS & operators.keys()) or {"ReduceMean", "Sqrt"} <= operators.keys()
    return marked and any(fnmatch(name, pattern) for pattern in patterns)


def _line(row: Mapping[str, Any]) -> str:
    cells = []
    for kind in KINDS:
        found, left = row["found"].get(kind, 0), row["left"].get(kind, 0)
        cells.append(f"{f'{found - left} of {found} ({1 - left / found:.0%})' if found else '-':>24}")
    return f"{row['model']:34} {row['seconds']:6.1f}  " + "  ".join(cells)


def _totals(rows: Sequence[Mapping[str, Any]]) -> dict[str, Counter[str]]:
    return {key: sum((Counter(row[key]) for row in rows), Counter()) for key in ("found", "left")}


def recognise(name: str, target: str) -> dict[str, Any]:
    """Run the passes of -O2 over a topology; what it holds before and what of it is still written out after."""
    import tempfile

    import onnx

    from tcc import frontends
    from tcc.compiler.levels import pipeline_text
    from tcc.passes.base import Context
    from tcc.passes.pipeline import parse
    from tcc.targets import parse_target

    with tempfile.TemporaryDirectory(prefix="tcc-bench-") as folder:
        path = models.file(models.entry(f"topologies:{name}"), Path(folder))
        before = onnx.load(path)
        started = time.perf_counter()
        model, context = frontends.load(path), Context(parse_target(target))
        for step in parse(pipeline_text(2)):
            model = step.run(model, context).model
        seconds = time.perf_counter() - started
        after, _ = model.stripped_proto()
    written = Counter(kind for kind, _ in _written(before))
    operators = Counter(_OPERATORS[node.op_type] for node in before.graph.node if node.op_type in _OPERATORS)
    left = Counter(kind for kind, _ in _written(after))
    return {"model": name, "seconds": seconds, "found": dict(written + operators), "left": dict(left)}


def _written(model: onnx.ModelProto) -> Iterator[tuple[str, str]]:
    """Every instance that is written out: its kind and the node that gives it away."""
    graph = _Graph(model)
    for node in model.graph.node:
        if node.op_type == "Sqrt" or (node.op_type == "Pow" and graph.number(node.input[1]) in {0.5, -0.5}):
            if graph.is_mean_of_squares(node.input[0]):
                yield "normalisation", node.name
        elif node.op_type == "Erf" or (node.op_type == "Tanh" and graph.is_cubic(node.input[0])):
            yield "GELU", node.name
        elif node.op_type == "Softmax" and graph.feeds_product(node.output[0]) and graph.is_scores(node.input[0]):
            yield "attention", node.name


class _Graph:
    """Who makes a value and who reads it, and the constants that are single numbers."""

    def __init__(self, model: onnx.ModelProto) -> None:
        from onnx import numpy_helper

        self.made = {name: node for node in model.graph.node for name in node.output}
        self.readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in model.graph.node:
            for name in node.input:
                self.readers[name].append(node)
        tensors = {t.name: t for t in model.graph.initializer if not t.external_data}
        tensors.update(
            (node.output[0], attribute.t)
            for node in model.graph.node if node.op_type == "Constant"
            for attribute in node.attribute if attribute.name == "value"
        )  # fmt: skip
        self.constants = set(tensors)
        self.numbers = {
            name: float(numpy_helper.to_array(t).reshape(-1)[0])
            for name, t in tensors.items() if t.data_type in {1, 6, 7, 10, 11} and all(d == 1 for d in t.dims)
        }  # fmt: skip

    def number(self, name: str) -> float | None:
        """A constant of one element."""
        return self.numbers.get(name)

    def _is(self, name: str, *operators: str) -> onnx.NodeProto | None:
        node = self.made.get(name)
        while node is not None and node.op_type in {"Identity", "Cast"}:
            node = self.made.get(node.input[0])
        return node if node is not None and node.op_type in operators else None

    def is_mean_of_squares(self, name: str) -> bool:
        """The value is a mean of squares, with an epsilon or without."""
        total = self._is(name, "Add")
        means = [self._is(i, "ReduceMean") for i in (total.input if total is not None else [name])]
        return any(mean is not None and self._is_square(mean.input[0]) for mean in means)

    def _is_square(self, name: str) -> bool:
        node = self._is(name, "Pow", "Mul")
        if node is None:
            return False
        return node.input[0] == node.input[1] if node.op_type == "Mul" else self.number(node.input[1]) == 2.0

    def is_cubic(self, name: str, depth: int = 5) -> bool:
        """The factor 0.044715 stands within a few nodes above a value."""
        node = self.made.get(name)
        if node is None or depth == 0:
            return False
        near = any(abs((self.number(i) or 0.0) - _CUBIC) < _CLOSE for i in node.input)
        return near or any(self.is_cubic(i, depth - 1) for i in node.input)

    def is_scores(self, name: str, depth: int = 10) -> bool:
        """A value is a product of two activations that were scaled, masked and viewed since."""
        node = self.made.get(name)
        if node is None or depth == 0:
            return False
        if node.op_type == "MatMul":
            return not any(i in self.constants for i in node.input)
        return node.op_type in _SCORED and any(self.is_scores(i, depth - 1) for i in node.input)

    def feeds_product(self, name: str) -> bool:
        """A matrix product takes a value, at most a few carrying nodes later."""
        for node in self.readers[name]:
            if node.op_type == "MatMul" and node.input[0] == name:
                return True
            if node.op_type in _CARRIED and any(self.feeds_product(output) for output in node.output):
                return True
        return False


_CUBIC, _CLOSE = 0.044715, 1e-5


if __name__ == "__main__":
    sys.exit(main())
