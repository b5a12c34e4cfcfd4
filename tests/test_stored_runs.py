"""The runs stored in results/: whole, complete, finite, and as good as the book needs them.

Fails until `python -m dashlib reproduce digits` has made every run.  A test looks at many runs and
fails with the name and the fault of each that is wrong.
"""

import math
from functools import cache

import pytest
import torch

from dashlib import results
from dashlib.execution import TrainConfig
from dashlib.recipes import DIGITS, PARTS, RECIPES, SHIPPED, Recipe
from dashlib.runs import scoring
from dashlib.runs.verification import expected
from dashlib.unet import UNet, UNetConfig, count_parameters

CLASSIFIER = DIGITS.classifier

TEACHERS = [name for name, spec in RECIPES.items() if spec.teacher is None]
STUDENTS = [name for name, spec in RECIPES.items() if spec.teacher]
PAIRS = [name for name in STUDENTS if RECIPES[name].objective != "single_head"]  # of branches
SUMMARY = {
    *("rho", "cos", "gap_mse", "gap_s_ms", "gap_t_ms", "cond_mse", "uncond_mse", "common_mse"),
    *("a_star", "n"),
}


def broken(names, check):
    """Say what is wrong with those runs that a check fails for, by name."""
    found = {}
    for name in names:
        try:
            check(results.load(name))
        except Exception as fault:
            found[name] = repr(fault)
    return found


def numbers(value):
    """Every number in nested dictionaries."""
    if isinstance(value, dict):
        return [n for v in value.values() for n in numbers(v)]
    return [value]


def check_whole(run):
    """Every file has its SHA-256 and is listed, every number is finite, the origin is known."""
    for part in run.files:
        tensors = run.tensors(part).values()
        assert all(v.isfinite().all() for v in tensors if v.is_floating_point())
    assert all(math.isfinite(n) for n in numbers(run.metrics))
    on_disk = {p.name for p in run.folder.iterdir()}
    assert on_disk == {"run.json", *(entry["name"] for entry in run.files.values())}
    assert ("weights" in run.files) == (run.name in SHIPPED)
    assert run.commit not in ("", "unknown")
    assert run.hardware
    assert all(seconds >= 0 for seconds in run.seconds.values())


@cache
def parameters(unet):
    """Count them in a network without making it."""
    with torch.device("meta"):
        return count_parameters(UNet(unet))


def recipe_of(config):
    """The recipe in a stored configuration: what it lacks has its default."""
    unet, train = UNetConfig(**config["unet"]), TrainConfig(**config["train"])
    return Recipe(**{**config, "unet": unet, "train": train})


def check_spec(run):
    """It was made as its name says, with a network of that size, and its pictures are kept."""
    spec = RECIPES[run.name]
    assert recipe_of(run.config) == spec
    assert run.seed == spec.seed
    assert run.metrics["parameters"] == parameters(spec.unet)
    image = (spec.unet.image_channels, spec.unet.image_size, spec.unet.image_size)
    assert run.trace["samples"].shape == (len(DIGITS.guidance), scoring.KEPT_SAMPLES, *image)
    assert ("gap" in run.metrics) == (run.name in PAIRS)


