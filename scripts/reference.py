"""Writes the references of rules, passes and targets from the code; with --check, says whether they are current."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

from tcc import passes
from tcc.compiler.levels import LEVELS, PROMISES
from tcc.passes._options import options_of
from tcc.rewrites import rules, siblings
from tcc.rewrites.lossy import techniques
from tcc.targets import available, parse_target

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
NOTICE = "<!-- Written by scripts/reference.py from the code: change the code, then run it. -->\n"


def table(header: str, rows: Iterator[tuple[str, ...]]) -> str:
    """A Markdown table; the bars inside cells escaped."""
    names = header.split("|")
    lines = [" | ".join(names), " | ".join("---" for _ in names)]
    lines += [" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows]
    return "".join(f"| {line} |\n" for line in lines)


def rules_page() -> str:
    """Every exact rule, and what is offered besides."""
    count = len(rules())
    text = f"{NOTICE}\n# Rules\n\n{count} exact rules. `bits` keeps every bit, `value` is equal up to rounding.\n\n"
    rows = (
        (f"`{r.name}`", r.equality.value, r.algebra, r.source, _opsets(r.first_opset, r.last_opset)) for r in rules()
    )
    text += table("rule|equality|algebra and condition|source|opsets", rows)
    text += f"\nBesides, once for each imported graph: {siblings.ALGEBRA} ({siblings.SOURCE}; value).\n"
    lossy = ((f"`{name}`", (module.__doc__ or "").strip()) for name, module in techniques().items())
    return text + "\n## Lossy alternatives\n\n" + table("technique|what it offers", lossy)


def _opsets(first: int, last: int) -> str:
    newest = 10_000
    if last < newest:
        return f"{first} to {last}"
    return f"{first} on" if first > 1 else "all"


def passes_page() -> str:
    """Every pass with its options, and the levels."""
    text = f"{NOTICE}\n# Passes\n\n"
    for name in passes.available():
        kind = passes.pass_class(name)
        text += f"## {name}\n\n{inspect.getdoc(kind) or ''}\n\nEffect: {kind.effect.value}.\n"
        names = [option.name for option in options_of(kind)]
        text += f"Options: {', '.join(f'`{n}`' for n in names)}.\n\n" if names else "\n"
    levels = ((f"`-O{name}`", PROMISES[name], f"`{text}`" if text else "") for name, text in LEVELS.items())
    return text + "## Levels\n\n" + table("level|promise|pipeline", levels)


def targets_page() -> str:
    """Every target with the figures that prices are made of."""
    stated = [parse_target(name) for name in available() if name != "native"]
    rows = (
        (
            f"`{t.name}`",
            t.description,
            ", ".join(f"{dtype} {rate / 1e12:.3g}" for dtype, rate in t.peak.items()),
            f"{t.bandwidth / 1e9:.4g}",
            f"{t.launch_overhead * 1e6:.3g}",
            f"{t.max_opset} / {t.max_ir_version}",
        )
        for t in stated
    )
    about = "`native` is measured on the machine; these are stated, their sources in their files."
    text = f"{NOTICE}\n# Targets\n\n{about}\n\n"
    return text + table("target|what it is|10^12 operations/s|GB/s|us a launch|newest opset / IR version", rows)


PAGES = {"rules.md": rules_page, "passes.md": passes_page, "targets.md": targets_page}


def main(arguments: list[str]) -> int:
    """Write the pages, or check them."""
    stale = 0
    for name, page in PAGES.items():
        path, text = FOLDER / name, page()
        if "--check" not in arguments:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            print(f"docs/reference/{name} is not what the code says: run python scripts/reference.py")
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
