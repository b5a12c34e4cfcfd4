"""A sweep, end to end on tiny networks and digits, its workers played by this process."""

from concurrent.futures import Future
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

from dashlib import classifier, recipes, results
from dashlib.__main__ import main as command_line
from dashlib.checkpoints import CheckpointError
from dashlib.results import MissingRun
from dashlib.runs.sweep import cotraining, plan, scoring, stages
from dashlib.runs.sweep.plan import Plan, shortened
from dashlib.runs.verification import verify
from dashlib.training import TrainConfig

TEACHER, CLASSIFIER = "fashion_mnist/teacher-tirt", "fashion_mnist/classifier"
ROWS = ("dash", "composite", "single_head", "fitnets", "pruned")
TRAINING = TrainConfig(steps=8, lr=1e-3, ema=0.9, read_every=4)


class Inline:
    """Runs what is submitted at once, in this process."""

    def __init__(self, *_, **__):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, call, *arguments):
        future = Future()
        try:
            future.set_result(call(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


@pytest.fixture
def small(tiny, digits, run_folder, tmp_path_factory, monkeypatch):
    """The plan of a sweep of one teacher and a few students, on digits."""
    scale = replace(
        recipes.FASHION,
        teacher=replace(tiny, ch=16, blocks=2),
        student=replace(tiny, dropout=0.1),
        teacher_training=TRAINING,
        student_training=TRAINING,
        teacher_batch=8,
        student_batch=8,
        guidance=recipes.scales_of(1, 4),
    )
    chosen = [scale.teacher_spec("tirt"), *(scale.student_spec(row, "transfer") for row in ROWS)]
    chosen += [scale.student_spec("dash", "transfer", seed=1)]
    monkeypatch.setitem(recipes.SCALES, "fashion_mnist", scale)
    monkeypatch.setattr(plan, "specs_of", lambda _: {s.name: s for s in chosen})
    monkeypatch.setattr(plan.datasets, "load", lambda *_: digits)
    monkeypatch.setattr(stages, "ProcessPoolExecutor", Inline)
    monkeypatch.setattr(scoring, "SAMPLING_SEEDS", (1234, 1))
    for cached in (plan.dataset, scoring._judge, scoring._fast, scoring._held_out):
        cached.cache_clear()
    work = tmp_path_factory.mktemp("work")
    tried = shortened(Plan("fashion_mnist", work, work, device="cpu", processes=2))
    return replace(tried, steps=None, tiny=False)


def test_a_campaign_makes_and_scores_every_run(small, capsys):
    assert stages.run(small, 600)
    wanted = {s.name for s in small.specs()} | {CLASSIFIER}
    assert set(results.names("fashion_mnist")) == wanted
    for spec in small.specs():
        run = results.load(spec.name)
        assert run.trace["samples"].shape == (3, 2, 1, 8, 8), spec.name
        assert run.metrics["guidance"].keys() == {"1", "4", "TAG"}
        assert {m["n"] for m in run.metrics["guidance"].values()} == {10}
        has_branches = spec.teacher is not None and spec.objective != "single_head"
        assert ("gap" in run.metrics) == has_branches
        assert run.trace["curve.loss"].shape == (0,)  # eight steps fill no window of ten
    assert results.load(TEACHER).trace["lambda"].shape == (2, 1000)
    assert results.load(TEACHER).metrics["guidance"]["4"]["seeds"].keys() == {"1234", "1"}
    assert results.load("fashion_mnist/pruned-transfer-s0").metrics["parameters"] > 43_308
    capsys.readouterr()
    assert stages.run(small, 600)
    assert capsys.readouterr().out == ""  # nothing is made twice


def test_means_are_over_the_sampling_seeds(small):
    stages.run(small, 600)
    entry = results.load(TEACHER).metrics["guidance"]["4"]
    values = [seed["frechet"] for seed in entry["seeds"].values()]
    assert entry["frechet"] == pytest.approx(sum(values) / 2)
    assert values[0] != values[1]


def test_no_score_is_started_after_the_deadline(small):
    assert not stages.run(small, -1)
    assert results.names("fashion_mnist") == []


def train(small, key, deadline=float("inf"), names=("dash", "fitnets")):
    full = tuple(f"fashion_mnist/{name}-transfer-s0" for name in names)
    return cotraining.train_group(full, small, key, deadline)


def weights(name):
    return results.load(f"fashion_mnist/{name}-transfer-s0").tensors("weights")


def test_training_that_was_cut_goes_on_exactly(small):
    """Dropout, batches and regressors included: the bits of an uninterrupted run."""
    cotraining.train_group((TEACHER,), small, "teacher", float("inf"))
    assert train(small, "group", deadline=0) == "group: saved at step 4 of 8"
    with pytest.raises(MissingRun):
        weights("dash")
    torch.manual_seed(99)
    assert train(small, "group").startswith("group: trained 2")
    resumed = [weights(name) for name in ("dash", "fitnets")]
    assert not (small.work / "group").exists()
    train(small, "whole")
    for name, cut in zip(("dash", "fitnets"), resumed, strict=True):
        assert all(torch.equal(v, cut[k]) for k, v in weights(name).items()), name
    assert results.load("fashion_mnist/dash-transfer-s0").config["teacher"] == TEACHER


def test_training_goes_on_from_a_checkpoint_that_was_being_replaced(small):
    cotraining.train_group((TEACHER,), small, "teacher", float("inf"))
    train(small, "group", deadline=0)
    folder = small.work / "group"
    folder.rename(folder.with_suffix(".old"))
    group = cotraining.Group(
        [s for s in small.specs() if s.name.endswith(("dash-transfer-s0", "fitnets-transfer-s0"))],
        small,
        "group",
    )
    assert [t.step for t in group.trainers] == [4, 4]
    assert len(group.records[0]) == 4


def test_students_of_a_seed_get_the_same_batches_and_start(small):
    """DASH beside another student is DASH alone."""
    cotraining.train_group((TEACHER,), small, "teacher", float("inf"))
    quiet = [replace(s, unet=replace(s.unet, dropout=0.0)) for s in small.specs()]
    results_of = []
    for others in (["dash"], ["composite", "dash"]):
        chosen = [s for s in quiet if s.name.endswith(tuple(f"/{o}-transfer-s0" for o in others))]
        group = cotraining.Group(chosen, small, "-".join(others))
        for _ in group.advance():
            pass
        group.store()
        results_of.append(weights("dash"))
    assert all(torch.equal(v, results_of[1][k]) for k, v in results_of[0].items())


def test_students_without_a_teacher_wait_until_the_deadline(small):
    assert train(small, "group", deadline=0) == "group: no teacher yet"


def test_a_run_that_fails_does_not_stop_the_others(small, monkeypatch, capsys):
    whole = cotraining.train_group

    def failing(names, *rest):
        if "dash-transfer-s1" in names[0]:
            raise RuntimeError("out of luck")
        return whole(names, *rest)

    monkeypatch.setattr(stages, "train_group", failing)
    assert not stages.run(small, 600)
    assert "out of luck" in capsys.readouterr().err
    assert "fashion_mnist/dash-transfer-s0" in results.names("fashion_mnist")
    monkeypatch.setattr(stages, "train_group", whole)
    assert stages.run(small, 600)  # the same command goes on


def test_groups_hold_one_seed_each_and_every_student_once(small):
    wanted = [s for s in small.specs() if s.teacher]
    groups = stages._groups(replace(small, processes=3), wanted)
    names = [name for _, group in groups for name in group]
    assert sorted(names) == sorted(s.name for s in wanted)
    assert all(len({name[-1] for name in group}) == 1 for _, group in groups)
    assert max(len(group) for _, group in groups) == 2


def test_ship_keeps_metrics_and_pictures_of_what_has_no_room(small):
    stages.run(small, 600)
    before = results.load("fashion_mnist/fitnets-transfer-s0")
    outcome = CliRunner().invoke(command_line, ["ship", "fashion_mnist"])
    assert "fashion_mnist/fitnets-transfer-s0: weights dropped" in outcome.output
    run = results.load(before.name)
    assert run.metrics == before.metrics
    assert run.files.keys() == {"trace"}
    assert verify(run.name) == []
    with pytest.raises(MissingRun, match="sweep fashion_mnist"):
        run.model()
    assert "weights" in results.load("fashion_mnist/dash-transfer-s0").files
    path = run.folder / run.files["trace"]["name"]
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(CheckpointError, match="trace"):
        verify(run.name)


def test_features_are_gaussian_of_the_classifier(small, digits):
    judge = classifier.Classifier().eval()
    mean, cov = cotraining.features_gaussian(judge, digits.test.x)
    features = judge.features(digits.test.x).double()
    torch.testing.assert_close(mean, features.mean(0))
    torch.testing.assert_close(cov, torch.cov(features.T))


def test_the_command_line_runs_a_dry_sweep(small, tmp_path):
    arguments = ["sweep", "fashion_mnist", "--dry", "--device", "cpu", "--only", "composite"]
    outcome = CliRunner().invoke(command_line, [*arguments, "--work", str(tmp_path / "w")])
    assert outcome.exit_code == 0, outcome.output
    assert outcome.output.endswith("finished\n")
    assert set(results.names("fashion_mnist")) == {
        CLASSIFIER, TEACHER, "fashion_mnist/composite-transfer-s0",
    }  # fmt: skip


def test_the_former_name_of_the_command_still_works_and_warns():
    outcome = CliRunner().invoke(command_line, ["campaign", "--help"])
    assert outcome.exit_code == 0
    assert "`campaign` is now `sweep`" in outcome.output
