"""Statements about a scale: each holds for runs made to obey it, and fails for others."""

from types import SimpleNamespace

import pytest
import torch

from dashbook import findings
from dashbook.findings import STATEMENTS, Side
from dashlib import results
from dashlib.recipes import DIGITS, HEADLINE

SCALES = ["1.5", "4", "TAG"]
FD = {"scratch": 50.0, "cond_only": 40.0, "cond_only_dropout": 30.0, "composite": 45.0}
RHO = {"cond_only": 2.0, "composite": 3.0, "dash": 0.9}


def run(rho=1.0, cos=0.5, fd=(10.0, 10.0, 10.0), low=1.0):
    """A stand-in with these gap metrics, distances by scale, and weight on t <= 300."""
    omega = torch.cat([torch.full((301,), low), torch.full((699,), 0.1)])
    guidance = {w: {"frechet": value} for w, value in zip(SCALES, fd, strict=True)}
    return SimpleNamespace(
        metrics={"gap": {"overall": {"rho": rho, "cos": cos}}, "guidance": guidance},
        importance=lambda: SimpleNamespace(importance=lambda: omega),
    )


def side(*, uniform=0.9, teacher=None, **changed):
    """A side on which every statement holds, with some rows changed."""
    rows = {row: [run(RHO.get(row, 1.0), fd=[FD.get(row, 0.0)] * 3)] for row in HEADLINE}
    rows["composite"] = [run(3.0, fd=(400.0, 45.0, 45.0))]
    rows["dash"] = [run(0.9, 0.7, (20.0, 15.0, 10.0)), run(0.95, 0.6, (20.0, 15.0, 10.0))]
    first = teacher or run(fd=(5.0, 8.0, 6.0))
    return Side(rows | changed, [run(cos=uniform)], first, SCALES)


DASH = {"rho": 0.9, "cos": 0.6, "fd": (20.0, 15.0, 10.0)}
BROKEN = {
    "DASH's ρ lies between 0.8 and 1": side(dash=[run(**DASH), run(**DASH | {"rho": 1.01})]),
    "DASH's gap points best of the five, for every seed": side(scratch=[run(), run(cos=0.65)]),
    "cond-only's and composite's gaps are over 1.5 times too long": side(
        cond_only=[run(2.0), run(1.4)]
    ),
    "composite's FD at w = 1.5 is over 3 times that at w = 4": side(
        composite=[run(3.0, fd=(100.0, 45.0, 45.0))]
    ),
    "over two thirds of TIRT's weight lie on t ≤ 300": side(
        teacher=run(fd=(5.0, 8.0, 6.0), low=0.3)
    ),
    "uniform weights give DASH a better cos": side(uniform=0.65),
    "DASH's best constant w is above its teacher's": side(teacher=run(fd=(8.0, 5.0, 6.0))),
    "DASH's FD is below scratch's at every scale": side(scratch=[run(fd=(50.0, 14.0, 50.0))]),
    "DASH's FD under TAG is the lowest of the five": side(
        cond_only=[run(2.0, fd=(40.0, 40.0, 9.0))]
    ),
    "DASH's FD is below dropout's at every scale": side(
        cond_only_dropout=[run(fd=(19.0, 30.0, 30.0))]
    ),
}


@pytest.mark.parametrize("text", STATEMENTS)
def test_a_statement_holds_where_it_should_and_nowhere_else(text):
    assert STATEMENTS[text](side())[1]
    assert not STATEMENTS[text](BROKEN[text])[1]


def test_what_was_measured_is_said():
    shown = {text: judge(side())[0] for text, judge in STATEMENTS.items()}
    assert shown["DASH's ρ lies between 0.8 and 1"] == "0.93"
    assert shown["DASH's gap points best of the five, for every seed"] == "0.65, next 0.50"
    assert shown["composite's FD at w = 1.5 is over 3 times that at w = 4"] == "9 times"
    assert shown["DASH's best constant w is above its teacher's"] == "1.5 → 4"
    assert shown["DASH's FD is below scratch's at every scale"] == "at 3 of 3 scales"
    assert shown["DASH's FD under TAG is the lowest of the five"] == "place 1"


def test_a_seed_without_scores_is_left_out_of_the_mean():
    unscored = SimpleNamespace(metrics={"gap": {}})
    rows = [run(fd=(10.0, 1.0, 1.0)), unscored, run(fd=(20.0, 1.0, 1.0))]
    assert side(dash=rows).fd("dash", "1.5") == 15


def test_verdicts_and_their_table_say_where_a_statement_holds():
    text = "uniform weights give DASH a better cos"
    good, bad = side(), side(uniform=0.1)
    assert findings.verdicts(good, good)[text][2] == "both"
    assert findings.verdicts(good, bad)[text][2] == "digits only"
    assert findings.verdicts(bad, good)[text][2] == "clothes only"
    found = findings.verdicts(bad, bad)
    assert f"| {text} | 0.10, not 0.65 | 0.10, not 0.65 | neither |" in findings.table(found)


def test_the_stored_digits_side_has_three_seeds_a_row():
    stored = Side.stored(DIGITS)
    assert {row: len(runs) for row, runs in stored.rows.items()} == dict.fromkeys(HEADLINE, 3)
    wanted = [r.metrics["gap"]["overall"]["rho"] for r in results.select("dash", "transfer")]
    assert stored.gap("dash", "rho") == pytest.approx(wanted)
