"""Count passes of a step: of the student as asked, of the teacher as the loss depends on it."""

import pytest

from benchmarks.passes import passes
from dashlib.losses import make_objective
from dashlib.recipes import DIGITS, ONE_PASS, PARTS


@pytest.mark.parametrize(
    ("name", "options", "want"),
    [
        *((name, {}, (2, 2)) for name in ("dash", "gap_match", "composite", "multi_w")),
        *((name, {}, (1, 1)) for name in ("cond_only", "cond_only_dropout", "dash_sampled")),
        ("scratch", {}, (1, 0)),
        ("single_head", {}, (1, 2)),
        ("dash", {"unconditional": 0.0}, (2, 1)),  # the null branch is computed in vain
        ("dash_sampled", {"p": 0.25}, (1, 1)),
        ("dash_sampled", {"p": 0.25, "mix": 0.5}, (1, 1.25)),
        ("dash_sampled", {"p": 0.25, "mix": 1.0}, (1, 1)),  # label dropout
    ],
)
def test_passes_of_student_and_teacher(name, options, want):
    assert passes(make_objective(name, **options)) == pytest.approx(want, abs=0.01)


def test_rows_of_one_pass_are_those_that_are_counted():
    outputs = {r.objective for r in DIGITS.rows.values()} - {"fitnets", "single_head"}
    counted = {name for name in outputs if passes(make_objective(name))[0] == 1}
    assert counted == set(ONE_PASS)


def test_twice_the_steps_are_for_rows_of_one_pass_and_make_the_cost_equal():
    """In passes of the student: no row of the fair part spends more than DASH."""
    usual = DIGITS.student.train.steps
    cost = {}
    for recipe in PARTS["fair"].values():
        student, _ = passes(make_objective(recipe.objective, **recipe.options))
        cost[recipe.name.rpartition("-s")[0]] = student * recipe.train.steps / usual
    assert all(spent == 2 for name, spent in cost.items() if "-x2" in name)
    assert max(cost.values()) == cost["digits/dash-uniform-from_uniform"] == 2
