"""The posterior of the labels against Bayes' formula, and what the tower property asks."""

import pytest
import torch
from torch import Tensor

from dashbook.dual_branch import label_posterior, tower_distances
from dashlib.data import Images
from dashlib.schedule import Schedule


@pytest.fixture
def images() -> Images:
    generator = torch.Generator().manual_seed(0)
    return Images(torch.randn(6, 1, 2, 2, generator=generator), torch.tensor([0, 1, 2, 0, 1, 0]))


@pytest.mark.parametrize("at", [5, 400, 990])
def test_posterior_is_bayes_formula(images: Images, at: int) -> None:
    schedule, t = Schedule(), torch.full((4,), at)
    x_t = torch.randn(4, 1, 2, 2, generator=torch.Generator().manual_seed(1))
    alpha_bar = schedule.alpha_bar(t[:1])
    p = label_posterior(x_t, t, images, schedule, 3)
    for one, found in zip(x_t.double(), p, strict=True):
        square = (one - alpha_bar.sqrt() * images.x.double()).square().sum((1, 2, 3))
        weight = (-square / (2 * (1 - alpha_bar)) + 700 * (at == 5)).exp()
        of_label = torch.stack([weight[images.y == k].sum() for k in range(3)])
        assert found.sum().item() == pytest.approx(1)
        torch.testing.assert_close(found * weight.sum(), of_label, rtol=1e-6, atol=1e-300)


def test_timesteps_may_differ_within_a_batch(images: Images) -> None:
    schedule, t = Schedule(), torch.tensor([3, 500, 999])
    x_t = torch.randn(3, 1, 2, 2, generator=torch.Generator().manual_seed(2))
    together = label_posterior(x_t, t, images, schedule, 3)
    for i in range(3):
        alone = label_posterior(x_t[i : i + 1], t[i : i + 1], images, schedule, 3)
        torch.testing.assert_close(together[i : i + 1], alone)


class Teacher:
    """Answers its label everywhere, and for the null label (3) a number of its own."""

    null_label = 3

    def __init__(self, null: float) -> None:
        self.null = null

    def __call__(self, x_t: Tensor, t: Tensor, y: Tensor) -> Tensor:
        answer = torch.where(y == self.null_label, self.null, y.float())
        return answer[:, None, None, None].expand_as(x_t)


def test_distances_between_the_targets(images: Images) -> None:
    def measured(null: float) -> tuple[list[float], list[float]]:
        rng = torch.Generator().manual_seed(0)
        gap, apart = tower_distances(Teacher(null), images, Schedule(), (0, 999), rng)
        return gap.tolist(), apart.tolist()

    gap, apart = measured(5.0)
    assert apart[0] == pytest.approx(gap[0], rel=1e-3), "clean: the label is known, E[T_c] = T_c"
    mean = images.y.float().mean().item()  # pure noise: every image is as likely
    assert apart[1] == pytest.approx((mean - 5) ** 2, rel=0.02)
    gap, apart = measured(mean)
    assert gap[1] > 0.5
    assert apart[1] == pytest.approx(0, abs=1e-3), "a null branch that is the mean"
