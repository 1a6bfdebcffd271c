"""``tcc groups MODEL``: which channels go together, and what cannot shrink and why."""

from __future__ import annotations

import argparse

from tcc.commands import _arguments as arguments_
from tcc.commands._printing import Printer, write
from tcc.diagnostics import Exit

DESCRIPTION = """\
List the channel groups of a model: the slices of weights and values that pruning removes together, one unit at a time,
and the axes that cannot shrink, with the reason.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    arguments_.add_model_on_inputs(parser)
    for name, meaning in (("ignore", "what must stay"), ("only", "what may go; all without any")):
        parser.add_argument(
            f"--{name}", default="", metavar="PATTERNS",
            help=f"{meaning}: globs over names of nodes and weights, re:EXPRESSION, op:OPERATOR, separated by blanks",
        )  # fmt: skip
    parser.add_argument("--slices", action="store_true", help="print every slice of every group")
    parser.add_argument("--json", action="store_true", help="print JSON in place of text: every index with its unit")
    parser.add_argument(
        "--diagnostics", choices=["text", "json"], default="text", help="how errors, warnings and notes are written",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Find and print the groups."""
    import json

    from tcc.compiler import grouping

    found = grouping.groups(
        arguments.model, arguments.inputs, dict(arguments.dim), arguments.ignore, arguments.only
    )  # fmt: skip
    Printer(arguments.diagnostics == "json").show(found.notes)
    write(json.dumps(found.entry(), ensure_ascii=False) if arguments.json else found.text(slices=arguments.slices))
    return int(Exit.DONE)
