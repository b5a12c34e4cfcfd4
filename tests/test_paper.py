"""The paper's numbers, as method.md section 7 copies them from the README of the release."""

from dashlib.losses import OBJECTIVES
from dashlib.paper import PAPER

README = {
    "teacher": ("35.8M", 5.47, 6.80, 1.00, 1.00),
    "scratch": ("6.1M", 20.47, 26.14, None, None),
    "cond_only": ("6.1M", 22.31, 27.83, 0.09, 0.08),
    "composite": ("6.1M", 13.84, 20.84, 0.68, 0.65),
    "dash": ("6.1M", 8.87, 10.47, 0.91, 0.89),
}


def test_the_published_numbers():
    found = {
        key: (r.parameters, r.fid_cifar10, r.fid_cifar100, r.rho_cifar10, r.rho_cifar100)
        for key, r in PAPER.items()
    }
    assert found == README


def test_every_published_row_is_a_teacher_or_an_objective():
    assert set(PAPER) - {"teacher"} <= set(OBJECTIVES)
    assert "cond_only_dropout" not in PAPER  # the paper's table lacks it
