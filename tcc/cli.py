"""The command line: parses, runs the command, and turns whatever goes wrong into diagnostics and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

from tcc import commands
from tcc.commands._arguments import Parser
from tcc.commands._printing import Printer
from tcc.diagnostics import Diagnostic, Exit, TccError

_ISSUES = "please report it, with what reproduces it"


def main(argv: list[str] | None = None) -> int:
    """Run ``tcc`` with these arguments (default: the process's) and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    printer = Printer.of(arguments)
    try:
        return _run(arguments)
    except SystemExit as stop:  # --help and --version
        return stop.code if isinstance(stop.code, int) else 0
    except TccError as error:
        printer.show(error.diagnostics)
        return int(error.exit_code)
    except KeyboardInterrupt:
        printer.show([Diagnostic("E9901", "interrupted; nothing has been written")])
        return int(Exit.INTERRUPTED)
    except BrokenPipeError:
        # The reader is gone; without this, Python would complain once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(Exit.INTERNAL)
    except MemoryError:
        printer.show([Diagnostic("E0901", "out of memory", help="use a machine with more memory")])
        return int(Exit.LIMIT)
    except Exception as error:  # noqa: BLE001 - the last line of defence: no traceback reaches a user
        printer.show([_internal(error)])
        if printer.verbosity > 1:
            traceback.print_exception(error)
        return int(Exit.INTERNAL)


def _run(arguments: Sequence[str]) -> int:
    name = arguments[0] if arguments and arguments[0] in commands.names() else ""
    command = commands.command(name or commands.DEFAULT)
    parser = Parser(prog=f"tcc {name}".strip(), description=command.DESCRIPTION)
    command.add_arguments(parser)
    return command.run(parser.parse_args(arguments[1:] if name else arguments))


def _internal(error: Exception) -> Diagnostic:
    message = " ".join(f"internal error: {type(error).__name__}: {error}".split())
    notes = tuple(getattr(error, "__notes__", ()))
    return Diagnostic("E0101", message, notes=notes, help=f"{_ISSUES}; -vv shows where it happened")
