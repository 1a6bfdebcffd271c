"""Targets: strict files, a grammar that round-trips, errors that suggest, and the measured machine's cache."""

from __future__ import annotations

import json
import math
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcc.diagnostics import Exit, TccError
from tcc.ir.types import BITS
from tcc.targets import Target, available, parse_target, schema, shipped
from tcc.targets import native as machine
from tcc.targets.parse import FOLDER

STATED = [name for name in shipped() if name != "native"]
JETSONS = [name for name in STATED if name.startswith("jetson")]


@pytest.fixture
def quick_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and measurements that take a few milliseconds each."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(machine, "REPEAT_SECONDS", 0.002)
    monkeypatch.setattr(machine, "GEMM", (32, 64, 64))
    monkeypatch.setattr(machine, "COPY_BYTES", 2**20)
    return tmp_path / "tcc"


def codes(text: str) -> list[str]:
    with pytest.raises(TccError) as caught:
        parse_target(text)
    assert caught.value.exit_code == Exit.USAGE
    return [diagnostic.code for diagnostic in caught.value.diagnostics]


@pytest.mark.parametrize("name", STATED)
def test_every_file_is_a_target(name: str) -> None:
    target = parse_target(name)
    assert target.text == target.name == name
    assert target.peak["float32"] > 0
    assert target.quantization.activation in target.dtypes
    assert target.dtypes <= BITS.keys()
    assert set(target.peak) <= BITS.keys()
    assert target.backends[-1] == "onnxruntime"
    assert all(target.sources.values())


def test_element_types_are_those_of_the_graph() -> None:
    assert set(BITS) == schema.DTYPES


def test_wanted_targets_are_there() -> None:
    wanted = {
        "jetson", "jetson-orin-nano-8gb", "jetson-orin-nano-super", "jetson-orin-nx-16gb", "jetson-agx-orin-32gb",
        "jetson-agx-orin-64gb", "x86-64-vnni", "x86-64-avx2", "rpi5", "rpi4", "a100", "h100", "l4", "native",
    }  # fmt: skip
    assert wanted <= set(available())


@pytest.mark.parametrize(
    ("name", "sm", "gigahertz"),
    [
        ("jetson-orin-nano-8gb", 8, 0.625),
        ("jetson-orin-nano-super", 8, 1.02),
        ("jetson-orin-nx-16gb", 8, 0.918),
        ("jetson-agx-orin-32gb", 14, 0.93),
        ("jetson-agx-orin-64gb", 16, 1.3),
    ],
)
def test_orin_rates_follow_from_their_multipliers(name: str, sm: int, gigahertz: float) -> None:
    target = parse_target(name)
    for dtype, multipliers in (("int8", 2048), ("float16", 1024), ("float32", 128)):
        assert target.peak[dtype] == pytest.approx(2 * multipliers * sm * gigahertz * 1e9, rel=0.01)


@pytest.mark.parametrize("name", JETSONS)
def test_jetsons_want_tensorrt_onnx(name: str) -> None:
    target = parse_target(name)
    assert target.processor == ("sm_72" if "xavier" in name else "sm_87")
    assert target.float16
    assert not any(dtype.startswith("float8") or dtype == "float4e2m1" for dtype in target.peak)
    assert target.quantization.symmetric
    assert not target.quantization.quantized_bias
    assert target.backends == ("tensorrt", "onnxruntime-cuda", "onnxruntime")
    assert target.max_opset == (17 if "xavier" in name else 20)


def test_a_bare_family_says_that_it_is_a_profile() -> None:
    assert any("conservative" in note for note in parse_target("jetson").notes)
    assert parse_target("jetson@jp6.2").notes == ()
    assert parse_target("jetson-orin-nano-8gb").notes == ()


def test_stack_sets_the_limits() -> None:
    old, new = parse_target("jetson-orin-nx-16gb@jp6.0"), parse_target("jetson-orin-nx-16gb@jp6.2")
    assert (old.max_opset, old.max_ir_version) == (17, 8)
    assert (new.max_opset, new.max_ir_version) == (20, 10)


def test_features_own_their_rates() -> None:
    assert not parse_target("jetson-orin-nano-8gb-fp16").float16
    assert not parse_target("rpi5").float16
    assert parse_target("rpi5+fp16").float16
    plain, tiles = parse_target("x86-64-vnni"), parse_target("x86-64-vnni+amx")
    assert tiles.peak["int8"] == pytest.approx(8 * plain.peak["int8"], rel=0.01)


def test_a_default_spelt_out_is_not_kept() -> None:
    assert parse_target("jetson+fp16").text == "jetson"


def test_power_threads_and_overrides() -> None:
    full, saving = parse_target("jetson-orin-nano-super"), parse_target("jetson-orin-nano-super,power=15W")
    assert saving.peak["int8"] == pytest.approx(0.6 * full.peak["int8"])
    assert saving.bandwidth == pytest.approx(68e9, rel=0.01)
    one = parse_target("rpi5,threads=1")
    assert one.peak["float32"] == pytest.approx(parse_target("rpi5").peak["float32"] / 4)
    assert one.single_thread == 1.0
    assert parse_target("rpi5,memory=4GiB").memory == 4 * 2**30
    assert parse_target("l4,bandwidth=250GB/s").bandwidth == 250e9
    assert parse_target("l4,bandwidth=250e9").text == "l4,bandwidth=250GB"


