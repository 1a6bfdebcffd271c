"""For a device that builds its own engine: an ONNX file that its TensorRT takes, and the scripts that build it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tcc.backends import _tensorrt_build
from tcc.backends._base import DEFAULTS, Artefact, Backend, Loaded, Placement, Settings
from tcc.backends.tensorrt import TensorRt, profile
from tcc.diagnostics import Exit, fail

if TYPE_CHECKING:
    from tcc.ir.model import Model

_STRONGLY_TYPED_FROM = 10
"""The first TensorRT whose trtexec has --stronglyTyped."""
_OPSET_OF_TENSORRT_10 = 18
"""Stacks that take this opset come with TensorRT 10; those before, with 8."""
_MAIN = '''

def main() -> None:
    """Build the engine beside the ONNX file, unless that has changed since the script was written."""
    import hashlib
    import json
    import sys

    try:
        import tensorrt
    except ImportError:
        sys.exit("TensorRT's Python module is missing: apt install python3-libnvinfer, or use the shell script")
    config = json.loads(CONFIG)
    folder = Path(__file__).resolve().parent
    source = folder / config["source"]
    if hashlib.sha256(source.read_bytes()).hexdigest() != config["sha256"]:
        sys.exit(f"{source} is not the file that this script was written for")
    config["timing_cache"] = str(folder / config["timing_cache"])
    try:
        facts = build(tensorrt, str(source), str(folder / config["engine"]), config)
    except BuildError as error:
        sys.exit(f"{source}: {error}")
    sys.stdout.write(json.dumps(facts, indent=2) + "\\n")


if __name__ == "__main__":
    main()
'''


@dataclass(frozen=True)
class TensorRtDevice(Backend):
    """Writes ``<name>.onnx``, ``<name>.build.sh`` (trtexec) and ``<name>.build.py`` (TensorRT's Python module)."""

    name: ClassVar[str] = "tensorrt-device"
    domains: ClassVar[frozenset[str]] = TensorRt.domains
    dtypes: ClassVar[frozenset[str]] = TensorRt.dtypes
    opset: ClassVar[int] = TensorRt.opset
    ir_version: ClassVar[int] = TensorRt.ir_version
    emits: ClassVar[str] = "device-script"
    suffix: ClassVar[str] = ".onnx"
    cannot: ClassVar[tuple[str, ...]] = ("run or measure anything away from the device",)
    fallback: ClassVar[str | None] = "onnxruntime"

    def lower(self, model: Model, path: Path, settings: Settings = DEFAULTS) -> Artefact:
        """Write the three files; the model must be within what the target takes.

        Raises:
            TccError: exit UNSUPPORTED, E0824 for a target that is not built for with TensorRT.
        """
        target = settings.target
        if target is None or "tensorrt" not in target.backends:
            name = "this machine" if target is None else target.text
            raise fail(Exit.UNSUPPORTED, "E0824", f"{name} is no device that builds engines with TensorRT",
                       help="name one: --target=jetson")  # fmt: skip
        self.require(model)
        shapes, notes = profile(model, settings)
        written = model.save(path)
        config = {
            "target": target.text, "source": path.name, "engine": f"{path.stem}.engine",
            "timing_cache": f"{path.stem}.timing.cache", "workspace": settings.memory or target.memory // 4,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "profile": shapes,
        }  # fmt: skip
        typed = target.max_opset >= _OPSET_OF_TENSORRT_10
        shell, script = path.with_name(f"{path.stem}.build.sh"), path.with_name(f"{path.stem}.build.py")
        _write(shell, shell_script(config, _type_flags(model, typed=typed)))
        _write(script, python_script(config))
        facts = {"profile": shapes, "workspace": config["workspace"], "strongly_typed": typed}
        return Artefact((*written, shell, script), facts, tuple(notes))

    def load(self, path: Path, *, threads: int = 1) -> Loaded:
        """Nothing is loaded here; raises E0825."""
        del threads
        raise fail(Exit.BACKEND, "E0825", "a device script is run on the device", where=str(path))

    def unrunnable(self, settings: Settings = DEFAULTS) -> str:
        """The engine does not exist before the device builds it."""
        del settings
        return "the engine is built on the device"

    def explain(self, model: Model, settings: Settings = DEFAULTS) -> list[Placement]:
        """Where TensorRT would run each node."""
        return TensorRt().explain(model, settings)


def _type_flags(model: Model, *, typed: bool) -> list[str]:
    """What trtexec is told of types: nothing but the file's own where it takes those, else what it may choose from."""
    if typed:
        return ["--stronglyTyped"]
    from tcc.ir.model import dtype_name

    operators = {node.op_type for node in model.nodes()}
    dtypes = {dtype_name(v.dtype) for node in model.nodes() for v in node.outputs if v.dtype is not None}
    flags = ["--int8"] if "QuantizeLinear" in operators else []
    return [*flags, "--fp16"] if "float16" in dtypes else flags


def shell_script(config: dict[str, Any], types: list[str]) -> str:
    """The script for trtexec, which every TensorRT brings."""
    arguments = [
        f"--onnx={config['source']}", f"--saveEngine={config['engine']}", *types,
        f"--memPoolSize=workspace:{config['workspace'] >> 20}", f"--timingCacheFile={config['timing_cache']}",
    ]  # fmt: skip
    for index, bound in enumerate(("min", "opt", "max")):
        if config["profile"]:
            shapes = (f"{name}:{'x'.join(map(str, rows[index]))}" for name, rows in config["profile"].items())
            arguments.append(f"--{bound}Shapes={','.join(shapes)}")
    lines = " \\\n    ".join(_quoted(argument) for argument in [*arguments, "--skipInference"])
    return f"""#!/bin/sh
# Builds {config["engine"]} from {config["source"]} on the device. Written by tcc for {config["target"]}.
# Further arguments go to trtexec; TRTEXEC names it where it lies elsewhere.
set -eu
cd "$(dirname "$0")"
echo '{config["sha256"]}  {config["source"]}' | sha256sum --check --quiet -
exec "${{TRTEXEC:-/usr/src/tensorrt/bin/trtexec}}" \\
    {lines} "$@"
"""


def python_script(config: dict[str, Any]) -> str:
    """The same with TensorRT's Python module: tcc's own builder, and what it is called with."""
    source = Path(_tensorrt_build.__file__).read_text(encoding="utf-8")
    return f"#!/usr/bin/env python3\n{source}\n\nCONFIG = {json.dumps(json.dumps(config))}\n{_MAIN}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _write(path: Path, text: str) -> None:
    from tcc.ir import saving

    with saving.replacing(path) as stream:
        stream.write(text.encode())
    path.chmod(0o755)


BACKEND = TensorRtDevice()
