"""Times the kernels of a model as ONNX Runtime runs them, after its own fusions, through its profiler."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcc.cost_models._database import Database, Machine
from tcc.cost_models._kernels import Kernel, Timed
from tcc.diagnostics import Diagnostic
from tcc.ir.execution import Runner
from tcc.ir.model import dtype_name
from tcc.ir.types import TensorType
from tcc.targets.native import processor, processors

if TYPE_CHECKING:
    import onnx
    import onnxruntime

_TYPES = {"float": "float32", "double": "float64"}
_FEWEST, _MOST = 12, 200
_OVERHEAD = 3e-6
"""Seconds that the profiler itself takes at most within a node's span."""
_LEAST = 2e-7
"""Seconds that any node takes."""
_EVENT = "_kernel_time"


@dataclass(frozen=True)
class Profile:
    """The kernels of a model in the order in which they run, and the least seconds that a whole run took.

    ``seconds`` are the thread's own where there is one thread, so that other processes' load is left out; measured
    without the profiler.
    """

    kernels: tuple[Timed, ...]
    seconds: float
    runs: int


@dataclass(frozen=True)
class Profiled:
    """A profile of a model, the roofline's seconds of each kernel beside it, and where the times were kept."""

    profile: Profile
    machine: Machine
    roofline: tuple[float, ...]
    kept: Path | None
    notes: tuple[Diagnostic, ...]


def profile_model(
    path: Path,
    inputs: Path | None,
    symbols: Mapping[str, int],
    *,
    threads: int = 1,
    seconds: float = 2.0,
    keep: bool = True,
) -> Profiled:
    """Profile a model on its own inputs, or on generated ones, and keep the times for later runs.

    Raises:
        TccError: what reading the model and its inputs raises, what loading and running raise.
    """
    from tcc import frontends
    from tcc.compiler import data, sizing
    from tcc.cost_models.roofline import Roofline
    from tcc.ir.feeds import exercise_feeds
    from tcc.passes.manager import Snapshot
    from tcc.targets import parse_target

    model = frontends.load(path)
    original = Snapshot.of(model)
    sizing.require_known(original, symbols)
    feeds: sizing.Feeds = data.whole(inputs, model) if inputs else sizing.deployed(original, symbols)
    feeds = feeds or exercise_feeds(original.proto, original.runner(), symbols=symbols)
    found = profile(path, feeds, threads=threads, seconds=seconds)
    where = machine(threads)
    roofline = Roofline(parse_target(f"native,threads={min(threads, processors())}"))
    prices = tuple(
        roofline.price(k.operator, k.plain, k.inputs, k.outputs, k.constant).seconds
        for k in (item.kernel for item in found.kernels)
    )
    notes: list[Diagnostic] = list(model.notes)
    kept = None
    if keep:
        database = Database()
        database.add(where, found.kernels)
        notes += database.notes
        kept = database.path
    return Profiled(found, where, prices, kept, tuple(notes))


def machine(threads: int) -> Machine:
    """This machine, with this version of ONNX Runtime."""
    import onnxruntime

    return Machine(processor(), f"onnxruntime {onnxruntime.__version__}", threads)


def profile(path: Path, feeds: Sequence[Mapping[str, Any]], *, threads: int = 1, seconds: float = 1.0) -> Profile:
    """Run a model for about twice the given time, with and without the profiler, at least five times each.

    Raises:
        TccError: what loading and running raise.
    """
    plain, runs = _whole(path, feeds, threads, seconds)
    with tempfile.TemporaryDirectory(prefix="tcc-profile-") as folder:
        session, optimised = _session(path, Path(folder), threads)
        values = [dict(feed) for feed in feeds]
        session.run(None, values[0])
        started = time.perf_counter()
        done = 0
        while done < _FEWEST or (time.perf_counter() - started < seconds and done < _MOST):
            session.run(None, values[0])
            done += 1
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return Profile(_corrected(list(_timed(events, optimised)), plain), plain, runs)


def _corrected(timed: Sequence[Timed], whole: float) -> tuple[Timed, ...]:
    """The kernels' own times: less what the profiler takes of each, and together no more than a run without it.

    A kernel that is longer than the scheduler's slice is interrupted by other processes in every run, so that even
    its least time holds theirs; the run's own time does not.
    """
    total = sum(item.seconds for item in timed)
    overhead = min(_OVERHEAD, max(0.0, (total - whole) / max(1, len(timed))))
    own = [max(_LEAST, item.seconds - overhead) for item in timed]
    scale = min(1.0, whole / sum(own)) if own else 1.0
    return tuple(replace(item, seconds=seconds * scale) for item, seconds in zip(timed, own, strict=True))


