"""Labelled data and the task's own metric: how good a model is at what it is for, sample by sample."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tcc.compiler import data
from tcc.diagnostics import Exit, TccError, fail
from tcc.ir.model import Model

Array = np.ndarray[Any, Any]
Metric = Callable[[list[Any], Any], Any]

LABELS = "labels"
"""The array of an evaluation file that is no input of the model."""
_IGNORED = -100
"""The label that frameworks give to positions which do not count."""


@dataclass(frozen=True)
class Evaluation:
    """Data to judge models on.

    Args:
        feeds: one mapping for each run of the model.
        labels: for each run, what the metric compares with; empty where there are none.
        metric: ``metric(outputs, labels)`` gives the scores of one run's samples, higher is better.
        name: what the metric is called.
    """

    feeds: tuple[Mapping[str, Any], ...]
    labels: tuple[Any, ...]
    metric: Metric | None
    name: str

    def __getstate__(self) -> dict[str, Any]:
        """What another process gets: the metric's name, for a function of a file of the user's cannot be sent."""
        return self.__dict__ | {"metric": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the metric by its name."""
        named = state["name"]
        self.__dict__.update(state, metric=None if not named else top1 if named == "top1" else _function(named))

    def scores(self, outputs: Sequence[list[Any]]) -> Array:
        """The scores of all samples [samples] from one list of outputs a run.

        Raises:
            TccError: exit DATA where the metric fails or gives what are no scores.
        """
        assert self.metric is not None
        labels = self.labels or (None,) * len(self.feeds)
        scored = [self._score(run, label) for run, label in zip(outputs, labels, strict=True)]
        return np.concatenate(scored) if scored else np.zeros(0)

    def _score(self, run: list[Any], label: Any) -> Array:
        assert self.metric is not None
        try:
            found = np.asarray(self.metric(run, label), dtype=np.float64).reshape(-1)
        except TccError:
            raise
        except Exception as error:
            message = f"metric {self.name} failed: {type(error).__name__}: {error}"
            raise fail(Exit.DATA, "E0611", message, help="it takes (outputs, labels) of one run") from error
        if not np.isfinite(found).all():
            message = f"metric {self.name} gave scores that are not finite"
            raise fail(Exit.DATA, "E0611", message, help="a score is a number, higher is better")
        return found


def read(source: str | Path | Mapping[str, Any], model: Model, metric: str = "") -> Evaluation:
    """The evaluation data of ``source``, checked against the model's inputs.

    Args:
        source: an ``.npz``, or such arrays by name: one array an input, the first axis counts the samples, and
            ``labels`` beside them, unless the metric needs none.
        model: whose inputs they are.
        metric: ``top1`` (the default where there are labels), or ``module:function`` or ``file.py:function`` of
            a function as ``Evaluation.metric`` is.

    Raises:
        TccError: as ``tcc.compiler.data.read`` does; E0610 for labels that do not fit, E0611 for a bad metric.
    """
    arrays = _arrays(source)
    labels = arrays.get(LABELS)
    feeds = data.read({name: array for name, array in arrays.items() if name != LABELS}, model).feeds
    if labels is None:
        chosen = None if metric in ("", "top1") else _function(metric)
        if metric == "top1":
            advice = f"put an array {LABELS!r} beside the inputs"
            raise fail(Exit.DATA, "E0610", "there are no labels", where=_where(source), help=advice)
        return Evaluation(feeds, (), chosen, metric)
    if not feeds or len(labels) % len(feeds):
        message = f"there are {len(labels)} labels for {len(feeds)} runs of the model"
        raise fail(Exit.DATA, "E0610", message, where=_where(source), help="give one label a sample")
    each = len(labels) // len(feeds)
    split = tuple(labels[i * each : (i + 1) * each] for i in range(len(feeds)))
    return Evaluation(feeds, split, top1 if metric in ("", "top1") else _function(metric), metric or "top1")


def top1(outputs: list[Any], labels: Any) -> Array:
    """1 for each prediction (the first output's largest class, along its last axis) that is the label, else 0.

    Labels of -100 do not count, as in PyTorch's losses.

    Raises:
        TccError: E0610 where there are not as many predictions as labels.
    """
    predicted, wanted = np.asarray(outputs[0]).argmax(-1).reshape(-1), np.asarray(labels).reshape(-1)
    if predicted.shape != wanted.shape:
        message = f"the first output holds {predicted.size} predictions for {wanted.size} labels"
        advice = "its last axis should be the classes; give another metric with --metric module:function"
        raise fail(Exit.DATA, "E0610", message, help=advice)
    counted = wanted != _IGNORED
    return np.asarray(predicted[counted] == wanted[counted], dtype=np.float64)


def _arrays(source: str | Path | Mapping[str, Any]) -> Mapping[str, Array]:
    if isinstance(source, Mapping):
        return {name: np.asarray(value) for name, value in source.items()}
    path = Path(source)
    if not path.is_file():
        advice = f"give an .npz with one array an input, and {LABELS!r}"
        raise fail(Exit.DATA, "E0607", "no such file", where=str(path), help=advice)
    loaded = data.load(path)
    if not isinstance(loaded, dict):
        advice = "write it with numpy.savez from plain arrays"
        raise fail(Exit.DATA, "E0606", "cannot be read: it is a single array", where=str(path), help=advice)
    return {name: np.asarray(array) for name, array in loaded.items()}


def _function(text: str) -> Metric:
    """The function that ``module:function`` or ``file.py:function`` names."""
    module, _, name = text.rpartition(":")
    advice = "write top1, module:function or file.py:function"
    if not module or not name.isidentifier():
        raise fail(Exit.USAGE, "E0240", f"{text!r} is no metric", help=advice)
    try:
        loaded = _file_module(Path(module)) if module.endswith(".py") else importlib.import_module(module)
        found = getattr(loaded, name)
    except Exception as error:
        message = f"metric {text} cannot be loaded: {type(error).__name__}: {error}"
        raise fail(Exit.USAGE, "E0240", message, help=advice) from error
    if not callable(found):
        raise fail(Exit.USAGE, "E0240", f"metric {text} is no function", help=advice)
    made: Metric = found
    return made


def _file_module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        message = f"there is no file {path}"
        raise ImportError(message)
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made  # as import does: dataclasses look themselves up there
    spec.loader.exec_module(made)
    return made


def _where(source: str | Path | Mapping[str, Any]) -> str:
    return "<evaluation data>" if isinstance(source, Mapping) else str(source)
