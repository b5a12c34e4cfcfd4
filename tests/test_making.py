"""Stored runs, end to end on 5-step networks: made, stored, verified, found to be damaged."""

import json
import shutil
from dataclasses import asdict, replace
from functools import partial
from itertools import pairwise

import pytest
import torch
from click.testing import CliRunner

from dashlib import __version__, classifier, data, metrics, results, sampling
from dashlib.__main__ import main as command_line
from dashlib.checkpoints import CheckpointError
from dashlib.recipes import DIGITS, HEADLINE, LEARNED, PARTS, RECIPES, SEEDS, TABLE
from dashlib.results import MissingRun
from dashlib.runs import building, making, scoring, verification
from dashlib.runs.making import make, train_together
from dashlib.scale import distributed
from dashlib.schedule import Schedule
from dashlib.unet import UNet
from ship import ship

CLASSIFIER = DIGITS.classifier

TEACHERS = [name for name, recipe in RECIPES.items() if recipe.teacher is None]
STUDENTS = [name for name, recipe in RECIPES.items() if recipe.teacher]


def test_recipes_are_the_rows_of_the_table():
    wanted = {f"digits/{row}-transfer-s{seed}" for row in (*HEADLINE, *TABLE) for seed in SEEDS}
    assert wanted <= PARTS["core"].keys() | PARTS["rows"].keys()
    assert set(TEACHERS) == {f"digits/teacher-{name}" for name in (*LEARNED, "uniform")}
    assert all(name == recipe.name for name, recipe in RECIPES.items())
    assert CLASSIFIER not in RECIPES
    assert sum(map(len, PARTS.values())) == len(RECIPES)  # no run is in two parts


def test_every_learning_weighting_is_transferred():
    for learned in LEARNED:
        of = "" if learned == "tirt" else f"_{learned}"
        for seed in SEEDS:
            handed = RECIPES[f"digits/dash-transfer{of}-s{seed}"]
            assert (handed.prior or handed.teacher) == f"digits/teacher-{learned}"
            assert (handed.weighting, handed.seed) == ("transfer", seed)


def test_every_student_learns_from_a_teacher_of_the_same_kind():
    for recipe in map(RECIPES.get, STUDENTS):
        teacher = RECIPES[recipe.teacher]
        assert teacher.teacher is None
        assert (teacher.weighting == "uniform") == (recipe.name in PARTS["fair"])
        if recipe.weighting == "transfer":
            assert RECIPES[recipe.prior or recipe.teacher].weighting in LEARNED
        same = ("image_channels", "image_size", "num_classes")
        assert [getattr(recipe.unet, k) for k in same] == [getattr(teacher.unet, k) for k in same]


def test_students_differ_in_their_row_seed_weighting_and_class_table_only():
    """The fair part's, from another teacher, may also train twice as long, or predict v."""

    def common(recipe):
        unet = replace(recipe.unet, null_init="normal", embed_std=1.0, w_conditioned=False)
        if recipe.name in PARTS["fair"]:
            unet = replace(unet, prediction="eps")
        if recipe.init == "pruned":
            unet = replace(unet, blocks=DIGITS.student.unet.blocks)
        return recipe.teacher, recipe.train, recipe.batch_size, unet

    steps = DIGITS.student.train.steps
    (usual,) = {common(RECIPES[name]) for name in STUDENTS if name not in PARTS["fair"]}
    fair = {common(RECIPES[name]) for name in PARTS["fair"]}
    longer = {replace(usual[1], steps=n * steps) for n in (1, 2)}
    assert fair == {("digits/teacher-uniform", train, *usual[2:]) for train in longer}


def test_every_fair_row_has_the_same_seeds():
    seeds = {}
    for recipe in PARTS["fair"].values():
        seeds.setdefault(recipe.name.rpartition("-s")[0], []).append(recipe.seed)
    (same,) = {tuple(found) for found in seeds.values()}
    assert same == tuple(range(len(same)))
    assert {f"digits/{row}-uniform-from_uniform" for row in ("dash", "multi_w")} < set(seeds)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_can_be_built(name):
    """But for the weighting of a transfer, which needs the stored teacher."""
    recipe = RECIPES[name]
    plain = replace(
        recipe, weighting="uniform" if recipe.weighting == "transfer" else recipe.weighting
    )
    needed = recipe.objective == "fitnets" or recipe.init == "pruned"
    trainer = building.build(plain, UNet(RECIPES[recipe.teacher].unet) if needed else None)
    assert trainer.model.cfg == recipe.unet


