"""``tcc rules``: what the simplifier rewrites by."""

from __future__ import annotations

import argparse
import difflib

from tcc.commands._printing import columns, write
from tcc.diagnostics import Exit, fail

DESCRIPTION = "List the rewrite rules, or tell all about one."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="a rule")


def run(arguments: argparse.Namespace) -> int:
    """Print the list, or one rule's algebra and source."""
    from tcc.rewrites import rules

    known = {rule.name: rule for rule in rules()}
    if arguments.name is None:
        write(columns((rule.name, f"{rule.equality.value}: {rule.algebra}") for rule in known.values()))
        return int(Exit.DONE)
    if arguments.name not in known:
        close = difflib.get_close_matches(arguments.name, known, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise fail(Exit.USAGE, "E0241", f"unknown rule {arguments.name!r}", help=f"{hint}tcc rules lists them")
    rule = known[arguments.name]
    write(columns([
        ("name", rule.name), ("equality", rule.equality.value), ("algebra", rule.algebra), ("source", rule.source),
        ("group", rule.group), ("needs", "; ".join(" or ".join(sorted(group)) for group in rule.needs)),
        ("opsets", f"{rule.first_opset} to {rule.last_opset}"),
    ]))  # fmt: skip
    return int(Exit.DONE)
