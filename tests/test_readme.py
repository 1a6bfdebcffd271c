"""What the README shows works: its Python blocks run, its commands succeed, its links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tcc.diagnostics import Exit

REPOSITORY = Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    return [text for found, text in BLOCK.findall(README) if found == language]


def commands(program: str) -> list[str]:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if shlex.split(line)[:1] == [program]]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A folder where the README's paths exist and nothing else is in the way."""
    shutil.copytree(REPOSITORY / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def run_in(folder: Path, command: list[str]) -> None:
    scripts = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}{done.stderr}"


def test_the_readme_has_blocks_of_each_kind() -> None:
    assert blocks("python")
    assert commands("tcc")
    assert commands("make")
    assert {language for language, _ in BLOCK.findall(README)} == {"python", "sh"}


@pytest.mark.parametrize("code", blocks("python"))
def test_python_block(workspace: Path, code: str) -> None:
    run_in(workspace, [sys.executable, "-c", code])
    for path in re.findall(r"\.save\(\"(.+?)\"\)", code):
        assert (workspace / path).stat().st_size > 0


@pytest.mark.parametrize("block", [block for block in blocks("sh") if "tcc " in block])
def test_commands(workspace: Path, block: str) -> None:
    """A block's commands in their order: later ones use what earlier ones wrote."""
    for line in block.splitlines():
        words = shlex.split(line)
        if words[:1] != ["tcc"]:
            continue
        run_in(workspace, words)
        outputs = [words[at + 1] for at, word in enumerate(words) if word in {"-o", "--report"}]
        for path in outputs:
            assert (workspace / path).stat().st_size > 0


@pytest.mark.parametrize("line", commands("make"))
def test_make_target_exists(line: str) -> None:
    run_in(REPOSITORY, [*shlex.split(line), "--dry-run"])


def test_the_exit_codes_are_all_listed() -> None:
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    assert listed == set(Exit)


def test_links_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (REPOSITORY / link).exists()] == []
