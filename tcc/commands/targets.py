"""``tcc targets``: what can be compiled for."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Mapping

from tcc.commands._printing import columns, write
from tcc.diagnostics import Exit, fail
from tcc.targets import Target, available, calibration, parse_target

DESCRIPTION = """\
List the targets, or tell all about one. `tcc targets calibrate NAME` measures this machine and keeps what it reaches
as a target of your own, in $XDG_CONFIG_HOME/tcc/targets: run it on the device, and copy the file to where you compile.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="a target, with its features and options; or calibrate")
    parser.add_argument("calibrated", nargs="?", metavar="NEW", help="after calibrate: what the new target is called")
    parser.add_argument("--threads", type=int, metavar="N", help="of the new target (default: all of the machine's)")


def run(arguments: argparse.Namespace) -> int:
    """Print the list, or one target's facts, or those of one that is made."""
    calibrates = arguments.name == calibration.RESERVED
    if calibrates != (arguments.calibrated is not None) or (arguments.threads is not None and not calibrates):
        raise fail(Exit.USAGE, "E0213", "calibrate takes the name of the new target, and nothing else does",
                   help="write tcc targets calibrate NAME")  # fmt: skip
    if calibrates:
        path = calibration.calibrate(arguments.calibrated, arguments.threads)
        write(columns([*_facts(parse_target(arguments.calibrated)), ("file", str(path))]))
    elif arguments.name is None:
        write(columns((name, _description(name)) for name in available()))
    else:
        write(columns(_facts(parse_target(arguments.name))))
    return int(Exit.DONE)


def _description(name: str) -> str:
    """Read from the file: making the target of it would measure the machine for ``native``."""
    from tcc.targets import schema
    from tcc.targets.parse import file_of

    return str(schema.read(file_of(name))["description"])


def _facts(target: Target) -> Iterator[tuple[str, str]]:
    for item in dataclasses.fields(target):
        value = getattr(target, item.name)
        name = item.name.replace("_", " ")
        if isinstance(value, Mapping):
            yield from ((f"{name} {key}", _text(entry)) for key, entry in value.items())
        elif dataclasses.is_dataclass(value):
            fields = dataclasses.fields(value)
            yield from ((f"{name} {f.name.replace('_', ' ')}", _text(getattr(value, f.name))) for f in fields)
        else:
            yield name, _text(value)


def _text(value: object) -> str:
    if isinstance(value, frozenset | tuple):
        items = sorted(map(_text, value)) if isinstance(value, frozenset) else map(_text, value)
        return ", ".join(item or "ai.onnx" for item in items) or "none"
    if dataclasses.is_dataclass(value):
        return " ".join(_text(getattr(value, f.name)) for f in dataclasses.fields(value))
    return f"{value:,.6g}" if isinstance(value, float) else str(value)
