"""The runs stored in results/: whole, complete, finite, and as good as the book needs them.

Fails until `python -m dashlib reproduce digits` has made every run.
"""

import math

import pytest
import torch

from dashlib import experiments, results
from dashlib.experiments import CLASSIFIER, SPECS
from dashlib.specs import FASHION, FASHION_SPECS, SHIPPED

TEACHERS = [name for name, spec in SPECS.items() if spec.teacher is None]
STUDENTS = [name for name, spec in SPECS.items() if spec.teacher]
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


@pytest.mark.parametrize("name", [CLASSIFIER, *SPECS])
def test_a_stored_run_is_whole(name):
    """Every file is there with its SHA-256, every number is finite, its origin is known."""
    run = results.load(name)
    assert "weights" in run.files
    for part in run.files:
        tensors = run.tensors(part).values()
        assert all(v.isfinite().all() for v in tensors if v.is_floating_point())
    assert all(math.isfinite(n) for n in numbers(run.metrics))
    assert run.commit != "unknown"
    assert all(seconds >= 0 for seconds in run.seconds.values())
    on_disk = {p.name for p in run.folder.iterdir()}
    assert on_disk == {"run.json", *(entry["name"] for entry in run.files.values())}


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


@pytest.mark.parametrize("name", STUDENTS)
def test_a_stored_student_has_its_gap_metrics(name):
    run = results.load(name)
    gap = run.metrics["gap"]
    assert set(gap["overall"]) == SUMMARY
    assert run.metrics["parameters"] == 168_916
    assert {int(t) for t in gap["per_timestep"]} == set(range(0, 1000, 50))
    assert {int(c) for c in gap["per_class"]} == set(range(10))
    for groups in (gap["per_timestep"], gap["per_class"]):
        assert sum(g["n"] for g in groups.values()) == gap["overall"]["n"] == 10_000
        assert all(set(g) == SUMMARY for g in groups.values())
    overall = gap["overall"]
    both = overall["cond_mse"] + overall["uncond_mse"]
    assert both == pytest.approx(2 * overall["common_mse"] + overall["gap_mse"] / 2)


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


def size(folder):
    """Bytes of all files below the folder."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def test_stored_runs_are_small():
    """They are part of the repository."""
    assert 0 < size(results.root() / "digits") < 25e6
    assert 0 < size(results.root() / "fashion_mnist") < 45e6


@pytest.mark.parametrize("name", [FASHION.classifier, *FASHION_SPECS])
def test_a_stored_fashion_run_is_whole(name):
    """Every file is there with its SHA-256; weights where they are shipped; pictures everywhere."""
    run = results.load(name)
    assert ("weights" in run.files) == (name in SHIPPED)
    for part in run.files:
        tensors = run.tensors(part).values()
        assert all(v.isfinite().all() for v in tensors if v.is_floating_point())
    assert all(math.isfinite(n) for n in numbers(run.metrics))
    assert "H200" in run.hardware
    assert run.commit == "4f76b81dbfa4"
    on_disk = {p.name for p in run.folder.iterdir()}
    assert on_disk == {"run.json", *(entry["name"] for entry in run.files.values())}


@pytest.mark.parametrize("name", FASHION_SPECS)
def test_a_stored_fashion_run_is_what_its_spec_says(name):
    run, spec = results.load(name), FASHION_SPECS[name]
    assert (run.config["objective"], run.config["weighting"]) == (spec.objective, spec.weighting)
    assert (run.config["train"]["steps"], run.seed) == (spec.train.steps, spec.seed)
    assert run.trace["samples"].shape == (len(FASHION.guidance), 20, 1, 32, 32)
    assert ("gap" in run.metrics) == (spec.teacher is not None and spec.objective != "single_head")
    if spec.teacher and name in SHIPPED:
        assert size(run.folder) < 4e6
