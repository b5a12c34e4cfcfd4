"""Intervals of a few seeds: against scipy's own tests, and what pairing cancels."""

from math import inf, nan, sqrt

import numpy as np
import pytest
from scipy import stats

from dashbook.comparison import (
    Interval,
    compared,
    holm,
    logged,
    paired,
    quantile,
    t_interval,
    verdicts,
)
from dashbook.tables import DASHES, frechet, gap, off
from dashlib.results import Run


def row(**values):
    """Runs with one metric, ``s2=1.5`` for seed 2."""
    return [
        Run(f"digits/x-{seed}", {}, int(seed[1:]), {}, 0.0, 1, {"fd": value}, "commit", "hardware")
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


def test_many_measures_make_chance_finds_so_each_needs_a_smaller_p() -> None:
    """A difference with p = .03 is clear alone, and not as one of ten."""
    base = row(s0=0.0, s1=0.0, s2=0.0, s3=0.0)
    ours = row(s0=1.0, s1=2.0, s2=1.5, s3=0.5)
    assert 0.0167 < stats.ttest_1samp([1.0, 2.0, 1.5, 0.5], 0).pvalue < 0.0331
    signs = {f"noise {i}": (lambda run, i=i: (-1) ** (run.seed + i) * fd(run)) for i in range(9)}
    for count, word in ((0, "theirs"), (9, DASHES)):
        asked = {"FD": fd} | dict(list(signs.items())[:count])
        lower, _ = compared(("ours", "theirs"), ours, base, asked)
        assert lower["FD"] == word


def test_table_has_means_and_the_paired_difference() -> None:
    _, table = compared(("A", "B"), OURS, THEIRS, {"FD": frechet("4")})
    lines = table.splitlines()
    assert lines[0] == "| lower is better | A | B | difference | clear |"
    assert lines[2] == "| FD | 2 | 5.03 | -3 ± 0.06 | A |"


def test_rows_of_different_seeds_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="seeds"):
        compared(("A", "B"), OURS, THEIRS[:2], {"FD": frechet("4")})


def test_holm_by_hand() -> None:
    """Times 4, 3, 2, 1 in ascending order, never falling, at most 1."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


@pytest.mark.parametrize("seed", range(5))
def test_holm_rejects_what_its_steps_reject(seed: int) -> None:
    """Holm 1979: go on in ascending order as long as p_(i) <= alpha / (m + 1 - i)."""
    p = np.random.default_rng(seed).uniform(size=6) ** 3
    rejected = np.zeros(6, bool)
    for i, at in enumerate(np.argsort(p)):
        if p[at] > 0.05 / (6 - i):
            break
        rejected[at] = True
    assert (np.array(holm(p.tolist())) <= 0.05).tolist() == rejected.tolist()


def rows_of(count: int, n: int, spread: float = 1.0, means: float = 0.0) -> dict[str, list[Run]]:
    values = np.random.default_rng(count).normal(means, spread, size=(count, n))
    return {f"r{i}": row(**{f"s{j}": v for j, v in enumerate(vs)}) for i, vs in enumerate(values)}


def test_p_values_are_scipys_paired_ones() -> None:
    rows, base = rows_of(4, 8, means=0.5), rows_of(1, 8)["r0"]
    other = [fd(run) for run in base]
    pairs = [([fd(run) for run in runs], other) for runs in rows.values()]
    plain = [stats.ttest_rel(*pair).pvalue for pair in pairs]
    margin = 0.4
    sides = [
        max(
            stats.ttest_1samp(np.subtract(*pair), -margin, alternative="greater").pvalue,
            stats.ttest_1samp(np.subtract(*pair), margin, alternative="less").pvalue,
        )
        for pair in pairs
    ]
    found = verdicts(rows, base, fd, margin=margin).values()
    assert [one.different for one in found] == pytest.approx(holm(plain))
    assert [one.apart for one in found] == pytest.approx(holm(sides))
    assert [one.interval for one in found] == [paired(runs, base, fd) for runs in rows.values()]


def moved(base: list[Run], by: float, noise: float = 0.01) -> list[Run]:
    shifts = np.resize([noise, -noise], len(base)) + by
    return row(**{f"s{r.seed}": fd(r) + d for r, d in zip(base, shifts, strict=True)})


def test_words() -> None:
    base = rows_of(1, 8, spread=5.0)["r0"]
    rows = {
        "better": moved(base, -1.0),
        "worse": moved(base, 1.0),
        "equal": moved(base, 0.05),  # different beyond doubt, and within the margin
        "undecided": moved(base, 0.05, noise=2.0),
    }
    found = verdicts(rows, base, fd, margin=0.2)
    assert {name: one.word for name, one in found.items()} == {name: name for name in rows}
    assert found["equal"].different < 0.05
    strict = verdicts(rows, base, fd, margin=0.04)
    assert strict["equal"].word == "worse"


def test_a_row_beside_itself_is_equal_and_one_seed_is_undecided() -> None:
    base = rows_of(1, 8)["r0"]
    assert verdicts({"same": base}, base, fd, margin=0.01)["same"].word == "equal"
    one = verdicts({"far": row(s0=9.0)}, row(s0=1.0), fd, margin=0.1)["far"]
    assert (one.word, one.different, one.apart) == ("undecided", 1.0, 1.0)


def test_more_rows_ask_for_more_certainty() -> None:
    """A difference that stands alone is undecided among twenty that are none."""
    rows, base = rows_of(20, 8), rows_of(1, 8)["r0"]
    rows["clear"] = row(**{f"s{r.seed}": fd(r) + d for r, d in zip(base, SLOPE, strict=True)})
    alone = verdicts({"clear": rows["clear"]}, base, fd, margin=0.01)["clear"]
    among = verdicts(rows, base, fd, margin=0.01)["clear"]
    assert (alone.word, among.word) == ("worse", "undecided")
    assert alone.interval == among.interval


SLOPE = np.array([0.2, 1.5, -0.4, 1.0, 0.9, -0.2, 1.4, 0.7])  # p = 0.027


def test_of_true_nulls_seldom_any_is_called_different() -> None:
    """The chance of one wrong verdict or more is 5 % in all, however many rows."""
    wrong, draws = 0, np.random.default_rng(0)
    for _ in range(400):
        values = draws.normal(size=(6, 8))  # five rows and the base, all alike
        runs = [row(**{f"s{j}": v for j, v in enumerate(vs)}) for vs in values]
        rows = {f"r{i}": one for i, one in enumerate(runs[1:])}
        found = verdicts(rows, runs[0], fd, margin=1e-9)
        wrong += any(one.word != "undecided" for one in found.values())
    assert wrong / 400 < 0.08


def test_logged_differences_are_ratios() -> None:
    base = row(s0=10.0, s1=20.0, s2=5.0)
    twice = row(s0=20.0, s1=40.0, s2=10.0)
    found = verdicts({"twice": twice}, base, logged(fd), margin=0.1)["twice"]
    assert found.interval.mean == pytest.approx(np.log(2))
    assert found.word == "worse"
