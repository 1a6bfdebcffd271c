"""The generated references say what the code says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_references_are_current(repository: Path) -> None:
    command = [sys.executable, str(repository / "scripts/reference.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
