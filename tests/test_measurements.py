"""Check the measures of the ledger: oracles on made-up runs, and what is missing says so."""

import json
from functools import partial
from math import inf, isnan, log, nan, sqrt

import pytest

from dashbook import cost, measurements, tables
from dashbook.measurements import Estimate, NotMeasured, Part
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


FD, RHO, GAP_MSE = tables.frechet("TAG"), tables.gap("rho"), tables.gap("gap_mse")
beside = partial(measurements.beside, scale="digits", value=FD)


def test_a_level_has_a_value_a_seed_and_the_t_interval(stored):
    for seed, rho in enumerate((0.8, 0.9, 1.0)):
        stored("dash", seed, rho=rho)
    found = measurements.level(scale="digits", row="dash", value=RHO)
    assert found.values == (0.8, 0.9, 1.0)
    assert found.interval().half == pytest.approx(4.3027 * 0.1 / sqrt(3), rel=1e-4)
    assert found.parts[0].spread == pytest.approx(0.1)


def test_one_seed_decides_nothing(stored):
    stored("dash", 0, rho=1.0)
    found = measurements.level(scale="digits", row="dash", value=RHO)
    assert found.interval().half == inf
    assert isnan(found.parts[0].spread)
    assert found.lies(low=0) is None


def test_what_is_not_stored_says_so(stored):
    stored("dash", 0, rho=1.0)
    with pytest.raises(NotMeasured, match="no run of fitnets is stored for digits"):
        measurements.level(scale="digits", row="fitnets", value=RHO)
    with pytest.raises(NotMeasured, match="no seed of dash is stored"):
        measurements.level(scale="digits", row="dash", value=FD)
    stored("scratch", 1, rho=1.0)
    with pytest.raises(NotMeasured, match="no seed of dash, scratch is stored"):
        beside(row="dash", over="scratch")


def test_a_seed_without_the_value_is_left_out(stored):
    stored("dash", 0, rho=1.0)
    stored("dash", 1, rho=0.8)
    found = measurements.level(
        scale="digits",
        row="dash",
        value=lambda run: run.metrics["gap"]["overall"]["rho"] if run.seed else None,
    )
    assert found.values == (0.8,)


def test_a_row_may_name_its_weighting(stored):
    stored("dash", 0, weighting="uniform", rho=0.7)
    stored("dash", 0, rho=0.9)
    stored("dash", 0, weighting="uniform-from_uniform", rho=0.5)
    rows = {"dash-uniform": 0.7, "dash": 0.9, "dash-uniform-from_uniform": 0.5}
    for row, rho in rows.items():
        assert measurements.level(scale="digits", row=row, value=RHO).value == rho


@pytest.fixture
def table(stored):
    """Three seeds of the rows that distances are taken between, and a teacher."""
    for seed in range(3):
        for row, far in (("scratch", 20.0), ("cond_only", 30.0), ("dash_no_un", 22.0)):
            stored(row, seed, gap_mse=far / 10, frechet={"TAG": far * (1 + seed / 10)})
        stored("dash", seed, gap_mse=1.0, frechet={"TAG": 10.0 * (1 + seed / 10)})
    stored("teacher-tirt", 0, frechet={"TAG": 5.0})


def test_a_ratio_is_paired_seed_by_seed(table):
    """Seeds that move both rows alike leave no spread."""
    found = beside(row="scratch", over="dash")
    assert found.values == pytest.approx([log(2)] * 3)
    assert found.interval().half == pytest.approx(0, abs=1e-12)
    assert found.word == "worse"
    assert beside(row="dash", over="scratch").word == "better"
    assert beside(row="dash", over="dash_no_un", value=GAP_MSE).word == "better"


def test_the_verdict_is_corrected_for_the_rivals(stored):
    for seed, (a, b) in enumerate(((10, 13), (11, 13.5), (12, 17))):
        stored("dash", seed, frechet={"TAG": float(a)})
        stored("scratch", seed, frechet={"TAG": float(b)})
        for other in ("cond_only", "composite", "multi_w"):
            stored(other, seed, frechet={"TAG": 10.0 + (seed - 1) ** 2})
    assert beside(row="scratch", over="dash").word == "worse"
    rivals = ("scratch", "cond_only", "composite", "multi_w")
    assert beside(row="scratch", over="dash", rivals=rivals).word == "undecided"
    assert beside(row="scratch", over="dash", rivals=rivals, level=0.8).word == "worse"


