"""Turns what ONNX Runtime says when it fails into tcc's diagnostics."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from onnx import GraphProto, ModelProto, load

from tcc.diagnostics import Diagnostic, Exit, TccError, fail, node_location

_CODE = re.compile(r"\[ONNXRuntimeError\] : \d+ : (\w+) : ")
_STATUS = re.compile(r".*Status Message: ", re.DOTALL)
_FILE = r"\S+\.(?:h|cc|cpp|cu|inc):\d+ "
_CHECK = re.compile(_FILE + r".*? was false\. ", re.DOTALL)
# What follows the file is the C++ function: its signature, or its bare name.
_SIGNATURE = r"[^(]*::[^(]*\((?:[^()]|\([^()]*\))*\)(?: const)?(?: \[with [^\]]*\])?(?:::\S+)? "
_PLACE = re.compile(_FILE + rf"(?:{_SIGNATURE}|\w+ )")
_RUNNING = re.compile(r"running (?P<op>\S+) node\. Name:'(?P<name>[^']*)'")
_LOADING = (
    re.compile(r"implementation for (?P<op>[\w.:]+)\(\d+\) node with name '(?P<name>[^']*)'"),
    re.compile(r'In Node, \("?(?P<name>[^",]*)"?, (?P<op>\w+),'),
    re.compile(r"of operator \((?P<op>\w+)\) in node \((?P<name>[^)]*)\)"),
    re.compile(r"Node \((?P<name>[^)]*)\) Op \((?P<op>\w+)\)"),
)
_REJECTED = ("INVALID_GRAPH", "INVALID_PROTOBUF", "under development", "Unsupported model IR version", "Type Error")
_LONGEST = 300


def load_error(reason: Exception, source: str, model: ModelProto | bytes | str | Path) -> TccError | None:
    """The diagnostic for a failure to load, or None where it is none of ONNX Runtime's making."""
    text = str(reason)
    if _out_of_memory(reason):
        return _memory(source)
    if not _is_runtime_error(reason):
        return None
    where, short = _where(text, source), shortened(text)
    if "is not a registered function/op" in text or "No Op registered for" in text:
        foreign = _unknown_operators(model, source)
        if foreign:
            return TccError(Exit.UNSUPPORTED, foreign)
        return fail(Exit.UNSUPPORTED, "E0401", f"onnxruntime does not know the operator: {short}", where=where)
    if "NOT_IMPLEMENTED" in text or "is not currently registered or supported" in text:
        return fail(Exit.UNSUPPORTED, "E0402", f"onnxruntime has no kernel for this: {short}", where=where)
    if any(sign in text for sign in _REJECTED):
        return fail(Exit.UNSUPPORTED, "E0406", f"onnxruntime rejects the model: {short}", where=where)
    return fail(Exit.BACKEND, "E0801", f"onnxruntime cannot load the model: {short}", where=where)


def run_error(reason: Exception, source: str) -> TccError | None:
    """The diagnostic for a failure to run, or None where it is none of ONNX Runtime's making."""
    if _out_of_memory(reason):
        return _memory(source)
    if not _is_runtime_error(reason):
        return None
    text = str(reason)
    where = _where(text, source)
    if ("INVALID_ARGUMENT" in text and " for input: " in text) or "Unexpected input data type" in text:
        return fail(Exit.DATA, "E0602", f"the data does not fit the model's inputs: {shortened(text)}", where=where)
    return fail(Exit.BACKEND, "E0802", f"onnxruntime cannot run the model: {shortened(text)}", where=where)


def shortened(text: str) -> str:
    """ONNX Runtime's message without its codes, source files and signatures, on one line."""
    text = _STATUS.sub("", _CODE.sub("", text))
    text = _PLACE.sub("", _CHECK.sub("", text))
    text = " ".join(text.split()).rstrip(".")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _is_runtime_error(reason: Exception) -> bool:
    """ONNX Runtime's exceptions share no base class; the bindings raise a few of Python's own as well."""
    return "onnxruntime" in type(reason).__module__ or type(reason) in (RuntimeError, ValueError, TypeError)


def _out_of_memory(reason: Exception) -> bool:
    text = str(reason)
    return isinstance(reason, MemoryError) or "Failed to allocate memory" in text or "bad_alloc" in text


def _memory(source: str) -> TccError:
    return fail(Exit.LIMIT, "E0901", "memory ran out while running the model", where=source,
                help="free memory, or use a smaller batch or sequence")  # fmt: skip


def _where(text: str, source: str) -> str:
    for pattern in (_RUNNING, *_LOADING):
        if match := pattern.search(text):
            return node_location(source, match["name"], match["op"])
    return source


def _unknown_operators(model: ModelProto | bytes | str | Path, source: str) -> list[Diagnostic]:
    """One diagnostic for each operator type that ONNX Runtime has no schema for: it stops at the first itself."""
    from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema

    proto = _structure(model)
    known = {(schema.domain or "ai.onnx", schema.name) for schema in get_all_operator_schema()}
    known |= {(function.domain or "ai.onnx", function.name) for function in proto.functions}
    found: dict[tuple[str, str], list[str]] = {}
    for domain, operator, name in _operators(proto.graph):
        if (domain or "ai.onnx", operator) not in known:
            found.setdefault((domain or "ai.onnx", operator), []).append(name)
    return [
        Diagnostic(
            "E0401",
            f"onnxruntime does not know the operator {domain}::{operator} ({len(names)} in the model)",
            node_location(source, names[0], operator),
        )
        for (domain, operator), names in found.items()
    ]


def _structure(model: ModelProto | bytes | str | Path) -> ModelProto:
    if isinstance(model, (str, Path)):
        proto: ModelProto = load(model, load_external_data=False)
        return proto
    return ModelProto.FromString(model) if isinstance(model, bytes) else model


def _operators(graph: GraphProto) -> Iterator[tuple[str, str, str]]:
    """Domain, type and name of every node, those of subgraphs included."""
    for node in graph.node:
        yield node.domain, node.op_type, node.name
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                yield from _operators(body)
