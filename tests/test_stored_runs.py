"""The runs stored in results/: whole, complete, finite, and as good as the book needs them.

Fails until `python -m dashlib reproduce digits` has made every run.
"""

import math

import pytest
import torch

from dashlib import results
from dashlib.recipes import FASHION, FASHION_SPECS, HEADLINE, SHIPPED
from dashlib.runs import experiments
from dashlib.runs.experiments import CLASSIFIER, SPECS
from dashlib.unet import UNet, count_parameters

TEACHERS = [name for name, spec in SPECS.items() if spec.teacher is None]
STUDENTS = [name for name, spec in SPECS.items() if spec.teacher]
PAIRS = [name for name in STUDENTS if SPECS[name].objective != "single_head"]  # of branches
FASHION_STUDENTS = [  # with two branches
    name for name, s in FASHION_SPECS.items() if s.teacher and s.objective != "single_head"
]
SUMMARY = {
    "rho",
    "cos",
    "gap_mse",
    "gap_s_ms",
    "gap_t_ms",
    "cond_mse",
    "uncond_mse",
    "common_mse",
    "a_star",
    "n",
}


def numbers(value):
    """Every number in nested dictionaries."""
    if isinstance(value, dict):
        return [n for v in value.values() for n in numbers(v)]
    return [value]


def check_whole(run):
    """Every file has its SHA-256 and is listed, every number is finite."""
    for part in run.files:
        tensors = run.tensors(part).values()
        assert all(v.isfinite().all() for v in tensors if v.is_floating_point())
    assert all(math.isfinite(n) for n in numbers(run.metrics))
    on_disk = {p.name for p in run.folder.iterdir()}
    assert on_disk == {"run.json", *(entry["name"] for entry in run.files.values())}


@pytest.mark.parametrize("name", [CLASSIFIER, *SPECS])
def test_a_stored_run_is_whole(name):
    """Every file is there with its SHA-256, every number is finite, its origin is known."""
    run = results.load(name)
    assert ("weights" in run.files) == (name in SHIPPED)
    check_whole(run)
    assert run.commit != "unknown"
    assert all(seconds >= 0 for seconds in run.seconds.values())


