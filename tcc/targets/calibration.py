"""Writes a target of the user's own from what this machine is measured to reach."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tcc import cache
from tcc.diagnostics import Exit, fail
from tcc.targets import native, parse, schema

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
RESERVED = "calibrate"
_DIGITS = 3
_BASE = "native"


def calibrate(name: str, threads: int | None = None) -> Path:
    """Measure this machine and write what it reaches as a target called ``name``.

    Unlike the rates of ``native`` these are rounded to three digits only: they are written once, and stay.

    Args:
        name: of the target, in small letters, digits and hyphens.
        threads: that programs will run on; all by default.

    Returns:
        The file, in the folder of the user's own targets.

    Raises:
        TccError: exit USAGE for a name that is taken or malformed, for threads that are not there, or where the
            file cannot be written.
    """
    _check(name, threads)
    threads = threads or native.processors()
    measured = native.measure(threads, rounded=_rounded)
    path = parse.own_folder() / f"{name}.toml"
    try:
        cache.write(path, text(native.facts(measured, threads), threads))
    except OSError as error:
        message = f"the target cannot be written: {error.strerror or error}"
        advice = "set XDG_CONFIG_HOME to a folder that is writable"
        raise fail(Exit.USAGE, "E0213", message, where=str(path), help=advice) from error
    return path


def _check(name: str, threads: int | None) -> None:
    if not _NAME.fullmatch(name) or name == RESERVED:
        advice = "small letters, digits and hyphens, as in my-board"
        raise fail(Exit.USAGE, "E0213", f"{name!r} is no name for a target", help=advice)
    if name in parse.shipped():
        raise fail(Exit.USAGE, "E0213", f"target {name!r} comes with tcc", help="choose another name")
    if threads is not None and not 1 <= threads <= native.processors():
        advice = f"give a number from 1 to {native.processors()}"
        raise fail(Exit.USAGE, "E0213", f"threads={threads} is not possible on this machine", help=advice)


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def text(facts: Mapping[str, Any], threads: int) -> str:
    """A target's file, from the facts that ``native`` has; what they leave open is ``native``'s."""
    source = f"measured on {facts['processor']} through {native.runtime()}, {threads} threads, by tcc targets calibrate"
    recipe = schema.read(parse.file_of(_BASE))["quantization"] | {"reduced_range": facts["reduced_range"]}
    stated = {
        "extends": _BASE,
        "description": f"{facts['processor']}, as calibrated on {threads} threads",
        "processor": facts["processor"],
        "threads": threads,
        "max_threads": native.processors(),
        "memory": facts["memory"],
        "alignment": facts["alignment"],
        **{block: facts[block] | {"source": source} for block in ("peak", "bandwidth", "launch")},
        "caches": facts["caches"],
        **({"vectors": facts["vectors"]} if "vectors" in facts else {}),
        "quantization": recipe,
    }
    return "\n".join(_lines(stated)) + "\n"


def _lines(stated: Mapping[str, Any]) -> Iterator[str]:
    tables = {key: value for key, value in stated.items() if isinstance(value, Mapping)}
    yield from (f"{key} = {_value(value)}" for key, value in stated.items() if key not in tables)
    for name, table in tables.items():
        yield ""
        yield f"[{name}]"
        yield from (f"{key} = {_value(value)}" for key, value in table.items())


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_value(item)}" for key, item in value.items()) + " }"
    # TOML's texts, numbers, truth values and lists of them are written as JSON's are.
    return json.dumps(value, ensure_ascii=False)