@pytest.mark.parametrize(
    ("text", "expected", "hint"),
    [
        ("jetsn", ["E0201"], "did you mean 'jetson'?"),
        ("jetson-orin-nano-8g", ["E0201"], "did you mean 'jetson-orin-nano-8gb'?"),
        ("jetson-agx-orin-64g,power=3W", ["E0201"], "did you mean 'jetson-agx-orin-64gb'?"),
        ("", ["E0201"], "known: a100"),
        ("h100,", ["E0202"], "name[@stack]"),
        ("h100,memory", ["E0202"], "name[@stack]"),
        ("jetson@jp62", ["E0203"], "did you mean 'jp6.2'?"),
        ("jetson-fq16", ["E0204"], "did you mean 'fp16'?"),
        ("jetson,powr=15W", ["E0205"], "did you mean 'power'?"),
        ("jetson-orin-nano-8gb,power=16W", ["E0206"], "did you mean '15W'?"),
        ("jetson,power=15W", ["E0206"], "it has none"),
        ("rpi5,threads=5", ["E0207"], "from 1 to 4"),
        ("rpi5,threads=0", ["E0207"], "from 1 to 4"),
        ("h100,threads=2", ["E0207"], ""),
        ("h100,memory=8Gx", ["E0207"], "8GB"),
        ("h100+fp16-fp16", ["E0208"], "once"),
    ],
)
def test_errors_suggest(text: str, expected: list[str], hint: str) -> None:
    assert codes(text) == expected
    with pytest.raises(TccError) as caught:
        parse_target(text)
    assert hint in caught.value.diagnostics[0].help


def test_all_that_is_wrong_is_said_at_once() -> None:
    assert codes("x86-64-vnni@jp6+amy,threads=0,threads=2,memory=a,frequency=1") == [
        "E0203", "E0204", "E0205", "E0208", "E0207", "E0207",
    ]  # fmt: skip


@st.composite
def spellings(draw: st.DrawFn) -> str:
    name = draw(st.sampled_from(STATED))
    facts = schema.read(FOLDER / f"{name}.toml")
    text = name
    if facts.get("stacks") and draw(st.booleans()):
        text += "@" + draw(st.sampled_from(sorted(facts["stacks"])))
    features = draw(st.permutations(sorted(facts.get("features", {}))))
    text += "".join(draw(st.sampled_from("+-")) + feature for feature in features if draw(st.booleans()))
    units = st.sampled_from(["", "B", "MB", "GiB", "KB/s"])
    options = {
        "memory": st.builds(lambda number, unit: f"{number}{unit}", st.integers(1, 999), units),
        "bandwidth": st.builds(lambda n: f"{n}GB/s", st.integers(1, 4000)),
    }
    if facts.get("power"):
        options["power"] = st.sampled_from(sorted(facts["power"]))
    if facts["kind"] == "cpu":
        options["threads"] = st.integers(1, facts["max_threads"]).map(str)
    keys = draw(st.permutations(sorted(options)))
    return text + "".join(f",{key}={draw(options[key])}" for key in keys if draw(st.booleans()))


@given(spellings())
def test_canonical_text_round_trips(text: str) -> None:
    target = parse_target(text)
    again = parse_target(target.text)
    assert again == target
    assert again.text == target.text
    assert hash(again) == hash(target)


@given(st.text(alphabet="jetsonrpi54-+@,=.x8GBW é\n", max_size=40))
def test_any_text_is_a_target_or_a_usage_error(text: str) -> None:
    try:
        found = parse_target(text).name
    except TccError as error:
        found = error.exit_code.name
    assert found in (*available(), Exit.USAGE.name)


def test_targets_travel_between_processes() -> None:
    target = parse_target("rpi5,threads=2")
    assert pickle.loads(pickle.dumps(target)) == target  # noqa: S301 - made a moment ago, by this test


@pytest.mark.parametrize(
    ("domain", "operator", "dtypes", "word"),
    [
        ("", "Conv", ["float32"], None),
        ("ai.onnx", "Conv", ["float16"], None),
        ("", "QLinearConv", ["int8"], "QLinearConv"),
        ("com.microsoft", "Gelu", ["float32"], "domain"),
        ("", "Add", ["float32", "float64"], "float64"),
    ],
)
def test_legality_gives_a_reason(domain: str, operator: str, dtypes: list[str], word: str | None) -> None:
    reason = parse_target("jetson").legality(domain, operator, dtypes)
    assert reason is None if word is None else word in (reason or "")


