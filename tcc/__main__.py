"""Runs the command line: ``python -m tcc``."""

from __future__ import annotations

import sys

from tcc.cli import main

sys.exit(main())
