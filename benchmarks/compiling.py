"""Compiles one model at some levels and judges the results; runs in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import children, figures, judging, models
from benchmarks.children import explained

Row = dict[str, Any]
"""Plain values: figures before and after, seconds, the verdict, and ``failures``, a line each."""

_FURTHER = 4
"""Inputs on which a graph's own amplification of rounding is looked for."""
EXACT = frozenset("01")
"""Levels whose results have the original's bits."""


def check(text: str, levels: list[str], count: int = 2) -> list[Row]:
    """Compile a model of a collection at each level; one row a level."""
    with tempfile.TemporaryDirectory(prefix="tcc-bench-") as folder:
        entry = models.entry(text)
        original = models.file(entry, Path(folder))
        reference = judging.Reference(
            original,
            models.feeds(entry, original, count),
            lambda: models.feeds(entry, original, count + _FURTHER)[count:],
        )
        preload()
        return [{"model": text, "level": level, **_level(reference, level, Path(folder))} for level in levels]


def preload() -> None:
    """Import what a compilation imports, and nothing else: the clock and the memory are for the work."""
    import importlib

    from tcc import cache

    sources = sorted({path.parent for path in children.ROOT.glob("tcc/**/*.py")})
    for name in cache.kept("benchmarked", sources, _imports):
        importlib.import_module(name)
    # Rules call them by name, each when it first matches.
    for path in sorted((children.ROOT / "tcc" / "rewrites").glob("_[a-z]*.py")):
        importlib.import_module(f"tcc.rewrites.{path.stem}")
    importlib.import_module("tcc.ir.engine").bindings()


def _imports() -> list[str]:
    """The modules that a compilation imports, found out in an interpreter of its own."""
    digits = children.ROOT / "examples" / "digits" / "digits.onnx"
    program = f"import json, sys, tcc\ntcc.compile({str(digits)!r}, 2, 'x86-64-vnni')\n{_PRINT}"
    # Twice: the first compilation after a change of the rules imports what translates them as well.
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", program], cwd=children.ROOT, capture_output=True, check=True)
    found: list[str] = json.loads(done.stdout)
    return found


_PRINT = """
packages = ("tcc", "onnx", "onnx_ir", "onnxruntime", "numpy")
late = ("onnx_ir._symbolic_shapes",)
print(json.dumps([name for name in sys.modules if name.partition(".")[0] in packages and name not in late]))
"""


def _level(reference: judging.Reference, level: str, folder: Path) -> Row:
    import tcc

    output = folder / f"out.O{level}.onnx"
    before = figures.figures(reference.path)
    row: Row = {"before": asdict(before), "depends": reference.depends_on_inputs}
    started = time.perf_counter()
    try:
        result = tcc.compile(reference.path, int(level), output=output)
    except Exception as error:  # noqa: BLE001 - whatever stops a compilation is what is looked for
        return {**row, "seconds": time.perf_counter() - started, "failures": [explained(error)]}
    seconds = time.perf_counter() - started
    after = figures.figures(output)
    row |= {"seconds": seconds, "after": asdict(after), **_told(result.report)}
    failures = []
    try:
        verdict = reference.judge(output, bits=level in EXACT)
    except Exception as error:  # noqa: BLE001
        return {**row, "failures": [explained(error)]}
    finally:
        output.unlink()
    if not verdict.equal:
        failures.append(f"not equal: {verdict.text}")
    failures += [
        f"{name}: {getattr(before, field)} -> {getattr(after, field)}"
        for name, field in (("more nodes", "nodes"), ("more dependent nodes", "dependent"), ("more bytes", "nbytes"))
        if getattr(after, field) > getattr(before, field)
    ]
    chaos = verdict.self_difference if verdict.chaotic else None
    return {**row, "difference": verdict.difference, "chaos": chaos, "failures": failures}


def _told(report: Mapping[str, Any]) -> Row:
    """What the compiler says of itself: the extraction's gap, how saturation ended, forms it did not ship, warnings."""
    graphs = [g for step in report["passes"] for g in step["facts"].get("graphs", []) if "gap" in g]
    diagnostics = report["diagnostics"]
    return {
        "gap": max((g["gap"] for g in graphs), default=None),
        "methods": sorted({g["method"] for g in graphs}),
        "saturation": sorted({g["saturation"] for g in graphs}),
        "shipped": report["shipped"],
        "withheld": [d["message"] for d in diagnostics if d["code"] == "N0701"],
        "warnings": sorted({d["code"] for d in diagnostics if d["severity"] == "warning"}),
    }
