"""``tcc IN``: compiles a model."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcc import backends, commands
from tcc.commands import _arguments as arguments_
from tcc.commands._printing import Printer, columns, write
from tcc.compiler import TIME_LIMIT, levels, warnings
from tcc.diagnostics import Exit, fail

if TYPE_CHECKING:
    from tcc.compiler.result import Result
    from tcc.compiler.reuse import Reuse, Taken
    from tcc.passes.manager import Instrument

_PAGES = (".html", ".htm")
_SHOWN = ("verbose", "quiet", "diagnostics", "color", "report", "config", "save_config", "no_reuse")
"""Options that change what is shown, not what is made."""
_FILES = "Arguments may also stand in a file: tcc @file."
DESCRIPTION = """\
Compile a trained ONNX model into a smaller, faster one for a named target, and verify it.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    promises = columns((f"-O{level}", promise) for level, promise in levels.PROMISES.items())
    others = [name for name in commands.names() if name != commands.DEFAULT]
    listed = columns((f"tcc {name}", commands.command(name).DESCRIPTION.strip()) for name in others)
    parser.epilog = f"levels:\n{promises}\n\ncommands, all else compiles:\n{listed}\n\n{_FILES}"
    _file(parser.add_argument("input", nargs="?", type=Path, metavar="IN", help="the model: an ONNX file"))
    parser.add_argument(
        "-O", dest="level", choices=list(levels.LEVELS), default="2", metavar="LEVEL",
        help="how far to go: 0, 1, 2, 3, s or z (default: 2)",
    )  # fmt: skip
    parser.add_argument(
        "--target", default="native", metavar="T",
        help="what to compile for: name[@stack][+feature|-feature][,key=value], as tcc targets lists (default: native)",
    )  # fmt: skip
    _add_outputs(parser.add_argument_group("output"))
    _add_data(parser.add_argument_group("data and budgets"))
    _add_search(parser.add_argument_group("search"))
    _add_messages(parser.add_argument_group("messages"))
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and stop")
    parser.add_argument(
        "--print-completion", action=_Completion, choices=["bash", "zsh", "tcsh"],
        help="print a completion script for a shell and stop",
    )  # fmt: skip


def _file(argument: argparse.Action) -> None:
    """Let shells complete the argument's value with file names; shtab's convention."""
    argument.complete = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}  # type: ignore[attr-defined]


def _add_outputs(group: argparse._ArgumentGroup) -> None:
    _file(group.add_argument(
        "-o", "--output", type=Path, metavar="OUT", help="the file to write (default: beside IN, as <stem>.tcc.onnx)",
    ))  # fmt: skip
    _file(
        group.add_argument("--report", type=Path, metavar="R", help="write a report: R.json, or R.html to read offline")
    )
    _file(group.add_argument(
        "--config", type=Path, metavar="F.TOML", help="read options from a file, as --save-config writes it",
    ))  # fmt: skip
    _file(group.add_argument(
        "--save-config", type=Path, metavar="F.TOML", help="write what was asked for, to be done again with --config",
    ))  # fmt: skip
    group.add_argument(
        "--passes", metavar="TEXT", help="run this pipeline in place of the level's: name{option=value},...",
    )  # fmt: skip
    group.add_argument("--print-pipeline", action="store_true", help="print the pipeline and stop")
    group.add_argument(
        "--print-ir-after", metavar="PASS", help="print the model after each pass, or with =PASS after that one",
    )  # fmt: skip
    group.add_argument(
        "--emit", choices=backends.kinds(), default="onnx", metavar="KIND",
        help=f"what to write: {', '.join(backends.kinds())} (default: onnx)",
    )  # fmt: skip
    group.add_argument("--dry-run", action="store_true", help="do everything, write nothing")
    group.add_argument(
        "--no-reuse", action="store_true", help="compile anew, although nothing has changed since the same compilation"
    )


def _add_loss(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--max-loss", type=arguments_.percentage, default=0.01, metavar="L",
        help="the loss budget of lossy passes (default: 1%%)",
    )  # fmt: skip
    group.add_argument(
        "--lossless", action="store_true",
        help="the same as --max-loss=0: no prediction on the calibration data changes, no metric of --eval falls",
    )  # fmt: skip