def test_starting_noise_is_the_same_for_every_model(tiny):
    noise = sampling.starting_noise(100, tiny)
    torch.rand(3)
    assert torch.equal(noise, sampling.starting_noise(100, tiny))
    assert torch.equal(noise[:10], sampling.starting_noise(10, tiny))  # what verify() draws
    assert noise.shape == (100, 1, 8, 8)


def test_labels_are_balanced():
    assert sampling.balanced_labels(100).bincount().tolist() == [10] * 10
    assert sampling.balanced_labels(5, 3).tolist() == [0, 1, 2, 0, 1]


def test_bytes_cover_the_range():
    x = torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0])
    assert data.to_bytes(x).tolist() == [0, 0, 128, 255, 255]
    assert data.to_bytes(x).dtype == torch.uint8


TEACHER, STUDENT, OTHER = "digits/teacher-tirt", "digits/dash-transfer-s0", "digits/scratch-tirt-s0"


@pytest.fixture(scope="module")
def small(tiny):
    """The experiments shrunk: three runs of five steps, few samples of few steps each."""
    short = {
        name: replace(
            recipe,
            unet=tiny,
            batch_size=8,
            train=replace(recipe.train, steps=5),
            weighting=weighting,
        )
        for name, recipe, weighting in (
            (TEACHER, RECIPES[TEACHER], "tirt"),
            (STUDENT, RECIPES[STUDENT], "transfer"),
            (OTHER, replace(RECIPES[STUDENT], name=OTHER, objective="scratch"), "tirt"),
        )
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "RECIPES", short)
        patch.setattr(verification, "RECIPES", short)
        patch.setattr(making, "SAMPLES", 20)
        patch.setattr(scoring, "SAMPLES", 20)
        patch.setattr(scoring, "CLAMP_SAMPLES", 10)
        patch.setattr(scoring, "KEPT_SAMPLES", 10)
        patch.setattr(scoring, "sample", partial(scoring.sample, steps=3))
        patch.setattr(scoring, "noisy_pairs", partial(metrics.noisy_pairs, pairs=200))
        patch.setattr(classifier, "fit", partial(classifier.fit, epochs=1))
        yield short


@pytest.fixture(scope="module")
def made(small, tmp_path_factory):
    """Make the classifier, a teacher and two students; return their root and what make() did."""
    folder = tmp_path_factory.mktemp("results")
    scoring._held_out.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DASH_RESULTS", str(folder))
        runs = {
            run.name: run
            for names in ([CLASSIFIER, TEACHER], [STUDENT, OTHER])
            for run in make(names)
        }
    return folder, runs


@pytest.fixture
def lab(made, tmp_path, monkeypatch):
    """A copy of the made runs that a test may damage."""
    folder = tmp_path / "results"
    shutil.copytree(made[0], folder)
    monkeypatch.setenv("DASH_RESULTS", str(folder))
    scoring._held_out.cache_clear()
    return folder


@pytest.mark.parametrize("name", [CLASSIFIER, TEACHER, STUDENT, OTHER])
@pytest.mark.parametrize("thorough", [False, True])
def test_what_was_made_verifies(lab, name, thorough):
    assert verification.verify(name, thorough=thorough) == []


def test_make_returns_what_was_stored(lab, made):
    for name, run in made[1].items():
        assert results.load(name) == run, name


def test_a_run_holds_its_configuration_and_metrics(lab, small):
    run = results.load(STUDENT)
    assert run.config["objective"] == "dash"
    assert run.config["teacher"] == TEACHER
    assert run.samples == 20
    assert run.metrics["guidance"].keys() == DIGITS.guidance.keys()
    assert all(m["n"] == 20 for m in run.metrics["guidance"].values())
    assert run.metrics["gap"]["overall"]["n"] == 200
    assert set(run.seconds) >= {"train", "evaluate"}
    assert run.trace["samples"].shape == (6, 10, 1, 8, 8)
    assert {v.dtype for v in run.tensors("weights").values()} == {torch.float16}


