"""Products and convolutions with a constant weight, each read as a matrix that acts on rows of its input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tcc.ir import attributes
from tcc.ir.covariance import Patches, Tap
from tcc.ir.model import tensor_type

if TYPE_CHECKING:
    import onnx_ir

WIDEST = 4096
"""The longest row whose second moments are measured."""
_IMAGE = 4
"""The rank of what windows are known of: [N, C, H, W]."""


@dataclass(frozen=True)
class Weighted:
    """A node ``y = x W`` (+ bias): ``data`` is x, ``weight`` holds W, ``groups`` is a convolution's own."""

    node: onnx_ir.Node
    data: onnx_ir.Value
    weight: onnx_ir.Value
    groups: int = 1

    @property
    def array(self) -> np.ndarray:
        """The weight as it is stored."""
        assert self.weight.const_value is not None
        return self.weight.const_value.numpy()

    @property
    def is_transposed(self) -> bool:
        """Whether the output channels come first in the stored weight."""
        transposed = self.node.attributes.get("transB")
        return self.node.op_type == "Conv" or (transposed is not None and bool(transposed.as_int()))

    def matrix(self) -> np.ndarray:
        """W as [K, N] in float64; the rows of a convolution's are (channel, kernel position)."""
        array = self.array.astype(np.float64)
        return array.reshape(len(array), -1).T if self.is_transposed else array

    def stored(self, matrix: np.ndarray) -> np.ndarray:
        """A matrix [K, N] in the shape of the stored weight."""
        made = matrix.T if self.is_transposed else matrix
        return np.ascontiguousarray(made).reshape(self.array.shape)

    @property
    def is_product(self) -> bool:
        """Whether rows lie along the last axis of the data."""
        return self.node.op_type != "Conv"

    @property
    def axis(self) -> int:
        """The axis of the data that holds the channels."""
        return -1 if self.is_product else 1

    def tap(self) -> Tap | None:
        """Where the rows are measured; None for grouped convolutions, and where the windows are not known."""
        kind = tensor_type(self.data)
        if kind is None or kind.rank is None or self.groups != 1:
            return None
        name, width = self.data.name or "", self.matrix().shape[0]
        if width > WIDEST:
            return None
        if self.is_product:
            return Tap(name, kind.rank - 1, kind.rank, width, kind.dtype)
        patches = self._patches() if kind.rank == _IMAGE else None
        return None if patches is None else Tap(name, 1, kind.rank, width, kind.dtype, patches)

    def _patches(self) -> Patches | None:
        plain = attributes.plain(self.node) or {}
        if plain.get("auto_pad", "NOTSET") not in {"NOTSET", "VALID"}:
            return None

        def integers(name: str, default: list[int]) -> tuple[int, ...]:
            return tuple(int(i) for i in plain.get(name, default))  # type: ignore[union-attr]

        return Patches(
            self.array.shape[2:], integers("strides", [1, 1]), integers("pads", [0] * 4), integers("dilations", [1, 1])
        )


def find(graph: onnx_ir.Graph) -> Iterator[Weighted]:
    """The products and convolutions of a graph with a constant, finite float32 weight, in order."""
    for node in graph:
        if node.domain or node.op_type not in {"MatMul", "Gemm", "Conv"}:
            continue
        data, weight = node.inputs[0], node.inputs[1]
        if data is None or weight is None or data.const_value is not None or weight.const_value is None:
            continue
        kind, plain = tensor_type(weight), attributes.plain(node) or {}
        if kind is None or kind.dtype != "float32" or not data.name:
            continue
        is_plain = plain.get("alpha", 1.0) == 1.0 and not plain.get("transA", 0)
        fits = (kind.rank or 0) > 2 if node.op_type == "Conv" else kind.rank == 2 and is_plain
        if fits and np.isfinite(weight.const_value.numpy()).all():
            yield Weighted(node, data, weight, int(plain.get("group", 1)))  # type: ignore[arg-type]


def axes(graph: onnx_ir.Graph) -> dict[str, tuple[int, ...]]:
    """The axes whose channels are to be told apart for what ``find`` gives: see ``calibration.observe``."""
    found: dict[str, tuple[int, ...]] = {}
    for each in find(graph):
        if each.is_product or each.groups > 1:
            found[each.data.name or ""] = tuple(sorted({*found.get(each.data.name or "", ()), each.axis}))
    return found
