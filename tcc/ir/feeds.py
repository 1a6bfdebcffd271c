"""Makes inputs that exercise a model: they run, and what comes out depends on them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from onnx import ModelProto, inliner

from tcc.diagnostics import Exit, TccError, fail
from tcc.ir.equality import compare
from tcc.ir.execution import Runner
from tcc.ir.feed_ranges import Uses, domain
from tcc.ir.feed_shapes import DEPLOYED, MOST, Input, guesses, inputs
from tcc.ir.feed_values import STYLES, Style, draw

Value = Any
Feed = dict[str, Value]
Shapes = dict[str, tuple[int, ...]]

SENSITIVITY = 1e-4
"""An output must change by this much of its scale to count as depending on the input: ten times what the
equality of passes tolerates, so that equality on these inputs says something."""

_RETRIED = 4
"""Guesses of sizes that are tried again with other values, where none runs on normal ones."""


@dataclass(frozen=True)
class _Outcome:
    """A candidate that ran, and how good it is."""

    shapes: Shapes
    feeds: list[Feed]
    outputs: list[list[Value]]
    depends: bool
    finite: bool

    @property
    def grade(self) -> int:
        """3 is what is wanted; outputs that depend on the input matter more than finite ones."""
        return 2 * self.depends + self.finite


_WANTED = 3


@dataclass(frozen=True)
class _Search:
    """Tries candidates on one model; ``reasons`` collects why some did not run."""

    runner: Runner
    ports: Sequence[Input]
    uses: Uses
    seed: int
    count: int
    reasons: list[TccError] = field(default_factory=list)

    def outcomes(self, shapes: Sequence[Shapes], styles: Sequence[Style]) -> Iterator[_Outcome]:
        """The candidates that run, in order; each is made and run when it is asked for."""
        for style in styles:
            for sizes in shapes:
                feeds = self._feeds(sizes, style)
                try:
                    outputs = [self.runner.run(feed) for feed in feeds]
                except TccError as reason:
                    self.reasons.append(reason)
                else:
                    yield _Outcome(sizes, feeds, outputs, _depends(outputs), all(_finite(value) for value in outputs))

    def _feeds(self, sizes: Shapes, style: Style) -> list[Feed]:
        domains = {port.name: domain(self.uses, port.name, sizes) for port in self.ports}

        def value(port: Input, turn: int) -> Value:
            return draw(port, sizes[port.name], domains[port.name], style, seed=self.seed, turn=turn)

        return [{port.name: value(port, turn) for port in self.ports} for turn in range(self.count)]


def exercise_feeds(
    model: ModelProto,
    runner: Runner | None = None,
    *,
    seed: int = 0,
    symbols: Mapping[str, int] | None = None,
    count: int = 2,
) -> list[Feed]:
    """``count`` sets of inputs on which the model runs, the same for the same ``seed``.

    Sizes of symbolic dimensions are ``symbols`` where given, else guessed; integers stay within what they index;
    masks are ones, with a tail of zeros in every second set. Of the candidates that run, the first is taken
    whose outputs are finite and differ between the sets (see ``depends_on_inputs``), else the best there is.
    ``runner`` is the model's, where the caller has one already.

    Raises ``TccError``: E0603 where no candidate runs, and what ``Runner`` raises where the model does not load.
    """
    return exercised(model, runner or Runner(model), seed=seed, symbols=symbols, count=count)[0]


def exercised(
    model: ModelProto, runner: Runner, *, seed: int = 0, symbols: Mapping[str, int] | None = None, count: int = 2
) -> tuple[list[Feed], list[list[Value]]]:
    """The inputs of ``exercise_feeds``, and what the model makes of them."""
    model = inliner.inline_local_functions(model) if model.functions else model
    ports = inputs(model)
    if not ports:
        return [{} for _ in range(count)], [runner.run({}) for _ in range(count)]
    search = _Search(runner, ports, Uses.of(model), seed, count)
    shapes = list(guesses(ports, search.uses, symbols or {}))
    found = next(search.outcomes(shapes, STYLES[:1]), None)
    found = found or next(search.outcomes(shapes[:_RETRIED], STYLES[1:]), None)
    if found is None:
        raise _nothing_runs(runner, ports, search.reasons[0])
    if found.grade == _WANTED:
        return found.feeds, found.outputs
    best = found
    for other in search.outcomes([found.shapes], STYLES[1:]):
        best = other if other.grade > best.grade else best
        if best.grade == _WANTED:
            break
    return best.feeds, best.outputs


def deployed_feeds(model: ModelProto, runner: Runner, *, seed: int = 0, symbols: Mapping[str, int]) -> list[Feed]:
    """One set of inputs of the sizes that models are mostly run at, for prices and times; none where no such runs.

    Equality is verified on smaller ones, of which more can be run; what a model costs at 64 by 64 pixels or for eight
    words tells little of what it costs where it is used.
    """
    model = inliner.inline_local_functions(model) if model.functions else model
    search = _Search(runner, inputs(model), Uses.of(model), seed, 1)
    shapes = [
        chosen
        for chosen in guesses(search.ports, search.uses, symbols, DEPLOYED)
        if max(map(math.prod, chosen.values()), default=0) <= MOST
    ]
    found = next((one for one in search.outcomes(shapes, STYLES[:1]) if one.finite), None)
    return [] if found is None else found.feeds


def depends_on_inputs(runner: Runner, feeds: Sequence[Mapping[str, Value]]) -> bool:
    """Whether some output changes between consecutive feeds, by more than ``SENSITIVITY`` of its scale.

    Where it does not (a randomly initialised MobileNetV2 gives one output for every input), equal outputs of
    two models prove nothing.
    """
    return _depends([runner.run(feed) for feed in feeds])


def _depends(outputs: Sequence[list[Value]]) -> bool:
    return any(not compare(first, second, bits=False, rtol=SENSITIVITY).equal for first, second in pairwise(outputs))


def _finite(value: Value) -> bool:
    if isinstance(value, Mapping):
        return all(_finite(item) for item in value.values())
    if isinstance(value, list):
        return all(_finite(item) for item in value)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fV":
        return True
    return bool(np.isfinite(value.astype(np.float32)).all())


def _nothing_runs(runner: Runner, ports: Sequence[Input], reason: TccError) -> TccError:
    declared = [f"{port.name}: {list(port.shape) if port.shape is not None else 'any shape'}" for port in ports]
    return fail(
        Exit.DATA, "E0603", "no generated input runs through the model", where=runner.source,
        notes=[reason.diagnostics[0].message, f"its inputs are {', '.join(declared)}"],
        help="give data that it accepts with --inputs",
    )  # fmt: skip
