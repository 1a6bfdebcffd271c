"""Takes models through every back end: supported, fell back and why, failed and why; parity and latency.

What is done is kept in build/backends.jsonl: a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import children, models
from benchmarks.journal import Journal
from tcc import backends
from tcc.compiler import levels

_TARGETS = {"engine": "l4", "device-script": "jetson"}
"""What artefacts are made for that are not for this machine."""
_FORMS = ("fp32", "int8")
_ROUNDS, _TURNS = 5, 6
_NEWEST = 23
"""Of back ends that take newer opsets as well, so that they share what is compiled."""
_SAMPLES = {"zoo": 64, "topologies": 8}
_INT8 = levels.pipeline_text(2).replace("strip", "compress{techniques=static-int8,objective=size,slower=true},strip")
"""Every operator that has an integer form takes it, faster or not: what is asked here is who runs such models."""


def present() -> dict[str, str]:
    """Each back end and why it cannot be had in this interpreter; '' where it can."""
    import onnxruntime

    absences = {name: backends.backend(name).absence() for name in backends.names()}
    found = {name: "" if absence is None else absence.message for name, absence in absences.items()}
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        found["onnxruntime-cuda"] = "onnxruntime has no CUDAExecutionProvider here"
    return found


def prepare(text: str, form: str, target: str, opset: int, output: str) -> int:
    """Compile a model for a target in no newer opset; how many QuantizeLinear nodes the result has.

    INT8 forms are calibrated with the zoo's own samples. The topologies' weights are random, so their accuracy means
    nothing and inputs drawn in their ranges serve.
    """
    import tcc
    from tcc.targets import parse_target

    path, wanted = Path(output), parse_target(target)
    original = models.file(models.entry(text), path.parent)
    is_int8 = form == "int8"
    narrow = replace(wanted, max_opset=min(wanted.max_opset, opset))
    made = tcc.compile(
        original, 2, narrow, passes=_INT8 if is_int8 else None, output=path, max_loss=1.0,
        calibration=_calibration(models.entry(text), original) if is_int8 else None,
    )  # fmt: skip
    return int(made.report["result"]["operators"].get("QuantizeLinear", 0))


def judge(text: str, name: str, shipped: str) -> dict[str, Any]:
    """One compiled model through one back end; raises only where tcc itself fails."""
    from tcc.backends import Settings
    from tcc.compiler import emitting
    from tcc.ir.execution import Runner
    from tcc.ir.feeds import depends_on_inputs
    from tcc.targets import parse_target

    backend, source = backends.backend(name), Path(shipped)
    target = parse_target(target_of(backend.emits))
    with tempfile.TemporaryDirectory(prefix="tcc-bench-") as folder:
        feeds = _singles(models.feeds(models.entry(text), source), source)
        row: dict[str, Any] = {"depends": depends_on_inputs(Runner(source), feeds)}
        made_of = emitting.Emission([source], text, Settings(target), feeds)
        emitted = emitting.attempt(backend, Path(folder) / f"made{backend.suffix}", made_of)
        row |= {"status": emitted.status, "why": emitted.why}
        if emitted.result is not None:
            row |= {"parity": emitted.result.parity, "bytes": sum(f.stat().st_size for f in emitted.result.files)}
            if emitted.result.parity.startswith("equal"):
                row["ratio"] = _ratio(backend, emitted.result.files[0], source, emitted.feeds[0])
    return row


def target_of(kind: str) -> str:
    """What artefacts of this kind are made for."""
    return _TARGETS.get(kind, "native")


def _singles(feeds: Sequence[Mapping[str, Any]], path: Path) -> list[dict[str, Any]]:
    """One sample a set where the first axis is open, as devices run them; two of them, from one batch if need be."""
    import onnx

    inputs = onnx.load(path, load_external_data=False).graph.input
    first = {value.name: value.type.tensor_type.shape.dim[:1] for value in inputs}
    if not all(dim and not dim[0].HasField("dim_value") for name, dim in first.items() if name in feeds[0]):
        return [dict(feed) for feed in feeds]
    count = min(len(value) for feed in feeds for value in feed.values())
    each = range(1 if len(feeds) > 1 else min(2, count))
    return [{name: value[k : k + 1] for name, value in feed.items()} for feed in feeds for k in each]


def _calibration(chosen: models.Entry, path: Path) -> list[models.Feed]:
    count = _SAMPLES[chosen.kind]
    if chosen.kind == "zoo":
        return list(models.zoo_case(chosen.name).calibration(count))
    return models.feeds(chosen, path, count)


def _ratio(backend: Any, artefact: Path, source: Path, feed: Mapping[str, Any]) -> float:
    """The median latency relative to ONNX Runtime's on the same ONNX file, one thread, in turns."""
    reference = backends.backend("onnxruntime")
    pairs = [(backend, backend.load(artefact)), (reference, reference.load(source))]
    ours, theirs = [], []
    for _ in range(_TURNS):
        a, b = (min(chosen.measure(loaded, feed, _ROUNDS)) for chosen, loaded in pairs)
        ours.append(a)
        theirs.append(b)
    return float(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)))


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 1 where tcc fails or crashes, or a back end's result is shipped that differs."""
    from benchmarks.corpus import fingerprint

    options = _parser().parse_args(argv)
    journal = Journal("backends", {"compiler": fingerprint()}, options.fresh)
    homes = _homes(options.python or [sys.executable])
    rows: list[dict[str, Any]] = []
    print(f"{'model':40} {'form':7} {'back end':16} {'status':10} {'latency':>8}  parity, or why")
    with tempfile.TemporaryDirectory(prefix="tcc-bench-") as folder:
        for entry in _entries(options.models):
            for form in options.form or _FORMS:
                for row in _through(entry.text, form, homes, Path(folder), journal):
                    rows.append(row)
                    _print(row)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    return int(any(row["status"] == "tcc failed" for row in rows))


