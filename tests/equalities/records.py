"""Judgements as JSON and as text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.equalities.evaluating import Difference
from tests.equalities.expressions import Claim, parse
from tests.equalities.judging import Judgement


def reason(one: Judgement) -> str:
    """What the verdict rests on, in a line."""
    parts = []
    if one.untyped:
        parts.append(one.untyped)
    if one.refuted:
        parts.append(f"differs by {counterexample(one.refuted)}")
    parts += [f"needs {name}: else differs by {counterexample(d)}" for name, d in one.conditions.items()]
    if one.rules:
        parts.append(f"by {', '.join(one.rules)}")
    if one.constants:
        parts.append(f"-O2 derives it for constant {' or '.join('+'.join(names) for names in one.constants)}")
    return "; ".join(parts)


def counterexample(difference: Difference) -> str:
    """An instance on which a claim is false."""
    shapes = ", ".join(f"{name} {'×'.join(map(str, shape)) or 'scalar'}" for name, shape in difference.shapes.items())
    return f"{difference.error:.2g} at {shapes}"


def write(path: Path, found: Sequence[Judgement]) -> None:
    """Write judgements, one a line."""
    lines = ",\n".join(json.dumps(_encode(one), ensure_ascii=False) for one in found)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def read(path: Path) -> list[Judgement]:
    """The judgements of a file."""
    return [_decode(record) for record in json.loads(path.read_text(encoding="utf-8"))]


def _encode(one: Judgement) -> dict[str, Any]:
    record: dict[str, Any] = {"name": one.claim.name, "left": str(one.claim.left), "right": str(one.claim.right)}
    record["verdict"] = one.verdict
    if one.untyped:
        record["untyped"] = one.untyped
    if one.refuted:
        record["refuted"] = _difference(one.refuted)
    if one.conditions:
        record["conditions"] = {name: _difference(d) for name, d in one.conditions.items()}
    record["rules"] = one.rules
    if one.constants:
        record["constants"] = one.constants
    return record


def _difference(d: Difference) -> dict[str, Any]:
    return {"error": float(f"{d.error:.3g}"), "shapes": {k: list(v) for k, v in d.shapes.items()}, "seed": d.seed}


def _decode(record: dict[str, Any]) -> Judgement:
    def difference(found: dict[str, Any]) -> Difference:
        return Difference(found["error"], {k: tuple(v) for k, v in found["shapes"].items()}, found["seed"])

    claim = Claim(record["name"], parse(record["left"]), parse(record["right"]))
    return Judgement(
        claim,
        difference(record["refuted"]) if "refuted" in record else None,
        record.get("untyped", ""),
        {name: difference(d) for name, d in record.get("conditions", {}).items()},
        record["rules"],
        record.get("constants", []),
    )
