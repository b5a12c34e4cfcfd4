"""What the ledger measures: oracles on made-up runs, and what is missing says so."""

import json
from math import exp, inf, isnan, nan, sqrt

import numpy as np
import pytest

from dashbook import cost, measurements
from dashbook.measurements import GAP_MSE, RHO, Estimate, NotMeasured, Part, combine, fd, part
from dashbook.tables import gap
from dashlib import results


@pytest.fixture
def stored(run_folder):
    """A function that stores a run of a row with these metrics."""

    def make(row, seed, scale="digits", weighting="transfer", **metrics):
        gap = {"overall": {k: v for k, v in metrics.items() if k != "frechet"}}
        guidance = {w: {"frechet": v} for w, v in metrics.get("frechet", {}).items()}
        name = f"{scale}/{row}" + (f"-{weighting}-s{seed}" if row != "teacher-tirt" else "")
        made = {"gap": gap, "guidance": guidance}
        results.store(results.Run(name, {}, seed, {}, 0.0, 0, made, commit="c", hardware="h"))

    return make


def test_three_seeds_show_their_own_spread(stored):
    for seed, rho in enumerate((0.8, 0.9, 1.0)):
        stored("dash", seed, rho=rho)
    found = part("dash", RHO, "digits")
    assert (found.values, found.seeds) == ((0.8, 0.9, 1.0), (0, 1, 2))
    assert found.own == pytest.approx(0.1)
    assert found.error == pytest.approx(0.1 / sqrt(3))


def test_one_seed_borrows_the_largest_relative_spread_of_its_scale(stored):
    stored("fitnets", 0, rho=4.0)
    for seed, (calm, wild) in enumerate(((0.99, 1.0), (1.0, 2.0), (1.01, 3.0))):
        stored("dash", seed, rho=calm)
        stored("cond_only", seed, rho=wild)
        stored("cond_only", seed, weighting="uniform", rho=wild**3)  # other weights don't count
    found = part("fitnets", RHO, "digits")
    assert isnan(found.own)
    assert found.error == pytest.approx(4.0 * 0.5)


def test_two_seeds_borrow_too_and_from_another_scale_if_they_must(stored):
    for seed, rho in enumerate((9.0, 10.0, 11.0)):
        stored("dash", seed, rho=rho)
    for seed in (0, 1):
        stored("dash", seed, scale="cifar10", rho=1.0)
    assert part("dash", RHO, "cifar10").error == pytest.approx(0.1 / sqrt(2))


def test_a_spread_that_nobody_knows_is_infinite(stored):
    stored("dash", 0, rho=1.0)
    assert measurements.gap_ratio(scale="digits", row="dash").error == inf


def test_a_difference_has_the_pooled_standard_error():
    a, b = Part("a", (1.0, 2.0, 3.0), (0, 1, 2)), Part("b", (5.0, 5.5, 6.0), (0, 1, 2))
    found = combine(lambda x, y: x - y, a, b)
    assert found.value == pytest.approx(-3.5)
    assert found.error == pytest.approx(sqrt(1 / 3 + 0.25 / 3))


def test_errors_propagate_to_first_order():
    """Against random draws of the means."""
    parts = [Part(n, (v - d, v, v + d), (0, 1, 2)) for n, v, d in (("a", 9, 0.3), ("b", 5, 0.2))]
    rng = np.random.default_rng(0)
    a, b = (rng.normal(p.mean, p.error, 200_000) for p in parts)
    found = combine(lambda x, y: x / y, *parts)
    assert found.error == pytest.approx(np.std(a / b), rel=0.02)


def test_what_is_not_stored_says_so(stored):
    stored("dash", 0, rho=1.0)
    with pytest.raises(NotMeasured, match="no run of fitnets is stored for digits"):
        part("fitnets", RHO, "digits")
    with pytest.raises(NotMeasured, match="FD at w = TAG of dash is not stored"):
        part("dash", ("guidance", "TAG", "frechet"), "digits")
    with pytest.raises(NotMeasured, match="gap_mse of dash"):
        part("dash", GAP_MSE, "digits", {7})


