"""From ONNX to a compiled module: TVM's importer and passes, this package's kernels and schedules."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import onnx
from onnx import helper, version_converter

from tcc.backends import _tvm_dots, _tvm_forms, _tvm_integers, _tvm_kernels, _tvm_math, _tvm_schedules, _tvm_tiles
from tcc.cost_models._tiles import processor
from tcc.diagnostics import Exit, fail

# An extra: whoever calls has checked that it is there.
with contextlib.suppress(ModuleNotFoundError):
    import tvm
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

_OWN = ["relax.matmul", "relax.nn.conv2d"]


@dataclass(frozen=True)
class Built:
    """A compiled module, what it takes and gives, and how it was made."""

    library: Any
    mcpu: str
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    tiles: dict[str, Any] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)


def build(model: onnx.ModelProto, mcpu: str, triple: str = "", *, threads: int = 1, defaults: bool = False) -> Built:
    """Compile a model whose shapes are fixed; ``defaults`` leaves everything to TVM's own schedules.

    With several ``threads`` large kernels are spread over as many as the library then runs on.

    Raises:
        TccError: exit UNSUPPORTED where TVM's importer has no such operator or form of it.
    """
    said = _tvm_tiles.said(model.graph.node)
    model = _raised(model)
    inputs = _ports([i for i in model.graph.input if i.name not in {t.name for t in model.graph.initializer}])
    mcpu = mcpu or str(tvm.get_global_func("target.llvm_get_system_cpu")())
    target = tvm.target.Target({"kind": "llvm", "mcpu": mcpu, **({"mtriple": triple} if triple else {})})
    features = tvm.get_global_func("target.llvm_get_cpu_features")(target)
    chip = replace(processor(mcpu, triple, set(map(str, features))), threads=threads)
    try:
        module = from_onnx(model, {port["name"]: port["shape"] for port in inputs}, sanitize_input_names=True)
    except Exception as error:
        reason = " ".join(str(error).split())[-300:]
        raise fail(Exit.UNSUPPORTED, "E0832", f"tvm's importer refuses the model: {reason}",
                   help="run the model with --backend=onnxruntime") from error  # fmt: skip
    tiles = _tvm_tiles.Tiles(chip, said)
    failed: list[str] = []
    with target, tvm.transform.PassContext(opt_level=3):
        module = _lowered(module) if defaults else _optimized(module, tiles, failed)
        library = tvm.compile(module, target, relax_pipeline=_finish())
    return Built(library, mcpu, inputs, _ports(model.graph.output), tiles.facts(), failed)


_READ = 17
"""The opset in which the importer gets models that are older: it lacks some operators' oldest forms."""


def _raised(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model in a newer opset where ONNX's own converter knows how; as it is otherwise."""
    version = next((o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}), _READ)
    if version >= _READ:
        return model
    try:
        made: onnx.ModelProto = version_converter.convert_version(model, _READ)
    except Exception:  # noqa: BLE001 - the converter raises whatever; the importer then speaks for itself
        return model
    return made


def _ports(values: Iterable[onnx.ValueInfoProto]) -> list[dict[str, Any]]:
    return [
        {
            "name": value.name,
            "dtype": helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name,
            "shape": [dimension.dim_value for dimension in value.type.tensor_type.shape.dim],
        }
        for value in values
    ]


def _lowered(module: Any) -> Any:
    """As TVM does it without tuning."""
    return relax.get_pipeline("zero")(module)


def _optimized(module: Any, tiles: _tvm_tiles.Tiles, failed: list[str]) -> Any:
    """Channels last, constants folded, this package's kernels, what follows them fused, all of it scheduled."""
    passes = relax.transform
    _tvm_dots.register()
    _tvm_math.register()
    module = _tvm_forms.over_two_axes(module)
    module = _tvm_integers.in_integers(module, tiles.chip.dot)
    module = tvm.transform.Sequential([
        passes.DecomposeOpsForInference(),
        passes.ConvertLayout({"relax.nn.conv2d": ["NHWC", "OHWI"]}),
        passes.Normalize(),
        passes.LegalizeOps(_tvm_integers.LEGALIZERS, skip_ops=_OWN),
        passes.FoldConstant(),
        passes.DeadCodeElimination(),
        passes.LegalizeOps(_tvm_kernels.legalizers(tiles), skip_ops=_tvm_integers.KEPT),
        passes.DeadCodeElimination(),
        passes.LegalizeOps(),
        passes.AnnotateTIROpPattern(),
        passes.FoldConstant(),
    ])(module)  # fmt: skip
    _computed_once(module)
    module = tvm.transform.Sequential([passes.FuseOps(), passes.FuseTIR(), passes.DeadCodeElimination()])(module)
    return _tvm_schedules.scheduled(module, tiles.chip, failed)


_ELEMENTWISE, _BROADCAST, _FUSABLE, _OPAQUE = 0, 1, 4, 8
"""TVM's kinds of operators, as FuseOps reads them."""


def _computed_once(module: Any) -> None:
    """Keep what is computed for few elements and read for many out of the loop over those.

    FuseOps would take a gate (a squeeze-and-excitation's sigmoid, and the product before it) into the multiplication
    that spreads it over an image, where it is computed for every pixel.
    """
    made: dict[Any, Any] = {}
    for block in module["main"].body.blocks:
        for binding in block.bindings:
            call = binding.value
            if not isinstance(call, relax.Call) or getattr(call.op, "name", "") != "relax.call_tir":
                continue
            made[binding.var] = call.args[0]
            if _kind(module, call.args[0]) not in {_ELEMENTWISE, _BROADCAST}:
                continue
            for value in call.args[1]:
                if value in made and _count(value) < _count(binding.var):
                    producer = made[value]
                    if _kind(module, producer) in {_ELEMENTWISE, _BROADCAST, _FUSABLE}:
                        module[producer] = module[producer].with_attr("op_pattern", _OPAQUE)


def _kind(module: Any, variable: Any) -> int:
    return int((module[variable].attrs or {}).get("op_pattern", _OPAQUE))


def _count(variable: Any) -> int:
    shape = getattr(variable.ty, "shape", None)
    return math.prod(int(size) for size in shape) if shape is not None else 0


def _finish() -> Any:
    """TVM's lowering of the graph itself; the functions have been made and scheduled."""
    passes = relax.transform
    return tvm.transform.Sequential([
        relax.backend.DispatchSampling(),
        relax.backend.DispatchSortScan(),
        passes.LegalizeOps(),
        passes.RewriteDataflowReshape(),
        passes.ToNonDataflow(),
        passes.RemovePurityChecking(),
        passes.CallTIRRewrite(),
        passes.StaticPlanBlockMemory(),
        passes.LowerAllocTensor(),
        passes.KillAfterLastUse(),
        passes.LowerRuntimeBuiltin(),
        passes.ComputePrimValue(),
        passes.VMShapeLower(),
        passes.AttachGlobalSymbol(),
    ])  # fmt: skip
