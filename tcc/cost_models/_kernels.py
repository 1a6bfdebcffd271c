"""What a back end runs: one kernel with its operands' types, named alike wherever it comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tcc.ir.facts import kind_text, parse_kind
from tcc.ir.types import TensorType


@dataclass(frozen=True)
class Kernel:
    """One kernel of a back end's own graph, after its fusions.

    ``attributes`` is canonical JSON; absent operands are None; ``constant`` says which inputs are weights.
    """

    operator: str
    domain: str
    attributes: str
    inputs: tuple[TensorType | None, ...]
    outputs: tuple[TensorType | None, ...]
    constant: tuple[bool, ...]

    @property
    def plain(self) -> Mapping[str, Any]:
        """The attributes as values."""
        values: dict[str, Any] = json.loads(self.attributes)
        return values

    @property
    def text(self) -> str:
        """The kernel as one line, the key of what has been measured."""
        operands = [[kind_text(kind) for kind in kinds] for kinds in (self.inputs, self.outputs)]
        flags = "".join("c" if flag else "-" for flag in self.constant)
        return json.dumps([self.domain, self.operator, self.attributes, *operands, flags], separators=(",", ":"))

    @staticmethod
    def parse(text: str) -> Kernel:
        """The inverse of ``text``."""
        domain, operator, attributes, inputs, outputs, flags = json.loads(text)
        read = [tuple(parse_kind(kind) for kind in kinds) for kinds in (inputs, outputs)]
        return Kernel(operator, domain, attributes, read[0], read[1], tuple(flag == "c" for flag in flags))


@dataclass(frozen=True)
class Timed:
    """A kernel of a graph with its node's name, and the seconds that a run of it took."""

    kernel: Kernel
    name: str
    seconds: float
    runs: int
