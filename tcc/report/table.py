"""The report as a table for the terminal: before, after, and what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Row = tuple[str, str, str, str]


def show(report: Mapping[str, Any], *, color: bool) -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    made = Table(title=f"{report['source']} for {report['target']}", title_justify="left")
    for name in ("", "before", "after"):
        made.add_column(name, justify="left" if not name else "right", overflow="fold")
    made.add_column("", overflow="fold")
    for row in rows(report):
        made.add_row(*row)
    Console(no_color=not color, force_terminal=color or None, highlight=False, markup=False).print(made)


def rows(report: Mapping[str, Any]) -> Iterator[Row]:
    """What the table says, line by line."""
    before, after = report["input"], report["result"]
    yield _count("nodes", before["nodes"], after["nodes"])
    names = list(dict.fromkeys([*before["operators"], *after["operators"]]))
    for name in names:
        yield _count(f"  {name}", before["operators"].get(name, 0), after["operators"].get(name, 0))
    if folded := sum(layer.get("at_load", False) for layer in report.get("layers", ())):
        yield "  run at load time", "", f"{folded:,}", "of these: on constants alone, once"
    yield _count("parameters", before["parameters"], after["parameters"])
    yield _count("bytes", before["bytes"], after["bytes"])
    yield from _placed(report.get("placement", ()), report.get("versions"))
    predicted = report["predicted"]
    first, second = predicted["seconds_before"], predicted["seconds_after"]
    yield ("predicted latency", _seconds(first), _seconds(second), _percent(first, second))
    yield _latency(report["measured"]["latency"])
    yield ("largest difference", "", *_difference(report["verification"]))
    yield ("accuracy", "", *_accuracy(report["accuracy"]))
    for number, point in enumerate(report.get("pareto", ()), 1):
        seconds = _seconds(point["predicted_seconds"])
        yield f"front {number}", "", f"{point['bytes']:,.0f}", f"loss {point['loss']:.3g}, predicted {seconds}"


def _placed(layers: Sequence[Mapping[str, Any]], versions: Mapping[str, int] | None) -> Iterator[Row]:
    """How many layers run where, in which types; and whether the target reads the file."""
    for where in dict.fromkeys(layer["where"] for layer in layers):
        dtypes = Counter(layer["dtype"] for layer in layers if layer["where"] == where)
        yield f"layers on {where}", "", str(dtypes.total()), ", ".join(f"{n} {name}" for name, n in dtypes.items())
    if versions is not None:
        has, most = (f"{versions[a]} / {versions[b]}" for a, b in (("opset", "ir_version"), _MOST))
        yield "opset / IR version", "", has, f"the target takes {most}"


_MOST = ("max_opset", "max_ir_version")


def _count(name: str, before: int, after: int) -> Row:
    return name, f"{before:,}", f"{after:,}", _percent(before, after)


def _percent(before: float, after: float) -> str:
    return "" if before == after or not before else f"{(after - before) / before:+.1%}"


def _seconds(value: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value * 1e6:.3g} µs"


def _latency(measured: Mapping[str, Any] | str) -> Row:
    if isinstance(measured, str):
        return "measured latency", "", "unmeasured", measured
    spread = f"{measured['verdict']}: ×{measured['ratio']:.3f} ({measured['low']:.3f} to {measured['high']:.3f})"
    times = _seconds(measured["seconds_before"]), _seconds(measured["seconds_after"])
    return "measured latency", *times, f"{spread}, noise {measured['noise']:.1%}"


def _difference(verification: Mapping[str, Any]) -> tuple[str, str]:
    found = verification["difference"]
    if not verification["verified"] or found is None:
        return "unverified", verification["reason"]
    if verification["promise"] == "lossy":
        return _scaled(found), "of the scale, on the inputs of verification: it is lossy"
    tolerance = verification["tolerance"]
    return _scaled(found), "same bits" if not tolerance else f"of the scale; tolerance {tolerance:.3g}"


def _scaled(found: Mapping[str, Any]) -> str:
    return "infinite" if found["scaled"] is None else f"{found['scaled']:.3g}"


def _accuracy(accuracy: Mapping[str, Any]) -> tuple[str, str]:
    if accuracy["status"] == "unmeasured":
        return "unmeasured", accuracy["reason"]
    data = " synthetic" if accuracy["data"] == "synthetic" else ""
    upper = accuracy.get("upper")
    bound = "" if upper is None or upper <= accuracy["loss"] else f", at most {upper:.3g} with 95 % confidence"
    return f"loss {accuracy['loss']:.3g}", f"{accuracy['metric']}, {accuracy['samples']}{data} samples{bound}"
