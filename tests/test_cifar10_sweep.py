"""The sweep of CIFAR-10 from parquet files to stored runs, with narrow networks on the CPU."""

import json
import time
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from small_cifar import parquet, small_features

from benchmarks.sweep import plan as plans
from benchmarks.sweep import scoring, stages, stored, students
from benchmarks.sweep.colours import ColourDash
from benchmarks.sweep.plan import WANTED, Plan
from dashlib import results
from dashlib.checkpoints import CheckpointError, pack
from dashlib.unet import UNet

ROWS = ("dash_v-high_noise-s0", "dash_sampled-uniform-s0", "dash-transfer-s1")
GIVEN = "dash-uniform-s0"


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    """Return a dry plan whose data and weights lie ready."""
    base = tmp_path_factory.mktemp("sweep")
    made = Plan(
        base / "work", base / "data", base / "weights", rows=ROWS, given=(GIVEN,),
        device="cpu", rounds=3, pairs=8, chunk=4, steps=2, pictures=2, dry=True,
    )  # fmt: skip
    made.data.mkdir()
    made.weights.mkdir()
    parquet(made.data / "train-00000-of-00001.parquet", 40)
    parquet(made.data / "test-00000-of-00001.parquet", 30)
    torch.manual_seed(0)
    teacher = {k: v.half() for k, v in UNet(made.learner.unet).state_dict().items()}
    names = list(teacher)
    for i, part in enumerate((names[:100], names[100:])):
        path = made.weights / f"teacher-0000{i + 1}-of-00002.safetensors"
        path.write_bytes(pack({k: teacher[k] for k in part}))
    (made.weights / "importance.safetensors").write_bytes(pack({"lambda": torch.randn(1000)}))
    for row in (GIVEN, ROWS[1]):
        net = UNet(made.recipe(row).unet)
        path = made.weights / f"{row}.safetensors"
        path.write_bytes(pack({k: v.half() for k, v in net.state_dict().items()}))
    before = {"source": "before", "steps": 7, "seconds": 1.0}
    scored = {"guidance": "1.5", "sampler": "970, eta 0.5", "n": 4, "seconds": 1.0, "fd": 50.0}
    for stem in ("teacher", GIVEN, ROWS[1]):
        note = {"stages": [before], "scores": [scored] * (stem == "teacher")}
        (made.weights / f"{stem}.json").write_text(json.dumps(note))
    return made


@pytest.fixture(scope="module")
def swept(plan):
    """Return the plan after its two stages."""
    plan.write()
    students.train(plan)
    with pytest.MonkeyPatch.context() as patch:
        small_features(patch)
        scoring.evaluate(plan)
    return plan


@pytest.fixture
def report(swept):
    return json.loads((swept.work / "report.json").read_text())


def test_students_are_stored_with_the_chain_of_their_stages(swept):
    notes = {row: json.loads((swept.work / "students" / f"{row}.json").read_text()) for row in ROWS}
    first, second, other = (notes[row]["stages"] for row in ROWS)
    assert [stages[-1]["beside"] for stages in (first, second, other)] == [2, 2, 1]
    assert first[0]["steps"] == other[0]["steps"] == 3
    assert [s.get("source") for s in second] == ["before", None], "goes on from stored weights"
    assert len(first) == 1
    assert second[1]["steps"] == 2 * first[0]["steps"], "one pass a step: two steps a round"
    for stage in (first[0], second[1]):
        assert {"images", "seconds", "data", "commit", "hardware", "captured"} <= stage.keys()
        assert len(stage["data"]) == 64
        assert stage["images"] == 4 * stage["steps"]
    assert not list((swept.work / "students").glob(f"{GIVEN}*")), "it is only scored"


def test_in_time_every_scale_is_scored_under_two_samplers_with_few_and_many_samples():
    for n, eta, w in product((2_000, 10_000), ("0.5", "1"), ("1", "1.5", "2", "3", "4", "TAG")):
        assert WANTED.count((w, f"970, eta {eta}", n)) == 1
    assert WANTED[0] == ("1.5", "970, eta 0.5", 2_000)


def test_everything_is_scored_under_two_samplers(swept, report):
    assert set(report["models"]) == {"teacher", GIVEN, *ROWS}
    for row, entry in report["models"].items():
        asked = [(s["guidance"], s["sampler"]) for s in entry["scores"]]
        known = row == "teacher"  # one of its scores came with the weights
        assert asked == [(w, s) for w, s, _ in swept.wanted()][known:]
        assert {s for _, s in asked} == {"970, eta 0.5", "970, eta 1"}
        assert all(np.isfinite([s["fd"], s["kid"], s["accuracy"]]).all() for s in entry["scores"])
        assert entry["scores"][0]["spreads"].keys() == {"luminance", "red_green", "blue_yellow"}
    gaps = {row for row, entry in report["models"].items() if "gap" in entry}
    assert gaps == {GIVEN, *ROWS}
    errors = report["models"][GIVEN]["image_errors"]
    assert len(errors) == 20
    assert [f["n"] for f in report["floor"]] == [30, 30], "no more than there are"


