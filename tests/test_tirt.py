"""Learned importance: path, shares, losses, gradients, drift; what is drawn is what was given."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from dashbook import tirt
from dashlib import data, datasets, results
from dashlib.results import Run
from dashlib.weighting import TIRT


def labels(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_signs_shade_what_is_harder_than_the_mean() -> None:
    hard = torch.arange(1000).flip(0).float()  # 999, 998, ..., 0
    figure = tirt.signs({"TIRT": hard, "uniform": 2 * hard}, 899.0, -hard)
    above, below = figure.axes
    first, second, level = above.lines
    assert first.get_xydata()[0].tolist() == [10, hard[:20].mean()]
    assert second.get_ydata() == pytest.approx(2 * first.get_ydata())
    assert list(level.get_ydata()) == [899, 899]
    assert below.lines[0].get_ydata().tolist() == (-hard).tolist()
    shaded = [ax.patches[0].get_x() + ax.patches[0].get_width() for ax in (above, below)]
    assert shaded == [100, 100]
    assert sorted(labels(figure)) == ["L, TIRT", "TIRT", "uniform"]


def test_curves_are_means_of_twenty_neighbours_in_the_middle_of_theirs() -> None:
    x, y = tirt.smoothed(torch.arange(1000).float())
    assert (x[:2], y[:2], len(x)) == ([10, 30], [9.5, 29.5], 50)


def test_neighbours_are_averaged():
    assert tirt.smooth(torch.tensor([1.0, 3, 5, 9]), 2).tolist() == [2, 7]
    with pytest.raises(ValueError, match="reshape"):
        tirt.smooth([1.0, 2, 3], 2)


def learned(weighting="tirt", **trace):
    run = Run("digits/x", {"weighting": weighting}, 0, {}, 0.0, 1, {})
    run.__dict__["trace"] = trace  # a cached property
    return run


def test_the_path_of_importance_begins_at_the_start(schedule):
    lam = torch.stack([torch.zeros(1000), torch.linspace(-1, 1, 1000)])
    start, snapshots = tirt.path(learned(**{"lambda": lam}))
    torch.testing.assert_close(start, TIRT(schedule).importance().detach())
    torch.testing.assert_close(snapshots[0], start)
    assert (snapshots[1] / start).diff().gt(0).all()


def test_the_last_of_a_path_is_what_the_run_hands_over():
    run = results.load("digits/teacher-uncertainty")
    torch.testing.assert_close(tirt.path(run)[1][-1], run.importance())


def test_a_weighting_without_parameters_has_no_path():
    with pytest.raises(ValueError, match="min_snr learns no importance"):
        tirt.path(learned("min_snr"))


def test_shares_of_the_timesteps():
    assert tirt.shares(torch.ones(1000)) == pytest.approx([0.301, 0.5, 0.3])
    assert tirt.shares(7 * (torch.arange(1000) == 600)) == [0, 1, 0]


def test_losses_of_a_model_that_always_answers_nothing(fixed, schedule):
    nothing = fixed(torch.zeros(1, 8, 8), torch.ones(1, 8, 8))
    digits = datasets.load_dataset("digits").test
    found = tirt.losses(nothing, digits, schedule, each=2)
    assert found.shape == (1000, 2)
    assert found.dtype == torch.float64
    assert found.mean().item() == pytest.approx(1, abs=0.02), "the mean square of the noise"
    assert torch.equal(found, tirt.losses(nothing, digits, schedule, each=2))


def test_losses_ask_for_the_timestep_of_the_noise(schedule):
    def exact_without_image(x_t, t, y):
        return x_t / (1 - schedule.alpha_bar(t).float()).sqrt()[:, None, None, None]

    images = datasets.load_dataset("digits").test
    blank = data.Images(0 * images.pixels(), images.y)
    assert tirt.losses(exact_without_image, blank, schedule, each=1).max() < 1e-6


@pytest.mark.parametrize("normalize", ["timesteps", "batch"])
def test_gradients_along_the_true_one_agree_with_autograd(schedule, normalize):
    samples, true = torch.rand(1000, 3).double(), torch.randn(1000).double()
    t, which = torch.randint(1000, (4, 16)), torch.randint(3, (4, 16))
    weighting = TIRT(schedule, normalize=normalize).double()
    weighting.lam.data = torch.randn(1000).double()
    sigmoid = torch.sigmoid(weighting.lam.detach())
    omega, want = weighting.base * sigmoid, []
    for one, column in zip(t, which, strict=True):
        weighting.lam.grad = None
        weighting.reduce(samples[one, column], one).backward()
        gradient = weighting.lam.grad / (omega * (1 - sigmoid)) * omega.sum()
        want.append((gradient * true).sum() / true.square().sum())
    found = tirt.gradients_along(true, samples, omega / omega.mean(), (t, which))
    row = ("timesteps", "batch").index(normalize)
    torch.testing.assert_close(found[row], torch.stack(want))


def test_drift_is_movement_for_each_unit_of_learning_rate():
    run = learned(**{"lambda": torch.outer(torch.tensor([0.0, 1, 2, 5, 8]), torch.ones(1000))})
    run.config["train"] = {"steps": 4, "lr": 2.0, "lr_min": 0.0}
    rates = [1 + np.cos(np.pi * k / 4) for k in (2, 3)]
    assert tirt.drift(run).tolist() == pytest.approx([6 / sum(rates)] * 1000)
