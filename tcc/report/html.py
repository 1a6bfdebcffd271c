"""The report as one HTML file that needs no network: before and after, the search, passes, layers."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from tcc.diagnostics import Exit, fail
from tcc.report import table

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1d1d1f; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid #ddd; padding: .2rem .7rem; text-align: left; vertical-align: top; }
th { position: sticky; top: 0; background: #fff; } td.n, th.n { text-align: right; }
tr.chosen { background: #eef6ee; } .scroll { max-height: 34rem; overflow: auto; } code { font-size: .92em; }
.note { color: #666; } .warning { color: #8a5a00; } .error { color: #a00; }
@media (prefers-color-scheme: dark) { body, th { background: #16181c; color: #ddd; } th, td { border-color: #333; }
tr.chosen { background: #1d2b1f; } }
"""


def require() -> None:
    """Check, before any work, that what draws the plots is installed.

    Raises:
        TccError: exit USAGE, naming the extra.
    """
    if any(importlib.util.find_spec(name) is None for name in ("altair", "vl_convert")):
        raise fail(
            Exit.USAGE, "E0243", "an HTML report needs altair and vl-convert",
            help="pip install 'tensorcompress[report]', or write the report as JSON",
        )  # fmt: skip


def page(report: Mapping[str, Any]) -> str:
    """The page of a report; ``require`` says whether it can be made."""
    title = f"{report['source']} for {report['target']}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        _line("pipeline", report["pipeline"]),
        _line("shipped", report["shipped"]),
        "<h2>Before and after</h2>",
        _table(("", "before", "after", ""), table.rows(report), numbers={1, 2}),
        _diagnostics(report["diagnostics"]),
        _search(report.get("search", [])),
        _passes(report["passes"]),
        _layers(report.get("layers", [])),
        _nodes(report.get("nodes", {})),
    ]
    body = "\n".join(part for part in parts if part)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _search(points: Sequence[Mapping[str, Any]]) -> str:
    if not points:
        return ""
    # One budget's part may bring the same program as another's.
    alike: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for point in points:
        key = point["pipeline"], point["loss"], point["bytes"], point["predicted_seconds"]
        alike[key] = point if point.get("chosen") else alike.get(key, point)
    points = list(alike.values())
    rows = [
        (
            _program(point), f"{point['loss']:.3g}", f"{point['bytes']:,.0f}",
            f"{point['predicted_seconds'] * 1e6:,.4g}", "yes" if point["front"] else "", "; ".join(point["exceeds"]),
        )
        for point in points
    ]  # fmt: skip
    names = ("program", "loss", "bytes", "predicted µs", "on the front", "why it may not ship")
    chosen = next((i for i, point in enumerate(points) if point.get("chosen")), None)
    plot = _plot(points) if len(points) > 1 else ""
    return f"<h2>Programs considered</h2>{plot}{_table(names, rows, numbers={1, 2, 3}, chosen=chosen)}"


def _program(point: Mapping[str, Any]) -> str:
    share = point.get("share", 1.0)
    part = f", within {share:.3g} of the loss budget" if share < 1 else ""
    return f"{point['pipeline'] or 'exact passes only'}{part}"


def _plot(points: Sequence[Mapping[str, Any]]) -> str:
    """Bytes against latency, coloured by loss; the plot's library is inlined."""
    import altair as alt

    rows = [
        {
            "program": _program(point), "bytes": point["bytes"], "loss": point["loss"],
            "latency (predicted µs)": point["predicted_seconds"] * 1e6,
            "ships": "no" if point["exceeds"] else "may",
        }
        for point in points
    ]  # fmt: skip
    chart = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_point(filled=True, size=90)
        .encode(
            x=alt.X("bytes:Q", scale=alt.Scale(zero=False)),
            y=alt.Y("latency (predicted µs):Q", scale=alt.Scale(zero=False)),
            color=alt.Color("loss:Q", scale=alt.Scale(scheme="viridis")),
            shape="ships:N",
            tooltip=["program:N", "bytes:Q", "latency (predicted µs):Q", "loss:Q"],
        )
        .properties(width=560, height=320)
    )
    made: str = chart.to_html(inline=True, fullhtml=False, output_div="front")
    return made


