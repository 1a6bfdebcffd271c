"""The text form of pipelines: what is read, what is written, and what is said of what is wrong."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcc.compiler.levels import LEVELS, PROMISES, pipeline_text
from tcc.diagnostics import Exit, TccError
from tcc.ir.model import Model
from tcc.passes import available, pass_class
from tcc.passes._options import options_of
from tcc.passes.base import Context, Effect, Pass, PassResult
from tcc.passes.pipeline import parse, unparse


@dataclass(frozen=True)
class Everything(Pass):
    """A pass with an option of each kind."""

    flag: bool = False
    count: int = 3
    max_loss: float = 0.5
    text: str = "plain"
    mode: Literal["fast", "small"] = "fast"
    limit: int | None = None
    label: str | None = None

    effect: ClassVar[Effect] = Effect.BITS

    def run(self, model: Model, context: Context) -> PassResult:
        del context
        return PassResult(model, changed=False)


@dataclass(frozen=True)
class Demanding(Pass):
    """A pass with an option that must be given and a value that it refuses."""

    ratio: float

    effect: ClassVar[Effect] = Effect.LOSSY

    def __post_init__(self) -> None:
        if self.ratio > 1:
            message = f"ratio is {self.ratio}, should be at most 1"
            raise ValueError(message)

    def run(self, model: Model, context: Context) -> PassResult:
        del context
        return PassResult(model, changed=False)


def known(name: str) -> type[Pass]:
    return Demanding if name == "demanding" else Everything


def problems(text: str) -> list[tuple[str, str]]:
    """Where and what: the column of each problem and its code."""
    with pytest.raises(TccError) as caught:
        parse(text, known)
    assert caught.value.exit_code == Exit.USAGE
    assert all(d.help for d in caught.value.diagnostics)
    return [(d.where.removeprefix("pipeline:"), d.code) for d in caught.value.diagnostics]


texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
everything = st.builds(
    Everything,
    flag=st.booleans(),
    count=st.integers(-(10**12), 10**12),
    max_loss=st.floats(allow_nan=False),
    text=texts,
    mode=st.sampled_from(["fast", "small"]),
    limit=st.none() | st.integers(),
    label=st.none() | texts | st.just("none"),
)


@given(st.lists(everything, max_size=3))
def test_every_pipeline_reads_back(passes: list[Pass]) -> None:
    text = unparse(passes)
    assert parse(text, known) == tuple(passes)
    assert unparse(parse(text, known)) == text


@given(st.text(max_size=40))
def test_no_text_crashes(text: str) -> None:
    try:
        found = parse(text, known)
    except TccError as error:
        code = error.exit_code
    else:
        code = Exit.USAGE
        assert parse(unparse(found), lambda _: Everything) == found
    assert code == Exit.USAGE


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_blank_is_no_passes(text: str) -> None:
    assert parse(text) == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x", Everything()),
        ("x{}", Everything()),
        (" x{ flag=true , count=-4 } ", Everything(flag=True, count=-4)),
        ("x{flag=true count=1_000}", Everything(flag=True, count=1000)),
        ("x{max-loss=1e-3}", Everything(max_loss=1e-3)),
        ("x{max_loss=2}", Everything(max_loss=2.0)),
        ("x{max-loss=inf}", Everything(max_loss=math.inf)),
        ('x{text="a, {b}=\\"c\\""}', Everything(text='a, {b}="c"')),
        ("x{limit=none,label=none}", Everything()),
        ('x{label="none"}', Everything(label="none")),
        ("x{limit=7}", Everything(limit=7)),
        ("x{mode=small}", Everything(mode="small")),
    ],
)
def test_spellings(text: str, expected: Pass) -> None:
    (found,) = parse(text, known)
    assert found == expected
    assert [type(value) for value in vars(found).values()] == [type(value) for value in vars(expected).values()]


def test_only_what_differs_from_the_default_is_written() -> None:
    assert unparse([Everything(), Everything(count=4, max_loss=0.25)]) == (
        "test-pipeline,test-pipeline{count=4,max-loss=0.25}"
    )
    assert unparse([Demanding(0.5)]) == "test-pipeline{ratio=0.5}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x,,x", [("3", "E0232")]),
        ("x,", [("3", "E0232")]),
        (",x", [("1", "E0232")]),
        ("x y", [("3", "E0232")]),
        ("x}", [("2", "E0232")]),
        ("x{count=1", [("2", "E0232")]),
        ("x{count}", [("3", "E0232")]),
        ("x{count=}", [("9", "E0232")]),
        ("x{cuont=1}", [("3", "E0233")]),
        ("x{count=1,count=2}", [("11", "E0233")]),
        ("x{count=many}", [("9", "E0234")]),
        ("x{count=1.5}", [("9", "E0234")]),
        ('x{count="1"}', [("9", "E0234")]),
        ("x{flag=yes}", [("8", "E0234")]),
        ("x{max-loss=nan}", [("12", "E0234")]),
        ("x{mode=slow}", [("8", "E0234")]),
        ("demanding", [("1", "E0233")]),
        ("x,demanding{ratio=2}", [("3", "E0234")]),
        ("x{count=a},x{cuont=1,flag=b},,x", [("9", "E0234"), ("14", "E0233"), ("27", "E0234"), ("30", "E0232")]),
    ],
)
def test_every_problem_is_reported_with_its_place(text: str, expected: list[tuple[str, str]]) -> None:
    assert problems(text) == expected


def test_unknown_names_come_with_the_closest_one() -> None:
    with pytest.raises(TccError) as caught:
        parse("canonicalise,x{a=1},fold{growt=3}")
    first, second, third = caught.value.diagnostics
    assert first.code == "E0231"
    assert "did you mean 'canonicalize'?" in first.help
    assert "simplify" in second.help
    assert "did you mean 'growth'?" in third.help


def test_the_caret_stands_under_the_problem() -> None:
    with pytest.raises(TccError) as caught:
        parse("x{count=many}", known)
    text, caret = caught.value.diagnostics[0].notes
    assert text[caret.index("^") :] == "many}"


@pytest.mark.parametrize("name", available())
def test_each_pass_is_found_by_its_name_and_has_texts_for_its_options(name: str) -> None:
    cls = pass_class(name)
    assert cls.__doc__
    options_of(cls)
    if all(option.default is not dataclasses.MISSING for option in options_of(cls)):
        (made,) = parse(name)
        assert type(made) is cls
        assert made.name == name
        assert unparse([made]) == name


def test_a_field_that_no_text_can_carry_is_refused() -> None:
    @dataclass(frozen=True)
    class Odd(Everything):
        sizes: tuple[int, ...] = ()

    with pytest.raises(TypeError, match=r"Odd\.sizes"):
        options_of(Odd)


@pytest.mark.parametrize("level", LEVELS)
def test_each_level_is_a_pipeline(level: str) -> None:
    assert unparse(parse(pipeline_text(level))) == LEVELS[level]
    assert PROMISES[level]


def test_an_unknown_level_is_a_usage_error() -> None:
    with pytest.raises(TccError, match="unknown level '7'"):
        pipeline_text(7)


@pytest.mark.parametrize("option", ["techniques=static-int8:1+float8", "only=float8"])
def test_what_is_no_technique_is_named(option: str) -> None:
    with pytest.raises(TccError, match="float8 is no technique; there are dynamic-int8"):
        parse(f"compress{{{option}}}")
    assert parse("compress{techniques=static-int8+low-rank:data-free}")
