# tcc: the project's commands. Each needs Python 3.11 or newer and, the first time, the package index.

.DELETE_ON_ERROR:
.PHONY: help demo test corpus bench clean

# The first interpreter that is new enough and can make environments; `make PYTHON=...` overrides.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	if $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
	then echo $$p; break; fi; done)

VENV := .venv
BIN := $(VENV)/bin
# Rewritten when pyproject.toml changes, which rebuilds the environment.
STAMP := $(VENV)/.stamp
BENCH_STAMP := $(VENV)/.stamp-bench
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

DIGITS := examples/digits

help:
	@echo 'make demo    compile the sample model, print it before and after, and where the report is'
	@echo 'make test    lint, format, types, import contracts and tests'
	@echo 'make corpus  run the compiler over the model corpus'
	@echo 'make bench   compare with other simplifiers'
	@echo 'make clean   remove the environment and what the commands wrote'

$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo 'make: no Python 3.11 or newer with venv found; try make PYTHON=/path/to/python3.11' >&2; exit 1; }
	@echo '== building $(VENV) with $(PYTHON)'
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PIP) --editable '.[dev]'
	@touch $@

$(BENCH_STAMP): $(STAMP)
	@$(PIP) --editable '.[dev,bench]'
	@touch $@

demo: $(STAMP)
	@mkdir -p build
	$(BIN)/tcc $(DIGITS)/digits.onnx -O2 --target=native -o build/digits.o2.onnx --report build/digits.o2.json
	$(BIN)/tcc $(DIGITS)/digits.onnx -O3 --target=native --calib $(DIGITS)/digits_calib.npz \
		-o build/digits.o3.onnx --report build/digits.o3.json
	@echo
	@$(BIN)/python $(DIGITS)/evaluate.py $(DIGITS)/digits.onnx build/digits.o2.onnx build/digits.o3.onnx
	@echo
	@echo 'reports: $(CURDIR)/build/digits.o2.json'
	@echo '         $(CURDIR)/build/digits.o3.json'

test: $(STAMP)
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/check.sh

corpus: $(STAMP)
	$(BIN)/python -m benchmarks.corpus

bench: $(BENCH_STAMP)
	$(BIN)/python benchmarks/bench.py

clean:
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
