"""Pictures from one noise: which are stored at a scale, and how far two sets are apart."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from dashbook import pictures
from dashlib.recipes import DIGITS
from dashlib.sampling import Iterate


def run(level: int) -> Any:
    """A run whose pictures at the k-th guidance scale all have the grey level ``level + 10 k``."""
    grey = level + 10 * torch.arange(len(DIGITS.guidance))
    samples = grey.byte()[:, None, None, None, None].expand(-1, 3, 1, 2, 2)
    return SimpleNamespace(name="digits/some", trace={"samples": samples})


def test_stored_pictures_are_those_of_the_scale_in_minus_one_to_one() -> None:
    at = list(DIGITS.guidance).index("4")
    found = pictures.stored(run(100), "4")
    assert found.shape == (3, 1, 2, 2)
    assert found.unique().item() == pytest.approx((100 + 10 * at) / 127.5 - 1)
    with pytest.raises(ValueError, match="17"):
        pictures.stored(run(100), "17")


def test_distance_is_the_root_of_the_mean_square() -> None:
    assert pictures.distance(run(100), run(151), "2") == pytest.approx(51 / 127.5)
    a, b = torch.zeros(2, 1, 1, 1), torch.tensor([3.0, 4.0])[:, None, None, None]
    assert pictures.rms(a, b) == pytest.approx(12.5**0.5)


def test_paths_are_compared_step_by_step_with_the_teachers() -> None:
    def iterate(x_next: Tensor) -> Iterate:
        other = torch.full_like(x_next, 99)
        return Iterate(0, 0, other, other, other, x_next)

    one = torch.ones(2, 1, 2, 2)
    paths = {"teacher": [iterate(one), iterate(2 * one)], "dash": [iterate(one), iterate(5 * one)]}
    assert pictures.apart(paths) == {"teacher": [0, 0], "dash": [0, 3]}
