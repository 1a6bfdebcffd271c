"""A regressor between what was measured: the part of the roofline that kernels reach, with its uncertainty."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tcc.cost_models._database import Entry
from tcc.cost_models._kernels import Kernel
from tcc.diagnostics import Exit, fail

if TYPE_CHECKING:
    import numpy as np

    from tcc.cost_models.roofline import Roofline
    from tcc.ir.types import TensorType

FEWEST = 64
"""Kernels below which nothing is learned."""
_TREES = 60
_SHOWN = 4
"""Dimensions of each operand that are features."""


@dataclass(frozen=True)
class Estimate:
    """Seconds of a kernel, the middle 80 % of what the trees say, and where it comes from."""

    seconds: float
    low: float
    high: float
    source: str


class Learned:
    """Extremely randomised trees (Geurts et al., 2006) on log(measured / roofline), a kernel a sample.

    The same measurements give the same predictions.

    Raises:
        TccError: exit USAGE where scikit-learn is not installed, exit DATA where too little was measured.
    """

    def __init__(self, measured: Mapping[Kernel, Entry], roofline: Roofline) -> None:
        try:
            from sklearn.ensemble import ExtraTreesRegressor
        except ImportError as error:
            raise fail(Exit.USAGE, "E0242", "learning from measurements needs scikit-learn",
                       help="pip install 'tensorcompress[learned]'") from error  # fmt: skip
        import numpy as np

        if len(measured) < FEWEST:
            message = f"{len(measured)} kernels were measured on this machine, {FEWEST} are needed to learn from"
            raise fail(Exit.DATA, "E0621", message, help="measure more with tcc profile MODEL")
        self._roofline = roofline
        kernels = sorted(measured, key=lambda kernel: kernel.text)
        names = sorted({kind_of(kernel) for kernel in kernels})
        self._places = {name: i for i, name in enumerate(names)}
        roofs = np.array([self._roof(kernel) for kernel in kernels])
        times = np.array([measured[kernel].seconds for kernel in kernels])
        self._trees: Any = ExtraTreesRegressor(_TREES, min_samples_leaf=2, max_features=0.4, random_state=0)
        # What takes long counts for somewhat more: the time of a model is a sum, but models differ in length.
        self._trees.fit(self._rows(kernels), np.log(times / roofs), sample_weight=times**0.25)

    def estimate(self, kernels: Sequence[Kernel]) -> list[Estimate]:
        """What kernels take, in their order."""
        import numpy as np

        if not kernels:
            return []
        rows = self._rows(kernels)
        said = np.array([tree.predict(rows) for tree in self._trees.estimators_])
        roofs = np.array([self._roof(kernel) for kernel in kernels])
        low, high = np.quantile(said, [0.1, 0.9], axis=0)
        mean = said.mean(axis=0)
        found = zip(*(roofs * np.exp(values) for values in (mean, low, high)), strict=True)
        return [Estimate(float(middle), float(least), float(most), "learned") for middle, least, most in found]

    def _roof(self, kernel: Kernel) -> float:
        return self._roofline.price(
            kernel.operator, kernel.plain, kernel.inputs, kernel.outputs, kernel.constant
        ).seconds

    def _rows(self, kernels: Sequence[Kernel]) -> np.ndarray[Any, Any]:
        import numpy as np

        numbers = [features(kernel, self._roofline) for kernel in kernels]
        kinds = np.zeros((len(kernels), len(self._places)))
        for row, kernel in enumerate(kernels):
            if (place := self._places.get(kind_of(kernel))) is not None:
                kinds[row, place] = 1.0
        return np.hstack([np.array(numbers), kinds])


def kind_of(kernel: Kernel) -> str:
    """The operator with its layout's domain and the type that it reads."""
    first = next((kind.dtype for kind in kernel.inputs if kind is not None), "")
    return f"{kernel.domain}:{kernel.operator}:{first}"


def features(kernel: Kernel, roofline: Roofline) -> list[float]:
    """Numbers that a kernel's time may depend on: sizes in powers of two, attributes as they are."""
    price = roofline.price(kernel.operator, kernel.plain, kernel.inputs, kernel.outputs, kernel.constant)
    weights = [kind for kind, constant in zip(kernel.inputs, kernel.constant, strict=False) if constant]
    read = [kind for kind, constant in zip(kernel.inputs, kernel.constant, strict=False) if not constant]
    nbytes = [sum(_nbytes(kind) for kind in kinds) for kinds in (read, weights, kernel.outputs)]
    first, result = _shape(kernel.inputs), _shape(kernel.outputs)
    weight = next((kind.sizes({}) for kind in weights if kind is not None and (kind.rank or 0) > 1), ())
    plain = kernel.plain
    window, strides = plain.get("kernel_shape") or [1], plain.get("strides") or [1]
    sizes = [price.operations, *nbytes, price.operations / (sum(nbytes) + 1), plain.get("group", 1)]
    sizes += [price.operations / (math.prod(result) + 1), math.prod(window), price.seconds * 1e9]
    flags = [strides[0], len(kernel.inputs), len(result), first == result, plain.get("transB", 0)]
    return [
        *(math.log2(size + 1) for size in sizes),
        *(float(flag) for flag in flags),
        float(bool(plain.get("activation"))),
        *_last(result), *_last(first), *_last(weight[::-1]),
    ]  # fmt: skip


def _nbytes(kind: TensorType | None) -> float:
    return 0.0 if kind is None else kind.nbytes({})


def _shape(kinds: Sequence[TensorType | None]) -> tuple[int, ...]:
    return kinds[0].sizes({}) if kinds and kinds[0] is not None else ()


def _last(shape: Sequence[int]) -> list[float]:
    sizes = [*shape[::-1][:_SHOWN], *[0] * _SHOWN][:_SHOWN]
    return [math.log2(size + 1) for size in sizes]
