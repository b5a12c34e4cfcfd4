"""Tables and figures of the CIFAR-10 chapter, from its stored runs."""

import math

import numpy as np
import pytest
import torch

from dashbook import cifar10, plots
from dashlib import results
from dashlib.recipes import ONE_PASS
from dashlib.schedule import Schedule

MENDED = "dash_v-high_noise"


@pytest.fixture(scope="module")
def runs():
    return cifar10.runs()


def test_every_run_says_which_stages_made_it(runs):
    for row, run in runs.items():
        for stage in run.metrics["stages"]:
            assert stage["steps"] > 0
            assert "commit" in stage or "shared" in stage["source"], row
    every = [results.load(name) for name in results.names("cifar10")]
    ours = [run for run in every if "commit" in run.metrics["stages"][-1]]
    others = {run.name for run in every} - {run.name for run in ours}
    assert others == {"cifar10/teacher-uniform", "cifar10/dash-uniform-s0"}, "of the shared run"
    prints = {stage["data"] for run in ours for stage in run.metrics["stages"]}
    assert len(prints) == 1, "one set of images"


def test_the_images_were_the_original_ones(runs):
    from benchmarks.sweep.plan import CIFAR_PRINTS

    stage = runs["dash_v-high_noise"].metrics["stages"][-1]
    assert stage["data"] == CIFAR_PRINTS["cifar10", "train"]


def passes(run):
    """Return the forward passes of the student in all its steps, in batches."""
    steps = sum(stage["steps"] for stage in run.metrics["stages"])
    return steps if run.config["objective"] in ONE_PASS else 2 * steps


def test_compared_students_spent_the_same_passes(runs):
    every = [run for row in runs for run in cifar10.seeds(row)]
    ours = [run for run in every if "commit" in run.metrics["stages"][-1]]
    for seed in (0, 1, 2):
        spent = {run.name: passes(run) for run in ours if run.seed == seed}
        again = [spent.pop(name) for name in [*spent] if "-x2-" in name]
        assert again == [2 * passes for passes in {*spent.values()}][: len(again)]
        assert len(spent) >= 3
        assert len(set(spent.values())) == 1, spent


def test_rows_are_of_one_seed_where_they_can(runs):
    assert {row for row, run in runs.items() if run.seed != cifar10.PAIRED} == {
        *("teacher", "dash-uniform")
    }
    (again,) = cifar10.seeds("cond_only_dropout_v-high_noise-x2")
    assert len(again.metrics["stages"]) == 2
    assert [run.seed for run in cifar10.seeds("cond_only_dropout_v-high_noise")] == [0, 1, 2]


def test_a_score_that_was_not_taken_is_a_dash(runs):
    assert cifar10.score(runs["dash-uniform"], "4") is None
    assert math.isnan(cifar10.fd(runs["dash-uniform"], "4"))
    assert math.isnan(cifar10.off_colour(runs["dash-uniform"], "4"))
    assert "–" in cifar10.scores_table({"a": [runs["dash-uniform"]]}, ("w = 1.5", "w = 4"))


def test_a_score_is_of_one_sampler_and_number_of_samples(runs):
    few, many = (cifar10.score(runs["teacher"], "1.5", n=n) for n in (2_000, 10_000))
    other = cifar10.score(runs["teacher"], "1.5", "970, eta 1")
    assert (few["n"], many["n"], other["n"]) == (2_000, 10_000, 2_000)
    assert len({few["fd"], many["fd"], other["fd"]}) == 3
    assert cifar10.fd(runs["teacher"]) == few["fd"]
    assert cifar10.fd(runs["teacher"], *cifar10.SETTINGS["w = 1.5, η = 1"]) == other["fd"]


def test_what_is_off_in_colour_is_the_worst_of_the_spreads(runs):
    data = runs["teacher"].metrics["data_spreads"]
    found = cifar10.score(runs["dash-high_noise"], "1.5")["spreads"]
    assert found["red_green"] / data["red_green"] - 1 > found["luminance"] / data["luminance"] - 1
    worst = found["red_green"] / data["red_green"] - 1
    assert cifar10.off_colour(runs["dash-high_noise"]) == pytest.approx(worst)
    pale = cifar10.score(runs["dash_v-transfer"], "1.5")["spreads"]["luminance"]
    too_little = 1 - pale / data["luminance"]
    assert cifar10.off_colour(runs["dash_v-transfer"]) == pytest.approx(too_little)


def test_the_scores_table_has_a_line_a_run_and_the_floor(runs):
    rows = {row: cifar10.seeds(row) for row in runs}
    lines = cifar10.scores_table(rows, ("w = 1.5", "TAG")).splitlines()
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


def test_the_common_error_is_that_of_the_mean_of_both_branches(runs):
    """On eps it is stored; in the image it follows from the branches' and the gap's."""
    found = cifar10.errors(runs[MENDED])
    assert all(values.shape == (20,) for values in found.values())
    gap, common, image, colour = found.values()
    per_timestep = runs[MENDED].metrics["gap"]["per_timestep"]
    assert gap == pytest.approx([math.sqrt(of["gap_mse"]) for of in per_timestep.values()])
    assert common == pytest.approx([math.sqrt(of["common_mse"]) for of in per_timestep.values()])
    assert (colour < image).all()
    t = torch.arange(400, 900, 50) + 25  # above, a range of timesteps is no longer narrow
    moved = common[8:18] / Schedule().snr()[t].sqrt().numpy()
    np.testing.assert_allclose(image[8:18], moved, rtol=0.01)


def test_a_panel_of_errors_for_each_student(runs):
    found = {name: cifar10.errors(runs[name]) for name in ("dash-uniform", MENDED)}
    figure = plots.panels(found, 50, "timestep t", log=True)
    assert [ax.get_title() for ax in figure.axes] == list(found)
    for ax, curves in zip(figure.axes, found.values(), strict=True):
        drawn = [line.get_ydata().tolist() for line in ax.lines]
        assert drawn == [values.tolist() for values in curves.values()]
        assert ax.get_yscale() == "log"
    named = [text.get_text().replace("\n", " ") for text in figure.axes[-1].texts]
    assert sorted(named) == sorted(found[MENDED])


def test_distances_by_setting_stand_in_their_order(runs):
    rows = ("teacher", "dash-uniform", MENDED)
    figure = cifar10.by_setting({row: runs[row] for row in rows})
    (ax,) = figure.axes
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert names == ["DASH, ε, uniform", "DASH, v, high noise", "Teacher"]
    assert [line.get_label() for line in ax.lines] == list(cifar10.SETTINGS)
    for line, setting in zip(ax.lines, cifar10.SETTINGS.values(), strict=True):
        assert line.get_xdata()[2] == cifar10.fd(runs["teacher"], *setting)
    assert math.isnan(ax.lines[2].get_xdata()[0]), "not scored at w = 4"


def test_pictures_side_by_side_have_a_title():
    rows = cifar10.side_by_side({"a": torch.zeros(12, 3, 32, 32, dtype=torch.uint8)}, "title")
    assert rows.axes[0].get_title() == "title"


def test_missing_weights_name_the_command():
    with pytest.raises(results.MissingRun, match="sweep cifar10"):
        results.load("cifar10/dash-high_noise-s0").model()
