"""What the tests share: where things are, and how property tests run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parent.parent

# The same examples on every run, and no deadline: the machines that run the tests are shared.
settings.register_profile("tcc", derandomize=True, deadline=None)
settings.load_profile("tcc")

# Tests compile: a result that an earlier run of them kept would test nothing.
os.environ["TCC_REUSE"] = "0"


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the source tree."""
    return REPOSITORY


@pytest.fixture(scope="session")
def digits() -> Path:
    """The folder of the digits example: ``digits.onnx`` and its data."""
    return REPOSITORY / "examples" / "digits"


@pytest.fixture(scope="session")
def zoo() -> Path:
    """The folder of pretrained models: ``TCC_ZOO``, or ``shared/zoo`` beside the source tree."""
    folder = Path(os.environ.get("TCC_ZOO") or REPOSITORY.parent / "shared" / "zoo")
    if not folder.is_dir():
        pytest.skip("the model zoo is not here; set TCC_ZOO to its folder")
    return folder
