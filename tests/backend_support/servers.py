"""Servers for workers: one that does as it is told, crashes included, and one that lowers nothing."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Mapping
from typing import Any, NoReturn

from tcc.backends._serve import Reply
from tcc.diagnostics import Diagnostic, Exit, TccError


class Obedient:
    """Each method is one way for native code to behave."""

    def echo(self, feeds: Mapping[str, Any]) -> Reply:
        return Reply(list(feeds), list(feeds.values()))

    def segfault(self) -> Reply:
        os.write(2, b"about to read address 0\n")
        ctypes.string_at(0)
        return Reply()

    def leave(self, code: int) -> NoReturn:
        os._exit(code)

    def complain(self) -> Reply:
        raise TccError(
            Exit.UNSUPPORTED, [Diagnostic("E0412", "no such operator", "m.onnx:n [Op]", ("a note",), "help")]
        )

    def fail(self) -> Reply:
        message = "two\nlines"
        raise ValueError(message)

    def chatter(self) -> Reply:
        sys.stdout.write("{}\n" * 1000)
        sys.stdout.flush()
        os.write(1, b'{"value": "no answer"}\n')
        return Reply("the answer")

    def sleep(self) -> Reply:
        time.sleep(60)
        return Reply()

    def modules(self) -> Reply:
        return Reply(sorted(sys.modules))


class Crashing:
    """A back end that reads address 0 whatever it is asked for."""

    def lower(self, **_: Any) -> Reply:
        return Obedient().segfault()

    def load(self, **_: Any) -> Reply:
        return Obedient().segfault()


class Wrong:
    """A back end that computes zeros."""

    def lower(self, source: str, output: str, settings: Mapping[str, Any]) -> Reply:
        del settings
        from pathlib import Path

        Path(output).write_bytes(Path(source).read_bytes())
        return Reply({"files": [Path(output).name], "facts": {}})

    def load(self, path: str, threads: int) -> Reply:
        from tcc.ir.execution import Runner

        self.runner = Runner(path, threads=threads)
        return Reply({})

    def run(self, feeds: Mapping[str, Any]) -> Reply:
        return Reply(arrays=[0 * value for value in self.runner.run(feeds)])