def test_a_teacher_is_scored_under_every_clamp(lab):
    clamp = results.load(TEACHER).metrics["clamp"]
    assert set(clamp) == {"none", "clamp", "recompute"}
    assert all(set(scales) == {"1", "1.5", "2", "4"} for scales in clamp.values())
    assert "gap" not in results.load(TEACHER).metrics


def test_samples_are_scored_under_a_second_sampler_with_other_noise(lab):
    run = results.load(STUDENT)
    again = dict(run.metrics["resampled"])
    assert again.pop("sampler") == scoring.OTHER
    assert set(again) == set(scoring.AGAIN)
    for label, scores in again.items():
        assert scores.keys() == run.metrics["guidance"][label].keys() >= {"frechet", "kernel"}
    images = scoring.samples_of(run.model(), DIGITS.guidance["4"], 20, **scoring.OTHER)
    assert scoring.scores_of(images) == pytest.approx(again["4"], rel=1e-4)
    assert again["4"]["luminance"] == pytest.approx(images.mean((1, 2, 3)).std().item(), rel=1e-4)
    changes = ({}, {"start": 950}, {"start": 950, "eta": 1.0}, scoring.OTHER)
    each = [scoring.samples_of(run.model(), DIGITS.guidance["4"], 2, **how) for how in changes]
    assert not any(torch.allclose(a, b, atol=0.01) for a, b in pairwise(each))


def test_the_decay_that_the_average_reached_is_stored(lab):
    """(1 + n) / (10 + n) after n = 5 updates, not the configured 0.999."""
    assert results.load(STUDENT).metrics["ema_decay"] == pytest.approx(6 / 15)
    assert results.load(STUDENT).config["train"]["ema"] == 0.999


class Prophet:
    """Knows the noise of held-out digits but for what is added from t = 700 on."""

    null_label = 10

    def __init__(self, digits, added):
        self.means = torch.stack([digits.train.x[digits.train.y == y].mean(0) for y in range(10)])
        self.schedule, self.added = Schedule(), added

    def __call__(self, x_t, t, y):
        constant = self.schedule.predict_eps(x_t, self.means[y], t)
        scale = torch.where(t < 700, 1.0, 1.0 + self.added)[:, None, None, None]
        a = self.schedule.alpha_bar(t).float()[:, None, None, None]
        off = (a / (1 - a)).sqrt() * torch.randn(x_t.shape)
        return constant + (scale - 1) * off


def test_a_teachers_error_is_measured_in_units_of_the_class_means(digits):
    found = scoring.over_constant(Prophet(digits, 0.0))
    assert list(found) == list(range(0, 950, 50))
    assert list(found.values()) == pytest.approx([1.0] * 19)
    worse = scoring.over_constant(Prophet(digits, 2.0))
    assert all((ratio > 5) == (first >= 700) for first, ratio in worse.items())


def test_nothing_learns_from_a_teacher_that_is_worse_than_a_constant(lab, small, monkeypatch):
    """The tiny teacher of five steps is; as a study of TIRT it is let through."""
    worst = max(scoring.over_constant(results.load(TEACHER).model()).values())
    assert worst > scoring.WORSE
    train_together([small[STUDENT]])
    monkeypatch.setattr(scoring, "LEARNED", ("uncertainty",))
    message = rf"teacher-tirt's error from t = \d+ on is {worst:.1f} times .*train it longer"
    with pytest.raises(ValueError, match=message):
        train_together([small[STUDENT]])
    monkeypatch.setattr(scoring, "WORSE", worst + 1)
    train_together([small[STUDENT]])


def test_only_learned_importance_is_kept(lab):
    assert results.load(TEACHER).trace["lambda"].shape == (5, 1000)
    assert "lambda" not in results.load(STUDENT).trace
    assert results.load(TEACHER).weighting().lam.ne(0).any()