def test_two_seeds_are_undecided(stored):
    for seed in range(2):
        stored("dash", seed, frechet={"TAG": 10.0})
        stored("scratch", seed, frechet={"TAG": 20.0 + seed / 100})
    found = beside(row="scratch", over="dash")
    assert (found.word, found.lies(low=0)) == ("undecided", None)


def test_a_teacher_counts_as_given(table):
    found = beside(row="dash", over="teacher")
    assert found.values == pytest.approx([log(2), log(2.2), log(2.4)])
    assert found.parts[1].values == (5.0,)


def test_the_nearest_rival_and_the_verdict_of_all(table, stored):
    at = {"scale": "digits", "row": "dash", "value": FD}
    found = measurements.nearest(rivals=["cond_only", "scratch"], **at)
    assert (found.parts[0].row, found.word) == ("scratch", "worse")
    for seed in range(3):
        stored("multi_w", seed, frechet={"TAG": 9.0 * (1 + seed / 10)})
        stored("composite", seed, frechet={"TAG": 30.0 - 12 * seed})
    assert measurements.nearest(rivals=["scratch", "multi_w"], **at).word == "better"
    assert measurements.nearest(rivals=["scratch", "composite"], **at).word == "undecided"
    with pytest.raises(NotMeasured, match="fitnets"):
        measurements.nearest(rivals=["scratch", "fitnets"], **at)


def test_shares_are_taken_seed_by_seed(table, stored):
    recovered = measurements.recovered(scale="digits", row="dash")
    assert recovered.values == pytest.approx([10 / 15, 11 / 17, 12 / 19])

    def share(value):
        return measurements.unconditional_share(scale="digits", row="dash", value=value)

    assert share(FD).values == pytest.approx([12 / 20] * 3)
    assert share(GAP_MSE).value == pytest.approx(1.2 / 2)
    stored("cond_only", 1, gap_mse=0.5, frechet={"TAG": 1.0})
    assert isnan(share(GAP_MSE).value), "a seed without a gain to share"
    assert share(GAP_MSE).lies(low=0) is None


def test_only_seeds_that_all_rows_have_count(table, stored):
    stored("cond_only", 3, gap_mse=99.0)
    found = measurements.unconditional_share(scale="digits", row="dash", value=GAP_MSE)
    assert [len(part.values) for part in found.parts] == [3, 3, 3]


@pytest.mark.parametrize(("role", "count"), [("teacher", 35_751_939), ("student", 6_082_627)])
def test_parameters_are_those_of_the_published_networks(role, count):
    assert measurements.counted(role=role, count=cost.parameters).value == count


def test_counts_have_no_error_and_a_ratio():
    found = measurements.counted(role="ratio", count=measurements.gflops)
    assert (found.interval().half, found.parts) == (0.0, ())
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


def measured(mean, half):
    """An estimate of three seeds with this interval."""
    d = half * sqrt(3) / 4.302652729911275
    values = (mean - d, mean, mean + d)
    return Estimate(values, (Part("row", values),))


@pytest.mark.parametrize(
    ("value", "half", "expected"),
    [(1.0, 0.5, True), (1.0, 0.99, True), (1.0, 1.01, None), (-1.0, 0.99, False), (-1.0, 2, None)],
)
def test_an_interval_must_lie_on_one_side(value, half, expected):
    assert measured(value, half).lies(low=0) is expected


def test_an_interval_must_lie_inside_or_outside_of_a_band():
    band = {"low": 0.35, "high": 0.85}
    assert measured(0.6, 0.1).lies(**band) is True
    assert measured(0.9, 0.1).lies(**band) is None
    assert measured(2.0, 0.1).lies(**band) is False
    assert measured(0.6, 1.0).lies(**band) is None
    assert Estimate((0.6,)).lies(**band) is True, "counted"
    assert Estimate((nan,) * 3, (Part("row", (1.0,) * 3),)).lies(**band) is None
