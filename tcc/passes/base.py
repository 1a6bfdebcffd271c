"""What a pass is: a frozen dataclass whose fields are its options, and what it promises."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar, Protocol

from tcc.ir.loss import Loss
from tcc.ir.model import Model
from tcc.targets import Target


class Effect(Enum):
    """The equality between a pass's input and output that is checked after it."""

    BITS = "bits"
    """The same bits."""
    VALUE = "value"
    """Within the tolerance: 1e-5 relative to each output's scale."""
    LOSSY = "lossy"
    """Within the loss that the budget allows."""


class Stop(Enum):
    """What the clock cut short in a pass: with more time, or on a faster machine, it may give another result."""

    SOLVER = "solver"
    """The integer program: the best answer it had found is taken."""
    DEADLINE = "deadline"
    """The pass itself, at ``Context.deadline``: what it had by then is taken."""


ORIGINS, DECLINES = "origins", "declines"
"""What can be asked of a pass besides: which rules made each node, and why rules that matched declined."""


def silent(_line: str, _verbosity: int) -> None:
    """Log nothing; a function of a module, which can be sent to another process."""


class Judging(Protocol):
    """The user's own measure: what a form of the model loses of its score, as far as the samples can tell."""

    @property
    def key(self) -> str:
        """A digest of all that the answers depend on besides the form."""

    def __call__(self, model: Model) -> Loss:
        """The loss of a form; ``upper`` is a loss that it most likely stays below."""


@dataclass
class Memo:
    """What passes of one process keep for each other: the last value, under the key of all that it follows from.

    Another process gets an empty one.
    """

    _kept: tuple[Hashable, Any] | None = None

    def kept(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """The value of the key, made where the last one was another's; raises what ``make`` raises."""
        if self._kept is None or self._kept[0] != key:
            self._kept = None  # the old value's memory is free before the new one takes its own
            self._kept = key, make()
        return self._kept[1]

    def __getstate__(self) -> dict[str, Any]:
        return {"_kept": None}


@dataclass(frozen=True)
class Context:
    """What passes are given besides the model.

    Args:
        target: what is compiled for.
        symbols: sizes that prices assume for symbolic dimensions.
        feeds: inputs that exercise the model, for passes that look at activations.
        calibration: the user's calibration data, None where there is none.
        max_loss: the loss budget of lossy passes, relative.
        judge: the user's own measure of a form; None where there is none.
        max_bytes: the budget of the file's bytes.
        max_memory: the budget of bytes at the peak, activations and weights.
        seconds: the limit on a solver's time.
        log: called with a line of text and its verbosity (0: always, 1: ``-v``, 2: ``-vv``).
        asked: what is to be said besides, which takes time to find out and changes nothing else.
        deadline: when to have done, in seconds since the epoch; what is best then is taken.
        threads: how many runs of a model there may be at once; the result is the same.
        memo: what passes keep for each other.
    """

    target: Target
    symbols: Mapping[str, int] = field(default_factory=dict)
    feeds: tuple[Mapping[str, Any], ...] = ()
    calibration: tuple[Mapping[str, Any], ...] | None = None
    max_loss: float = 0.01
    max_bytes: float = math.inf
    seconds: float = 60.0
    log: Callable[[str, int], None] = silent
    judge: Judging | None = None
    asked: frozenset[str] = frozenset()
    deadline: float = math.inf
    threads: int = 1
    memo: Memo = field(default_factory=Memo, repr=False, compare=False)
    max_memory: float = math.inf


@dataclass(frozen=True)
class PassResult:
    """What a pass made of its model.

    ``facts`` are plain values for the report (JSON-serialisable, deterministic), by name; ``stops`` is what the clock
    cut short.
    """

    model: Model
    changed: bool
    facts: Mapping[str, Any] = field(default_factory=dict)
    stops: frozenset[Stop] = frozenset()


@dataclass(frozen=True)
class Pass(ABC):
    """One transformation of a model. Its name is its file's, its fields are its options.

    ``needs`` names what must be in the context (``calibration``, ``target``) before it can run. ``settles`` says
    that a second run changes nothing: it is left out where nothing has changed since the first. ``grows`` says that
    it adds nodes and work to hold less in memory: what it makes is not held to the input's size and speed.
    """

    effect: ClassVar[Effect]
    needs: ClassVar[frozenset[str]] = frozenset()
    settles: ClassVar[bool] = False
    grows: ClassVar[bool] = False

    @property
    def promises(self) -> Effect:
        """The equality that this instance keeps; an option may make it stricter than the class's ``effect``."""
        return self.effect

    @property
    def name(self) -> str:
        """The pass's name in pipelines: its file's, words joined by hyphens."""
        return type(self).__module__.rpartition(".")[2].replace("_", "-")

    @abstractmethod
    def run(self, model: Model, context: Context) -> PassResult:
        """Transform the model.

        The given model may be changed in place; the result's model is the one to go on with.

        Raises:
            TccError: what the user can act on.
        """
