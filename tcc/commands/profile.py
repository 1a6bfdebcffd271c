"""``tcc profile MODEL``: what each kernel takes on this machine, as the back end runs it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tcc.commands import _arguments as arguments_
from tcc.commands._printing import Printer, columns, write
from tcc.diagnostics import Exit

if TYPE_CHECKING:
    from tcc.compiler.profiling import Profiled

DESCRIPTION = """\
Time the kernels of a model as ONNX Runtime runs them, after its own fusions, and keep the times in the user's cache,
$XDG_CACHE_HOME/tcc/kernels.sqlite.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    arguments_.add_model_on_inputs(parser)
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of the runtime (default: 1)")
    parser.add_argument(
        "--seconds", type=arguments_.seconds, default=2.0, metavar="S",
        help="how long to run, with and without the profiler each (default: 2)",
    )  # fmt: skip
    parser.add_argument("--no-keep", action="store_true", help="do not keep the times")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    parser.add_argument(
        "--diagnostics", choices=["text", "json"], default="text", help="how errors, warnings and notes are written",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Profile, keep, and print."""
    from tcc import report
    from tcc.compiler import profiling

    made = profiling.profile_model(
        arguments.model, arguments.inputs, dict(arguments.dim), threads=arguments.threads, seconds=arguments.seconds,
        keep=not arguments.no_keep,
    )  # fmt: skip
    Printer(json=arguments.diagnostics == "json").show(made.notes)
    if arguments.json:
        write(report.text(report.plain(_entries(made))).rstrip())
        return int(Exit.DONE)
    write(columns(_rows(made)))
    sys.stdout.flush()
    return int(Exit.DONE)


def _entries(made: Profiled) -> dict[str, Any]:
    return {
        "machine": made.machine.text,
        "seconds": made.profile.seconds,
        "kernels": [
            {
                "node": item.name, "operator": item.kernel.operator, "domain": item.kernel.domain,
                "inputs": [None if kind is None else str(kind) for kind in item.kernel.inputs],
                "outputs": [None if kind is None else str(kind) for kind in item.kernel.outputs],
                "seconds": item.seconds, "roofline_seconds": roof,
            }
            for item, roof in zip(made.profile.kernels, made.roofline, strict=True)
        ],
    }  # fmt: skip


def _rows(made: Profiled) -> Iterator[tuple[str, str]]:
    found = made.profile
    yield "machine", made.machine.text
    yield "a run", f"{found.seconds * 1e3:.4g} ms, the least of {found.runs} without the profiler"
    kept = "kept in " + str(made.kept) if made.kept else "not kept"
    yield "kernels", f"{len(found.kernels)}, {len({item.kernel for item in found.kernels})} different ones, {kept}"
    yield "", f"{'count':>5} {'ms':>9} {'share':>6} {'roofline ms':>11}"
    for name, count, seconds, roof in _by_operator(made):
        share = seconds / sum(item.seconds for item in found.kernels)
        yield name, f"{count:5} {seconds * 1e3:9.4g} {share:6.1%} {roof * 1e3:11.4g}"


def _by_operator(made: Profiled) -> Sequence[tuple[str, int, float, float]]:
    sums: dict[str, tuple[int, float, float]] = {}
    for item, roof in zip(made.profile.kernels, made.roofline, strict=True):
        name = f"{item.kernel.domain.removeprefix('com.microsoft').lstrip('.')} {item.kernel.operator}".strip()
        count, seconds, roofs = sums.get(name, (0, 0.0, 0.0))
        sums[name] = (count + 1, seconds + item.seconds, roofs + roof)
    return sorted(((name, *row) for name, row in sums.items()), key=lambda row: (-row[2], row[0]))
