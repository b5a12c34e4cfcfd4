"""The paper's numbers, as method.md section 7 copies them from the README of the release."""

import pytest

from dashbook.paper import FURTHER, PAPER
from dashlib.recipes import ROWS

README = {
    "teacher": ("35.8M", 5.47, 6.80, 1.00, 1.00),
    "scratch": ("6.1M", 20.47, 26.14, None, None),
    "cond_only": ("6.1M", 22.31, 27.83, 0.09, 0.08),
    "composite": ("6.1M", 13.84, 20.84, 0.68, 0.65),
    "dash": ("6.1M", 8.87, 10.47, 0.91, 0.89),
}
FURTHER_README = {
    "multi_w": ("6.1M", 13.67, 19.13, 0.75, 0.71),
    "fitnets": ("6.1M", 12.84, 19.47, 0.63, 0.61),
    "gap_match": ("6.1M", 11.42, 18.46, 0.81, 0.78),
    "pruned": ("8.95M", 18.04, 24.48, 0.71, 0.66),
    "single_head": ("8.99M", 16.78, 23.50, None, None),
}


@pytest.mark.parametrize(("rows", "readme"), [(PAPER, README), (FURTHER, FURTHER_README)])
def test_the_published_numbers(rows, readme):
    found = {
        key: (r.parameters, r.fid_cifar10, r.fid_cifar100, r.rho_cifar10, r.rho_cifar100)
        for key, r in rows.items()
    }
    assert found == readme


def test_every_published_row_is_a_teacher_or_a_row_of_ours():
    assert {*PAPER, *FURTHER} - {"teacher"} <= set(ROWS)
    assert not set(PAPER) & set(FURTHER)
    assert "cond_only_dropout" not in PAPER  # the paper's table lacks it