def test_a_row_may_name_its_weighting(stored):
    stored("dash", 0, weighting="uniform", rho=0.7)
    stored("dash", 0, rho=0.9)
    assert part("dash-uniform", RHO, "digits").mean == 0.7
    assert part("dash", RHO, "digits").mean == 0.9


@pytest.fixture
def table(stored):
    """Three seeds of the rows that distances are taken between, and a teacher."""
    for seed in range(3):
        for row, far in (("scratch", 20.0), ("cond_only", 30.0), ("dash_no_un", 22.0)):
            stored(row, seed, gap_mse=far / 10, frechet={"TAG": far + seed})
        stored("dash", seed, gap_mse=1.0, frechet={"TAG": 10.0 + seed})
    stored("teacher-tirt", 0, frechet={"TAG": 5.0})


def test_distances(table):
    at = {"scale": "digits"}
    assert measurements.excess(
        row="scratch", over="dash", path=fd("TAG"), **at
    ).value == pytest.approx(10)
    lead = measurements.frechet_lead(row="dash", rivals=["cond_only", "scratch"], **at)
    assert lead.value == pytest.approx(10), "the nearest rival"
    assert lead.parts[0].row == "scratch"
    assert measurements.recovered(row="dash", **at).value == pytest.approx(10 / 16)
    excess = measurements.excess(scale="digits", row="scratch", over="dash", path=GAP_MSE)
    assert excess.value == pytest.approx(1.0)


def test_a_lead_needs_every_rival(table):
    with pytest.raises(NotMeasured, match="fitnets"):
        measurements.frechet_lead(
            scale="digits", row="dash", rivals=["scratch", "fitnets"], w="TAG"
        )


def test_the_share_of_the_unconditional_term(table, stored):
    def share(path):
        return measurements.unconditional_share(scale="digits", row="dash", path=path).value

    assert share(fd("TAG")) == pytest.approx((22 - 10) / (30 - 10))
    assert share(GAP_MSE) == pytest.approx(1.2 / 2)
    for seed in range(3):
        stored("cond_only", seed, gap_mse=0.5, frechet={"TAG": 1.0})
    assert isnan(share(GAP_MSE)), "no gain to share"


def test_the_share_compares_seeds_that_all_rows_have(table, stored):
    stored("cond_only", 3, gap_mse=99.0)
    found = measurements.unconditional_share(scale="digits", row="dash", path=GAP_MSE)
    assert {one.seeds for one in found.parts} == {(0, 1, 2)}


@pytest.mark.parametrize(("role", "count"), [("teacher", 35_751_939), ("student", 6_082_627)])
def test_parameters_are_those_of_the_published_networks(role, count):
    assert measurements.counted(role=role, count=cost.parameters).value == count


def test_counts_have_no_error_and_a_ratio():
    found = measurements.counted(role="ratio", count=measurements.gflops)
    assert (found.error, found.parts) == (0.0, ())
    assert found.value == pytest.approx(5.78, abs=0.01)


def test_a_timing_counts_on_its_own_hardware_only(run_folder):
    wanted = {"key": "latency_ms", "hardware": "T4"}
    with pytest.raises(NotMeasured, match="nor any other GPU"):
        measurements.bench_ratio(**wanted)
    (run_folder / "bench").mkdir()
    report = {"hardware": "NVIDIA H200", "ratios": [{"of": "cifar10, batch 64", "latency_ms": 2.0}]}
    path = run_folder / "bench" / "efficiency-cifar10-x.json"
    path.write_text(json.dumps(report))
    with pytest.raises(NotMeasured, match=r"no T4 here; 2.00 on NVIDIA H200 \(batch 64\)"):
        measurements.bench_ratio(**wanted)
    path.write_text(json.dumps({**report, "hardware": "Tesla T4"}))
    assert measurements.bench_ratio(**wanted).value == 2.0


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
    assert Estimate(value, error).lies(low=0) is expected


def test_more_certainty_decides_less():
    found = Estimate(1.0, 0.3)
    assert [found.lies(errors, low=0) for errors in (1, 2, 3, 4)] == [True, True, True, None]


