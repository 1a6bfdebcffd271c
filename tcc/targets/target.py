"""What tcc knows about the machine a model is compiled for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

V = TypeVar("V")


class FrozenMapping(Mapping[str, V]):
    """A mapping that cannot change, so that a frozen dataclass that holds it can be hashed and pickled."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, V] | Iterable[tuple[str, V]] = ()) -> None:
        self._items = dict(items)

    def __getitem__(self, key: str) -> V:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)


@dataclass(frozen=True)
class Cache:
    """One level of the memory hierarchy above main memory: its size in bytes, as one core (or SM) sees it."""

    name: str
    nbytes: int


@dataclass(frozen=True)
class Quantization:
    """The recipe that the target's runtime turns into integer kernels; any other is computed in floating point.

    ``activation`` and ``weight`` are element types; ``symmetric`` says that zero points must be 0;
    ``reduced_range`` that products of full-range values saturate, so weights keep to 7 bits;
    ``quantized_bias`` that a bias may come as int32 through a DequantizeLinear; ``operators`` are those
    worth quantising.
    """

    activation: str
    weight: str
    per_channel: bool
    symmetric: bool
    reduced_range: bool
    quantized_bias: bool
    operators: tuple[str, ...]


@dataclass(frozen=True)
class Vectors:
    """The registers that kernels compute in: ``lanes`` float32 elements each, ``registers`` of them.

    ``dot`` is LLVM's name of the feature that adds up products of bytes, empty where there is none.
    """

    lanes: int
    registers: int
    dot: str = ""


@dataclass(frozen=True)
class Target:
    """A machine with its software stack.

    ``peak`` is in operations per second by element type, where one multiply-accumulate is two operations;
    ``bandwidth`` in bytes per second; ``launch_overhead`` in seconds per kernel; ``memory`` and the caches
    in bytes; ``alignment`` in elements, the multiple of channels that fills the vector lanes.
    ``single_thread`` is the part of the peak that one thread reaches (1 on a GPU).
    ``illegal_operators`` are names, those of other domains as ``domain::name``; ``name:type`` is illegal with a tensor
    of that element type only.
    ``composed`` says of operators for which the runtime has no kernel of its own how many others it runs instead.
    ``storage`` lists types in which a weight may lie that the runtime computes back once, when it loads the model.
    ``vectors`` are a processor's registers, None where they are not known: what compilers tile kernels for.
    ``text`` is the spelling that gives this target again; ``sources`` says where each block of numbers is from.
    """

    name: str
    text: str
    description: str
    kind: str
    processor: str
    threads: int
    single_thread: float
    peak: FrozenMapping[float]
    bandwidth: float
    launch_overhead: float
    memory: int
    caches: tuple[Cache, ...]
    alignment: int
    domains: frozenset[str]
    illegal_operators: frozenset[str]
    dtypes: frozenset[str]
    max_opset: int
    max_ir_version: int
    quantization: Quantization
    backends: tuple[str, ...]
    stack: str = ""
    power: str = ""
    features: tuple[str, ...] = ()
    composed: FrozenMapping[int] = field(default=FrozenMapping())
    storage: frozenset[str] = frozenset()
    vectors: Vectors | None = None
    notes: tuple[str, ...] = field(default=(), compare=False)
    sources: FrozenMapping[str] = field(default=FrozenMapping(), compare=False, repr=False)

    @property
    def float16(self) -> bool:
        """Whether half precision is computed natively, so that a conversion to it can pay."""
        return "float16" in self.peak

    def avoids(self, operator: str) -> bool:
        """Whether an operator of the default domain is illegal, if only with some element type."""
        return operator in self._avoided

    @cached_property
    def _avoided(self) -> frozenset[str]:
        return frozenset(name.partition(":")[0] for name in self.illegal_operators)

    def legality(self, domain: str, operator: str, dtypes: Iterable[str]) -> str | None:
        """Why a node is not legal here, or None where it is; ``dtypes`` are those of its inputs and outputs."""
        domain = "" if domain == "ai.onnx" else domain
        if domain not in self.domains:
            legal = ", ".join(repr(d or "ai.onnx") for d in sorted(self.domains))
            return f"operator domain {domain!r} is not supported on {self.name} (supported: {legal})"
        name = f"{domain}::{operator}" if domain else operator
        if name in self.illegal_operators:
            return f"operator {name} is not supported on {self.name}"
        dtypes = sorted(dtypes)
        if kind := next((dtype for dtype in dtypes if f"{name}:{dtype}" in self.illegal_operators), ""):
            return f"operator {name} is not supported in {kind} on {self.name}"
        illegal = sorted(set(dtypes) - self.dtypes)
        if illegal:
            legal = ", ".join(sorted(self.dtypes))
            return f"element type {', '.join(illegal)} is not supported on {self.name} (supported: {legal})"
        return None
