"""``tcc run ARTEFACT --input DATA.NPZ``: runs what was compiled, or any ONNX file."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tcc import backends
from tcc.commands._printing import columns, write
from tcc.diagnostics import Exit

DESCRIPTION = "Run an artefact of --emit, or an ONNX file, on given inputs."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("artefact", type=Path, metavar="ARTEFACT", help="the file; its suffix says what runs it")
    parser.add_argument(
        "--input", type=Path, required=True, metavar="F.NPZ", help="an .npz whose arrays carry the inputs' names"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="OUT.NPZ", help="write the outputs, by name")
    parser.add_argument(
        "--backend", choices=backends.names(), metavar="NAME",
        help=f"what runs it, in place of what the suffix says: {', '.join(backends.names())}",
    )  # fmt: skip
    parser.add_argument("--threads", type=_count, default=1, metavar="N", help="threads of the runtime (default: 1)")
    parser.add_argument("--measure", type=_count, default=0, metavar="ROUNDS", help="time that many runs")
    parser.add_argument(
        "-W", dest="warnings", action="append", default=[], metavar="error[=NAME]",
        help="make warnings errors: all, or those named: fallback",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON in place of text")
    parser.add_argument(
        "--diagnostics", choices=["text", "json"], default="text", help="how errors, warnings and notes are written",
    )  # fmt: skip


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        message = f"{text!r} is no positive number"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Run it, and tell what came out."""
    import json

    from tcc.commands._arguments import error_names
    from tcc.commands._printing import Printer
    from tcc.compiler import running, warnings

    names = error_names(arguments.warnings)
    warnings.check_names(names)
    done = running.run(
        arguments.artefact, arguments.input, arguments.output,
        backend=arguments.backend, threads=arguments.threads, rounds=arguments.measure, errors=names,
    )  # fmt: skip
    Printer(arguments.diagnostics == "json").show(done.diagnostics)
    made = done.entry()
    write(json.dumps(made, indent=2) if arguments.json else columns(_rows(made)))
    return int(Exit.DONE)


def _rows(made: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [("back end", made["backend"])]
    rows += [(name, f"{entry['dtype']}{entry['shape']} {entry['range']}") for name, entry in made["outputs"].items()]
    if made["seconds"] is not None:
        rows.append(("median latency", f"{made['seconds'] * 1e3:.4g} ms of {made['rounds']} runs"))
    if made["output"]:
        rows.append(("wrote", made["output"]))
    return rows
