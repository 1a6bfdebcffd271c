"""The report of a compilation: plain JSON values, the same for the same input but for what is under ``measured``."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tcc.diagnostics import Diagnostic

if TYPE_CHECKING:
    from tcc.ir.equality import Comparison
    from tcc.ir.model import Model
    from tcc.ir.types import TensorType
    from tcc.passes.manager import Record
    from tcc.targets import Target

SCHEMA = 1
"""Raised whenever a reader of reports would have to be changed."""


@dataclass(frozen=True)
class Facts:
    """What a model is: ``bytes`` are those of its file or files, ``parameter_bytes`` those of its tensors."""

    nodes: int
    operators: Mapping[str, int]
    parameters: int
    parameter_bytes: int
    bytes: int
    opset: int
    ir_version: int
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]

    @staticmethod
    def of(model: Model, nbytes: int) -> Facts:
        """The facts of a model that takes so many bytes on disk."""
        signature = model.signature
        return Facts(
            nodes=model.node_count,
            operators=model.operator_counts,
            parameters=model.parameter_count,
            parameter_bytes=model.parameter_bytes,
            bytes=nbytes,
            opset=model.opset,
            ir_version=model.ir_version,
            inputs=dict(signature.inputs),
            outputs=dict(signature.outputs),
        )


def predicted_seconds(
    model: Model, target: Target, symbols: Mapping[str, int], known: Mapping[str, TensorType] | None = None
) -> float:
    """The latency that the roofline predicts: the sum over all kernels, those of bodies and functions once each.

    The model's values have their types where they are known (``tcc.ir.inference.annotate``); ``known`` has further
    ones by name.
    """
    from tcc.passes import _pricing  # a report that was made is shown without what prices models

    return _pricing.predicted_seconds(model, target, symbols, known)


def predicted_joules(model: Model, target: Target, symbols: Mapping[str, int]) -> float:
    """The energy of a run as ``tcc.cost_models.energy`` estimates it: it compares programs, a meter shows more."""
    from tcc.cost_models import energy
    from tcc.passes import _pricing

    return sum(_pricing.predicted_seconds(model, priced, symbols) for priced in energy.in_joules(target))


def pass_entry(record: Record, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What a pass did, without its time; ``facts`` are those of its record that are to be shown."""
    checked = record.verification
    return {
        "pass": record.text,
        "effect": record.effect.value,
        "changed": record.changed,
        "stopped": sorted(stop.value for stop in record.stops),
        "before": dataclasses.asdict(record.before),
        "after": dataclasses.asdict(record.after),
        "verification": None if checked is None else {
            "outcome": checked.outcome,
            "difference": difference_entry(checked.comparison),
            "tolerance": checked.tolerance,
            "note": checked.note,
        },
        "facts": facts,
    }  # fmt: skip


def difference_entry(comparison: Comparison | None) -> dict[str, float] | None:
    """The largest differences of a comparison; None where there was none."""
    if comparison is None:
        return None
    return {
        "absolute": comparison.largest_absolute,
        "scaled": comparison.largest_scaled,
        "elementwise": comparison.largest_relative,
    }


def diagnostic_entries(diagnostics: Sequence[Diagnostic]) -> list[dict[str, Any]]:
    """The diagnostics as plain values."""
    return [{"severity": d.severity, **dataclasses.asdict(d)} for d in diagnostics]


def plain(value: Any) -> Any:
    """The value in JSON's types: tuples as lists, numpy's scalars as Python's, what is not finite as null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value) if isinstance(value, set | frozenset) else value
        return [plain(item) for item in items]
    if hasattr(value, "item") and callable(value.item):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def text(report: Mapping[str, Any]) -> str:
    """The report as JSON, in the order in which it was made."""
    return json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