def check_digits(run):
    """Samples were scored at every scale, and the loss kept over the whole training."""
    assert run.metrics["guidance"].keys() == DIGITS.guidance.keys()
    for scores in run.metrics["guidance"].values():
        assert scores.keys() >= {"accuracy", "frechet", "n"}
        assert scores["n"] == run.samples == scoring.SAMPLES
        assert 0 <= scores["accuracy"] <= 1
    assert run.trace["curve.loss"].shape == (RECIPES[run.name].train.steps // 10,)


def check_fair(run):
    """Scored under a second sampler, with distances that no number of samples biases."""
    again = dict(run.metrics["resampled"])
    assert {"start": 950, "eta": 1.0}.items() <= again.pop("sampler").items()
    assert set(again) == set(scoring.AGAIN)
    for scores in (*run.metrics["guidance"].values(), *again.values()):
        assert scores.keys() == {"accuracy", "frechet", "kernel", "n"}
    steps = RECIPES[run.name].train.steps
    assert run.metrics["ema_decay"] == pytest.approx((1 + steps) / (10 + steps), abs=1e-6)


def check_gap(run):
    """The gap metrics are there overall and by group, count every pair, and agree."""
    gap = run.metrics["gap"]
    overall = gap["overall"]
    assert set(overall) == SUMMARY
    assert {int(t) for t in gap["per_timestep"]} == set(range(0, 1000, 50))
    assert {int(c) for c in gap["per_class"]} == set(range(10))
    for groups in (gap["per_timestep"], gap["per_class"]):
        assert sum(g["n"] for g in groups.values()) == overall["n"] == 10_000
        assert all(set(g) == SUMMARY for g in groups.values())
    both = overall["cond_mse"] + overall["uncond_mse"]
    assert both == pytest.approx(2 * overall["common_mse"] + overall["gap_mse"] / 2)


def check_digits_teacher(run):
    """Good enough to learn from, and scored under every clamp."""
    assert run.metrics["guidance"]["1.5"]["accuracy"] >= 0.98
    assert set(run.metrics["clamp"]) == {"none", "clamp", "recompute"}


def test_every_run_is_whole():
    assert broken([CLASSIFIER, *RECIPES], check_whole) == {}


def test_every_run_is_what_its_spec_says():
    assert broken(RECIPES, check_spec) == {}


def test_every_run_of_digits_was_scored():
    assert broken(RECIPES, check_digits) == {}


def test_every_run_of_the_fair_part_has_two_samplers():
    assert broken(PARTS["fair"], check_fair) == {}


def test_every_student_of_two_branches_has_its_gap_metrics():
    assert broken(PAIRS, check_gap) == {}


def test_every_teacher_of_digits_is_good_enough():
    assert broken(TEACHERS, check_digits_teacher) == {}


def test_a_run_that_is_missing_is_named(run_folder):
    assert list(broken([CLASSIFIER], check_whole)) == [CLASSIFIER]


def test_the_uniform_teacher_passes_the_gate_and_the_tirt_teacher_would_not():
    """From t = 800 on the latter is worse than the class means, and learned from as a study."""
    sound = scoring.over_constant(results.load("digits/teacher-uniform").model())
    assert max(sound.values()) < scoring.WORSE
    assert sound[0] < 0.1
    defective = scoring.over_constant(results.load("digits/teacher-tirt").model())
    assert max(defective, key=defective.get) == 900
    assert defective[900] > 2 * scoring.WORSE
    assert defective[800] > 1


def test_the_stored_tirt_teacher_has_importance_to_transfer():
    run = results.load("digits/teacher-tirt")
    lam = run.trace["lambda"]
    assert lam.shape[1] == 1000
    assert torch.equal(run.weighting().lam, lam[-1].float())
    assert lam[-1].abs().max() > 0.1


def test_the_stored_classifier_can_judge():
    run = results.load(CLASSIFIER)
    assert set(run.metrics) >= {"accuracy_train", "accuracy_test", "frechet_test_to_train"}
    assert run.metrics["accuracy_test"] >= 0.97


def test_the_recipe_of_every_stored_run_can_be_read():
    for name in results.names("cifar10"):
        run = results.load(name)
        recipe = recipe_of(run.config)
        assert (recipe.name, recipe.seed, recipe.dataset) == (name, run.seed, "cifar10")
        assert run.metrics["parameters"] == parameters(recipe.unet)


def test_nothing_else_is_stored_and_all_of_it_is_verified():
    assert set(results.names()) == {CLASSIFIER, *RECIPES}
    assert {*results.names(), *results.names("cifar10")} == {*expected()}


def size(folder, pattern="*"):
    """Bytes of all files below the folder."""
    return sum(p.stat().st_size for p in folder.rglob(pattern) if p.is_file())


def test_stored_runs_are_small():
    """They are part of the repository."""
    assert 0 < size(results.root() / "digits", "weights-*") < 25e6
    assert 0 < size(results.root() / "digits") < 40e6