def _add_data(group: argparse._ArgumentGroup) -> None:
    _file(group.add_argument(
        "--calib", metavar="D",
        help="calibration data: a .npz with an array an input, a folder of .npz or .npy, "
        "images:FOLDER,scale=255, module:function, or synthetic: to generate it",
    ))  # fmt: skip
    _file(group.add_argument(
        "--inputs", type=Path, metavar="F.NPZ", help="verify on these inputs in place of generated ones",
    ))  # fmt: skip
    _add_loss(group)
    _file(group.add_argument(
        "--eval", metavar="D.NPZ",
        help="labelled data: the loss is the drop of the metric on it; an array an input, and 'labels'",
    ))  # fmt: skip
    group.add_argument(
        "--metric", default="", metavar="M",
        help="of --eval: top1 (default), module:function or file.py:function of (outputs, labels)",
    )  # fmt: skip
    group.add_argument("--max-size", metavar="N", help="the budget of bytes on disk: 500kB, 2MiB, 50%% of the input's")
    group.add_argument(
        "--max-memory", metavar="N", help="the budget of memory at the peak, as predicted: 64MB, 50%% of the input's"
    )
    group.add_argument("--max-latency", metavar="T", help="the budget of time a run: 5ms, 300us, 0.7x the input's")
    group.add_argument(
        "--objective", choices=levels.AIMS, default="",
        help="what is minimised within the budgets (default: the level's: latency for -O3, size for -Os and -Oz)",
    )  # fmt: skip
    group.add_argument(
        "--dim", type=arguments_.dimension, action="append", default=[], metavar="NAME=SIZE",
        help="the size of a symbolic dimension, for prices and generated inputs",
    )  # fmt: skip
    group.add_argument(
        "--time-limit", type=arguments_.seconds, default=TIME_LIMIT, metavar="S",
        help=f"seconds after which a search takes the best program found (default: {TIME_LIMIT:g})",
    )  # fmt: skip
    group.add_argument("--no-measure", action="store_true", help="do not time the result against the input")


def _add_search(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--without", type=arguments_.names, action="extend", default=[], metavar="NAME[,..]",
        help="leave out techniques, prune, hardware-prices or program, to see what they contribute",
    )  # fmt: skip
    group.add_argument(
        "--pareto", type=int, default=0, metavar="N",
        help="write N programs of the front of loss, bytes and latency beside OUT, as <stem>.pareto<i>.onnx",
    )  # fmt: skip
    group.add_argument(
        "--jobs", type=int, default=0, metavar="N", help="programs tried at once (default: as many as processors)"
    )
    group.add_argument(
        "--scheduler", default="local", metavar="HOST:PORT", help="try programs on a dask cluster (default: local)"
    )


