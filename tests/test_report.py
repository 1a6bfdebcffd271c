"""The report's layer table and its HTML form."""

from __future__ import annotations

import importlib.util
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

import tcc
from tcc import cli
from tcc.diagnostics import Exit
from tcc.report import html, table

WORDS = ["-Oz", "--target=x86-64-vnni", "--no-measure", "-q"]


class Page(HTMLParser):
    """Checks that tags are balanced, and gathers the cells of the tables and what is fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.fetched += [value or "" for name, value in attributes if name in {"src", "href"}]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in {"td", "th"}:
            self.cells.append(data)


@pytest.fixture(scope="module")
def written(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The report of one compilation in both forms."""
    folder = tmp_path_factory.mktemp("report")
    found = {}
    for form in ("json", "html"):
        found[form] = folder / f"report.{form}"
        words = [str(digits / "digits.onnx"), *WORDS, "-o", str(folder / "o.onnx"), "--report", str(found[form])]
        assert cli.main([*words, "--calib", str(digits / "digits_calib.npz")]) == Exit.DONE
    return found


def test_the_layers_are_those_of_the_result(written: dict[str, Path]) -> None:
    report = json.loads(written["json"].read_text())
    layers = report["layers"]
    assert len(layers) == report["result"]["nodes"]
    assert sum(layer["seconds"] for layer in layers) == pytest.approx(report["predicted"]["seconds_after"])
    decided = [layer for layer in layers if layer["decision"]]
    assert decided
    decisions = {layer["decision"] for layer in decided}
    assert decisions <= {"static-int8", "packed-int4", "stored-int4"}
    assert "packed-int4" in decisions


def test_the_page_is_whole_and_needs_no_network(written: dict[str, Path]) -> None:
    page = Page()
    page.feed(written["html"].read_text())
    assert page.open == []
    assert page.fetched == []
    report = json.loads(written["json"].read_text())
    assert {layer["name"] for layer in report["layers"]} <= set(page.cells)
    assert {point["pipeline"] for point in report["search"]} - {""} <= set(page.cells)
    assert f"{report['result']['bytes']:,}" in page.cells


def test_what_the_model_is_called_cannot_break_the_page(written: dict[str, Path]) -> None:
    report = json.loads(written["json"].read_text())
    report["source"] = "<script>alert(1)</script>"
    report["layers"][0]["name"] = "a<b>&"
    page = Page()
    page.feed(html.page(report))
    assert page.open == []
    assert "a<b>&" in page.cells
    assert "<script>alert" not in html.page(report)


def test_a_missing_extra_is_named_before_any_work(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    words = [str(digits / "digits.onnx"), *WORDS, "-o", str(tmp_path / "o.onnx")]
    assert cli.main([*words, "--report", str(tmp_path / "r.html")]) == Exit.USAGE
    assert "tensorcompress[report]" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_runs_at_load_time_is_told_and_costs_next_to_nothing(digits: Path, tmp_path: Path) -> None:
    calibration = digits / "digits_calib.npz"
    passes = "simplify,compress{only=stored-int8}"
    made = tcc.compile(digits / "digits.onnx", passes=passes, target="x86-64-vnni", calibration=calibration).report
    loaded = [layer for layer in made["layers"] if layer["at_load"]]
    assert {layer["operator"] for layer in loaded} == {"Cast", "Mul"}
    assert sum(layer["seconds"] for layer in loaded) < 1e-3 * made["predicted"]["seconds_after"]
    rows = {name.strip(): after for name, _, after, _ in table.rows(made)}
    assert rows["run at load time"] == str(len(loaded))


def test_programs_of_one_result_are_shown_once() -> None:
    point = {
        "pipeline": "compress", "share": 0.5, "loss": 0.0, "bytes": 10.0, "predicted_seconds": 1e-6, "front": True,
        "exceeds": [], "chosen": False,
    }  # fmt: skip
    page = html._search([point, point | {"share": 1.0, "chosen": True}, point | {"bytes": 20.0}])
    assert page.count("<td>compress</td>") == 1
    assert page.count("<td>compress, within 0.5 of the loss budget</td>") == 1
