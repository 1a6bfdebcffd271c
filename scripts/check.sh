#!/usr/bin/env bash
# Everything a change must pass, cheapest first; pytest last, so that its count closes the output.
# Tools are taken from the environment's PATH: `make test` puts the project's .venv in front.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() {
  printf '== %s\n' "$*"
  "$@"
}

step ruff check .
step ruff format --check .
step mypy
step lint-imports
# Exit code 5, "no tests collected", is a failure here like any other.
step python -m pytest -n 2 "$@"
