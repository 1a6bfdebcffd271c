"""Finds everything that is wrong with a model: what ONNX's checker knows, said with names and advice."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import onnx_ir

from tcc.diagnostics import Diagnostic, Exit, TccError, fail, node_location
from tcc.ir import structure
from tcc.ir.model import dtype_name
from tcc.ir.storage import IN_MEMORY

if TYPE_CHECKING:
    from tcc.ir.model import Model, Signature

OLDEST_OPSET = 7
"""The oldest opset that is read: the first with today's broadcasting rules."""

_REJECTIONS = (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError, RuntimeError)
"""How onnx's checker and inference turn a model down; the last two come from bytes that are no text or type."""

_SHOWN = 20
"""How many nodes are diagnosed one by one."""


def check(model: Model) -> None:
    """Check a whole model: structure, ONNX's checker, types and shapes, external files; weights are not read.

    Raises:
        TccError: exit BAD_MODEL or UNSUPPORTED, with all problems of a kind.
    """
    if problems := external_problems(model.ir, model.source):
        raise TccError(Exit.BAD_MODEL, problems)
    proto, _ = model.stripped_proto()
    check_versions(proto, model.source)
    check_proto(proto, model.source)


def verify_signature(before: Signature, after: Signature) -> list[str]:
    """What a caller of the model would notice: inputs or outputs that went, came, moved or changed their type."""
    problems = []
    for kind, old, new in (("input", before.inputs, after.inputs), ("output", before.outputs, after.outputs)):
        was, now = dict(old), dict(new)
        problems += [f"{kind} {name!r} is gone" for name in was if name not in now]
        problems += [f"{kind} {name!r} is new" for name in now if name not in was]
        problems += [
            f"{kind} {name!r} is {now[name]}, should be {was[name]}"
            for name in was if name in now and was[name] != now[name]
        ]  # fmt: skip
        if set(was) == set(now) and [n for n, _ in old] != [n for n, _ in new]:
            problems.append(f"{kind}s are in the order {', '.join(now)}, should be {', '.join(was)}")
    return problems


def check_versions(proto: onnx.ModelProto, source: str) -> None:
    """Check that the file format and the opset are ones that tcc and its onnx know.

    Raises:
        TccError: E0403 older, E0404 newer; E0323 where no opset is stated.
    """
    newest = onnx.defs.onnx_opset_version()
    upgrade = f"upgrade onnx (this is {onnx.__version__}), or export with an older opset"
    if proto.ir_version > onnx.IR_VERSION:
        message = f"IR version {proto.ir_version} is newer than {onnx.IR_VERSION}, the newest that is known"
        raise fail(Exit.UNSUPPORTED, "E0404", message, where=source, help=upgrade)
    if proto.ir_version < 3:
        # Before IR version 3 a model states no opset, and means the first.
        message = f"IR version {proto.ir_version} is older than 3, the oldest that is read"
        raise fail(Exit.UNSUPPORTED, "E0403", message, where=source, help=_convert(OLDEST_OPSET))
    for opset in proto.opset_import:
        if opset.domain not in ("", "ai.onnx"):
            continue
        if opset.version < OLDEST_OPSET:
            message = f"opset {opset.version} is older than {OLDEST_OPSET}, the oldest that is read"
            raise fail(Exit.UNSUPPORTED, "E0403", message, where=source, help=_convert(OLDEST_OPSET))
        if opset.version > newest:
            message = f"opset {opset.version} is newer than {newest}, the newest that is known"
            raise fail(Exit.UNSUPPORTED, "E0404", message, where=source, help=upgrade)


def _convert(opset: int) -> str:
    return f"export it again with opset {opset} or later, or convert it: onnx.version_converter.convert_version"


def repair_types(proto: onnx.ModelProto, source: str) -> list[Diagnostic]:
    """Check the model; where only stated types contradict it, let that pass, with a note.

    Those of inner values are dropped: they are hints, often left behind when a graph is edited, and inference finds
    the true ones. Those of outputs that an exporter left open, wholly or in part, are kept, as runtimes do, which go by
    what the nodes make; an output whose sizes are all stated, and wrong, is an error.

    Raises:
        TccError: as ``check_proto`` does.
    """
    try:
        check_proto(proto, source)
    except TccError as error:
        if any(d.code != "E0319" for d in error.diagnostics):
            raise
        stated = list(proto.graph.value_info)
        for dropped, ranks in ((True, {}), (False, _inferred_ranks(proto)), (True, _inferred_ranks(proto))):
            del proto.graph.value_info[:]
            proto.graph.value_info.extend(() if dropped else stated)
            with contextlib.suppress(TccError):
                check_proto(proto, source, ranks)
                return list(_passed(len(stated) if dropped else 0, ranks, source))
        raise
    return []


