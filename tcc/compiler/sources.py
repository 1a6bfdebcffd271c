"""Calibration samples from other places than numpy's files: ONNX test data sets, and Python functions."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from tcc.diagnostics import Diagnostic, Exit, fail

Feed = Mapping[str, Any]

FEW = 32
"""Samples below which ranges and a measured loss say little."""
_SETS = "test_data_set_*"


def test_data_sets(folder: Path) -> list[Path]:
    """The folders of an ONNX test (``test_data_set_0``, …, with ``input_0.pb``, …) in or at ``folder``, in order."""
    found = [path for path in folder.glob(_SETS) if path.is_dir()] or [folder]
    return sorted(
        (path for path in found if any(path.glob("input_*.pb"))), key=lambda path: (len(path.name), path.name)
    )


def read_test_data_set(folder: Path, names: Sequence[str]) -> Feed:
    """The inputs of one ONNX test, in the order of the model's.

    Raises:
        TccError: E0606 for a file that holds no tensor.
    """
    feed = {}
    for i, name in enumerate(names):
        path = folder / f"input_{i}.pb"
        if not path.is_file():
            continue
        try:
            feed[name] = numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))
        except Exception as error:
            advice = "an ONNX test data set holds one tensor a file, input_0.pb and on"
            raise fail(Exit.DATA, "E0606", f"cannot be read: {error}", where=str(path), help=advice) from error
    return feed


def is_function(text: str) -> bool:
    """Whether a text is ``module:function`` and no path."""
    module, _, name = text.rpartition(":")
    return bool(module) and name.isidentifier() and all(part.isidentifier() for part in module.split("."))


def call(text: str) -> list[Feed]:
    """What ``module:function`` gives: an iterable of mappings from input names to arrays, as polygraphy's loaders do.

    Raises:
        TccError: E0608 where it cannot be imported, fails, or gives anything else.
    """
    module, _, name = text.rpartition(":")
    advice = "the function takes no arguments and gives an iterable of {input name: array}"
    try:
        made = getattr(importlib.import_module(module), name)()
        feeds = list(made) if isinstance(made, Iterable) and not isinstance(made, Mapping) else [made]
    except Exception as error:
        message = f"{text} failed: {type(error).__name__}: {error}"
        raise fail(Exit.DATA, "E0608", message, help=advice) from error
    if not all(isinstance(feed, Mapping) for feed in feeds):
        raise fail(Exit.DATA, "E0608", f"{text} gives something else than mappings", help=advice)
    return [{key: np.asarray(value) for key, value in feed.items()} for feed in feeds]


def remarks(feeds: Sequence[Feed], where: str) -> list[Diagnostic]:
    """What is to be said of samples that can be used: that they are few, or that some are the same."""
    found = []
    if len(feeds) < FEW:
        message = f"{len(feeds)} samples are few: ranges and losses measured on them are uncertain"
        found.append(Diagnostic("N0602", message, where, help="100 to 500 are usual"))
    different = len({_digest(feed) for feed in feeds})
    if different < len(feeds):
        message = f"{len(feeds) - different} of {len(feeds)} samples are the same as others"
        found.append(Diagnostic("N0603", message, where, help="copies say nothing new"))
    return found


def _digest(feed: Feed) -> str:
    digest = hashlib.sha256()
    for name in sorted(feed):
        array = np.asarray(feed[name])
        digest.update(f"{name}{array.dtype}{array.shape}".encode())
        digest.update(repr(array.tolist()).encode() if array.dtype.kind == "O" else np.ascontiguousarray(array).data)
    return digest.hexdigest()
