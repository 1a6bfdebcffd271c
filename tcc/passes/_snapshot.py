"""A model as it was at one moment: passes may edit the model itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from tcc.ir import storage
from tcc.ir.execution import Runner
from tcc.ir.model import Model, Signature

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The protobuf without its large weights, and these, shared with the model: tensors are never written into.

    ``label`` is the text of the pass after which it was taken, empty for the original.
    """

    proto: onnx.ModelProto
    weights: Mapping[str, np.ndarray[Any, Any]]
    signature: Signature
    source: str
    files: tuple[Path, ...]
    label: str

    @staticmethod
    def of(model: Model, label: str = "") -> Snapshot:
        """The model as it is now; its weights are not copied."""
        proto, weights = model.stripped_proto()
        return Snapshot(proto, weights, model.signature, model.source, model.files, label)

    def model(self) -> Model:
        """The model, put together again."""
        proto = onnx.ModelProto()
        proto.CopyFrom(self.proto)
        return Model(storage.assemble(proto, dict(self.weights)), self.source, files=self.files)

    def runner(self, *, optimise: bool = False) -> Runner:
        """A session of it; raises what ``Runner`` raises."""
        return Runner(self.proto, weights=self.weights, optimise=optimise)

    def computes_what(self, other: Snapshot) -> bool:
        """Whether it is the same program as another one: the same nodes, constants and functions, bit for bit."""
        return (
            all(_part(self.proto, name) == _part(other.proto, name) for name in ("opset_import", "functions"))
            and all(_part(self.proto.graph, n) == _part(other.proto.graph, n) for n in _PROGRAM)
            and self.weights.keys() == other.weights.keys()
            and all(_same(array, other.weights[name]) for name, array in self.weights.items())
        )


_PROGRAM = ("input", "initializer", "sparse_initializer", "node", "output")


def _part(message: onnx.ModelProto | onnx.GraphProto, name: str) -> list[Any]:
    return list(getattr(message, name))


def _same(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    return (a.dtype, a.shape) == (b.dtype, b.shape) and (a is b or a.tobytes() == b.tobytes())
