"""The house rules that no linter knows: layers, light imports, public names, file and function sizes."""

from __future__ import annotations

import ast
import importlib
import os
import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import tcc

REPOSITORY = Path(__file__).resolve().parent.parent
SOURCES = sorted(
    path for folder in ("tcc", "tests", "examples", "benchmarks") for path in (REPOSITORY / folder).rglob("*.py")
)
FILE_LINES = 400
FUNCTION_LINES = 40
HEAVY = ("numpy", "onnx", "onnx_ir", "onnx_graphsurgeon", "onnxruntime", "egglog", "highspy", "networkx", "rich")


def source_id(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


def lint_imports(tree: Path) -> subprocess.CompletedProcess[str]:
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", code, "--no-cache"]
    environment = os.environ | {"PYTHONPATH": str(tree)}  # before an installed tcc
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def copied_tree(tmp_path: Path) -> Path:
    shutil.copytree(REPOSITORY / "tcc", tmp_path / "tcc", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    return tmp_path


def test_imports_point_down() -> None:
    done = lint_imports(REPOSITORY)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("tcc/ir/types.py", "import tcc.compiler"),
        ("tcc/diagnostics.py", "import tcc.ir.types"),
        ("tcc/rewrites/__init__.py", "import tcc.cost_models"),
        ("tcc/passes/__init__.py", "import torch"),
    ],
)
def test_a_wrong_import_breaks_the_contracts(copied_tree: Path, module: str, line: str) -> None:
    with (copied_tree / module).open("a") as file:
        file.write(f"\n{line}\n")
    done = lint_imports(copied_tree)
    assert done.returncode == 1
    assert "BROKEN" in done.stdout
    assert line.removeprefix("import ") in done.stdout


def test_a_module_outside_the_layers_breaks_the_contracts(copied_tree: Path) -> None:
    (copied_tree / "tcc" / "attic.py").write_text('"""A room that no layer names."""\n')
    done = lint_imports(copied_tree)
    assert done.returncode == 1
    assert "attic" in done.stdout + done.stderr


def test_help_imports_nothing_heavy() -> None:
    code = """
import sys
from importlib.metadata import entry_points
(command,) = entry_points(group="console_scripts", name="tcc")
sys.argv = ["tcc", "--help"]
try:
    code = command.load()()
except SystemExit as stop:
    code = stop.code
print(*sorted(set(HEAVY) & set(sys.modules)), file=sys.stderr)
sys.exit(code)
""".replace("HEAVY", repr(HEAVY))
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    assert "usage: tcc" in done.stdout
    assert done.stderr.split() == []


def modules() -> list[str]:
    return ["tcc", *(found.name for found in pkgutil.walk_packages(tcc.__path__, "tcc."))]


def public_names(module: ModuleType) -> set[str]:
    names = {name for name, value in vars(module).items() if not isinstance(value, ModuleType)}
    return {name for name in names if not name.startswith("_")} - {"annotations", "TYPE_CHECKING"}


@pytest.mark.parametrize("name", modules())
def test_every_module_imports_and_keeps_what_it_exports(name: str) -> None:
    module = importlib.import_module(name)
    missing = [export for export in getattr(module, "__all__", ()) if not hasattr(module, export)]
    assert missing == []


def test_the_public_names_are_exactly_all() -> None:
    package = importlib.import_module("tcc")
    exports: list[str] = package.__all__
    assert {"PassManager", "compile"} <= set(exports)
    assert len(set(exports)) == len(exports)
    # Lazy names are not in vars() until they are asked for, so ask for all of them first.
    assert all(hasattr(package, name) for name in exports)
    assert public_names(package) <= set(exports)
    assert set(exports) <= set(dir(package))


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    package = importlib.import_module("tcc")
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = package.no_such_name


@pytest.mark.parametrize("path", SOURCES, ids=source_id)
def test_file_size(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= FILE_LINES


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from the ``def`` to the end, its docstring left out."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is None:
        return lines
    return lines - ((first.end_lineno or first.lineno) - first.lineno + 1)


@pytest.mark.parametrize("path", SOURCES, ids=source_id)
def test_function_sizes(path: Path) -> None:
    functions = (
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    long = {f"{node.name}:{node.lineno}": code_lines(node) for node in functions if code_lines(node) > FUNCTION_LINES}
    assert long == {}


def test_the_package_ships_its_types_and_its_targets() -> None:
    package = Path(tcc.__file__).parent
    assert (package / "py.typed").is_file()
    assert sorted((package / "targets").glob("*.toml"))
