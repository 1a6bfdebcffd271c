"""``tcc check MODEL --target=T``: everything that the target cannot run, and what tcc would do about it."""

from __future__ import annotations

import argparse
from pathlib import Path

from tcc.commands import _arguments as arguments_
from tcc.commands._printing import Printer, write
from tcc.diagnostics import Exit

DESCRIPTION = "List every operator, type and version of a model that a target cannot run, and what tcc does about each."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="an ONNX file")
    parser.add_argument(
        "--target", default="native", metavar="T",
        help="the target: name[@stack][+feature|-feature][,key=value] (default: native)",
    )  # fmt: skip
    parser.add_argument(
        "--dim", type=arguments_.dimension, action="append", default=[], metavar="NAME=SIZE",
        help="the size of a symbolic dimension",
    )  # fmt: skip
    parser.add_argument("--layers", action="store_true", help="print where each layer would run, and in which type")
    parser.add_argument("--json", action="store_true", help="print JSON in place of text")
    parser.add_argument(
        "--diagnostics", choices=["text", "json"], default="text", help="how errors, warnings and notes are written",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Check, and print all findings; exit 4 where there is one."""
    import json

    from tcc.compiler import checking
    from tcc.targets import parse_target

    found = checking.check(arguments.model, parse_target(arguments.target), dict(arguments.dim))
    if arguments.json:
        write(json.dumps(found.entry(), indent=2, ensure_ascii=False))
    else:
        Printer(arguments.diagnostics == "json").show(f.diagnostic() for f in found.findings)
        if arguments.layers:
            write(found.layers())
        write(found.summary())
    return int(Exit.UNSUPPORTED if found.findings else Exit.DONE)
