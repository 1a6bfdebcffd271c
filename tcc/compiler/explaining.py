"""Which passes and rules made each node of what ships, told from the facts of the passes."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcc.diagnostics import Exit, fail
from tcc.ir import digests, structure
from tcc.passes.base import ORIGINS

if TYPE_CHECKING:
    import onnx

    from tcc.ir.model import Model
    from tcc.passes.manager import Outcome, Record, Snapshot


def entries(outcome: Outcome, shipped: Snapshot) -> dict[str, dict[str, Any]]:
    """For each node of a form that the input does not have: the steps that made it, and the input's nodes behind it.

    Nodes go by the value that they compute first. A step is a pass and, where it rewrites by rules, these in the order
    in which they apply. Empty where the passes were not asked for origins.
    """
    forms = outcome.snapshots[: outcome.snapshots.index(shipped) + 1]
    records = [record for record in outcome.records if record.changed][: len(forms) - 1]
    if not any(ORIGINS in graph for record in records for graph in _graphs(record)):
        return {}
    history = _History([_producers(form) for form in forms], records)
    found: dict[str, dict[str, Any]] = {}
    for node in structure.all_nodes(shipped.proto):
        output = next((name for name in node.output if name), "")
        steps, of = history.of(output, len(records))
        if steps:
            # Whatever led to it: a node that computes values of the input stands for those that did.
            replaced = [history.forms[0][name] for name in node.output if name in history.forms[0]]
            of = list(dict.fromkeys([*of, *(each.name or each.output[0] for each in replaced)]))
            found[output] = {"node": node.name, "operator": node.op_type, "steps": steps, "of": of}
    return found


def told(outcome: Outcome, shipped: Snapshot, files: Sequence[Path]) -> dict[str, Any]:
    """What the report says of the nodes, and of which files that is true.

    ``sources`` are the input's nodes with the values that they compute.
    """
    sources: dict[str, list[str]] = {}
    for node in structure.all_nodes(outcome.snapshots[0].proto):
        outputs = [name for name in node.output if name]
        sources.setdefault(node.name or next(iter(outputs), ""), []).extend(outputs)
    return {"digest": digest(files), "nodes": entries(outcome, shipped), "sources": sources}


def _graphs(record: Record) -> Sequence[Mapping[str, Any]]:
    graphs: Sequence[Mapping[str, Any]] = record.facts.get("graphs", ())
    return graphs


def _producers(form: Snapshot) -> dict[str, onnx.NodeProto]:
    return {name: node for node in structure.all_nodes(form.proto) for name in node.output if name}


@dataclass
class _Step:
    """What a pass did for a node: the rules whose matches made it, and those that opened the way for them."""

    rules: dict[str, None] = field(default_factory=dict)
    given: dict[str, None] = field(default_factory=dict)

    def entry(self) -> dict[str, Any]:
        """For the report."""
        given = [rule for rule in self.given if rule not in self.rules]
        return {"rules": list(self.rules)} | ({"given": given} if given else {})


@dataclass
class _History:
    """The forms of a model, each as its nodes by what they compute, and the passes between them."""

    forms: Sequence[Mapping[str, onnx.NodeProto]]
    records: Sequence[Record]
    _origins: list[dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        self._origins = [
            {name: entry for graph in _graphs(record) for name, entry in graph.get(ORIGINS, {}).items()}
            for record in self.records
        ]

    def of(self, output: str, at: int) -> tuple[list[dict[str, Any]], list[str]]:
        """The steps that made a value, the last one last, and the nodes of the input that they started from."""
        steps: dict[str, _Step] = {}
        leaves: dict[str, None] = {}
        self._follow(output, at, steps, leaves, set())
        return [{"pass": text} | step.entry() for text, step in steps.items()], list(leaves)

    def _follow(self, output: str, at: int, steps: dict[str, _Step], leaves: dict[str, None], seen: set[Any]) -> None:
        if (output, at) in seen or output not in self.forms[at]:
            return
        seen.add((output, at))
        if at == 0:
            node = self.forms[0][output]
            leaves.setdefault(node.name or output)
            return
        text, entry = self.records[at - 1].text, self._origins[at - 1].get(output)
        if entry is not None:
            for source in entry["of"]:
                self._follow(source, at - 1, steps, leaves, seen)
            if entry["rules"]:
                step = steps.setdefault(text, _Step())
                step.rules.update(dict.fromkeys(entry["rules"]))
                step.given.update(dict.fromkeys(entry.get("given", ())))
            elif not entry["of"]:
                steps.setdefault(text, _Step())
            return
        before, node = self.forms[at - 1].get(output), self.forms[at][output]
        if before is None or before.op_type != node.op_type:
            steps.setdefault(text, _Step())
        self._follow(output, at - 1, steps, leaves, seen)


def without_origins(facts: Mapping[str, Any]) -> dict[str, Any]:
    """A pass's facts for its own entry in the report: where nodes come from stands in one place."""
    graphs = [{name: fact for name, fact in graph.items() if name != ORIGINS} for graph in facts.get("graphs", ())]
    return {**facts, "graphs": graphs} if graphs else dict(facts)


