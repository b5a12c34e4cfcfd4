"""TIRT under the microscope: what is drawn is what was given; another start of the null row."""

import numpy as np
import pytest
import torch

from dashbook import microscope, plots
from dashlib import results
from dashlib.metrics import NoisyPairs, predict
from dashlib.unet import UNet, UNetConfig


def values(line):
    return np.asarray(line.get_ydata()).tolist()


def test_drifts_are_drawn_in_the_middle_of_their_ranges():
    measured, predicted = {"batch": np.array([-1.0, 2.0])}, {"batch": np.array([-2.0, 3.0])}
    ax = microscope.drifts(measured, predicted, {"batch": 0.956}).axes[0]
    assert [values(line) for line in ax.lines] == [[-1, 2], [-2, 3]]
    assert list(ax.lines[1].get_xdata()) == [250, 750]
    assert ax.get_title() == "batch: r = 0.96"


def test_landmarks_of_a_drift():
    drift = np.array([-0.5, -0.1, 0.2, 0.4, 0.3, 0.6, 0.5, 0.7, 0.35, 9.0])
    assert microscope.landmarks(drift) == ("-0.50", "200", "0.30 – 0.70")


def test_anchors_draws_every_seed_at_its_weight():
    panels = {
        "error": {"conditional": {0: [1.0, 2.0], 0.1: [3.0]}},
        "distance": {"TAG": {0: [5.0, 6.0], 0.1: [7.0]}},
    }
    left, right = microscope.anchors(panels).axes
    (dots,) = left.lines
    assert (list(dots.get_xdata()), values(dots)) == ([0, 0, 1], [1, 2, 3])
    assert dots.get_linestyle() == "None", "weights are no steps of a way"
    assert [text.get_text() for text in left.get_xticklabels()] == ["0", "0.1"]
    assert (left.get_title(), right.get_title()) == ("error", "distance")
    shades = [ax.lines[0].get_color() for ax in (left, right)]
    assert shades == list(plots.CYCLE[:2]), "every measure has its own colour"


@pytest.fixture(scope="module")
def run():
    return results.load("digits/cond_only-transfer-s0")


def test_only_the_null_row_is_exchanged(run):
    before, after = run.model().state_dict(), microscope.restarted(run, "zero").state_dict()
    changed = [key for key in before if not torch.equal(before[key], after[key])]
    assert changed == ["class_embed.weight"]
    table = after["class_embed.weight"]
    assert not table[-1].any()
    assert torch.equal(table[:-1], before["class_embed.weight"][:-1])


def test_the_mean_of_the_first_class_rows_has_decayed_like_the_row_that_was_there(run):
    torch.manual_seed(run.seed)
    first = UNet(UNetConfig(**run.config["unet"])).class_embed.weight.detach()
    found = microscope.restarted(run, "mean_of_classes").class_embed.weight[-1]
    decay = run.model().class_embed.weight[-1] / first[-1]
    assert 0.9 < decay.median() < 1
    torch.testing.assert_close(found, decay * first[:-1].mean(0), rtol=1e-3, atol=1e-6)


def test_another_start_is_refused(run):
    with pytest.raises(ValueError, match="mean_of_classes"):
        microscope.restarted(run, "one")


def test_the_global_generator_is_left_alone(run):
    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    microscope.restarted(run, "zero")
    assert torch.equal(torch.rand(3), want)


def test_gap_metrics_are_against_the_given_answers(run):
    noisy = NoisyPairs(torch.randn(6, 1, 8, 8), torch.randint(1000, (6,)), torch.arange(6))
    own = predict(microscope.restarted(run, "zero"), noisy)
    found = microscope.gap_after(run, "zero", noisy, own)
    assert (found["rho"], found["gap_mse"], found["n"]) == (pytest.approx(1), 0, 6)
    assert microscope.gap_after(run, "mean_of_classes", noisy, own)["gap_mse"] > 0