def _inferred_ranks(proto: onnx.ModelProto) -> dict[str, int]:
    """Of the outputs that are not declared with all sizes, as the nodes make them."""
    whole = {v.name for v in proto.graph.output if _is_whole(v.type.tensor_type)}
    bare = _without_weights(proto)
    del bare.graph.value_info[:]
    for value in bare.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        found = onnx.shape_inference.infer_shapes(bare, data_prop=True).graph.output
    except (onnx.shape_inference.InferenceError, RuntimeError):
        return {}
    told = {v.name: v.type.tensor_type for v in found if v.name not in whole}
    return {name: len(kind.shape.dim) for name, kind in told.items() if kind.HasField("shape")}


def _is_whole(kind: onnx.TypeProto.Tensor) -> bool:
    return kind.HasField("shape") and all(dimension.HasField("dim_value") for dimension in kind.shape.dim)


def _passed(dropped: int, outputs: Mapping[str, int], source: str) -> Iterator[Diagnostic]:
    if dropped:
        message = f"the types stated for {dropped} inner values contradict the graph and have been dropped"
        yield Diagnostic("N0304", message, source)
    if outputs:
        message = "shapes that outputs lack, or that contradict the graph, are left as they are, as runtimes do"
        yield Diagnostic("N0305", message, source)


def sort_nodes(proto: onnx.ModelProto, source: str) -> list[Diagnostic]:
    """Put unsorted nodes into an order in which each follows what it uses, in place; a note says so.

    A graph with a cycle is left for ``check_proto`` to report.
    """
    if not structure.sort(proto):
        return []
    return [Diagnostic("N0301", "the nodes were not in topological order and have been sorted", source)]


def check_proto(proto: onnx.ModelProto, source: str, ranks: Mapping[str, int] | None = None) -> None:
    """Check a model whose large weights may be marked as ``IN_MEMORY``; external files are not opened.

    Args:
        proto: the model.
        source: what messages call it.
        ranks: those of outputs whose declared shapes are known to be wrong and are not held against the nodes.

    Raises:
        TccError: exit BAD_MODEL or UNSUPPORTED, with all problems of a kind.
    """
    if unsupported := structure.unsupported(proto, source):
        raise TccError(Exit.UNSUPPORTED, unsupported)
    if problems := structure.problems(proto, source):
        raise TccError(Exit.BAD_MODEL, problems)
    bare = _without_weights(proto)
    for value in bare.graph.output:
        if ranks and value.name in ranks:
            value.type.tensor_type.ClearField("shape")
            value.type.tensor_type.shape.dim.extend(onnx.TensorShapeProto.Dimension() for _ in range(ranks[value.name]))
    try:
        onnx.checker.check_model(bare, full_check=True)
    except _REJECTIONS as error:
        if problems := _diagnose(bare, source, error):
            raise TccError(Exit.BAD_MODEL, problems) from error


def misdeclared(proto: onnx.ModelProto, outputs: Sequence[object]) -> dict[str, tuple[int, str]]:
    """Outputs whose declared shape is not the one that a run gave, which runtimes let pass: their rank, a sentence.

    The sentence is empty where no shape is declared at all.
    """
    found = {}
    for value, result in zip(proto.graph.output, outputs, strict=True):
        shape = getattr(result, "shape", None)
        if shape is None:
            continue
        if not value.type.tensor_type.HasField("shape"):
            found[value.name] = len(shape), ""
            continue
        declared = [d.dim_value if d.HasField("dim_value") else d.dim_param for d in value.type.tensor_type.shape.dim]
        fixed = [(d, n) for d, n in zip(declared, shape, strict=False) if isinstance(d, int)]
        if len(declared) != len(shape) or any(d != n for d, n in fixed):
            stated = ", ".join(str(d) or "?" for d in declared)
            sentence = f"output {value.name!r} is declared as [{stated}] and is {[*shape]} when it is run"
            found[value.name] = len(shape), sentence
    return found