def test_models_draw_from_one_noise(swept):
    pictures = results.read_tensors(swept.work / "pictures.safetensors")
    assert all(v.shape == (2, 3, 32, 32) and v.dtype == torch.uint8 for v in pictures.values())
    assert len(pictures) == 5 * len(swept.wanted()) - 1


def test_a_sweep_becomes_stored_runs(swept, tmp_path, monkeypatch):
    monkeypatch.setenv("DASH_RESULTS", str(tmp_path))
    drawn = []
    monkeypatch.setattr(
        stored, "samples_of", lambda model, w, n: drawn.append(w) or torch.zeros(n, 3, 32, 32)
    )
    names = stored.collect(swept)
    assert names == [
        "cifar10/teacher-uniform", *(f"cifar10/{row}" for row in ROWS), f"cifar10/{GIVEN}",
    ]  # fmt: skip
    shipped = results.load("cifar10/dash_v-high_noise-s0")
    assert shipped.model().cfg.prediction == "v"
    assert shipped.trace["samples"].shape == (6, 1, 3, 32, 32)
    assert len(drawn) == 6
    other = results.load("cifar10/dash_sampled-uniform-s0")
    assert other.config["train"]["steps"] == 7 + other.metrics["stages"][1]["steps"]
    with pytest.raises(results.MissingRun, match="sweep cifar10"):
        other.model()
    teacher = results.load(names[0])
    assert teacher.metrics["probe_accuracy"] <= 1
    assert teacher.samples == 4
    assert teacher.trace["lambda"].shape == (1, 1000), "what was learned beside the teacher"
    assert stored.collect(swept) == names, "what was given gets more scores"
    again = results.load(names[0])
    assert again.metrics["scores"] == teacher.metrics["scores"] * 2
    assert again.trace.keys() == teacher.trace.keys()
    assert again.metrics["stages"] == teacher.metrics["stages"]


def test_a_row_that_there_is_not_lists_the_rows():
    with pytest.raises(ValueError, match=r"row 'dahs-uniform-s0': ROW-WEIGHTING-sSEED with .*dash"):
        Plan(plans.Path(), plans.Path(), plans.Path(), rows=("dahs-uniform-s0",)).recipes()


def test_one_row_is_the_sweeps_own(plan):
    """Its recipe is DASH's with an option that only the sweep's objective knows."""
    found = plan.recipe("dash_colour-uniform-s2")
    assert found == replace(
        plan.recipe("dash-uniform-s2"), name=found.name, options={"colour": 1.0}
    )
    assert isinstance(students.trainer(plan, "dash_colour-uniform-s2", None).objective, ColourDash)


def test_every_row_costs_two_passes_a_round(plan):
    assert plan.share("dash_v-high_noise-s0") == plan.share("composite-uniform-s1") == 1
    assert plan.share("cond_only_dropout_v-uniform-s0") == plan.share("scratch-uniform-s0") == 2


def test_parts_are_whole_when_all_are_there(tmp_path):
    assert not plans.whole(tmp_path, "train")
    (tmp_path / "train-00001-of-00002.parquet").touch()
    assert not plans.whole(tmp_path, "train")
    (tmp_path / "train-00000-of-00002.parquet").touch()
    assert plans.whole(tmp_path, "train")


def test_waiting_ends_at_the_deadline():
    with pytest.raises(TimeoutError, match="the teacher did not come in time"):
        plans.wait_for(lambda: False, "the teacher", time.time() + 0.05, pause=0.01)


def test_the_end_can_be_moved_while_it_runs(plan):
    plan.write()
    content = json.loads((plan.work / "plan.json").read_text())
    again, started = plans.read(plan.work)
    assert again == plan
    assert plans.until(plan.work, 0.5) == started + 30 * plan.minutes
    (plan.work / "plan.json").write_text(json.dumps(content | {"minutes": 1.0}))
    assert plans.until(plan.work, 0.5) == started + 30
    plan.write()


def test_weights_of_another_network_are_refused(plan, tmp_path):
    path = tmp_path / "x-s0.safetensors"
    path.write_bytes(pack({"a": torch.zeros(1)}))
    with pytest.raises(CheckpointError, match=r"x-s0\.safetensors holds another architecture"):
        students.student(plan.recipe(ROWS[0]), path)


def test_a_gpu_compiles_each_kind_of_step_once():
    plan = Plan(plans.Path(), plans.Path(), plans.Path())
    names = stages.stages(plan)
    assert names[-2:] == ["students", "scoring"]
    assert len(names) == 2 + 2, "v with both branches, v with one"
