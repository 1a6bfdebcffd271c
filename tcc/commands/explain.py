"""``tcc explain OUT NODE``: which passes and rules made a node of a compiled model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcc.commands._printing import columns, write
from tcc.diagnostics import Exit

if TYPE_CHECKING:
    from collections.abc import Mapping

DESCRIPTION = """\
Tell which passes and rules made a node of a compiled model, and of which nodes of the input; or what became of a node
of the input. Reads the report that was written with the model.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("model", type=Path, metavar="OUT", help="what tcc wrote")
    parser.add_argument("node", nargs="?", metavar="NODE", help="a node, or a value that it computes; all without it")
    parser.add_argument(
        "--report", type=Path, metavar="R.JSON", help="the report of its compilation (default: beside OUT, as .json)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON in place of text")
    parser.add_argument(
        "--diagnostics", choices=["text", "json"], default="text", help="how errors, warnings and notes are written",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Print what is known of one node, or a line for each."""
    import json

    from tcc.compiler import explaining

    found = explaining.load(arguments.model, arguments.report)
    if arguments.node is None:
        every = found.nodes()
        write(json.dumps(every, ensure_ascii=False) if arguments.json else _table(every))
        return int(Exit.DONE)
    entry = found.node(arguments.node)
    write(json.dumps(entry, ensure_ascii=False) if arguments.json else "\n".join(explaining.lines(entry, _algebra())))
    return int(Exit.DONE)


def _table(every: Mapping[str, Mapping[str, Any]]) -> str:
    return columns(
        (f"{name} [{entry['operator']}]", "; ".join(map(_step, entry["steps"])) or "as in the input")
        for name, entry in every.items()
    )


def _step(step: Mapping[str, Any]) -> str:
    return f"{step['pass']}: {', '.join(step['rules'])}" if step["rules"] else str(step["pass"])


def _algebra() -> dict[str, str]:
    from tcc.rewrites import rules, siblings

    return {rule.name: f"{rule.algebra} ({rule.source})" for rule in rules()} | {
        "siblings": f"{siblings.ALGEBRA} ({siblings.SOURCE})"
    }
