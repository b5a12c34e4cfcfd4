"""Maps over timestep and class, and how two profiles over timesteps overlap."""

import pytest
import torch

from dashbook.atlas import gap_maps, profile, shares
from dashlib.guidance import Branches
from dashlib.metrics import NoisyPairs, pair_stats, summarise
from dashlib.weighting import TIRT, MinSNR, Uniform

CLASSES = 3


@pytest.fixture
def noisy():
    t = torch.randint(20, (400,)) * 50
    return NoisyPairs(torch.randn(400, 1, 4, 4), t, torch.randint(CLASSES, (400,)))


@pytest.fixture
def teacher():
    return Branches(torch.randn(400, 1, 4, 4), torch.randn(400, 1, 4, 4))


def maps(student, teacher, noisy):
    return gap_maps(pair_stats(student, teacher), noisy, classes=CLASSES, bins=4)


def test_a_cell_is_the_summary_of_its_pairs(teacher, noisy):
    student = Branches(torch.randn(400, 1, 4, 4), torch.randn(400, 1, 4, 4))
    found = maps(student, teacher, noisy)
    inside = (noisy.t >= 250) & (noisy.t < 500) & (noisy.y == 2)
    want = summarise(pair_stats(student[inside], teacher[inside]))
    assert {key: found[key][1, 2].item() for key in want} == pytest.approx(want)
    assert found["rho"].shape == (4, CLASSES)
    assert found["n"].sum() == 400


def test_a_gap_scaled_by_timestep_and_class_is_mapped_as_such(teacher, noisy):
    factor = (1 + noisy.t // 250) * (1.0 + noisy.y)
    scaled = teacher.uncond + factor[:, None, None, None] * teacher.gap
    found = maps(Branches(scaled, teacher.uncond), teacher, noisy)
    want = torch.outer(torch.arange(1, 5), torch.arange(1, 4)).double()
    torch.testing.assert_close(found["rho"], want, rtol=1e-5, atol=0)
    torch.testing.assert_close(found["a_star"], 1 / want, rtol=1e-5, atol=0)
    torch.testing.assert_close(found["cos"], torch.ones(4, 3).double())


def test_a_cell_without_pairs_is_nan_and_counts_none(teacher, noisy):
    noisy.y[noisy.t < 250] = 0
    found = maps(teacher, teacher, noisy)
    assert found["n"][0].tolist() == [(noisy.t < 250).sum(), 0, 0]
    assert found["rho"][0].isnan().tolist() == [False, True, True]
    assert found["rho"][1:].isfinite().all()


def test_variance_is_shared_between_timesteps_and_classes():
    up, across = torch.arange(4.0)[:, None], torch.tensor([0.0, 2.0, 4.0])
    assert shares(up + 0 * across) == pytest.approx((1, 0))
    assert shares(0 * up + across) == pytest.approx((0, 1))
    whole = 5 / 4 + 8 / 3
    assert shares(up + across) == pytest.approx((5 / 4 / whole, 8 / 3 / whole))
    assert shares(torch.tensor([[1.0, -1.0], [-1.0, 1.0]])) == (0, 0), "all of it is the rest"


def test_a_profile_holds_shares():
    assert profile(torch.tensor([1.0, 1, 2, 4]), 2).tolist() == [0.25, 0.75]


def test_importance_has_a_profile(schedule):
    uniform, tirt, min_snr = (
        kind(schedule).importance().detach() for kind in (Uniform, TIRT, MinSNR)
    )
    torch.testing.assert_close(profile(uniform, 20), torch.full((20,), 0.05).double())
    assert profile(tirt, 20).argmax() < 5
    assert (profile(min_snr, 20)[10:] > 0.06).all()
    assert torch.minimum(profile(tirt, 20), profile(min_snr, 20)).sum() < 0.6


@pytest.mark.parametrize("values", [torch.zeros(4), torch.tensor([1.0, -1, 2, 3])])
def test_a_profile_needs_an_amount(values):
    with pytest.raises(ValueError, match="at least 0"):
        profile(values, 2)
