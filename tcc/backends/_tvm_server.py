"""What the TVM back end does in its own process."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tcc.backends._serve import Reply
from tcc.diagnostics import Exit, TccError, fail


class Server:
    """One model at a time."""

    def __init__(self) -> None:
        import tvm

        self._tvm = tvm
        self._machine: Any = None
        self._device: Any = tvm.cpu()
        self._is_remote = False
        self._facts: dict[str, Any] = {}

    def lower(self, source: str, output: str, settings: Mapping[str, Any]) -> Reply:
        """Compile an ONNX file with fixed shapes into a shared library, and say beside it what it takes and gives."""
        import onnx

        from tcc.backends import _tvm_build

        started = time.perf_counter()
        model = onnx.load(source)
        options = settings["options"]
        built = _tvm_build.build(
            model,
            options["mcpu"],
            options.get("triple", ""),
            threads=settings["threads"],
            defaults=options.get("defaults", False),
        )
        compiler = {"cc": options["compiler"]} if options.get("compiler") else {}
        built.library.export_library(output, **compiler)
        facts = {
            "tvm": self._tvm.__version__, "mcpu": built.mcpu, "triple": options["triple"],
            "threads": settings["threads"],
            **built.tiles, "default_schedules": built.failed,
            "build_seconds": time.perf_counter() - started,
        }  # fmt: skip
        beside = Path(f"{output}.json")
        beside.write_text(json.dumps({"inputs": built.inputs, "outputs": built.outputs}, indent=2) + "\n")
        return Reply({"files": [Path(output).name, beside.name], "facts": facts})

    def load(self, path: str, threads: int) -> Reply:
        """Load a library, on a tracker's board where TVM_TRACKER_HOST names one."""
        import os

        from tcc.backends import _tvm_remote

        os.environ["TVM_NUM_THREADS"] = str(threads)
        beside = Path(f"{path}.json")
        if not beside.is_file():
            raise fail(Exit.BACKEND, "E0831", f"{beside.name} is not beside the library", where=path,
                       help="keep the two files that --emit=tvm writes together")  # fmt: skip
        self._facts = json.loads(beside.read_text())
        try:
            if _tvm_remote.is_asked_for():
                library, self._device = _tvm_remote.loaded(path)
                self._is_remote = True
            else:
                library = self._tvm.runtime.load_module(path)
            self._machine = self._tvm.relax.VirtualMachine(library, self._device)
        except TccError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split())[-300:]
            raise fail(Exit.BACKEND, "E0830", f"tvm does not load the library: {reason}", where=path,
                       help="it runs on the processor that it was compiled for") from error  # fmt: skip
        return Reply({key: [port["name"] for port in self._facts[key]] for key in ("inputs", "outputs")})

    def run(self, feeds: Mapping[str, np.ndarray]) -> Reply:
        """The outputs in the model's order."""
        self._set(feeds)
        self._machine.invoke_stateful("main")
        found = self._machine.get_outputs("main")
        outputs = [found] if hasattr(found, "numpy") else list(found)
        return Reply(arrays=[value.numpy() for value in outputs])

    def measure(self, feeds: Mapping[str, np.ndarray], rounds: int) -> Reply:
        """Seconds of each run, after one that is not counted; inputs stay where they are.

        A board's runs are timed by the board, so that the network does not count.
        """
        self.run(feeds)
        if self._is_remote:
            timer = self._machine.time_evaluator("invoke_stateful", self._device, number=1, repeat=rounds)
            return Reply(list(map(float, timer("main").results)))
        samples = []
        for _ in range(rounds):
            started = time.perf_counter()
            self._machine.invoke_stateful("main")
            samples.append(time.perf_counter() - started)
        return Reply(samples)

    def _set(self, feeds: Mapping[str, np.ndarray]) -> None:
        problems = []
        for port in self._facts["inputs"]:
            value = feeds.get(port["name"])
            if value is None:
                problems.append(f"input {port['name']!r} is not given")
            elif list(value.shape) != port["shape"] or value.dtype.name != port["dtype"]:
                problems.append(
                    f"input {port['name']!r} is {value.dtype.name}{list(value.shape)}, "
                    f"should be {port['dtype']}{port['shape']}"
                )
        if problems:
            raise fail(Exit.DATA, "E0602", "the data does not fit the library's inputs", notes=problems,
                       help="a library takes the sizes that it was compiled for: --dim NAME=SIZE")  # fmt: skip
        values = [
            self._tvm.runtime.tensor(np.ascontiguousarray(feeds[port["name"]]), self._device)
            for port in self._facts["inputs"]
        ]
        self._machine.set_input("main", *values)
