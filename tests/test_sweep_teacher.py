"""The teacher's stage of the sweep: from its seed or from given weights, and who learns from it."""

import json
import math
import time
from dataclasses import replace
from functools import partial

import pytest
import torch
from small_cifar import parquet, small_features

from benchmarks.sweep import carried, scoring, stored, students, teacher
from benchmarks.sweep.captured import CoTraining
from benchmarks.sweep.plan import Plan
from benchmarks.sweep.students import importance, teacher_weights
from dashlib import results
from dashlib.data import Images, Stream
from dashlib.losses import make_objective
from dashlib.schedule import Schedule
from dashlib.training import TrainConfig, Trainer
from dashlib.unet import UNet
from dashlib.weighting import TIRT, Uniform

ROW = "dash-transfer-s0"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    parquet(folder / "train-00000-of-00001.parquet", 40)
    parquet(folder / "test-00000-of-00001.parquet", 30)
    return folder


@pytest.fixture
def plan(data, tmp_path):
    """Return a dry plan that begins with nothing but the images."""
    made = Plan(
        tmp_path / "work", data, tmp_path / "weights", rows=(ROW,), device="cpu", teach=0.4,
        rounds=3, pairs=8, chunk=4, steps=2, pictures=2, dry=True,
    )  # fmt: skip
    made.weights.mkdir()
    made.write()
    return made


def gone_on(plan, name="again"):
    """Return the plan of the next sweep, which is given the last one's teacher."""
    made = replace(plan, work=plan.work.with_name(name), weights=plan.taught)
    made.write()
    return made


def follow(seen, followed, training, *rest):
    """Note a training that is followed."""
    seen.append(training)
    return followed(training, *rest)


def trained(tiny, weighting):
    """Return a trainer after four steps, and its losses."""
    torch.manual_seed(0)
    x = torch.rand(16, tiny.image_channels, tiny.image_size, tiny.image_size) * 2 - 1
    images = Images(x, torch.arange(16) % tiny.num_classes)
    spec = TrainConfig(steps=4, lr=1e-2)
    made = Trainer(UNet(replace(tiny, dropout=0.0)), make_objective("scratch"), weighting, spec)
    batches = Stream(images, Schedule(), tiny.null_label, batch_size=8)
    return made, [record.loss for record in made.run(batches)]


def test_lambda_is_learned_beside_uniform_weights_and_changes_nothing_else(tiny):
    beside, losses = trained(tiny, teacher.Beside(Schedule()))
    plain, expected = trained(tiny, Uniform(Schedule()))
    torch.testing.assert_close(losses, expected)
    for mine, theirs in zip(beside.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)
    assert beside.weighting.lam.count_nonzero() > 4


def test_its_gradient_is_that_of_tirt():
    t, loss = torch.tensor([3, 400, 400, 900]), torch.tensor([2.0, 0.5, 1.0, 0.1])
    passive, active = teacher.Beside(Schedule()), TIRT(Schedule())
    value = passive.reduce(loss, t)
    assert value.item() == pytest.approx(loss.mean().item())
    value.backward()
    active.reduce(loss, t).backward()
    assert torch.equal(passive.lam.grad, active.lam.grad)
    assert passive.lam.grad.abs().max() > 0


def test_from_its_seed_it_is_trained_and_written_in_parts(plan, monkeypatch):
    monkeypatch.setattr(carried, "FILE", 2**20)
    teacher.teach(plan)
    parts = sorted(plan.taught.glob("teacher-*.safetensors"))
    assert len(parts) > 3
    assert all(part.stat().st_size < 2**20 + 2**16 for part in parts)
    weights = teacher_weights(plan.taught, time.time())
    torch.manual_seed(0)
    start = UNet(plan.learner.unet).state_dict()
    assert weights.keys() == start.keys()
    assert not torch.equal(weights["conv_in.weight"].float(), start["conv_in.weight"])
    assert all(of.dtype == torch.float16 for of in weights.values())
    note = json.loads((plan.taught / "teacher.json").read_text())
    (stage,) = note["stages"]
    assert (stage["steps"], stage["images"], stage["beside"]) == (3, 12, 1)
    assert note["spec"]["name"] == "cifar10/teacher-uniform"
    assert importance(plan.taught).count_nonzero() > 4
    monkeypatch.setattr(teacher, "followed", lambda *args: pytest.fail("it is trained already"))
    teacher.teach(plan)


def test_given_weights_and_lambda_go_on_with_the_chain_of_their_stages(plan, monkeypatch):
    teacher.teach(plan)
    again = gone_on(plan)
    monkeypatch.setattr(TrainConfig, "rate", lambda self, progress: 0.0)
    teacher.teach(again)
    before, after = (teacher_weights(p.taught, time.time()) for p in (plan, again))
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]), "at a rate of 0 it stays where it starts"
    assert torch.equal(importance(plan.taught), importance(again.taught))
    stages = [json.loads((p.taught / "teacher.json").read_text())["stages"] for p in (plan, again)]
    assert stages[1][:-1] == stages[0]
    assert [stage["updates"] for stage in stages[1]] == [3, 6], "with its optimizer"


def test_students_and_scores_are_of_the_teacher_that_the_sweep_trained(plan, monkeypatch):
    teacher.teach(plan)
    again = gone_on(plan)
    teacher.teach(again)
    seen = []
    spied = partial(follow, seen, students.followed)
    monkeypatch.setattr(students, "followed", spied)
    students.train(again)
    (training,) = seen
    lam = importance(again.taught)
    assert torch.equal(training.trainers[ROW].weighting.lam, lam)
    assert not torch.equal(lam, importance(plan.taught)), "it went on, too"
    mine = training.teacher.state_dict()
    for name, tensor in teacher_weights(again.taught, time.time()).items():
        assert torch.equal(mine[name], tensor.float())

    small_features(monkeypatch)
    scoring.evaluate(again)
    monkeypatch.setenv("DASH_RESULTS", str(plan.work / "results"))
    names = ["cifar10/teacher-uniform-x2", f"cifar10/{ROW}"]
    assert stored.collect(again) == names
    run, student = map(results.load, names)
    assert len(run.metrics["scores"]) == len(again.wanted())
    assert [s["steps"] for s in run.metrics["stages"]] == [3, 3]
    assert run.config["train"]["steps"] == 6
    assert torch.equal(run.trace["lambda"][0], lam)
    assert student.config["teacher"] == run.name
    assert stored.collect(again) == names, "the same teacher's again"


@pytest.mark.parametrize("row", ["teacher", ROW])
def test_a_run_of_another_teacher_is_not_replaced(plan, row):
    same, other = [{"steps": 7}], [{"steps": 8}]
    config = {"teacher": "cifar10/teacher-uniform"}
    run = results.Run("cifar10/a", config, 0, {}, 0.0, 0, {"stages": same})
    stored._check_replaced(plan, row, {"stages": same}, run)
    stored._check_replaced(plan, row, {"stages": same}, None)
    changed = {"metrics": {"stages": other}, "config": {"teacher": "cifar10/teacher-uniform-x2"}}
    with pytest.raises(ValueError, match=r"cifar10/a is stored, and of another teacher: collect"):
        stored._check_replaced(plan, row, {"stages": same}, replace(run, **changed))


def test_a_training_without_time_says_so(plan):
    stream = students.stream_of(students.noise_images(plan), plan.learner)
    training = CoTraining({}, {"dash": 1}, stream)
    with pytest.raises(TimeoutError, match="no time was left to train"):
        students.followed(training, replace(plan, dry=False), lambda: time.time() - 1, math.inf)
