"""The zoo's metrics as ``--metric`` takes them: ``benchmarks.judged:<case>`` is the metric of that case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks import models

Metric = Callable[[list[Any], Any], Any]


def __getattr__(name: str) -> Metric:
    """The metric of a case, of all outputs and the labels of one run."""
    try:
        metric = models.zoo_case(name).metric
    except (KeyError, FileNotFoundError, AttributeError) as error:
        raise AttributeError(name) from error
    return lambda outputs, labels: metric(outputs[0], labels)
