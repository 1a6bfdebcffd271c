"""The verdicts on published equalities hold, and the judge tells true from false in any file of that form."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tests.equalities import records
from tests.equalities.__main__ import main
from tests.equalities.evaluating import Difference, differences
from tests.equalities.expressions import Claim, MalformedError, parse, read
from tests.equalities.judging import Judgement, check_soundness, instances, judge
from tests.equalities.proving import Prover, by_name, proved_together
from tests.equalities.shapes import DEVIATIONS, PLAIN, Domain, UntypedError, solve

FOLDER = Path(__file__).parent / "equalities"
PUBLISHED = FOLDER / "taso.tsv"
RECORDED = records.read(FOLDER / "verdicts.json")
SAMPLED = 20
"""Every so many verdicts are proved by their own rules alone."""
FALSE = """
conv2d of relu\t(relu (conv2d 1 1 0 0 v0 v1))\t(conv2d 1 1 0 0 (relu v0) v1)
turned\t(matmul v0 v1)\t(matmul v1 v0)
negative scale\t(relu (smul v0 v1))\t(smul (relu v0) v1)
other part\t(relu v0)\t(split_1 0 (relu (concat 0 v0 v1)))
order kept\t(transpose (matmul v0 v1))\t(matmul (transpose v0) (transpose v1))
maximum is linear\t(poolmax 3 3 2 2 1 (ewadd v0 v1))\t(ewadd (poolmax 3 3 2 2 1 v0) (poolmax 3 3 2 2 1 v1))
wrong identity\t(ewmul v0 Imatmul)\tv0
"""
TRUE = """
stride two\t(conv2d 2 2 0 0 (ewadd v0 v1) v2)\t(ewadd (conv2d 2 2 0 0 v1 v2) (conv2d 2 2 0 0 v0 v2))
valid\t(concat 1 (conv2d 2 1 1 0 v0 v1) (conv2d 2 1 1 0 v0 v2))\t(conv2d 2 1 1 0 v0 (concat 0 v1 v2))
maximum\t(concat 1 (poolmax 2 2 2 2 1 v0) (poolmax 2 2 2 2 1 v1))\t(poolmax 2 2 2 2 1 (concat 1 v0 v1))
same\t(relu v0)\t(relu v0)
"""


def claims(text: str, folder: Path) -> list[Claim]:
    path = folder / "claims.tsv"
    path.write_text(text, encoding="utf-8")
    return read(path)


def test_every_published_equality_has_a_verdict() -> None:
    published = [(c.name, str(c.left), str(c.right)) for c in read(PUBLISHED)]
    assert [(j.claim.name, str(j.claim.left), str(j.claim.right)) for j in RECORDED] == published


def test_the_published_file_is_judged_in_full() -> None:
    path = Path(os.environ.get("TCC_RULES", FOLDER.parents[2] / "shared/rules")) / "taso_equalities.tsv"
    if not path.exists():
        pytest.skip("TCC_RULES names no folder with taso_equalities.tsv")
    own = {(c.name, str(c.left), str(c.right)) for c in read(PUBLISHED)}
    assert {(c.name, str(c.left), str(c.right)) for c in read(path)} <= own


@pytest.mark.parametrize("domain", [PLAIN, *DEVIATIONS], ids=lambda domain: domain.name or "plain")
def test_what_holds_holds_on_new_instances(domain: Domain) -> None:
    for one, found in zip(RECORDED, differences([j.claim for j in RECORDED], domain, 1000), strict=True):
        known_false = one.refuted is not None or domain.name in one.conditions
        assert known_false or not isinstance(found, Difference), f"{one.claim.name}: {found}"


@pytest.mark.parametrize("domain", [PLAIN, *DEVIATIONS], ids=lambda domain: domain.name or "plain")
def test_counterexamples_are_counterexamples(domain: Domain) -> None:
    for one in RECORDED:
        known = one.refuted if domain is PLAIN else one.conditions.get(domain.name)
        if known is not None:
            (found,) = differences([one.claim], domain, known.seed)
            assert isinstance(found, Difference), f"{one.claim.name} holds where it is said to be false"
            assert found.shapes == known.shapes


def test_rules_prove_no_counterexample() -> None:
    check_soundness(RECORDED)


def test_the_recorded_rules_prove_everything_that_is_proved() -> None:
    proved = [one for one in RECORDED if one.rules is not None]
    names = dict.fromkeys(name for one in proved for name in one.rules or ())
    typed = [instances(one.claim)[0] for one in proved]
    found = proved_together(typed, [by_name()[name] for name in names])
    assert [one.claim.name for one, is_proved in zip(proved, found, strict=True) if not is_proved] == []


def test_each_proof_is_by_its_own_rules() -> None:
    prover = Prover()
    for one in RECORDED[::SAMPLED]:
        with prover.claim(instances(one.claim)) as (proves, _):
            rules = [by_name()[name] for name in one.rules or ()]
            assert proves(rules) == (one.rules is not None), one.claim.name
            assert not any(proves([r for r in rules if r is not left_out]) for left_out in rules), one.claim.name


def judged(text: str, folder: Path) -> list[Judgement]:
    return judge(claims(text, folder))


def test_false_claims_are_refuted(tmp_path: Path) -> None:
    found = {one.claim.name: one.verdict for one in judged(FALSE, tmp_path)}
    assert set(found.values()) == {"refuted"}, found


def test_true_claims_are_proved(tmp_path: Path) -> None:
    found = {one.claim.name: one.verdict for one in judged(TRUE, tmp_path)}
    assert found.pop("stride two") in {"law", "implemented for constants"}
    assert found == {"valid": "conditional", "maximum": "law", "same": "trivial"}


def test_even_kernels_and_groups_are_conditions(tmp_path: Path) -> None:
    text = "1\t(conv2d 1 1 0 0 v0 v1)\t(conv2d 1 1 0 0 v0 (enlarge 5 5 v1))\n"
    text += "2\t(concat 1 (conv2d 1 1 1 2 v0 v1) (conv2d 1 1 1 2 v0 v2))\t(conv2d 1 1 1 2 v0 (concat 0 v1 v2))\n"
    enlarged, joined = judged(text, tmp_path)
    assert (enlarged.verdict, set(enlarged.conditions)) == ("conditional", {"odd kernels"})
    assert (joined.verdict, set(joined.conditions)) == ("conditional", {"one group"})


def test_what_has_no_shapes_is_out_of_scope() -> None:
    claim = Claim("x", parse("(split_0 0 v0)"), parse("v0"))
    with pytest.raises(UntypedError):
        solve(claim, PLAIN, np.random.default_rng(0))
    (one,) = judge([claim])
    assert one.verdict == "out of scope"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1\t(relu v0", "relu takes 1 operands"),
        ("1\t(gelu v0)\tv0", "gelu is no operator"),
        ("1\t(relu v0) v1\tv0", "text behind the end"),
        ("1 (relu v0) v0", "separated by tabs"),
        ("1\t(concat v0 v1)\tv0", "concat takes 1 numbers"),
    ],
)
def test_a_malformed_file_is_said_so(tmp_path: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.tsv"
    path.write_text(f"id\tlhs\trhs\n{text}\tv0\n" if "tabs" not in said else text)
    with pytest.raises(MalformedError, match=said):
        read(path)
    assert main([str(path)]) == 2
    assert said in capsys.readouterr().err


def test_the_command_prints_a_line_a_claim(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "claims.tsv"
    path.write_text("a\t(relu (relu v0))\t(relu v0)\nb\t(matmul v0 v1)\t(matmul v1 v0)\n")
    written = tmp_path / "verdicts.json"
    assert main([str(path), "-q", "--write", str(written)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "a\timplemented\tby relu_of_relu"
    assert lines[1].startswith("b\trefuted\tdiffers by")
    assert lines[2] == "2 claims: 1 implemented, 1 refuted"
    assert [one.verdict for one in records.read(written)] == ["implemented", "refuted"]
