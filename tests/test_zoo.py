"""The zoo of pretrained models at -O0, -O1 and -O2; `python -m benchmarks.zoo` judges all evaluation samples."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import models, zoo
from tests.corpus_support import require

_SAMPLES = 40
_NAMES = [entry.name for entry in models.entries(("zoo",))]

_COMPILE = """
import hashlib, sys, tcc
print(hashlib.sha256(tcc.compile(sys.argv[1], int(sys.argv[2])).to_proto().SerializeToString()).hexdigest())
"""


@pytest.mark.parametrize("level", ["0", "1", "2"])
@pytest.mark.parametrize("name", _NAMES or ["none"])
def test_outputs_scores_and_sizes(name: str, level: str) -> None:
    require("zoo")
    (row,) = zoo.evaluate(name, [level], _SAMPLES)
    assert row["failures"] == []
    assert row["before"] == row["after"]
    assert row["samples"] >= 16


def test_all_cases_are_here() -> None:
    require("zoo")
    assert len(_NAMES) == 11


@pytest.mark.parametrize(
    ("name", "level"), [("mnist_cntk_cnn", 1), ("ultraface_rfb320", 2), ("llama_aidreams_282k", 2)]
)
def test_the_same_bytes_under_another_hash_seed(name: str, level: int) -> None:
    require("zoo")
    path = str(models.file(models.Entry("zoo", name), Path()))
    digests = set()
    for seed in ("1", "2718"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": seed[0]}
        command = [sys.executable, "-c", _COMPILE, path, str(level)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        digests.add(done.stdout.strip())
    assert len(digests) == 1
    assert len(digests.pop()) == hashlib.sha256().digest_size * 2
