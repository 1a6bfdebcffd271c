"""Makes a `Target` of its spelling and its TOML file; the file's name is the target's."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

from tcc.diagnostics import Diagnostic, Exit, TccError
from tcc.targets import grammar, schema
from tcc.targets.target import Cache, FrozenMapping, Quantization, Target, Vectors

FOLDER = Path(__file__).parent
SOURCED = ("peak", "bandwidth", "launch", "caches", "operators", "onnx", "quantization")


def own_folder() -> Path:
    """Where the user's own targets lie: ``$XDG_CONFIG_HOME/tcc/targets``, by default below ``~/.config``."""
    root = os.environ.get("XDG_CONFIG_HOME", "")
    # The XDG Base Directory Specification: a relative path is invalid and ignored.
    return (Path(root) if Path(root).is_absolute() else Path.home() / ".config") / "tcc" / "targets"


@functools.cache
def shipped() -> tuple[str, ...]:
    """The names of the targets that come with tcc, sorted: one for each TOML file of this folder."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def available() -> tuple[str, ...]:
    """The names of all targets, sorted: those that come with tcc and the user's own."""
    return tuple(sorted({*shipped(), *(path.stem for path in own_folder().glob("*.toml"))}))


def file_of(name: str) -> Path:
    """A target's file; where a name is taken twice, the one that comes with tcc."""
    return (FOLDER if name in shipped() else own_folder()) / f"{name}.toml"


def _facts(name: str) -> dict[str, Any]:
    path = file_of(name)
    return _read(path, path.stat().st_mtime_ns)


@functools.cache
def _read(path: Path, _changed: int) -> dict[str, Any]:
    return schema.read(path)


def parse_target(text: str) -> Target:
    """The target spelt ``name[@stack][+feature|-feature][,key=value]``.

    Keys: ``power=`` (a mode of the target), ``threads=`` (CPU targets), ``memory=`` (bytes, as in ``8GB``) and
    ``bandwidth=`` (bytes per second, as in ``102GB/s``). ``native`` measures the machine where no measurement of it
    is cached. Raises `TccError` (usage) with every part that is not known, a suggestion and what is.
    """
    spelling = grammar.split(text, available(), lambda name: _facts(name).get("features", {}))
    facts = _facts(spelling.name)
    found = grammar.problems(
        spelling, facts.get("stacks", {}), facts.get("features", {}), facts.get("power", {})
    ) + _value_problems(spelling, facts)
    if found:
        raise TccError(Exit.USAGE, found)
    options = _canonical_options(dict(spelling.options))
    # A note warns of what the text leaves open; only a bare name leaves it open.
    notes = (facts["note"],) if "note" in facts and spelling.name == text else ()
    if facts.get("measured"):
        from tcc.targets.native import rates

        measured, warnings = rates(int(options["threads"]) if "threads" in options else None)
        facts, notes = facts | measured, (*notes, *warnings)
        facts["quantization"] = facts["quantization"] | {"reduced_range": measured["reduced_range"]}
    return _build(spelling, facts, options, notes)


def _value_problems(spelling: grammar.Spelling, facts: dict[str, Any]) -> list[Diagnostic]:
    found = []
    for key, value in spelling.options:
        if key in ("memory", "bandwidth") and grammar.quantity(value) is None:
            hint = "write it as 8GB, 512MiB, 102GB/s or a number of bytes"
            found.append(Diagnostic("E0207", f"{key}={value!r} is no quantity", help=hint))
        if key == "threads" and facts["kind"] == "gpu":
            found.append(Diagnostic("E0207", f"{spelling.name} is a GPU and takes no threads="))
        elif key == "threads" and not _is_thread_count(value, _most_threads(facts)):
            hint = f"give a number from 1 to {_most_threads(facts)}"
            found.append(Diagnostic("E0207", f"threads={value!r} is not possible on {spelling.name}", help=hint))
    return found


def _most_threads(facts: dict[str, Any]) -> int:
    if facts.get("measured"):
        from tcc.targets.native import processors

        return processors()
    return int(facts["max_threads"])


def _is_thread_count(value: str, most: int) -> bool:
    return value.isascii() and value.isdigit() and 1 <= int(value) <= most


def _canonical_options(options: dict[str, str]) -> dict[str, str]:
    """The options with numbers spelt in the one canonical way."""
    canonical = dict(options)
    for key in ("memory", "bandwidth"):
        if key in options:
            canonical[key] = grammar.quantity_text(grammar.quantity(options[key]) or 0)
    if "threads" in options:
        canonical["threads"] = str(int(options["threads"]))
    return canonical


def _peak(facts: dict[str, Any], features: list[str], scale: float) -> FrozenMapping[float]:
    """The base rates under those of the chosen features, times the part of the machine that is on."""
    rates = dict(facts["peak"]["rates"])
    for name in features:
        rates |= facts["features"][name]["peak"]
    return FrozenMapping({dtype: float(rate * scale) for dtype, rate in sorted(rates.items())})


def _quantization(table: dict[str, Any]) -> Quantization:
    fields = {key: value for key, value in table.items() if key != "source"}
    return Quantization(**fields | {"operators": tuple(fields["operators"])})


def _vectors(table: dict[str, Any] | None) -> Vectors | None:
    return None if table is None else Vectors(**{key: value for key, value in table.items() if key != "source"})


def _operators(table: dict[str, Any]) -> dict[str, Any]:
    return {
        "domains": frozenset(table["domains"]),
        "illegal_operators": frozenset(table["illegal"]),
        "dtypes": frozenset(table["dtypes"]),
        "composed": FrozenMapping(table.get("composed", {})),
        "storage": frozenset(table.get("storage", ())),
    }


def _build(
    spelling: grammar.Spelling, facts: dict[str, Any], options: dict[str, str], notes: tuple[str, ...]
) -> Target:
    stack = facts["onnx"] | facts.get("stacks", {}).get(spelling.stack, {})
    features = facts.get("features", {})
    asked = {name: on for name, on in spelling.features if on != features[name]["default"]}
    chosen = [name for name in sorted(features) if asked.get(name, features[name]["default"])]
    mode = facts.get("power", {}).get(options.get("power"), {"compute": 1.0, "bandwidth": 1.0})
    threads = int(options.get("threads", facts["threads"]))
    peak = _peak(facts, chosen, mode["compute"] * threads / facts["threads"])
    return Target(
        name=spelling.name,
        text=grammar.spell(spelling.name, spelling.stack, asked, options),
        description=facts["description"],
        kind=facts["kind"],
        processor=facts["processor"],
        threads=threads,
        single_thread=facts.get("single_thread", 1 / threads),
        peak=peak,
        bandwidth=float(
            grammar.quantity(options.get("bandwidth", "")) or facts["bandwidth"]["bytes_per_second"] * mode["bandwidth"]
        ),
        launch_overhead=float(facts["launch"]["seconds"]),
        memory=grammar.quantity(options.get("memory", "")) or facts["memory"],
        caches=tuple(Cache(name, nbytes) for name, nbytes in facts["caches"]["bytes"].items()),
        alignment=facts["alignment"],
        max_opset=stack["max_opset"],
        max_ir_version=stack["max_ir_version"],
        quantization=_quantization(facts["quantization"]),
        backends=tuple(facts["backends"]),
        stack=spelling.stack,
        power=options.get("power", ""),
        features=tuple(chosen),
        **_operators(facts["operators"]),
        vectors=_vectors(facts.get("vectors")),
        notes=notes,
        sources=FrozenMapping({block: facts[block]["source"] for block in SOURCED}),
    )
