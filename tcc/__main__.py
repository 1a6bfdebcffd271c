"""Runs the command line: ``python -m tcc``."""

from __future__ import annotations

import sys

from tcc.cli import main

if __name__ == "__main__":
    sys.exit(main())
