"""Short names of the table's rows."""

import pytest
from click.testing import CliRunner

from dashlib import results
from dashlib.__main__ import main
from dashlib.recipes import ROWS, SEEDS, SPECS
from dashlib.runs import experiments
from dashlib.runs.experiments import CLASSIFIER
from dashlib.runs.rows import run_name, run_names
from dashlib.scale.presets import preset


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
    assert name in (*SPECS, CLASSIFIER)


@pytest.mark.parametrize("row", ROWS)
def test_every_row_has_a_short_name(row):
    runs = run_names(f"digits/{row}")
    assert set(runs) in ({0}, set(SEEDS))
    assert all(name == f"digits/{row}-transfer-s{seed}" for seed, name in runs.items())


def test_an_unknown_row_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown row 'digits/dsh': one of .*digits/fitnets"):
        run_name("digits/dsh")


def test_a_seed_that_is_not_stored_lists_those_that_are():
    with pytest.raises(ValueError, match="digits/fitnets has no seed 7: one of 0, 1, 2"):
        run_name("digits/fitnets", 7)


def test_who_trains_a_row_as_a_preset_is_told_the_command():
    with pytest.raises(ValueError, match="python -m dashlib make digits/fitnets --seed 0"):
        preset("digits/fitnets")


def test_make_takes_a_row_and_a_seed(monkeypatch):
    made = []

    def execute(name, progress):
        made.append(name)
        return results.load(name)

    monkeypatch.setattr(experiments, "execute", execute)
    result = CliRunner().invoke(main, ["make", "digits/fitnets", "--seed", "1"])
    assert result.exit_code == 0, result.output
    assert made == ["digits/fitnets-transfer-s1"]
    assert "digits/fitnets-transfer-s1" in result.output
