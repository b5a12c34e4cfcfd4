"""Rules of the ledger: which numbers they accept, and what uncertainty does to a judgement."""

from math import inf, nan

import pytest

from dashbook.measurements import Estimate
from dashbook.rules import accepts, holds


@pytest.mark.parametrize(
    ("rule", "interval"),
    [
        ("above 0", (0, inf)),
        ("below 0.35", (-inf, 0.35)),
        ("between 0.35 and 0.85", (0.35, 0.85)),
        ("within 10 % of 200", (180, 220)),
        ("within 0.1 % of 35.75e6", (35_714_250, 35_785_750)),
    ],
)
def test_accepted_intervals(rule, interval):
    assert accepts(rule) == pytest.approx(interval)


@pytest.mark.parametrize("rule", ["", "over 3", "above", "between 2 and 1", "above 1 or so"])
def test_other_rules_are_errors(rule):
    with pytest.raises(ValueError, match="above X, below X"):
        accepts(rule)


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        (1.0, 0.0, True),
        (1.0, 0.49, True),
        (1.0, 0.51, None),
        (-1.0, 0.49, False),
        (-1.0, 0.51, None),
        (1.0, inf, None),
        (nan, 0.1, None),
    ],
)
def test_two_standard_errors_decide(value, error, expected):
    assert holds("above 0", Estimate(value, error)) is expected


def test_more_certainty_decides_less():
    found = Estimate(1.0, 0.3)
    assert [holds("above 0", found, errors) for errors in (1, 2, 3, 4)] == [True, True, True, None]


def test_an_interval_must_lie_inside_or_outside_of_a_band():
    band = "between 0.35 and 0.85"
    assert holds(band, Estimate(0.6, 0.1)) is True
    assert holds(band, Estimate(0.9, 0.1)) is None
    assert holds(band, Estimate(2.0, 0.1)) is False
    assert holds(band, Estimate(0.6, 1.0)) is None
