"""Reads a target's TOML file strictly: an unknown key, a missing one or a wrong type is an error, all at once."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tcc.diagnostics import Diagnostic, Exit, TccError

Check = Callable[[object, str], Iterator[str]]
"""Yields one sentence a problem of a value that stands under a dotted key."""

DTYPES = frozenset({
    "float64", "float32", "float16", "bfloat16",
    "float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz", "float8e8m0", "float4e2m1",
    "int64", "int32", "int16", "int8", "int4", "int2", "uint64", "uint32", "uint16", "uint8", "uint4", "uint2",
    "bool", "string", "complex64", "complex128",
})  # fmt: skip
"""ONNX's element types, as `tcc.ir.types.BITS` names them; stated here because siblings do not import each other."""


def text(value: object, key: str) -> Iterator[str]:
    """A non-empty string."""
    if not isinstance(value, str) or not value:
        yield f"{key} is {value!r}, should be a non-empty text"


def flag(value: object, key: str) -> Iterator[str]:
    """True or false."""
    if not isinstance(value, bool):
        yield f"{key} is {value!r}, should be true or false"


def count(value: object, key: str) -> Iterator[str]:
    """A positive integer."""
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        yield f"{key} is {value!r}, should be a positive integer"


def rate(value: object, key: str) -> Iterator[str]:
    """A positive, finite number."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < float("inf"):
        yield f"{key} is {value!r}, should be a positive number"


def texts(value: object, key: str) -> Iterator[str]:
    """A list of strings; the empty string is ONNX's default domain."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        yield f"{key} is {value!r}, should be a list of texts"


def counts(value: object, key: str) -> Iterator[str]:
    """A list of integers that are not negative."""
    if not isinstance(value, list) or not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in value):
        yield f"{key} is {value!r}, should be a list of numbers"


def one_of(*choices: str) -> Check:
    """One of the given strings."""

    def check(value: object, key: str) -> Iterator[str]:
        if value not in choices:
            yield f"{key} is {value!r}, should be one of {', '.join(choices)}"

    return check


def dtypes(value: object, key: str) -> Iterator[str]:
    """A list of element types."""
    if not isinstance(value, list) or not value:
        yield f"{key} is {value!r}, should be a list of element types"
        return
    yield from (f"{key} has {item!r}, which is no element type" for item in value if item not in DTYPES)


def mapping(check: Check, *, dtype_keys: bool = False) -> Check:
    """A table whose keys are free (or element types) and whose values all pass ``check``."""

    def check_all(value: object, key: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{key} is {value!r}, should be a table"
            return
        for name, item in value.items():
            if dtype_keys and name not in DTYPES:
                yield f"{key}.{name} is unknown, {name} is no element type"
            else:
                yield from check(item, f"{key}.{name}")

    return check_all


def table(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """A table with exactly the ``required`` keys and perhaps the ``optional`` ones."""
    known = {**required, **(optional or {})}

    def check(value: object, key: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{key} is {value!r}, should be a table"
            return
        prefix = f"{key}." if key else ""
        yield from (f"{prefix}{name} is missing" for name in required if name not in value)
        for name, item in value.items():
            if name in known:
                yield from known[name](item, f"{prefix}{name}")
            else:
                yield f"{prefix}{name} is unknown, should be one of {', '.join(known)}"

    return check


PEAK = mapping(rate, dtype_keys=True)
FACTS: dict[str, Check] = {
    "description": text,
    "kind": one_of("cpu", "gpu"),
    "backends": texts,
    "operators": table(
        {"source": text, "domains": texts, "illegal": texts, "dtypes": dtypes},
        {"composed": mapping(count), "storage": dtypes},
    ),
    "onnx": table({"source": text, "max_opset": count, "max_ir_version": count}),
    "quantization": table({
        "source": text, "activation": one_of("uint8", "int8"), "weight": one_of("uint8", "int8"), "per_channel": flag,
        "symmetric": flag, "reduced_range": flag, "quantized_bias": flag, "operators": texts,
    }),
}  # fmt: skip
CHOICES: dict[str, Check] = {
    "note": text,
    "stacks": mapping(table({"description": text, "max_opset": count, "max_ir_version": count})),
    "features": mapping(table({"description": text, "default": flag, "peak": PEAK})),
    "vectors": table({"source": text, "lanes": count, "registers": count}, {"dot": one_of("avx512vnni", "dotprod")}),
    "power": mapping(table({"description": text, "compute": rate, "bandwidth": rate})),
}
RATES: dict[str, Check] = {
    "processor": text,
    "threads": count,
    "max_threads": count,
    "memory": count,
    "alignment": count,
    "peak": table({"source": text, "rates": PEAK}),
    "bandwidth": table({"source": text, "bytes_per_second": rate}),
    "launch": table({"source": text, "seconds": rate}),
    "caches": table({"source": text, "bytes": mapping(count)}),
}
STATED = table({**FACTS, **RATES}, CHOICES)
MEASURED = table({**FACTS, "measured": flag}, CHOICES)


def read(path: Path) -> dict[str, Any]:
    """The checked contents of a target's file; a file that extends another takes each table it lacks from that.

    Raises `TccError` with every problem of the file.
    """
    try:
        contents = _extended(path, ())
    except tomllib.TOMLDecodeError as error:
        raise TccError(Exit.USAGE, [Diagnostic("E0210", f"not valid TOML: {error}", str(path))]) from error
    spec = MEASURED if "measured" in contents else STATED
    problems = [Diagnostic("E0211", problem, str(path)) for problem in spec(contents, "")]
    if problems:
        raise TccError(Exit.USAGE, problems)
    return contents


def _extended(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    contents = tomllib.loads(path.read_text(encoding="utf-8"))
    base = contents.pop("extends", None)
    if base is None:
        return contents
    parent = path.with_name(f"{base}.toml")
    if not parent.is_file():
        parent = Path(__file__).with_name(parent.name)
    if path in seen or not parent.is_file():
        why = "extends itself" if path in seen else f"extends {base!r}, which is no target"
        raise TccError(Exit.USAGE, [Diagnostic("E0212", why, str(path))])
    inherited = _extended(parent, (*seen, path))
    # A note speaks of the file it stands in.
    inherited.pop("note", None)
    if "peak" in contents:
        inherited.pop("measured", None)
    return inherited | contents