def _add_messages(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "-v", "--verbose", action="count", default=0,
        help="say what each pass did, and why rules that matched declined; -vv: all there is",
    )  # fmt: skip
    group.add_argument("-q", "--quiet", action="store_true", help="print errors and warnings only")
    group.add_argument(
        "-W", dest="warnings", action="append", default=[], metavar="error[=NAME]",
        help=f"make warnings errors: all, or those named: {', '.join(warnings.known())}",
    )  # fmt: skip
    group.add_argument(
        "--diagnostics", choices=["text", "json"], default="text", help="how errors, warnings and notes are written",
    )  # fmt: skip
    group.add_argument(
        "--color", choices=["auto", "always", "never"], default="auto", help="colours in messages and tables",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Compile."""
    if arguments.print_pipeline:
        write(_pipeline(arguments))
        return int(Exit.DONE)
    if arguments.input is None:
        raise fail(
            Exit.USAGE, "E0230", "the model is missing", help="write tcc model.onnx -o out.onnx, or see tcc --help"
        )
    output = None if arguments.dry_run else arguments.output or _default_output(arguments.input, arguments.emit)
    if arguments.save_config is not None:
        _check_report(arguments.save_config, [path for path in (arguments.input, output) if path is not None])
    if arguments.report is not None:
        _check_report(arguments.report, [path for path in (arguments.input, output) if path is not None])
    printer = Printer(arguments.diagnostics == "json", arguments.color, arguments.verbose)
    reuse = _reuse(arguments, output)
    result = (reuse and reuse.take()) or _compile(arguments, output, printer, reuse)
    shown = [d for d in result.diagnostics if d.severity != "note" or not arguments.quiet]
    printer.show(shown)
    if arguments.report is not None:
        _write_report(arguments.report, result)
    if arguments.save_config is not None:
        _save_config(arguments)
    if not arguments.quiet:
        from tcc.report import table

        table.show(result.report, color=printer.colored(sys.stdout))
        for file in result.files:
            write(f"wrote {file}")
    return int(Exit.DONE)


def _reuse(arguments: argparse.Namespace, output: Path | None) -> Reuse | None:
    """Where the result of this compilation would be kept; None where it is asked for anew, or is not all in files."""
    data = [_data(text) for text in (arguments.calib, arguments.eval, arguments.inputs) if text is not None]
    apart = (
        arguments.no_reuse or arguments.verbose or arguments.print_ir_after is not None or arguments.pareto
        or arguments.emit != "onnx" or arguments.scheduler != "local" or arguments.metric not in ("", "top1")
    )  # fmt: skip
    if apart or output is None or None in data or not arguments.input.is_file():
        return None
    from tcc.compiler.reuse import Reuse

    asked = {name: value for name, value in vars(arguments).items() if name not in _SHOWN}
    asked |= {"report": arguments.report is not None, "inputs": str(arguments.inputs), "input": "", "output": ""}
    return Reuse(arguments.input, output, asked, [path for path in data if path is not None and path != Path()])


def _data(text: str | Path) -> Path | None:
    """The file or folder of data; an empty path for generated data, None for what Python computes."""
    name = str(text)
    if name.startswith("synthetic:"):
        return Path()
    path = Path(name.removeprefix("images:").partition(",")[0] if name.startswith("images:") else name)
    return path if path.exists() else None


def _compile(
    arguments: argparse.Namespace, output: Path | None, printer: Printer, reuse: Reuse | None = None
) -> Result:
    import tcc

    with ExitStack() as stack:
        result = tcc.compile(
            arguments.input,
            arguments.level,
            arguments.target,
            passes=arguments.passes,
            output=output,
            calibration=arguments.calib,
            inputs=arguments.inputs,
            max_loss=0.0 if arguments.lossless else arguments.max_loss,
            evaluation=arguments.eval,
            metric=arguments.metric,
            max_size=arguments.max_size,
            max_latency=arguments.max_latency,
            max_memory=arguments.max_memory,
            objective=arguments.objective,
            without=arguments.without,
            pareto=arguments.pareto,
            jobs=arguments.jobs,
            scheduler=arguments.scheduler,
            symbols=dict(arguments.dim),
            time_limit=arguments.time_limit,
            measure=not arguments.no_measure,
            warnings_as_errors=arguments_.error_names(arguments.warnings),
            instruments=_instruments(arguments, stack),
            log=lambda line, verbosity: _log(line) if verbosity <= printer.verbosity else None,
            emit=arguments.emit,
            explain=_asked(arguments),
        )
    if reuse is not None:
        reuse.keep(result)
    return result


def _asked(arguments: argparse.Namespace) -> list[str]:
    """What is found out besides: only where it is shown."""
    from tcc.passes.base import DECLINES, ORIGINS

    return [*([ORIGINS] if arguments.report is not None else []), *([DECLINES] if arguments.verbose else [])]


def _instruments(arguments: argparse.Namespace, stack: ExitStack) -> list[Instrument]:
    from tcc.passes import instruments, pass_class

    made: list[Instrument] = []
    if (name := arguments.print_ir_after) is not None:
        if name:
            pass_class(name)
        made.append(instruments.PrintIR(_log, name.replace("_", "-")))
    if arguments.verbose:
        made.append(instruments.Statistics(_log, arguments.verbose > 1))
    elif sys.stderr.isatty() and not arguments.quiet and arguments.diagnostics == "text":
        from tcc.commands._progress import Progress

        made.append(stack.enter_context(Progress.shown()))
    return made


def _log(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201 - what -v asks for


def _pipeline(arguments: argparse.Namespace) -> str:
    from tcc.compiler import pipelines
    from tcc.passes.pipeline import parse, unparse

    if arguments.passes is not None:
        return unparse(parse(arguments.passes))
    options = {"objective": arguments.objective, "without": arguments.without}
    return unparse(pipelines.of_level(arguments.level, **options, memory=arguments.max_memory is not None))


def _default_output(source: Path, kind: str) -> Path:
    return source.with_name(f"{source.stem}.tcc{backends.emitters(kind)[0].suffix}")


def _check_report(path: Path, others: list[Path]) -> None:
    if path.suffix in _PAGES:
        from tcc.report import html

        html.require()
    from tcc.compiler.placing import require_writable

    require_writable(path, others)
    if any(path.resolve() == other.resolve() for other in others):
        raise fail(
            Exit.USAGE, "E0224", "the report would overwrite a model", where=str(path), help="choose another path"
        )


def _write_report(path: Path, result: Result | Taken) -> None:
    from tcc import report
    from tcc.ir.saving import replacing
    from tcc.report import html

    content = html.page(result.report) if path.suffix in _PAGES else report.text(result.report)
    with replacing(path) as stream:
        stream.write(content.encode())


def _save_config(arguments: argparse.Namespace) -> None:
    from tcc.commands import _config
    from tcc.ir.saving import replacing

    parser = arguments_.Parser()
    add_arguments(parser)
    with replacing(arguments.save_config) as stream:
        stream.write(_config.text(parser, arguments).encode())


class _Version(argparse.Action):
    """Reads the installed version only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_arguments: Any) -> None:
        import tcc

        write(f"tcc {tcc.__version__}")
        parser.exit()


class _Completion(argparse.Action):
    """Prints a shell's completion script."""

    def __call__(
        self, parser: argparse.ArgumentParser, _namespace: argparse.Namespace, values: Any, *_rest: Any
    ) -> None:
        import shtab

        write(shtab.complete(parser, shell=values))
        parser.exit()