def test_an_interval_must_lie_inside_or_outside_of_a_band():
    band = {"low": 0.35, "high": 0.85}
    assert Estimate(0.6, 0.1).lies(**band) is True
    assert Estimate(0.9, 0.1).lies(**band) is None
    assert Estimate(2.0, 0.1).lies(**band) is False
    assert Estimate(0.6, 1.0).lies(**band) is None


def test_rows_of_cifar10_are_compared_by_pairs_of_seeds(stored):
    """The logarithm of the ratio, by Student's t; seeds that only one row has don't count."""
    ratios = (0.5, 0.52, 0.48)
    for seed, ratio in enumerate(ratios):
        stored("dash", seed, "cifar10", rho=seed + 1.0)
        stored("scratch", seed, "cifar10", rho=ratio * (seed + 1.0))
    stored("dash", 3, "cifar10", rho=9.0)
    ask = {"scale": "cifar10", "value": gap("rho")}
    found = measurements.beside(row="scratch-transfer", over="dash-transfer", **ask)
    logs = np.log(ratios)
    assert found.value == pytest.approx(logs.mean())
    half = 4.302653 * logs.std(ddof=1) / sqrt(3)
    assert found.error * measurements.ERRORS == pytest.approx(half, rel=1e-6)
    assert found.word == "better"
    assert [part.seeds for part in found.parts] == [(0, 1, 2), (0, 1, 2)]
    back = measurements.beside(row="dash-transfer", over="scratch-transfer", **ask)
    assert back.word == "worse"
    assert back.value == pytest.approx(-found.value)


def test_rivals_make_a_verdict_harder_to_reach(stored):
    """Holm: of two comparisons the clearer one needs half of the p-value."""
    logs = ((0.2, -0.01), (0.3, 0.01), (0.4, 0.0))  # the first: t = 5.2, p = 0.035
    for seed, (scratch, cond_only) in enumerate(logs):
        stored("dash", seed, "cifar10", rho=1.0)
        stored("scratch", seed, "cifar10", rho=exp(scratch))
        stored("cond_only", seed, "cifar10", rho=exp(cond_only))
    ask = {"scale": "cifar10", "value": gap("rho"), "row": "scratch-transfer"}
    ask["over"] = "dash-transfer"
    assert measurements.beside(**ask).word == "worse"
    rivals = ("scratch-transfer", "cond_only-transfer")
    assert measurements.beside(**ask, rivals=rivals).word == "undecided"


def test_two_seeds_decide_nothing_at_cifar10(stored):
    for seed in (0, 1):
        stored("dash", seed, "cifar10", rho=1.0 + seed / 1000)
        stored("scratch", seed, "cifar10", rho=5.0)
    ask = {"scale": "cifar10", "row": "scratch-transfer", "value": gap("rho")}
    found = measurements.beside(**ask, over="dash-transfer")
    assert (found.word, found.error) == ("undecided", inf)
    assert found.lies(low=0) is None
    assert measurements.level(**ask).lies(low=0) is None, "no spread is borrowed"
    stored("cond_only", 7, "cifar10", rho=1.0)
    with pytest.raises(NotMeasured, match="no seed of scratch-transfer and cond_only-transfer"):
        measurements.beside(**ask, over="cond_only-transfer")
    with pytest.raises(NotMeasured, match="no run of fitnets-transfer is stored for cifar10"):
        measurements.level(scale="cifar10", row="fitnets-transfer", value=gap("rho"))


def test_the_teacher_of_cifar10_is_the_same_beside_every_seed(stored, run_folder):
    for seed, rho in enumerate((2.0, 2.1, 1.9)):
        stored("dash", seed, "cifar10", rho=rho)
    made = {"gap": {"overall": {"rho": 1.0}}}
    name = "cifar10/teacher-uniform"
    results.store(results.Run(name, {}, 0, {}, 0.0, 0, made, commit="c", hardware="h"))
    ask = {"scale": "cifar10", "row": "dash-transfer", "over": "teacher", "value": gap("rho")}
    found = measurements.beside(**ask)
    assert found.value == pytest.approx(np.log([2.0, 2.1, 1.9]).mean())
    assert [len(part.values) for part in found.parts] == [3, 1]
    assert found.lies(low=0) is True
