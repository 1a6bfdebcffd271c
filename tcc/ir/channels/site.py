"""A node as the rules see it: its operands' sizes, and the numbers that say where data goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Sizes:
    """What is known of a graph's values.

    ``shapes`` are those of one run; ``fixed`` holds integers (shapes, starts, axes) that are the same on every run that
    was tried, and what the constants hold.
    """

    shapes: Mapping[onnx_ir.Value, Shape]
    fixed: Mapping[onnx_ir.Value, np.ndarray]


@dataclass(frozen=True)
class Site:
    """One node and the sizes around it."""

    node: onnx_ir.Node
    sizes: Sizes
    opset: int

    def input(self, i: int) -> onnx_ir.Value | None:
        """The value of an input; None where it is absent."""
        return self.node.inputs[i] if i < len(self.node.inputs) else None

    def output(self, i: int = 0) -> onnx_ir.Value | None:
        """The value of an output; None where it is absent."""
        found = self.node.outputs[i] if i < len(self.node.outputs) else None
        return found if found is not None and found.name else None

    def port(self, port: int) -> onnx_ir.Value | None:
        """The value of an input, or of output ``~port``."""
        return self.input(port) if port >= 0 else self.output(~port)

    def port_shape(self, port: int) -> Shape | None:
        """The shape of an input, or of output ``~port``."""
        value = self.port(port)
        return None if value is None else self.sizes.shapes.get(value)

    def shape(self, i: int = 0) -> Shape | None:
        """The shape of an input."""
        return self.port_shape(i)

    def shape_out(self, i: int = 0) -> Shape | None:
        """The shape of an output."""
        return self.port_shape(~i)

    def fixed(self, i: int) -> np.ndarray | None:
        """The integers of an input, where they are the same on every run."""
        value = self.input(i)
        return None if value is None else self.sizes.fixed.get(value)

    def attribute(self, name: str, default: Any = None) -> Any:
        """The value of an attribute."""
        found = self.node.attributes.get(name)
        if found is None or found.is_ref():
            return default
        return list(found.value) if isinstance(found.value, tuple | list) else found.value

    def integers(self, attribute: str, i: int) -> list[int] | None:
        """Integers that older operator sets keep in an attribute and newer ones in input ``i``.

        An absent one is []; None where they are not the same on every run.
        """
        if (found := self.attribute(attribute)) is not None:
            return [int(n) for n in found]
        if self.input(i) is None:
            return []
        values = self.fixed(i)
        return None if values is None else [int(n) for n in values.reshape(-1)]
