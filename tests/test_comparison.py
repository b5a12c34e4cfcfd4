"""Intervals of a few seeds: against scipy's own tests, and what pairing cancels."""

from math import inf, nan, sqrt

import numpy as np
import pytest
from scipy import stats

from dashbook.comparison import Interval, compared, paired, quantile, t_interval
from dashbook.tables import DASHES, frechet, gap, off
from dashlib.results import Run


def row(**values):
    """Runs with one metric, ``s2=1.5`` for seed 2."""
    return [
        Run(f"digits/x-{seed}", {}, int(seed[1:]), {}, 0.0, 1, {"fd": value})
        for seed, value in values.items()
    ]


def fd(run):
    return run.metrics["fd"]


def test_three_seeds_at_95_percent():
    """The table's t for two degrees of freedom is 4.303."""
    found = t_interval([1.0, 2.0, 3.0])
    assert found.mean == 2.0
    assert found.half == pytest.approx(4.303 / sqrt(3), rel=1e-4)
    assert (found.low, found.high) == pytest.approx((2 - 2.4843, 2 + 2.4843), abs=1e-3)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("n", [2, 3, 10])
def test_against_scipy(n, level):
    values = np.random.default_rng(n).normal(size=n)
    want = stats.ttest_1samp(values, 0).confidence_interval(level)
    found = t_interval(values.tolist(), level)
    assert (found.low, found.high) == pytest.approx((want.low, want.high))


def test_it_covers_the_expectation_as_often_as_it_says():
    values = np.random.default_rng(0).normal(5, 2, size=(4000, 3))
    found = [t_interval(three.tolist(), 0.9) for three in values]
    assert np.mean([one.low < 5 < one.high for one in found]) == pytest.approx(0.9, abs=0.015)


def test_one_value_says_nothing_of_its_spread():
    found = t_interval([3.0])
    assert (found.mean, found.half, found.sign) == (3.0, inf, 0)
    assert quantile(1) == inf


@pytest.mark.parametrize(("mean", "sign"), [(1.5, 1), (-1.5, -1), (0.5, 0), (-0.5, 0), (1.0, 0)])
def test_sign_is_zero_unless_the_whole_interval_is_on_one_side(mean, sign):
    assert Interval(mean, 1.0).sign == sign


def test_text():
    assert Interval(1.2, 0.7).text() == "+1.20 [0.50, 1.90]"
    assert Interval(-0.00123, 0.001).text(4) == "-0.0012 [-0.0022, -0.0002]"


def test_pairs_are_made_by_seed_and_not_by_place():
    a, b = row(s0=10.0, s1=20.0, s2=30.0), row(s2=29.0, s0=9.0, s1=19.0)
    assert paired(a, b, fd) == Interval(1.0, 0.0)


def test_what_moves_both_rows_alike_cancels():
    common, noise = [0.0, 10.0, -7.0], [0.1, -0.1, 0.0]
    a = row(**{f"s{i}": c + 1 + e for i, (c, e) in enumerate(zip(common, noise, strict=True))})
    b = row(**{f"s{i}": c for i, c in enumerate(common)})
    assert paired(a, b, fd).sign == 1
    assert paired(a, b, fd).half < t_interval([fd(run) for run in a]).half / 50


def test_exchanging_the_rows_changes_the_sign_only():
    a, b = row(s0=1.0, s1=2.5, s2=2.0), row(s0=0.0, s1=1.0, s2=3.0)
    there, back = paired(a, b, fd), paired(b, a, fd)
    assert (there.mean, there.half) == pytest.approx((-back.mean, back.half))


@pytest.mark.parametrize("other", [{"s0": 1.0}, {"s0": 1.0, "s2": 2.0}])
def test_other_seeds_are_an_error(other):
    with pytest.raises(ValueError, match=r"seeds \[0, 1\] and .*the same seeds, each once"):
        paired(row(s0=1.0, s1=2.0), row(**other), fd)


def test_a_seed_that_comes_twice_is_an_error():
    with pytest.raises(ValueError, match="each once"):
        paired(row(s0=1.0) * 2, row(s0=1.0) * 2, fd)


@pytest.mark.parametrize("values", [[], [1.0, nan], [inf, 1.0]])
def test_no_values_or_infinite_ones_are_an_error(values):
    with pytest.raises(ValueError, match=r"at least one value|all must be finite"):
        t_interval(values)


@pytest.mark.parametrize("level", [0, 1, 95])
def test_a_level_is_between_zero_and_one(level):
    with pytest.raises(ValueError, match=f"level={level}: .*0 < level < 1"):
        t_interval([1.0, 2.0], level)


def scored(rho: list[float], fd: list[float]) -> list[Run]:
    metrics = [
        {"gap": {"overall": {"rho": r}}, "guidance": {"4": {"frechet": d}}}
        for r, d in zip(rho, fd, strict=True)
    ]
    return [Run(f"digits/x-s{i}", {}, i, {}, 0.0, 1, m) for i, m in enumerate(metrics)]


OURS = scored([0.9, 0.8, 0.7], [1.0, 2.0, 3.0])
THEIRS = scored([1.05, 1.04, 1.06], [4.0, 5.0, 6.1])


def test_the_lower_row_is_named_only_beyond_doubt() -> None:
    measures = {"FD": frechet("4"), "ρ": gap("rho"), "off": off("rho")}
    lower, _ = compared(("ours", "theirs"), OURS, THEIRS, measures)
    assert lower == {"FD": "ours", "ρ": DASHES, "off": DASHES}, "ρ: by 0.25 ± 0.26"
    turned, _ = compared(("theirs", "ours"), THEIRS, OURS, measures)
    assert turned == lower


def test_table_has_means_and_the_paired_difference() -> None:
    _, table = compared(("A", "B"), OURS, THEIRS, {"FD": frechet("4")})
    lines = table.splitlines()
    assert lines[0] == "| lower is better | A | B | difference | clear |"
    assert lines[2] == "| FD | 2 | 5.03 | -3 ± 0.06 | A |"


def test_rows_of_different_seeds_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="seeds"):
        compared(("A", "B"), OURS, THEIRS[:2], {"FD": frechet("4")})