@pytest.mark.parametrize("name", SPECS)
def test_a_stored_run_has_its_configuration_and_metrics(name):
    run, spec = results.load(name), SPECS[name]
    assert (run.config["objective"], run.config["weighting"]) == (spec.objective, spec.weighting)
    assert (run.config["train"]["steps"], run.seed) == (spec.train.steps, spec.seed)
    assert run.metrics["guidance"].keys() == experiments.GUIDANCE.keys()
    for scores in run.metrics["guidance"].values():
        assert scores.keys() == {"accuracy", "frechet", "n"}
        assert scores["n"] == run.samples == experiments.SAMPLES
        assert 0 <= scores["accuracy"] <= 1
    shape = (len(experiments.GUIDANCE), experiments.KEPT, 1, 8, 8)
    assert run.trace["samples"].shape == shape
    assert run.trace["curve.loss"].shape == (spec.train.steps // 10,)


@pytest.mark.parametrize("name", [*PAIRS, *FASHION_STUDENTS])
def test_a_stored_student_has_its_gap_metrics(name):
    gap = results.load(name).metrics["gap"]
    assert set(gap["overall"]) == SUMMARY
    assert {int(t) for t in gap["per_timestep"]} == set(range(0, 1000, 50))
    assert {int(c) for c in gap["per_class"]} == set(range(10))
    for groups in (gap["per_timestep"], gap["per_class"]):
        assert sum(g["n"] for g in groups.values()) == gap["overall"]["n"] == 10_000
        assert all(set(g) == SUMMARY for g in groups.values())
    overall = gap["overall"]
    both = overall["cond_mse"] + overall["uncond_mse"]
    assert both == pytest.approx(2 * overall["common_mse"] + overall["gap_mse"] / 2)


@pytest.mark.parametrize("name", STUDENTS)
def test_a_stored_digits_student_has_the_size_of_its_row(name):
    sizes = {"pruned": 238_276, "single_head": 174_164}
    row = name.split("/")[1].split("-")[0]
    assert results.load(name).metrics["parameters"] == sizes.get(row, 168_916)


@pytest.mark.parametrize("name", TEACHERS)
def test_a_stored_teacher_is_good_enough(name):
    run = results.load(name)
    assert run.metrics["guidance"]["1.5"]["accuracy"] >= 0.98
    assert run.metrics["parameters"] == 942_468
    assert set(run.metrics["clamp"]) == {"none", "clamp", "recompute"}


def test_the_stored_tirt_teacher_has_importance_to_transfer():
    run = results.load("digits/teacher-tirt")
    lam = run.trace["lambda"]
    assert lam.shape[1] == 1000
    assert torch.equal(run.importance().lam, lam[-1].float())
    assert lam[-1].abs().max() > 0.1


def test_the_stored_classifier_can_judge():
    run = results.load(CLASSIFIER)
    assert set(run.metrics) == {"accuracy_train", "accuracy_test", "frechet_test_to_train"}
    assert run.metrics["accuracy_test"] >= 0.97


def test_nothing_else_is_stored():
    assert set(results.names()) == {CLASSIFIER, *SPECS}
    assert set(results.names("fashion_mnist")) == {FASHION.classifier, *FASHION_SPECS}


def size(folder, pattern="*"):
    """Bytes of all files below the folder."""
    return sum(p.stat().st_size for p in folder.rglob(pattern) if p.is_file())


def test_stored_runs_are_small():
    """They are part of the repository."""
    assert 0 < size(results.root() / "digits", "weights-*") < 25e6
    assert 0 < size(results.root() / "digits") < 40e6
    assert 0 < size(results.root() / "fashion_mnist") < 46e6


@pytest.mark.parametrize("name", [FASHION.classifier, *FASHION_SPECS])
def test_a_stored_fashion_run_is_whole(name):
    """Every file is there with its SHA-256; weights where they are shipped; pictures everywhere."""
    run = results.load(name)
    assert ("weights" in run.files) == (name in SHIPPED)
    check_whole(run)
    assert "H200" in run.hardware
    assert run.commit == "4f76b81dbfa4"


@pytest.mark.parametrize("name", FASHION_SPECS)
def test_a_stored_fashion_run_is_what_its_spec_says(name):
    run, spec = results.load(name), FASHION_SPECS[name]
    assert (run.config["objective"], run.config["weighting"]) == (spec.objective, spec.weighting)
    assert (run.config["train"]["steps"], run.seed) == (spec.train.steps, spec.seed)
    assert run.trace["samples"].shape == (len(FASHION.guidance), 20, 1, 32, 32)
    assert ("gap" in run.metrics) == (spec.teacher is not None and spec.objective != "single_head")
    assert run.metrics["parameters"] == count_parameters(UNet(spec.unet))
    if spec.teacher and name in SHIPPED:
        assert size(run.folder) < 4e6


SCORED = [FASHION.teacher_spec("tirt"), *(FASHION.student_spec(r, "transfer") for r in HEADLINE)]


@pytest.mark.parametrize(
    "name", [*(s.name for s in SCORED), "fashion_mnist/dash_no_un-transfer-s0"]
)
def test_a_scored_fashion_run_has_every_scale(name):
    run = results.load(name)
    assert list(run.metrics["guidance"]) == list(FASHION.guidance)
    for scores in run.metrics["guidance"].values():
        assert scores["n"] == run.samples == 2_000
        assert 0 <= scores["accuracy"] <= 1
        seeds = scores["seeds"].values()
        assert scores["frechet"] == pytest.approx(sum(s["frechet"] for s in seeds) / len(seeds))


def test_the_stored_fashion_classifier_can_judge():
    metrics = results.load(FASHION.classifier).metrics
    assert metrics["accuracy_test"] > 0.93
    assert 0 < metrics["frechet_test_to_train"] < 2


def test_the_stored_fashion_teacher_is_good_enough():
    run = results.load("fashion_mnist/teacher-tirt")
    assert run.metrics["guidance"]["2"]["accuracy"] > 0.9
    assert run.trace["lambda"].shape[1] == 1000
