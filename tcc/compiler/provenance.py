"""What a lossy model says of itself: from what, how and with what data it was compiled; no paths, no times."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

import onnx

from tcc.compiler.accuracy import LossOf
from tcc.compiler.budgets import Limit
from tcc.compiler.request import Request
from tcc.ir import digests
from tcc.ir.model import Model
from tcc.passes.manager import Outcome, Snapshot

PREFIX = "tcc."
"""Of the keys in ``metadata_props``."""


class Provenance:
    """The facts of one compilation, written into whatever of its forms is lossy.

    Args:
        request: what was asked for.
        original: the input.
        samples: calibration data; None where there is none.
        loss: knows the evaluation data.
    """

    def __init__(
        self, request: Request, original: Snapshot, samples: tuple[Mapping[str, object], ...] | None, loss: LossOf
    ) -> None:
        import tcc

        self._facts = {
            "version": tcc.__version__,
            "input": f"sha256:{_digest(original)}",
            "options": options(request),
        }
        if samples is not None:
            self._facts["calibration"] = f"sha256:{digests.of_arrays(samples)}"
        if (data := loss.evaluation) is not None:
            labelled = [*data.feeds, *({"labels": labels} for labels in data.labels)]
            self._facts["evaluation"] = f"sha256:{digests.of_arrays(labelled)}"

    def facts(self, outcome: Outcome, snapshot: Snapshot) -> dict[str, str]:
        """What is written into a form, by key; nothing into an exact one, which is what its input is."""
        if outcome.exact_form(snapshot) is None:
            return {}
        changing = [record.text for record in outcome.records if record.changed]
        pipeline = ",".join(changing[: outcome.snapshots.index(snapshot)])
        return {PREFIX + name: text for name, text in (self._facts | {"pipeline": pipeline}).items()}

    def nbytes(self, outcome: Outcome, snapshot: Snapshot) -> int:
        """How many bytes that takes in the file."""
        entries = [
            onnx.StringStringEntryProto(key=key, value=text) for key, text in self.facts(outcome, snapshot).items()
        ]
        nbytes: int = onnx.ModelProto(metadata_props=entries).ByteSize()
        return nbytes


def of(model: Model) -> dict[str, str]:
    """What a model says of itself, by name; empty where tcc did not write it, or wrote an exact form."""
    found = sorted(model.ir.metadata_props.items())
    return {key.removeprefix(PREFIX): text for key, text in found if key.startswith(PREFIX)}


def options(request: Request) -> str:
    """What was asked for, as on a command line, as far as the result depends on it."""
    limits = request.budgets
    words = [
        f"-O{request.level}" if request.level else "--passes",
        f"--target={request.target.text}",
        f"--objective={request.objective}",
        f"--max-loss={limits.loss:g}",
        *(
            f"--max-{name}={_limit(limit)}"
            for name, limit in (("size", limits.nbytes), ("latency", limits.seconds), ("memory", limits.memory))
            if limit is not None
        ),
        *(f"--dim={name}={size}" for name, size in sorted(request.symbols.items())),
        *(f"--metric={_name(request.metric)}" for _ in range(bool(request.metric))),
        *(f"--without={','.join(request.without)}" for _ in range(bool(request.without))),
        *("--no-measure" for _ in range(not request.measure)),
    ]
    return " ".join(words)


def _limit(limit: Limit) -> str:
    return f"{limit.value:g}x" if limit.relative else f"{limit.value:g}"


def _name(metric: str) -> str:
    """A metric's name without the folders of the user's."""
    file, colon, function = metric.rpartition(":")
    return f"{PurePath(file).name}{colon}{function}" if colon else metric


def _digest(original: Snapshot) -> str:
    if original.files:
        return digests.of_files(original.files)
    return digests.of_arrays([{"proto": _bytes(original.proto)}, original.weights])


def _bytes(proto: onnx.ModelProto) -> object:
    import numpy as np

    return np.frombuffer(proto.SerializeToString(deterministic=True), np.uint8)
