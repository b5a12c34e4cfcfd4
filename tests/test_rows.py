"""Short names of the table's rows."""

import pytest
from click.testing import CliRunner

from dashlib import results
from dashlib.__main__ import main
from dashlib.cli import runs
from dashlib.recipes import DIGITS, HEADLINE, RECIPES, TABLE
from dashlib.runs.making import run_name


@pytest.mark.parametrize(
    ("row", "seed", "name"),
    [
        ("digits/fitnets", 1, "digits/fitnets-transfer-s1"),
        ("digits/dash", 2, "digits/dash-transfer-s2"),
        ("digits/dash-uniform", 1, "digits/dash-uniform-s1"),
        ("digits/dash_an_0.3", 0, "digits/dash_an_0.3-transfer-s0"),
        ("digits/dash-transfer_tirt_eps", 2, "digits/dash-transfer_tirt_eps-s2"),
        ("digits/fitnets-transfer-s1", 0, "digits/fitnets-transfer-s1"),
        ("digits/teacher-tirt", 0, "digits/teacher-tirt"),
        ("digits/classifier", 0, "digits/classifier"),
    ],
)
def test_the_run_of_a_row_and_seed(row, seed, name):
    assert run_name(row, seed) == name
    assert name in (*RECIPES, DIGITS.classifier)


@pytest.mark.parametrize("row", [*HEADLINE, *TABLE])
def test_every_row_has_a_short_name(row):
    assert run_name(f"digits/{row}", 2) == f"digits/{row}-transfer-s2"


def test_an_unknown_row_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown row 'digits/dsh': one of .*digits/fitnets"):
        run_name("digits/dsh")


def test_a_seed_that_is_not_stored_lists_those_that_are():
    with pytest.raises(ValueError, match="digits/fitnets has no seed 7: one of 0, 1, 2"):
        run_name("digits/fitnets", 7)


def test_make_takes_a_row_and_a_seed(monkeypatch):
    made = []

    def make(names, progress, device):
        made.extend([*names, device])
        return map(results.load, names)

    monkeypatch.setattr(runs, "make", make)
    result = CliRunner().invoke(main, ["make", "digits/fitnets", "--seed", "1"])
    assert result.exit_code == 0, result.output
    assert made == ["digits/fitnets-transfer-s1", "cpu"]
    assert "digits/fitnets-transfer-s1" in result.output
