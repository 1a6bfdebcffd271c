"""Reads onnx-graphsurgeon graphs, so that surgeon scripts slot in before a compilation."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tcc.ir.model import Model

SOURCE = "an onnx_graphsurgeon.Graph"


def accepts(source: object) -> bool:
    """Whether the source is a graph of that library, told by its module's name so that nothing is imported."""
    return type(source).__module__.split(".")[0] == "onnx_graphsurgeon" and type(source).__name__ == "Graph"


def load(source: object) -> Model:
    """Export the graph and read that; the graph is left as it is."""
    import onnx_graphsurgeon

    from tcc.frontends import _finish, _protobuf

    assert isinstance(source, onnx_graphsurgeon.Graph)
    proto = onnx_graphsurgeon.export_onnx(source, do_type_check=False)
    return _finish.finish(*_protobuf.strip(proto), source=f"<gs.Graph {source.name}>")
