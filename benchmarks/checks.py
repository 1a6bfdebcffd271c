"""What tcc check says of ONNX's node tests for each target, and what TensorRT-RTX's own parser says of them."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx

from benchmarks import children

_OPSET, _IR_VERSION = 24, 12
"""The newest that TensorRT's parser reads."""
_JUDGED = "l4"
"""The target whose verdicts are set beside the parser's."""
_MOST = 0.1
"""Of what the parser refuses, may be missed; of what it takes, may be refused."""


def models() -> Iterator[tuple[str, onnx.ModelProto]]:
    """The node tests that mean the same in TensorRT's newest opset, by name."""
    from benchmarks.node_tests import node_tests

    for test in node_tests():
        made = onnx.ModelProto()
        made.CopyFrom(test.model)
        if _lowered(made):
            made.ir_version = min(made.ir_version, _IR_VERSION)
            yield test.name, made


def _lowered(model: onnx.ModelProto) -> bool:
    """Bring a newer model to ``_OPSET``; whether its operators are the same there."""
    for entry in model.opset_import:
        if entry.domain in {"", "ai.onnx"} and entry.version > _OPSET:
            names = {node.op_type for node in model.graph.node if node.domain in {"", "ai.onnx"}}
            if not all(_since(name, _OPSET) == _since(name, entry.version) for name in names):
                return False
            entry.version = _OPSET
    return True


def _since(operator: str, opset: int) -> int:
    known = onnx.defs.has(operator, opset, "")
    return int(onnx.defs.get_schema(operator, opset, "").since_version) if known else -1


def write(folder: str) -> list[str]:
    """The models as files; their names."""
    names = []
    for name, model in models():
        onnx.save(model, Path(folder) / f"{name}.onnx")
        names.append(name)
    return names


def checked(folder: str, names: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """By target and test, what is in the way; tests that tcc does not load are left out."""
    from tcc import backends, frontends, targets
    from tcc.compiler.checking import problems
    from tcc.diagnostics import TccError
    from tcc.ir.inference import annotate

    chosen = [targets.parse_target(name) for name in targets.available()]
    found: dict[str, dict[str, list[str]]] = {target.name: {} for target in chosen}
    for name in names:
        try:
            model = frontends.load(Path(folder) / f"{name}.onnx")
        except TccError:
            continue
        annotate(model)
        for target in chosen:
            first = next(b for b in target.backends if b in backends.names())
            found[target.name][name] = list(problems(model, target, first))
    return found


def parsed(folder: str, names: Sequence[str]) -> dict[str, list[str]]:
    """By test, what TensorRT-RTX's parser refuses."""
    import tensorrt_rtx as library  # type: ignore[import-not-found, unused-ignore]  # an extra

    logger = library.Logger(library.Logger.INTERNAL_ERROR)
    builder = library.Builder(logger)
    made = {}
    for name in names:
        network = builder.create_network(1 << int(library.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = library.OnnxParser(network, logger)
        parser.parse_from_file(str(Path(folder) / f"{name}.onnx"))
        errors = map(parser.get_error, range(parser.num_errors))
        made[name] = [f"{error.node_operator()}: {' '.join(error.desc().split())[:160]}" for error in errors]
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Print both; 1 where they differ on more than a tenth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="an interpreter that has tensorrt_rtx")
    parser.add_argument("--json", type=Path, help="write what was found")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="tcc-bench-") as folder:
        names = write(folder)
        here = children.call("benchmarks.checks:checked", folder, names)
        there = children.call("benchmarks.checks:parsed", folder, names, python=options.python, memory_bytes=0)
    if here.problem:
        print(here.problem)
        return 1
    for target, rows in here.value.items():
        print(f"{target:24} {sum(map(bool, rows.values())):5} of {len(rows)} node tests have something in the way")
    if there.problem:
        print(f"TensorRT-RTX was not asked: {there.problem}")
        return 0
    found = _compared(here.value[_JUDGED], there.value)
    if options.json:
        options.json.write_text(json.dumps({"checked": here.value, "parsed": there.value}, indent=2) + "\n")
    return int(found > _MOST)


def _compared(checks: dict[str, list[str]], refusals: dict[str, Any]) -> float:
    """Print how far the two agree; the larger of both shares of errors."""
    refused = {name for name in checks if refusals[name]}
    told = {name for name, problems in checks.items() if problems}
    missed, false = refused - told, told - refused
    print(f"TensorRT-RTX's parser refuses {len(refused)} of {len(checks)}; tcc check --target={_JUDGED} tells "
          f"{len(refused & told)} of them, and {len(false)} that it takes")  # fmt: skip
    for text, count in Counter(refusals[name][0] for name in sorted(missed)).most_common():
        print(f"  not told: {count} × {text}")
    for text, count in Counter("; ".join(checks[name]) for name in sorted(false)).most_common():
        print(f"  told, but taken: {count} × {text[:160]}")
    return max(len(missed) / max(1, len(refused)), len(false) / max(1, len(checks) - len(refused)))


if __name__ == "__main__":
    sys.exit(main())