def _whole(path: Path, feeds: Sequence[Mapping[str, Any]], threads: int, seconds: float) -> tuple[float, int]:
    runner = Runner(path, optimise=True, threads=threads)
    clock = time.thread_time if threads == 1 else time.perf_counter
    runner.run(feeds[0])
    started, best, done = time.perf_counter(), float("inf"), 0
    while done < _FEWEST or (time.perf_counter() - started < seconds and done < _MOST):
        before = clock()
        runner.run(feeds[0])
        best = min(best, clock() - before)
        done += 1
    return best, done


def _session(path: Path, folder: Path, threads: int) -> tuple[onnxruntime.InferenceSession, onnx.ModelProto]:
    """A session that profiles, and the graph that it runs."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    # The weights stay out of the file that is read back.
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "weights.bin")
    options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "1024")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (folder / "weights.bin").unlink(missing_ok=True)
    return session, onnx.load(folder / "optimised.onnx", load_external_data=False)


def _timed(events: Sequence[Mapping[str, Any]], optimised: onnx.ModelProto) -> Iterator[Timed]:
    """The least time of each node over all runs but the first; nodes of bodies are part of their owners."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_EVENT):
            found.setdefault(event["name"].removesuffix(_EVENT), []).append(event)
    named = {node.name for node in optimised.graph.node}
    # A node without a name is called by its operator and a number, and runs in the graph's order.
    nameless: dict[str, Iterator[str]] = {
        node.op_type: iter([n for n, e in found.items() if n not in named and e[0]["args"]["op_name"] == node.op_type])
        for node in optimised.graph.node
        if not node.name
    }
    constants = {tensor.name: _stored(tensor) for tensor in optimised.graph.initializer}
    for node in optimised.graph.node:
        name = node.name or next(nameless[node.op_type], "")
        seen = [event for event in found.get(name, ()) if event["args"]["op_name"] == node.op_type]
        if not seen:
            continue
        times = [event["dur"] for event in seen[1:] or seen]
        # The profiler counts whole microseconds, rounded down.
        yield Timed(_kernel(node, seen[-1]["args"], constants), name, (min(times) + 0.5) * 1e-6, len(times))


def _stored(tensor: onnx.TensorProto) -> TensorType:
    import onnx_ir

    return TensorType(dtype_name(onnx_ir.DataType(tensor.data_type)), tuple(tensor.dims))


def _kernel(node: onnx.NodeProto, facts: Mapping[str, Any], constants: Mapping[str, TensorType]) -> Kernel:
    """The kernel of a node. The profiler leaves out absent operands, and weights that are held in packed form."""
    seen = [_kind(entry) for entry in facts.get("input_type_shape", ())]
    inputs: list[TensorType | None] = []
    for name in node.input:
        stored = constants.get(name)
        if name and (stored is None or (seen and seen[0] == stored)):
            inputs.append(seen.pop(0) if seen else stored)
        else:
            inputs.append(stored)
    outputs = tuple(_kind(entry) for entry in facts.get("output_type_shape", ()))
    flags = tuple(name in constants for name in node.input)
    return Kernel(node.op_type, node.domain, _attributes(node), tuple(inputs), outputs, flags)


def _attributes(node: onnx.NodeProto) -> str:
    """The plain attributes; tensors and bodies say nothing of a kernel's time that its operands do not."""
    import onnx

    kept = {
        attribute.name: _plain(onnx.helper.get_attribute_value(attribute))
        for attribute in node.attribute
        if attribute.type not in {onnx.AttributeProto.GRAPH, onnx.AttributeProto.TENSOR, onnx.AttributeProto.GRAPHS}
    }
    return json.dumps(kept, sort_keys=True, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, int | float | str) else [_plain(item) for item in value]


def _kind(entry: Mapping[str, Sequence[int]] | None) -> TensorType | None:
    """``{"float": [1, 8]}`` as a type."""
    if not entry:
        return None
    ((dtype, shape),) = entry.items()
    return TensorType(_TYPES.get(dtype, dtype), tuple(shape))