@pytest.mark.parametrize(("steps", "snapshots"), [(5, 3), (7, 2), (11, 60)])
def test_the_kept_importance_ends_with_the_last_step(small, monkeypatch, steps, snapshots):
    """It is what TIRT Transfer hands to the students."""
    monkeypatch.setattr(making, "SNAPSHOTS", snapshots)
    recipe = replace(small[TEACHER], train=replace(small[TEACHER].train, steps=steps))
    (trainer,), (trace,) = (found.values() for found in train_together([recipe]))
    assert torch.equal(trace.tensors()["lambda"][-1], trainer.weighting.lam)


def test_curves_are_means_over_ten_steps(small):
    recipe = replace(small[TEACHER], train=replace(small[TEACHER].train, steps=25))
    seen = []
    _, traces = train_together([recipe], lambda *what: seen.append(what))
    trace = traces[TEACHER].tensors()
    assert trace["curve.loss"].shape == trace["curve.denoising"].shape == (2,)
    assert seen == [(TEACHER, i, 25) for i in range(1, 26)]
    losses = [
        r.loss for r in building.build(recipe).run(making.answered_batches(recipe, None, "cpu"))
    ]
    want = torch.tensor(losses)[:20].reshape(2, 10).mean(1)
    torch.testing.assert_close(trace["curve.loss"], want)


def test_students_side_by_side_are_each_as_if_alone(lab, small):
    """Bit by bit, also where an objective draws numbers of its own; their batches are the same."""
    student = replace(small[STUDENT], weighting="uniform")
    recipes = [
        replace(student, name=f"digits/{name}", objective=name)
        for name in ("dash", "multi_w", "dash_sampled", "scratch")
    ]
    together, traces = train_together(recipes)
    for recipe in recipes:
        alone, trace = train_together([recipe])
        mine, theirs = (t[recipe.name].ema.state_dict() for t in (alone, together))
        assert all(torch.equal(v, theirs[k]) for k, v in mine.items())
        assert trace[recipe.name].records == traces[recipe.name].records
    assert traces["digits/dash"].records != traces["digits/scratch"].records


def test_a_run_sees_the_batches_of_its_seed(small, model):
    for teacher in (None, model):
        one, again, other = (
            next(making.answered_batches(replace(small[STUDENT], seed=seed), teacher, "cpu"))
            for seed in (1, 1, 2)
        )
        assert (one.teacher is None) == (teacher is None)
        assert torch.equal(one.x_t, again.x_t)
        assert not torch.equal(one.x_t, other.x_t)


def test_the_averaged_weights_are_stored_in_half_precision(lab, small):
    trainers, _ = train_together([small[OTHER]])
    stored, average = results.load(OTHER).tensors("weights"), trainers[OTHER].ema.state_dict()
    assert all(torch.equal(v, average[k].half()) for k, v in stored.items())


def test_students_of_a_seed_start_from_the_same_weights(lab, small):
    plain = (replace(small[name], weighting="uniform") for name in (STUDENT, OTHER))
    first, second = (building.build(recipe).model.state_dict() for recipe in plain)
    for k, v in first.items():
        assert torch.equal(v, second[k])


def test_making_a_run_again_makes_the_same_run(lab):
    before = results.load(STUDENT)
    (again,) = make([STUDENT])
    assert again.files == before.files
    assert again.metrics["guidance"] == before.metrics["guidance"]
    assert (before.metrics["beside"], again.metrics["beside"]) == (1, 0)
    assert again.config == json.loads(json.dumps(asdict(making.RECIPES[STUDENT])))


def restore(name, change):
    """Store the run again with changed weights and the hash that belongs to them."""
    run = results.load(name)
    results.store(run, weights=change(run.tensors("weights")), trace=run.trace)


def other_weights(tensors):
    return {k: v + 0.05 * torch.randn(v.shape).to(v) for k, v in tensors.items()}


@pytest.mark.parametrize("name", [TEACHER, STUDENT])
def test_weights_that_do_not_belong_to_the_metrics_are_found(lab, name):
    restore(name, other_weights)
    assert any("samples" in fault for fault in verification.verify(name))


def test_gap_metrics_that_do_not_belong_to_the_weights_are_found(lab):
    run = results.load(STUDENT)
    run.metrics["gap"]["overall"]["rho"] *= 1.01
    results.store(run, **{part: run.tensors(part) for part in run.files})
    assert verification.verify(STUDENT) == []
    [fault] = verification.verify(STUDENT, thorough=True)
    assert fault.startswith("rho is")


