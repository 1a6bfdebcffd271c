"""Where a rule's pattern stands in a saturated e-graph and the rule declines, and which of its conditions fails."""

from __future__ import annotations

import pickle
from base64 import b64decode
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tcc.ir.engine import EGraph
from tcc.ir.frozen import ReadOut
from tcc.ir.host import undecorated
from tcc.ir.matches import Binding, Command, Recording, command, literal_text, variables
from tcc.ir.queries import Query

_PATTERN, _STEP = "patterns", "conditions"
_MOST = 20_000
"""Rows of one pattern beyond which its conditions are not looked at one by one."""


@dataclass(frozen=True)
class Declined:
    """A rule that declines somewhere: at how many places, why at most of them, and one of these places (its class).

    ``operators`` are those of its pattern: one alone stands in many places where the rule has no business.
    """

    rule: str
    count: int
    reason: str
    example: int
    operators: int


@dataclass
class Declining:
    """Looks for patterns without their conditions, then for the first condition that fails; changes nothing.

    Args:
        egraph: saturated.
        queries: commands of rules that may run in it.
        present: operators that it holds.
    """

    egraph: EGraph
    queries: Iterable[Query]
    present: frozenset[str]
    _commands: dict[int, Command] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._patterns, self._steps = Recording(self.egraph, _PATTERN), Recording(self.egraph, _STEP)
        for recording in (self._patterns, self._steps):
            self.egraph.extend(recording.name, ())
        for query in self.queries:
            made = command(query)
            if made.pattern_variables and self.present.issuperset(query.reads) and _makes(made):
                self._commands[len(self._commands)] = made
        for number, made in self._commands.items():
            keys = made.pattern_variables
            self._patterns.add(number, made.structure, keys, made.sorts)
            self._steps.add(_key(number, len(made.conditions)), (*made.structure, *made.conditions), keys, made.sorts)
        self._patterns.run()
        self._steps.run()

    def find(self, read: ReadOut) -> list[Declined]:
        """One entry a rule, by name, of those places that depend on an input and where the rule does nothing at all."""
        read = read.again(self.egraph)
        fired: dict[str, set[int]] = {}
        missed: dict[int, list[Binding]] = {}
        for number, made in self._commands.items():
            keys = made.pattern_variables
            done = self._steps.matches(_key(number, len(made.conditions)), keys, made.sorts, read)
            fired.setdefault(made.rule, set()).update(row[made.root] for row in done)
            every = self._patterns.matches(number, keys, made.sorts, read)
            if len(every) > len(done) and len(every) <= _MOST:
                seen = {tuple(row.values()) for row in done}
                missed[number] = [row for row in every if tuple(row.values()) not in seen]
        for number, rows in list(missed.items()):
            made = self._commands[number]
            live = [row for row in rows if self._is_live(row[made.root], made, fired, read)]
            missed[number] = live
        return list(self._told({number: rows for number, rows in missed.items() if rows}, read))

    def _is_live(self, c: Any, made: Command, fired: dict[str, set[int]], read: ReadOut) -> bool:
        return isinstance(c, int) and c not in fired[made.rule] and not read.frozen.classes[c].constant

    def _told(self, missed: dict[int, list[Binding]], read: ReadOut) -> Iterator[Declined]:
        for number in missed:
            made = self._commands[number]
            for length in range(1, len(made.conditions)):
                asked = (*made.structure, *made.conditions[:length])
                self._steps.add(_key(number, length), asked, made.pattern_variables, made.sorts)
        self._steps.run()
        read = read.again(self.egraph)
        reasons: dict[str, dict[int, str]] = {}
        sizes: dict[str, int] = {}
        for number, rows in missed.items():
            made, left = self._commands[number], {tuple(row.values()): row for row in rows}
            places = reasons.setdefault(made.rule, {})
            sizes[made.rule] = max(made.size, sizes.get(made.rule, 0))
            for length, condition in enumerate(made.conditions, 1):
                met = self._steps.matches(_key(number, length), made.pattern_variables, made.sorts, read)
                passed = {tuple(row.values()) for row in met}
                for key in [key for key in left if key not in passed]:
                    places.setdefault(left.pop(key)[made.root], reason(condition, made))
        for rule, places in sorted(reasons.items()):
            (why, _), *_ = Counter(places.values()).most_common(1)
            example = min(c for c, text in places.items() if text == why)
            yield Declined(rule, len(places), why, example, sizes[rule])


def _makes(made: Command) -> bool:
    """Whether a command makes something: one that only notes a fact for others is no rewrite."""
    return bool(made.conditions) and any(action[0] == "union" for action in made.actions)


_MANY = 1000
"""More than a command has conditions."""


def _key(number: int, length: int) -> int:
    return number * _MANY + length


def reason(condition: Any, made: Command) -> str:
    """Why a rule declines where this condition fails, in the letters in which the rule is written."""
    name, *arguments = condition
    if name == "constant":
        return f"{_letters(arguments[0])} depends on an input"
    if name == "original_constant":
        return f"{_letters(arguments[0])} is no constant of the model's own"
    if name == "!=":
        computing = next((c for c in made.conditions if c[0] == "=" and c[1] == arguments[0]), None)
        if computing is not None and arguments[1] == '""' and (told := _called(computing, made)):
            return f"nothing to be had: {told}"
        return f"{_letters(arguments[0])} and {_letters(arguments[1])} are the same"
    if told := _called(condition, made):
        return f"not so: {told}"
    for part in arguments:
        if isinstance(part, list) and (what := _TABLES.get(part[0])):
            return f"the {what} of {_letters(part[1])} is not known"
    if (letter := next(variables(condition), "")) and '"coefficient"' in condition:
        return f"{_letters(letter)} is no constant, or one of 0 and 1"
    return f"{_letters(condition)} does not hold"


_TABLES = {"kind": "type", "known": "value", "structure": "structure", "kinds": "types", "knowns": "values"}


def _letters(part: Any) -> str:
    if isinstance(part, str):
        return part.removeprefix("_")
    name, *arguments = part
    shown = [_letters(a) for a in arguments if not (isinstance(a, str) and a[0] == '"')]
    return f"{name}({', '.join(shown)})"


def _called(part: Any, made: Command) -> str:
    """What the Python function that a condition calls says of itself, with what it is called on."""
    if isinstance(part, str):
        return ""
    if part[0] == "py-call":
        function = pickle.loads(b64decode(literal_text(part[1][1])))  # noqa: S301 - written by tcc's own translation
        module, name = function.__wrapped__.__module__, function.__wrapped__.__qualname__
        said = (undecorated(module, name).__doc__ or name).strip().partition("\n")[0].rstrip(".")
        of = ", ".join(dict.fromkeys(_told_of(v, made) for v in variables(part)))
        return f"{said[0].lower()}{said[1:]} ({of})"
    return next((told for inner in part[1:] if (told := _called(inner, made))), "")


def _told_of(variable: str, made: Command) -> str:
    """A variable, or what fact of which tensor it stands for."""
    for condition in made.conditions:
        if condition[0] == "=" and condition[1] == variable and (what := _TABLES.get(condition[2][0])):
            return f"{what} of {_letters(condition[2][1])}"
    return _letters(variable)
