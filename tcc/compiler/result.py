"""What a compilation or a run of passes hands back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcc.diagnostics import Diagnostic
from tcc.ir import saving
from tcc.ir.model import Model
from tcc.passes.manager import Record

if TYPE_CHECKING:
    import onnx
    import onnx_graphsurgeon
    import onnx_ir


@dataclass(frozen=True)
class Result:
    """A model and how it came about.

    Args:
        model: the result.
        records: what each pass did.
        diagnostics: warnings and notes, none of them printed.
        report: the report of a compilation, plain JSON values; empty for a run of passes.
        files: what a compilation wrote; empty where no output was asked for.
        verbatim: the input's own file, where that is the result.
        read: the files that the input was read from.
    """

    model: Model
    records: tuple[Record, ...]
    diagnostics: tuple[Diagnostic, ...]
    report: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    verbatim: Path | None = None
    read: tuple[Path, ...] = ()

    def save(self, path: str | Path, *, external_data: bool | None = None) -> tuple[Path, ...]:
        """Write the model atomically and return the files written; see ``Model.save``, which raises the same."""
        if self.verbatim is None or external_data:
            return self.model.save(path, external_data=external_data)
        with saving.replacing(Path(path)) as stream:
            stream.write(self.verbatim.read_bytes())
        return (Path(path),)

    def to_proto(self) -> onnx.ModelProto:
        """The model as protobuf, all weights inside."""
        return self.model.to_proto()

    def to_ir(self) -> onnx_ir.Model:
        """The model as an onnx-ir model of the caller's own; its immutable tensors are shared."""
        return self.model.clone().ir

    def to_gs(self) -> onnx_graphsurgeon.Graph:
        """The model as an onnx-graphsurgeon graph."""
        return self.model.to_gs()
