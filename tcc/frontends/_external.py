"""Finds the files that hold a model's external data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from onnx import AttributeProto, ModelProto, TensorProto
from onnx.external_data_helper import ExternalDataInfo

from tcc.diagnostics import Diagnostic
from tcc.ir import structure


@dataclass
class Search:
    """Looks for external data beside a model.

    A model in a download cache is often a link, and its data a link of its own beside it: each one is followed.
    """

    source: str
    path: Path | None
    files: dict[Path, None] = field(default_factory=dict)
    """The files that were named: ordered, each once."""
    problems: list[Diagnostic] = field(default_factory=list)

    def resolve(self, proto: ModelProto, taken: frozenset[str]) -> None:
        """Make the locations of top-level initialisers absolute, and read everything else into the message.

        Args:
            proto: changed in place.
            taken: initialisers whose weights were taken out of the message and are no files.
        """
        for tensor in proto.graph.initializer:
            if tensor.data_location == TensorProto.EXTERNAL and tensor.name not in taken:
                self._locate(tensor)
        for tensor in _nested(proto):
            if tensor.data_location == TensorProto.EXTERNAL and (file := self._locate(tensor)) is not None:
                self._read(tensor, file)

    def _locate(self, tensor: TensorProto) -> Path | None:
        entry = next((e for e in tensor.external_data if e.key == "location"), None)
        location = "" if entry is None else entry.value
        if entry is None or not _stays_inside(location):
            message = f"the external data of {tensor.name!r} is outside the model's folder: {location!r}"
            advice = "put the data file beside the model, and name it by a relative path"
            self.problems.append(Diagnostic("E0322", message, self.source, help=advice))
            return None
        folder = Path.cwd() if self.path is None else self.path.absolute().parent
        file = (folder / location).resolve()
        self.files[file] = None
        entry.value = str(file)
        return file

    def _read(self, tensor: TensorProto, file: Path) -> None:
        place = ExternalDataInfo(tensor)
        try:
            with file.open("rb") as stream:
                stream.seek(place.offset or 0)
                data = stream.read(-1 if place.length is None else place.length)
        except OSError as error:
            message = f"external data file is missing: {file} ({error.strerror})"
            advice = "copy the data file beside the model"
            self.problems.append(Diagnostic("E0320", message, self.source, help=advice))
            return
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
        tensor.raw_data = data


def _nested(proto: ModelProto) -> Iterator[TensorProto]:
    """Every tensor but the top graph's initialisers."""
    for graph in structure.all_graphs(proto):
        if graph is not proto.graph:
            yield from graph.initializer
    for node in structure.all_nodes(proto):
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                yield attribute.t
            yield from attribute.tensors


def _stays_inside(location: str) -> bool:
    """Whether a location is below the model's folder; a model must not name any other file of the user's."""
    pure = PurePath(location)
    return bool(location) and not pure.is_absolute() and ".." not in pure.parts
