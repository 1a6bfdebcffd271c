"""The spelling of a target: ``name[@stack][+feature|-feature][,key=value]``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tcc.diagnostics import Diagnostic, Exit, TccError

SYNTAX = "name[@stack][+feature|-feature][,key=value]"
KEYS = ("bandwidth", "memory", "power", "threads")
TAIL = re.compile(
    r"(?P<stack>@[A-Za-z0-9._]+)?(?P<features>(?:[+-][A-Za-z0-9_]+)*)(?P<options>(?:,[A-Za-z_]+=[^,=\s]+)*)"
)
QUANTITY = re.compile(r"(?P<number>\d+(?:\.\d+)?(?:[eE]\+?\d+)?)(?P<unit>[KMGT]i?)?(?:B(?:/s)?)?")
UNITS = {
    "": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
}  # fmt: skip


@dataclass(frozen=True)
class Spelling:
    """A target's text taken apart; ``features`` are (name, on) pairs and ``options`` (key, value) pairs as written."""

    name: str
    stack: str
    features: tuple[tuple[str, bool], ...]
    options: tuple[tuple[str, str], ...]


def split(text: str, names: Sequence[str], features_of: Callable[[str], Iterable[str]]) -> Spelling:
    """The parts of ``text``; raises `TccError` (usage) where no target of ``names`` begins it or the rest is malformed.

    Names contain hyphens and ``-feature`` begins with one: the longest name that begins ``text`` wins, unless what
    follows it is no feature and looks like the rest of a longer name, misspelt.
    """
    head = re.split(r"[@+,]", text, maxsplit=1)[0]
    found = [name for name in names if head == name or head.startswith(f"{name}-")]
    name = max(found, key=len, default="")
    rest = set(head[len(name) :].split("-")[1:])
    if not name or not (rest <= set(features_of(name)) or not _is_misspelt(head, name, names)):
        raise TccError(Exit.USAGE, [_unknown("E0201", "target", head, names)])
    tail = TAIL.fullmatch(text[len(name) :])
    if tail is None:
        problem = Diagnostic("E0202", f"target {text!r} is malformed", help=f"write it as {SYNTAX}")
        raise TccError(Exit.USAGE, [problem])
    features = tuple((f[1:], f[0] == "+") for f in re.findall(r"[+-]\w+", tail["features"]))
    options = tuple((key, value) for key, _, value in (part.partition("=") for part in tail["options"].split(",")[1:]))
    return Spelling(name, (tail["stack"] or "")[1:], features, options)


def _is_misspelt(head: str, name: str, names: Sequence[str]) -> bool:
    """Whether ``head`` resembles the name of a target that itself begins with ``name``, or one of its siblings."""
    family = name.partition("-")[0]
    longer = [other for other in names if other.startswith(family) and len(other) > len(name)]
    return bool(difflib.get_close_matches(head, longer, n=1, cutoff=0.7))


def quantity(text: str) -> int | None:
    """Bytes, or bytes per second, as in ``8GB``, ``512MiB``, ``102GB/s``, ``102e9``; None where it is no such thing."""
    match = QUANTITY.fullmatch(text)
    if match is None:
        return None
    value = float(match["number"]) * UNITS[match["unit"] or ""]
    return round(value) if 1 <= value < 1e18 else None


def quantity_text(value: int) -> str:
    """The shortest exact spelling of a quantity, the inverse of `quantity`."""
    for unit in ("T", "G", "M", "K"):
        if value % UNITS[unit] == 0:
            return f"{value // UNITS[unit]}{unit}B"
    return f"{value}B"


def spell(name: str, stack: str, features: Mapping[str, bool], options: Mapping[str, str]) -> str:
    """The canonical text: features and options in alphabetical order."""
    parts = [name, f"@{stack}" if stack else ""]
    parts += [f"{'+' if on else '-'}{feature}" for feature, on in sorted(features.items())]
    parts += [f",{key}={value}" for key, value in sorted(options.items())]
    return "".join(parts)


def problems(
    spelling: Spelling, stacks: Iterable[str], features: Iterable[str], modes: Iterable[str]
) -> list[Diagnostic]:
    """Everything in ``spelling`` that its target does not know, and everything said twice."""
    found: list[Diagnostic] = []
    if spelling.stack and spelling.stack not in (known := tuple(stacks)):
        found.append(_unknown("E0203", f"stack of {spelling.name}", spelling.stack, known))
    known = tuple(features)
    found += [
        _unknown("E0204", f"feature of {spelling.name}", feature, known)
        for feature, _ in spelling.features
        if feature not in known
    ]
    found += [_unknown("E0205", "target key", key, KEYS) for key, _ in spelling.options if key not in KEYS]
    known = tuple(modes)
    found += [
        _unknown("E0206", f"power mode of {spelling.name}", value, known)
        for key, value in spelling.options
        if key == "power" and value not in known
    ]
    said = [name for name, _ in (*spelling.features, *spelling.options)]
    twice = sorted({name for name in said if said.count(name) > 1})
    found += [Diagnostic("E0208", f"{name!r} is given more than once", help="give it once") for name in twice]
    return found


def _unknown(code: str, what: str, given: str, known: Sequence[str]) -> Diagnostic:
    spelling = {name.lower(): name for name in known}
    close = difflib.get_close_matches(given.lower(), spelling, n=1, cutoff=0.5)
    hint = f"did you mean {spelling[close[0]]!r}? " if close else ""
    choices = f"known: {', '.join(known)}" if known else "it has none"
    return Diagnostic(code, f"unknown {what} {given!r}", help=hint + choices)
