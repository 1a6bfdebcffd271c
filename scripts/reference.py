"""Writes the references of rules, passes and targets from the code; with --check, says whether they are current."""

from __future__ import annotations

import inspect
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tcc import passes
from tcc.compiler.levels import LEVELS, PROMISES
from tcc.passes._options import options_of
from tcc.rewrites import laws as rewrites_laws
from tcc.rewrites import rules, siblings
from tcc.rewrites.laws import laws
from tcc.rewrites.lossy import techniques
from tcc.targets import parse_target, shipped

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
    proofs = ((f"`{r.name}`", r.equality.value, r.algebra, r.source) for r in laws())
    text += f"\n## Laws\n\n{' '.join((rewrites_laws.__doc__ or '').split())}\n\n"
    text += table("law|equality|algebra and condition|source", proofs)
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
    stated = [parse_target(name) for name in shipped() if name != "native"]
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


VERDICTS = {
    "implemented": "one rule that `-O2` searches with makes both sides one class, whatever the operands",
    "implied": "several rules that `-O2` searches with do",
    "implemented for constants": "`-O2` does, where the operands named are constants, as weights and scales are; for "
    "any operands the laws named prove it",
    "law": "true, and proved by the laws named, in both directions; no level searches with them, because "
    "commutativity, associativity and distributivity without a condition make an e-graph of a real model grow without "
    "bound, and a join of what a runtime fuses anyway (an activation into its convolution) gains nothing",
    "conditional": "true under the condition named, proved under it by the rules named; false on the instance named",
    "refuted": "false on the instance named",
    "trivial": "one ONNX graph: both sides are the same text, or an activation is a node of its own in ONNX",
    "unproven": "holds on all instances, and no rule derives it",
    "out of scope": "no shapes make it well typed",
}
"""What each verdict means."""


def equalities_page() -> str:
    """What the judge in tests/equalities found out about each published equality."""
    records = json.loads((FOLDER.parent.parent / "tests/equalities/verdicts.json").read_text(encoding="utf-8"))
    counts = Counter(record["verdict"] for record in records)
    text = f"""{NOTICE}
# Equalities of tensor programs

The {len(records)} equalities that TASO's generator found and the Tensat project published under the MIT licence (Yang
et al., Equality Saturation for Tensor Graph Superoptimization, MLSys 2021): 1 to 384 single ones, 385a to 397b the
thirteen pairs that share an operand, 398 to 402b its predefined ones. `python -m tests.equalities FILE.tsv` judges any
file of this form: each claim is typed with random shapes, evaluated by ONNX Runtime with even kernels, several groups
and averages that do not count their padding, and proved by putting both sides into one e-graph; of the rules that prove
it none can be left out. Operands of elementwise operators have one shape, as in TASO.

"""
    meanings = ((name, str(counts[name]), meaning) for name, meaning in VERDICTS.items() if counts[name])
    text += table("verdict|claims|meaning", meanings) + "\n"
    return text + table("claim|left|right|verdict|by|condition, counterexample", map(_equality, records))


def _equality(record: dict[str, Any]) -> tuple[str, ...]:
    by = ", ".join(f"`{name}`" for name in record["rules"] or ())
    if names := record.get("constants"):
        by += f"; -O2 for constant {' or '.join(' and '.join(chosen) for chosen in names)}"
    found = {**record.get("conditions", {}), **({"": record["refuted"]} if "refuted" in record else {})}
    notes = [
        f"{name or 'false'}: {d['error']:.2g} off at "
        + ", ".join(f"{v} {'×'.join(map(str, shape)) or 'scalar'}" for v, shape in d["shapes"].items())
        for name, d in found.items()
    ]
    notes += [record["untyped"]] if "untyped" in record else []
    return record["name"], f"`{record['left']}`", f"`{record['right']}`", record["verdict"], by, "; ".join(notes)


PAGES = {"rules.md": rules_page, "passes.md": passes_page, "targets.md": targets_page, "equalities.md": equalities_page}


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