def test_a_classifier_that_does_not_belong_to_its_accuracy_is_found(lab):
    run = results.load(CLASSIFIER)
    weights = {k: torch.zeros_like(v) for k, v in run.tensors("weights").items()}
    results.store(run, weights=weights)
    assert verification.verify(CLASSIFIER)[0].startswith("accuracy_test is")


def test_a_wrong_number_of_parameters_is_found(lab):
    run = results.load(TEACHER)
    run.metrics["parameters"] += 1
    results.store(run, **{part: run.tensors(part) for part in run.files})
    assert verification.verify(TEACHER)[0].startswith("parameters is 43308")


def test_shipped_weights_that_are_not_listed_are_a_fault(lab):
    """A run.json without its weights, signed again, is whole, and yet not what the book ships."""
    run = results.load(STUDENT)
    results.store(run, trace=run.trace)
    [fault] = verification.verify(STUDENT)
    assert "weights, which are shipped, are missing" in fault


def test_metrics_of_other_types_are_a_fault_and_the_next_run_is_verified(lab):
    run = results.load(STUDENT)
    run.metrics["parameters"] = {"a": 1}
    results.store(run, **{part: run.tensors(part) for part in run.files})
    found = dict(verification.verify_all([STUDENT, TEACHER]))
    assert "run.json lacks or mistakes what is checked" in found[STUDENT][0]
    assert found[TEACHER] == []


def test_the_list_shows_the_healthy_runs_beside_a_damaged_one(lab):
    (lab / STUDENT / "run.json").write_text('{"name": null}')
    result = invoke("list")
    assert result.exit_code == 1
    assert f"{TEACHER} " in result.output
    assert f"{lab / STUDENT / 'run.json'} is missing or damaged" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("part", ["weights", "trace"])
def test_a_corrupted_file_is_found(lab, part):
    run = results.load(STUDENT)
    path = run.folder / run.files[part]["name"]
    content = bytearray(path.read_bytes())
    content[-20] ^= 255
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=path.name):
        verification.verify(STUDENT)


def test_nan_in_the_metrics_is_a_fault():
    assert verification._differ("rho", float("nan"), 1.0)
    assert verification._differ("rho", 1.0, float("nan"))
    assert not verification._differ("rho", 1.0, 1.0005)


def test_a_student_without_its_teacher_names_the_command(small, run_folder):
    with pytest.raises(MissingRun, match=f"make {TEACHER}"):
        list(make([STUDENT]))


def test_an_unknown_run_lists_the_runs():
    with pytest.raises(ValueError, match=r"unknown run 'digits/kd': one of digits/classifier, .*"):
        list(make(["digits/kd"]))


def invoke(*arguments):
    result = CliRunner().invoke(command_line, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_the_command_line_verifies(lab):
    result = invoke("verify", "--only", "digits", "--processes", "1")
    assert result.exit_code == 0, result.output
    assert "4 stored runs verify" in result.output


def test_ship_drops_the_weights_that_have_no_room_and_nothing_else(lab):
    before = results.load(OTHER)
    assert ship() == [OTHER]
    run = results.load(OTHER)
    assert (run.metrics, run.files.keys()) == (before.metrics, {"trace"})
    assert verification.verify(OTHER) == []
    with pytest.raises(MissingRun, match=f"make {OTHER}"):
        run.model()
    assert "weights" in results.load(STUDENT).files


def test_several_processes_find_the_faults_of_each_run(run_folder):
    found = list(verification.verify_all([CLASSIFIER, TEACHER], workers=2))
    assert [name for name, _ in found] == [CLASSIFIER, TEACHER]
    assert all(f"no stored run '{name}'" in fault for name, [fault] in found)


def test_the_command_line_fails_for_a_run_that_does_not_verify(lab):
    restore(STUDENT, other_weights)
    result = invoke("verify", "--only", "digits", "--processes", "1")
    assert result.exit_code == 1
    assert f"{STUDENT}: samples at w=1.5 differ" in result.output


def test_the_command_line_fails_for_damaged_and_missing_runs(lab):
    (lab / STUDENT / "run.json").write_text("{")
    shutil.rmtree(lab / OTHER)
    result = invoke("verify", "--only", "digits", "--processes", "1")
    assert result.exit_code == 1
    assert f"{STUDENT}: {lab / STUDENT / 'run.json'} is missing or damaged" in result.output
    assert f"make {OTHER}" in result.output
    assert "stored runs do not verify" in result.output


def test_the_command_line_names_the_commands_that_make_missing_runs(run_folder, monkeypatch):
    monkeypatch.setattr(verification, "RECIPES", RECIPES)
    result = invoke("verify", "--only", "digits", "--processes", "1")
    assert result.exit_code == 1
    for name in (CLASSIFIER, *RECIPES):
        assert f"{name}: no stored run" in result.output
    assert f"`python -m dashlib make {CLASSIFIER}`" in result.output


def test_the_command_line_lists_runs(lab, small):
    result = invoke("list")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.output.splitlines()] == sorted([CLASSIFIER, *small])
    [student] = [line for line in result.output.splitlines() if line.startswith(STUDENT)]
    overall = results.load(STUDENT).metrics["gap"]["overall"]
    assert f"rho {overall['rho']:.2f} cos {overall['cos']:.2f}" in student