@dataclass(frozen=True)
class Explained:
    """A compiled model and what its report says of its nodes."""

    model: Model
    report: Mapping[str, Any]

    def nodes(self) -> dict[str, dict[str, Any]]:
        """Every node by its name, or by what it computes where it has none."""
        made: Mapping[str, Mapping[str, Any]] = self.report["nodes"]
        decisions = {layer["name"]: layer["decision"] for layer in self.report.get("layers", ()) if layer["decision"]}
        found: dict[str, dict[str, Any]] = {}
        for node in self.model.nodes():
            output = next((v.name for v in node.outputs if v.name), "") or ""
            entry = made.get(output, {"steps": [], "of": []})
            name = node.name or output
            found[name] = {
                "node": name, "operator": node.op_type, "output": output, "steps": entry["steps"], "of": entry["of"],
                "outputs": [v.name for v in node.outputs if v.name], "decision": decisions.get(node.name or "", ""),
            }  # fmt: skip
        return found

    def node(self, name: str) -> dict[str, Any]:
        """What is known of one node: its own name, that of a value it computes, or that of a node of the input.

        Raises:
            TccError: E0252 where there is none.
        """
        every = self.nodes()
        by_output = {value: entry for entry in every.values() for value in entry["outputs"]}
        if (found := every.get(name) or by_output.get(name)) is not None:
            return found
        sources: Mapping[str, Sequence[str]] = self.report.get("sources", {})
        owners = {value: source for source, values in sources.items() for value in values}
        source = name if name in sources else owners.get(name, name)
        into = [entry["node"] for entry in every.values() if source in entry["of"]]
        if into or source in sources:
            kept = [by_output[value]["node"] for value in sources.get(source, ()) if value in by_output]
            return {"node": source, "into": list(dict.fromkeys([*into, *kept]))}
        close = difflib.get_close_matches(name, [*every, *by_output, *sources, *owners], n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise fail(
            Exit.USAGE, "E0252", f"there is no node {name!r}, and no node was made of it", where=self.model.source,
            help=f"{hint}without a name, all nodes are listed",
        )  # fmt: skip


def load(path: Path, report: Path | None) -> Explained:
    """A compiled model with its report, which lies beside it under the same name unless it is named.

    Raises:
        TccError: E0250 where there is no report, E0251 where it is none of this file's, or tells nothing of nodes;
            what reading the model raises.
    """
    from tcc import frontends

    model = frontends.load(path)
    place = report or path.with_suffix(".json")
    advice = f"compile with -o {path.name} --report {path.with_suffix('.json').name}"
    try:
        read = json.loads(place.read_text(encoding="utf-8"))
    except OSError:
        raise fail(Exit.USAGE, "E0250", f"there is no report {place}", where=str(path), help=advice) from None
    except ValueError:
        read = None
    if not isinstance(read, dict) or "nodes" not in read or "digest" not in read:
        message = f"{place} is no report that tells where nodes come from"
        raise fail(Exit.USAGE, "E0251", message, where=str(path), help=advice)
    if read["digest"] != digest(model.files):
        message = f"{place} is the report of another file"
        raise fail(Exit.USAGE, "E0251", message, where=str(path), help="name the right one with --report")
    return Explained(model, read)


def digest(files: Sequence[Path]) -> str:
    """What ties a report to the files that it is of."""
    return f"sha256:{digests.of_files(files)}"


def lines(entry: Mapping[str, Any], algebra: Mapping[str, str]) -> Iterator[str]:
    """What is known of a node, as text; ``algebra`` says of each rule what it states."""
    if "into" in entry:
        gone = "nothing is left of it: what it computed is folded, not needed, or the same as another value"
        became = f"it went into {', '.join(entry['into'])}" if entry["into"] else gone
        yield f"{entry['node']} is a node of the input; {became}"
        return
    yield f"{entry['node']} [{entry['operator']}] computes {entry['output']}"
    if entry["decision"]:
        yield f"  decided: {entry['decision']}"
    if not entry["steps"]:
        yield "  stands in the input as it is"
        return
    for step in entry["steps"]:
        yield f"  {step['pass']}"
        for rule in step["rules"]:
            yield f"    {rule}: {algebra[rule]}" if rule in algebra else f"    {rule}"
        if given := step.get("given"):
            yield f"    which rely on {', '.join(given)}"
    if entry["of"]:
        yield f"  made of {', '.join(entry['of'])}"