def _passes(passes: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for entry in passes:
        before, after = entry["before"], entry["after"]
        checked = entry["verification"]
        rows.append(
            (
                entry["pass"],
                f"{before['nodes']:,} → {after['nodes']:,}",
                f"{before['nbytes']:,} → {after['nbytes']:,}",
                "unverified" if checked is None else checked["outcome"],
                _declined(entry["facts"]),
            )
        )
    names = ("pass", "nodes", "bytes of tensors", "holds", "left on the table, and why")
    return f"<h2>Passes</h2>{_table(names, rows)}"


def _declined(facts: Mapping[str, Any]) -> str:
    declined = facts.get("declined") or {}
    if isinstance(declined, str):
        return declined
    by_reason: dict[str, list[str]] = {}
    for what, why in declined.items():
        by_reason.setdefault(str(why), []).append(str(what))
    return "; ".join(f"{why}: {what[0]}" + (f" and {len(what) - 1} more" if what[1:] else "")
                     for why, what in by_reason.items())  # fmt: skip


def _layers(layers: Sequence[Mapping[str, Any]]) -> str:
    if not layers:
        return ""
    rows = [
        (
            layer["name"], layer["operator"] + (", at load time" if layer.get("at_load") else ""), layer["dtype"],
            f"{layer['parameter_bytes']:,}", f"{layer['operations']:,.0f}", f"{layer['seconds'] * 1e6:,.3g}",
            layer["decision"],
        )
        for layer in layers
    ]  # fmt: skip
    names = ("layer", "operator", "type", "bytes", "operations", "predicted µs", "decision")
    return f'<h2>Layers</h2><div class="scroll">{_table(names, rows, numbers={3, 4, 5})}</div>'


def _nodes(nodes: Mapping[str, Mapping[str, Any]]) -> str:
    """Where the nodes come from that the input does not have."""
    if not nodes:
        return ""
    rows = [
        (
            entry["node"] or output, entry["operator"],
            "; ".join(f"{step['pass']}: {', '.join(step['rules'])}".removesuffix(": ") for step in entry["steps"]),
            ", ".join(entry["of"]),
        )
        for output, entry in nodes.items()
    ]  # fmt: skip
    names = ("node", "operator", "made by", "of these nodes of the input")
    return f'<h2>Where nodes come from</h2><div class="scroll">{_table(names, rows)}</div>'


def _diagnostics(entries: Sequence[Mapping[str, Any]]) -> str:
    if not entries:
        return ""
    items = "\n".join(
        f'<li class="{entry["severity"]}">{entry["severity"]} {entry["code"]}: {escape(entry["message"])}'
        f"{escape('; help: ' + entry['help']) if entry['help'] else ''}</li>"
        for entry in entries
    )
    return f"<h2>What has to be said</h2><ul>{items}</ul>"


def _line(name: str, value: str) -> str:
    return f"<p>{escape(name)}: <code>{escape(value) or 'none'}</code></p>"


def _table(
    names: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = (), chosen: int | None = None
) -> str:
    right = set(numbers)

    def cells(tag: str, row: Sequence[str]) -> str:
        marked = (' class="n"' if i in right else "" for i in range(len(row)))
        return "".join(f"<{tag}{mark}>{escape(str(cell))}</{tag}>" for mark, cell in zip(marked, row, strict=True))

    body = "\n".join(
        f"<tr{' class=' + chr(34) + 'chosen' + chr(34) if i == chosen else ''}>{cells('td', row)}</tr>"
        for i, row in enumerate(rows)
    )
    return f"<table><thead><tr>{cells('th', names)}</tr></thead><tbody>\n{body}\n</tbody></table>"