def _entries(patterns: Sequence[str]) -> list[models.Entry]:
    """The models of these names, parts of names or globs; the zoo where there are none."""
    every = models.entries(("zoo", "topologies"))
    exact = [entry for entry in every if entry.text in patterns]
    return exact or models.entries(("zoo", "topologies") if patterns else ("zoo",), patterns)


def _through(
    text: str, form: str, homes: Mapping[str, str], folder: Path, journal: Journal
) -> Iterator[dict[str, Any]]:
    """One model in one form through every back end; compiled once for each target and newest opset."""
    made: dict[tuple[str, int], tuple[Path, children.Answer]] = {}
    for name, python in homes.items():
        if (known := journal.find(text, form, name)) is not None:
            yield known
            continue
        backend = backends.backend(name)
        key = target_of(backend.emits), min(backend.opset, _NEWEST)
        if key not in made:
            path = folder / f"{text.replace(':', '-')}-{form}-{key[0]}-{key[1]}.onnx"
            prepared = children.call(
                "benchmarks.backends:prepare", text, form, *key, str(path), python=python, memory_bytes=0
            )  # fmt: skip
            made[key] = path, prepared
        path, prepared = made[key]
        row = {"model": text, "form": form, "backend": name, "quantised": prepared.value}
        answer = prepared
        if not prepared.problem:
            answer = children.call("benchmarks.backends:judge", text, name, str(path), python=python, memory_bytes=0)
        row |= answer.value if not answer.problem else {"status": "tcc failed", "why": answer.problem}
        yield journal.add(row, text, form, name)


def _homes(pythons: Sequence[str]) -> dict[str, str]:
    """For each back end an interpreter that has it; absences are printed."""
    homes: dict[str, str] = {}
    absent: dict[str, str] = {}
    for python in pythons:
        found = children.call("benchmarks.backends:present", python=python).value or {}
        for name, absence in found.items():
            if absence:
                absent[name] = absence
            else:
                homes.setdefault(name, python)
    for name, absence in absent.items():
        if name not in homes:
            print(f"not run: {absence}")
    return homes


def _print(row: Mapping[str, Any]) -> None:
    latency = f"×{row['ratio']:.2f}" if "ratio" in row else ""
    told = row.get("parity") or row["why"]
    weak = "" if row.get("depends", True) else " (the outputs do not depend on the inputs: this proves little)"
    form = row["form"] if row["form"] != "int8" else f"int8:{row.get('quantised', 0)}"
    print(
        f"{row['model']:40} {form:5} {row['backend']:16} {row['status']:10} {latency:>8}  {told[:150]}{weak}",
        flush=True,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", help="parts of names of models, the topologies' too (default: the zoo)")
    parser.add_argument(
        "--form", action="append", choices=_FORMS, help="fp32: -O2; int8: static INT8 wherever there is a form"
    )
    parser.add_argument(
        "--python", action="append", help="an interpreter that has some of the back ends; several may be given"
    )
    parser.add_argument("--fresh", action="store_true", help="do again what an unchanged tcc has already done")
    parser.add_argument("--json", type=Path, help="write the rows")
    return parser


if __name__ == "__main__":
    sys.exit(main())