def edited(tmp_path: Path, old: str, new: str) -> Path:
    text = (FOLDER / "rpi5.toml").read_text() if "extends" in old else (FOLDER / "x86-64-vnni.toml").read_text()
    assert old in text
    path = tmp_path / "edited.toml"
    path.write_text(text.replace(old, new, 1))
    return path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('kind = "cpu"', 'kind = "tpu"', "kind is 'tpu', should be one of cpu, gpu"),
        ("threads = 4", "threads = 4\nthreds = 4", "threds is unknown"),
        ("threads = 4\n", "", "threads is missing"),
        ("threads = 4", "threads = true", "threads is True, should be a positive integer"),
        ("float64 = 320e9", 'float64 = "fast"', "peak.rates.float64 is 'fast', should be a positive number"),
        ("float64 = 320e9", "float65 = 320e9", "peak.rates.float65 is unknown"),
        ("float64 = 320e9", "float64 = inf", "should be a positive number"),
        ('"bool", "string"', '"bool", "text"', "operators.dtypes has 'text'"),
        ("per_channel = true", "per_channel = 1", "quantization.per_channel is 1, should be true or false"),
        ("[features.amx]\ndescription", "[features.amx]\nabout", "features.amx.about is unknown"),
        ('extends = "x86-64-vnni"', 'extends = "x87"', "extends 'x87', which is no target"),
        ('extends = "x86-64-vnni"', 'extends = "edited"', "extends itself"),
        ('kind = "cpu"', "kind = cpu", "not valid TOML"),
    ],
)
def test_files_are_read_strictly(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(TccError, match=r"edited\.toml") as caught:
        schema.read(edited(tmp_path, old, new))
    assert message in str(caught.value)


def test_all_problems_of_a_file_are_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "empty.toml"
    path.write_text("surprise = 1\n")
    with pytest.raises(TccError) as caught:
        schema.read(path)
    said = [diagnostic.message for diagnostic in caught.value.diagnostics]
    assert "surprise is unknown" in " ".join(said)
    assert sum("is missing" in message for message in said) == len({**schema.FACTS, **schema.RATES})


def test_native_is_measured_once(quick_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = parse_target("native")
    (kept,) = quick_machine.iterdir()

    def refuse(threads: int) -> dict[str, float]:
        raise AssertionError(threads)

    monkeypatch.setattr(machine, "measure", refuse)
    assert parse_target("native") == first
    assert json.loads(kept.read_text())["float32"] == first.peak["float32"]
    assert first.memory > 2**27


def test_native_is_rounded_to_powers_of_two(quick_machine: Path) -> None:
    target = parse_target("native,threads=1")
    assert quick_machine.is_dir()
    assert target.single_thread == 1.0
    for value in (*target.peak.values(), target.bandwidth, target.launch_overhead):
        assert math.frexp(value)[0] == 0.5


def truncated(text: str) -> str:
    return text[: len(text) // 2]


def without_a_rate(text: str) -> str:
    contents: dict[str, Any] = json.loads(text)
    del contents["int8"]
    return json.dumps(contents)


def with_a_negative_rate(text: str) -> str:
    return json.dumps(json.loads(text) | {"bandwidth": -1.0})


@pytest.mark.parametrize("damage", [truncated, without_a_rate, with_a_negative_rate, lambda _: "\0", lambda _: "[]"])
def test_a_corrupt_cache_is_measured_again_and_said(quick_machine: Path, damage: Any) -> None:
    parse_target("native")
    (kept,) = quick_machine.iterdir()
    kept.write_text(damage(kept.read_text()))
    assert any("corrupt" in note for note in parse_target("native").notes)
    (rebuilt,) = quick_machine.iterdir()
    assert not list(machine.MEASUREMENTS(json.loads(rebuilt.read_text()), ""))
    assert not any("corrupt" in note for note in parse_target("native").notes)


def test_another_format_is_measured_again_without_a_word(quick_machine: Path) -> None:
    notes = parse_target("native").notes
    (kept,) = quick_machine.iterdir()
    kept.write_text(json.dumps(json.loads(kept.read_text()) | {"format": machine.FORMAT + 1}))
    assert parse_target("native").notes == notes
    assert json.loads(kept.read_text())["format"] == machine.FORMAT


def test_a_cache_that_cannot_be_written_is_said(quick_machine: Path) -> None:
    quick_machine.write_text("a file where the folder should be")
    target = parse_target("native")
    assert any("could not be kept" in note for note in target.notes)
    assert target.peak["float32"] > 0


def test_native_takes_only_processors_that_exist(quick_machine: Path) -> None:
    assert codes(f"native,threads={machine.processors() + 1}") == ["E0207"]
    assert not quick_machine.exists()


def test_a_cached_measurement_needs_no_heavy_import(quick_machine: Path) -> None:
    parse_target("native")
    script = (
        "import sys, tcc.targets; tcc.targets.parse_target('native');"
        "sys.exit(any(name in sys.modules for name in ('numpy', 'onnx', 'onnxruntime')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
    assert len(list(quick_machine.iterdir())) == 1


def test_targets_are_frozen() -> None:
    target: Target = parse_target("l4")
    with pytest.raises(AttributeError):
        target.memory = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        target.peak["float32"] = 1.0  # type: ignore[index]
