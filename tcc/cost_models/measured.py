"""What was measured on this machine, with what is between the measurements learned, and the roofline elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tcc.cost_models._database import Database, Machine
from tcc.cost_models._kernels import Kernel
from tcc.cost_models.learned import FEWEST, Estimate, Learned

if TYPE_CHECKING:
    from tcc.cost_models.roofline import Roofline


class Measured:
    """Estimates of kernels on one machine: measured ones win, then learned ones, then the roofline's.

    Args:
        database: what was measured.
        machine: where.
        roofline: of the same machine.
        learn: whether to learn from the measurements, which needs scikit-learn.
    """

    def __init__(self, database: Database, machine: Machine, roofline: Roofline, *, learn: bool = True) -> None:
        self._entries = database.entries(machine)
        self._roofline = roofline
        self._learned = Learned(self._entries, roofline) if learn and len(self._entries) >= FEWEST else None

    @property
    def measured(self) -> int:
        """How many kernels were measured."""
        return len(self._entries)

    def estimate(self, kernels: Sequence[Kernel]) -> list[Estimate]:
        """What kernels take, in their order."""
        unknown = [kernel for kernel in dict.fromkeys(kernels) if kernel not in self._entries]
        found = {k: self._of_roofline(k) for k in unknown} if self._learned is None else dict(
            zip(unknown, self._learned.estimate(unknown), strict=True)
        )  # fmt: skip
        for kernel in kernels:
            if (entry := self._entries.get(kernel)) is not None:
                found[kernel] = Estimate(entry.seconds, entry.seconds, entry.seconds, "measured")
        return [found[kernel] for kernel in kernels]

    def _of_roofline(self, kernel: Kernel) -> Estimate:
        price = self._roofline.price(kernel.operator, kernel.plain, kernel.inputs, kernel.outputs, kernel.constant)
        return Estimate(price.seconds, 0.0, float("inf"), "roofline")
