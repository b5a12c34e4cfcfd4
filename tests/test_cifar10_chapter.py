"""Tables and figures of the CIFAR-10 chapter, from its stored runs."""

import pytest
import torch

from dashbook import cifar10
from dashlib import results


@pytest.fixture(scope="module")
def runs():
    return cifar10.runs()


def test_every_run_says_which_stages_made_it(runs):
    for row, run in runs.items():
        for stage in run.metrics["stages"]:
            assert stage["steps"] > 0
            assert "commit" in stage or "shared" in stage["source"], row
    ours = [r for row in runs for r in cifar10.seeds(row) if "commit" in r.metrics["stages"][-1]]
    assert len(ours) == 11
    prints = {stage["data"] for run in ours for stage in run.metrics["stages"]}
    assert len(prints) == 1, "one set of images"


def test_the_images_were_the_original_ones(runs):
    from dashlib.datasets import CIFAR_PRINTS

    stage = runs["dash_v-high_noise"].metrics["stages"][-1]
    assert stage["data"] == CIFAR_PRINTS["cifar10", "train"]


def test_compared_students_spent_the_same_passes(runs):
    ours = [run for row in runs for run in cifar10.seeds(row) if "commit" in str(run.metrics)]
    for seed in (0, 1, 2):
        spent = {run.name: cifar10.passes(run) for run in ours if run.seed == seed}
        assert len(spent) >= 3
        assert len(set(spent.values())) == 1, spent


def test_a_score_that_was_not_taken_is_a_dash(runs):
    assert cifar10.score(runs["dash-uniform"], "4") is None
    assert "–" in cifar10.scores_table(list(runs), ("1.5", "4"))


def test_the_scores_table_has_a_line_a_run_and_the_floor(runs):
    lines = cifar10.scores_table(list(runs), ("1.5", "TAG")).splitlines()
    assert len(lines) == 2 + len(runs) + 1
    assert "held-out" in lines[-1]
    fd = f"{cifar10.score(runs['teacher'], 'TAG')['fd']:.1f}"
    assert fd in lines[2]
    of = [cifar10.score(run, "TAG")["fd"] for run in cifar10.seeds("dash_v-high_noise")]
    (line,) = (line for line in lines if "DASH, v, high noise" in line)
    assert f"{sum(of) / 3:.1f} ± {torch.tensor(of).std():.1f}" in line


def test_the_shared_run_has_scores_gaps_and_pictures():
    models = cifar10.shared()["models"]
    assert {"teacher", "cond_only", "composite", "dash"} <= set(models)
    for of in (of for row, of in models.items() if row != "teacher"):
        assert {"1.5", "TAG", "4"} <= set(of["w"])
    assert cifar10.shared_pictures("teacher", "4").shape == (20, 3, 32, 32)


def test_figures_name_what_they_show(runs):
    errors = cifar10.errors(runs)
    titles = [ax.get_title() for ax in errors.axes]
    assert titles == ["gap", "a branch", "mean colour"]
    assert all(len(ax.lines) == len(cifar10.STUDENTS) for ax in errors.axes)
    rows = cifar10.side_by_side({"a": torch.zeros(12, 3, 32, 32, dtype=torch.uint8)}, "title")
    assert rows.axes[0].get_title() == "title"


def test_missing_weights_name_the_command():
    with pytest.raises(results.MissingRun, match="sweep cifar10"):
        results.load("cifar10/dash-high_noise-s0").model()