def test_the_command_line_trains(lab):
    before = results.load(OTHER)
    shutil.rmtree(lab / OTHER)
    result = invoke("make", OTHER)
    assert result.exit_code == 0, result.output
    assert f"stored {lab / OTHER}" in result.output
    assert results.load(OTHER).files == before.files


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("make", "digits/kd"), "unknown row 'digits/kd'"),
        (("make", STUDENT), f"make {TEACHER}"),
        (("reproduce", "digits", "--only", "kd"), "no run's name contains 'kd'"),
        (("reproduce", "cifar"), "cifar"),
    ],
)
def test_the_command_line_explains_what_it_cannot_do(run_folder, arguments, message):
    result = invoke(*arguments)
    assert result.exit_code != 0
    assert message in result.output


@pytest.mark.parametrize("name", [CLASSIFIER, TEACHER])
def test_results_that_cannot_be_written_are_an_error_before_the_training(
    tmp_path, monkeypatch, name
):
    monkeypatch.setenv("DASH_RESULTS", "/proc/nowhere")  # not even root may write there
    monkeypatch.setattr(making, "train_together", None)
    monkeypatch.setattr(making, "_make_classifier", None)
    result = invoke("make", name)
    assert result.exit_code == 1
    assert "Error: [Errno" in result.output
    assert "/proc/nowhere" in result.output


def test_the_command_line_tells_its_version():
    assert __version__ in invoke("--version").output


def trained_on(device, *names):
    """Run ``make NAME --device``; return the runs by name."""
    assert invoke("make", *names, "--device", device).exit_code == 0
    return results.load(names[0])


def test_make_on_a_device_trains_as_train_does(lab, monkeypatch):
    """By the engine, on the accelerator's device: here the CPU stands in for a GPU."""
    devices, make_accelerator = [], distributed.make_accelerator

    def stand_in(precision, device):
        devices.append((precision, device))
        return make_accelerator(precision, "cpu")

    monkeypatch.setattr(distributed, "make_accelerator", stand_in)
    before = results.load(STUDENT).tensors("weights")
    after = trained_on("cuda", STUDENT).tensors("weights")
    assert devices == [("fp32", "cuda")]
    start = building.build(replace(making.RECIPES[STUDENT], weighting="uniform")).model
    moved = [(before[k].float() - v).abs().max() for k, v in start.state_dict().items()]
    for value, (name, weight) in zip(moved, after.items(), strict=True):
        bound = 0.1 * value + 1e-4 + before[name].float().abs().max() * 2**-10  # half precision
        assert (weight.float() - before[name].float()).abs().max() <= bound, name


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_make_on_a_gpu_that_is_not_there_says_so(lab):
    result = invoke("make", STUDENT, "--device", "cuda")
    assert result.exit_code == 2
    assert "torch sees no CUDA device: use --device cpu" in result.output


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", [TEACHER, STUDENT])
def test_a_run_made_on_a_gpu_verifies(lab, name):
    run = trained_on("cuda", name)
    assert run.hardware == torch.cuda.get_device_name()
    assert verification.verify(name) == []