def _without_weights(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with an input for each weight that lies elsewhere: the checker would look for its file."""
    bare = onnx.ModelProto()
    bare.CopyFrom(proto)
    inputs = {value.name for value in bare.graph.input}
    kept = []
    for tensor in bare.graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            kept.append(tensor)
        elif tensor.name not in inputs:
            bare.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    if len(kept) < len(bare.graph.initializer):
        copies = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
        del bare.graph.initializer[:]
        bare.graph.initializer.extend(copies)
    return bare


def _diagnose(model: onnx.ModelProto, source: str, error: Exception) -> list[Diagnostic]:
    """One diagnostic for each node that fails when checked alone; the checker itself stops at the first."""
    found = []
    types = _known_types(model)
    blameless = False
    for node in model.graph.node:
        if (reason := _failure(model, node, types)) is None:
            continue
        if _is_inside_onnx(node, reason):
            blameless = True
        else:
            found.append(_node_problem(node, reason, source))
        if len(found) == _SHOWN:
            break
    if found or blameless:
        return found
    # Each node is sound by itself: what is declared elsewhere contradicts it.
    named = re.search(r"\(op_type:(\w+)(?:, node name: ([^)]*))?\)", str(error))
    where = source if named is None else node_location(source, named[2] or "", named[1])
    return [Diagnostic("E0319", _clean(str(error)), where, help=_ADVICE)]


def _is_inside_onnx(node: onnx.NodeProto, reason: str) -> bool:
    """Whether it is ONNX's own expansion of an operator that fails, e.g. MeanVarianceNormalization's from opset 13."""
    return reason.count("(op_type:") > 1 and onnx.defs.has(node.op_type, node.domain) and not node.overload


_ADVICE = "see what wrote the model: run onnx.checker.check_model(model, full_check=True) right after its export"


def _known_types(model: onnx.ModelProto) -> dict[str, onnx.ValueInfoProto]:
    """The types of all values that inference gets at without stopping at errors."""
    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except _REJECTIONS:
        graph = model.graph
    types = {value.name: value for value in [*graph.value_info, *graph.output, *graph.input]}
    for tensor in graph.initializer:
        types.setdefault(tensor.name, onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return types


def _failure(model: onnx.ModelProto, node: onnx.NodeProto, types: dict[str, onnx.ValueInfoProto]) -> str | None:
    """What the checker says to the node in a model of its own; None where nothing, or its inputs are unknown."""
    alone = onnx.ModelProto(ir_version=max(model.ir_version, 4))
    alone.opset_import.extend(model.opset_import)
    alone.functions.extend(model.functions)
    alone.graph.name = "alone"
    alone.graph.node.append(node)
    small = {tensor.name: tensor for tensor in model.graph.initializer}
    needed = list(dict.fromkeys(name for name in structure.used(node) if name))
    for name in needed:
        if name in small:
            alone.graph.initializer.append(small[name])
        elif name in types:
            alone.graph.input.append(types[name])
    try:
        onnx.checker.check_model(alone, full_check=all(n in types for n in needed))
    except _REJECTIONS as error:
        return str(error)
    return None


def _node_problem(node: onnx.NodeProto, reason: str, source: str) -> Diagnostic:
    where = structure.location(source, node)
    text = _clean(reason)
    if "attribute" in text.lower():
        return Diagnostic("E0318", text, where, help=f"the attributes of {node.op_type}: {_reference(node)}")
    return Diagnostic("E0319", text, where, help=f"its inputs and outputs are described at {_reference(node)}")


def _reference(node: onnx.NodeProto) -> str:
    return f"https://onnx.ai/onnx/operators/onnx__{node.op_type}.html"


def _clean(text: str) -> str:
    """The checker's message in one line, without the context that the diagnostic states itself."""
    kept = text.partition("==> Context:")[0].replace("Inference error(s):", "")
    kept = re.sub(r"\[\w+Error\]|\(op_type:[^)]*\):", "", kept)
    if "elem type" in kept:  # which the checker writes as numbers
        kept = re.sub(r"\((\d+)\)", _element_type, kept)
    return " ".join(kept.split()).rstrip(".")


def _element_type(number: re.Match[str]) -> str:
    code = int(number[1])
    return dtype_name(onnx_ir.DataType(code)) if code in set(onnx_ir.DataType) else f"type {code}"


def external_problems(model: onnx_ir.Model, source: str) -> list[Diagnostic]:
    """What is wrong with the files that hold the top graph's weights: missing ones, ones that are too short."""
    problems, missing = [], dict[str, list[str]]()
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        if not isinstance(tensor, onnx_ir.ExternalTensor) or tensor.location == IN_MEMORY:
            continue
        path = Path(tensor.path)
        if not path.is_file():
            missing.setdefault(str(path), []).append(name)
            continue
        length = tensor.nbytes if tensor.length is None else tensor.length
        end, size = (tensor.offset or 0) + tensor.nbytes, path.stat().st_size
        if size < end:
            message = f"external data is truncated: {path} has {size} bytes, {name!r} ends at {end}"
            problems.append(Diagnostic("E0321", message, source, help="copy or export the data file again"))
        elif length != tensor.nbytes:
            message = f"external data of {name!r} has {length} bytes, its type and shape need {tensor.nbytes}"
            problems.append(Diagnostic("E0321", message, source, help="export the model again"))
    for file, names in missing.items():
        message = f"external data file is missing: {file} (for {_listed(names)})"
        problems.append(Diagnostic("E0320", message, source, help="copy the data file beside the model"))
    return problems


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(map(repr, names[:3])) + more
