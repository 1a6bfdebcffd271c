"""Judges the equalities of a file and prints a line for each; ``--write`` keeps the result for the reference."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from tests.equalities import records
from tests.equalities.expressions import MalformedError, read
from tests.equalities.judging import Judgement, judge

_EPILOG = "A line of FILE is a name and two expressions, separated by tabs; tests/equalities/taso.tsv is an example."


def main(arguments: list[str] | None = None) -> int:
    """Judge; 0 if every claim got a verdict, 1 if one is neither proved nor refuted, 2 if the file cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m tests.equalities", description=__doc__, epilog=_EPILOG)
    parser.add_argument("file", type=Path, metavar="FILE", help="tab-separated claims")
    parser.add_argument("--write", type=Path, metavar="JSON", help="write the judgements to this file")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress on the standard error stream")
    options = parser.parse_args(arguments)
    try:
        claims = read(options.file)
    except (OSError, UnicodeDecodeError, MalformedError) as error:
        sys.stderr.write(f"{parser.prog}: error: {error}\n")
        return 2
    found = judge(claims, _nothing if options.quiet else _progress)
    for one in found:
        sys.stdout.write(f"{one.claim.name}\t{one.verdict}\t{records.reason(one)}\n")
    counts = Counter(one.verdict for one in found)
    sys.stdout.write(f"{len(found)} claims: {', '.join(f'{n} {name}' for name, n in sorted(counts.items()))}\n")
    if options.write:
        records.write(options.write, found)
    return int(any(one.verdict == "unproven" for one in found))


def _nothing(_line: str) -> None:
    pass


def _progress(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())


__all__ = ["Judgement", "main"]
