"""Runs the benchmarks that compare: other simplifiers, latency, the zoo's scores, ONNX's node tests."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from benchmarks import conformance, latency, simplifiers, zoo

_ALL = {"simplifiers": simplifiers.main, "latency": latency.main, "zoo": zoo.main, "conformance": conformance.main}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the named benchmarks with their defaults, all without names; 1 where one of them fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*_ALL, []], metavar="NAME", help=f"of {', '.join(_ALL)}")
    failed = []
    for name in parser.parse_args(argv).names or _ALL:
        print(f"== {name}", flush=True)
        if _ALL[name]([]):
            failed.append(name)
    print(f"== failed: {', '.join(failed)}" if failed else "== all passed")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
