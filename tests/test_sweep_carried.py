"""What travels between sweeps of CIFAR-10: parts of files, and the optimizer's state."""

import json
import time
from dataclasses import replace

import pytest
import torch
from small_cifar import parquet

from benchmarks.sweep import carried, students
from benchmarks.sweep.plan import Plan, before_again
from dashlib.checkpoints import CheckpointError, pack
from dashlib.data import Images, Stream
from dashlib.losses import make_objective
from dashlib.schedule import Schedule
from dashlib.training import TrainConfig, Trainer
from dashlib.unet import UNet
from dashlib.weighting import TIRT, Uniform

ROW = "cond_only_dropout_v-uniform-s0"
AGAIN = "cond_only_dropout_v-uniform-x2-s0"


@pytest.fixture
def trainer(tiny, monkeypatch):
    """Return a function that makes a trainer of few steps at one rate."""
    monkeypatch.setattr(TrainConfig, "rate", lambda self, progress: self.lr)

    def made(weighting=Uniform, steps=30):
        torch.manual_seed(0)
        spec = TrainConfig(steps=steps, lr=3e-3)
        model = UNet(replace(tiny, dropout=0.0))
        return Trainer(model, make_objective("scratch"), weighting(Schedule()), spec)

    return made


def batches(tiny, skip=0):
    """Return a stream of batches, after some of them."""
    draw = torch.Generator().manual_seed(0)
    shape = (16, tiny.image_channels, tiny.image_size, tiny.image_size)
    images = Images(torch.rand(shape, generator=draw) * 2 - 1, torch.arange(16) % tiny.num_classes)
    stream = Stream(images, Schedule(), tiny.null_label, batch_size=8)
    for _ in range(skip):
        next(stream)
    return stream


def weights(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


@pytest.mark.parametrize("weighting", [Uniform, TIRT])
def test_with_its_optimizer_a_training_goes_on_as_if_it_had_not_stopped(tiny, trainer, weighting):
    whole, first = trainer(weighting), trainer(weighting, steps=20)
    list(whole.run(batches(tiny)))
    list(first.run(batches(tiny)))
    state = carried.optimizer_state(first)
    off = {}
    for kept in (True, False):
        again = trainer(weighting, steps=10)
        again.model.load_state_dict(first.model.state_dict())
        again.weighting.load_state_dict(first.weighting.state_dict())
        if kept:
            carried.restore_optimizer(again, state, "state")
        list(again.run(batches(tiny, skip=20)))
        off[kept] = (weights(again) - weights(whole)).norm()
        assert carried.updates(again) == (30 if kept else 10)
    assert off[True] < off[False] / 20


def test_its_moments_take_two_bytes_and_lose_no_small_square(tiny, trainer):
    made = trainer(steps=3)
    list(made.run(batches(tiny)))
    kept = carried.optimizer_state(made)
    parameters = sum(p.numel() for p in made.model.parameters())
    assert sum(v.nbytes for k, v in kept.items() if "step" not in k) == 4 * parameters
    squares = made.optimizer.state_dict()["state"][0]["exp_avg_sq"]
    assert (squares[squares > 0] < 6e-8).any(), "too small for fp16"
    torch.testing.assert_close(kept["0.exp_avg_sq"].float(), squares, rtol=2**-8, atol=0)


def test_another_networks_state_is_refused_by_name(tiny, trainer):
    made, other = trainer(steps=1), trainer(TIRT, steps=1)
    list(made.run(batches(tiny)))
    before = weights(other)
    with pytest.raises(CheckpointError, match=r"a\.optimizer-\* is the optimizer's state of anoth"):
        carried.restore_optimizer(other, carried.optimizer_state(made), "a.optimizer-*")
    assert torch.equal(weights(other), before)
    assert carried.updates(other) == 0


def test_parts_hold_all_tensors_in_order_and_no_more_than_the_limit():
    tensors = {name: torch.zeros(n) for name, n in zip("abcde", (1, 2, 9, 1, 1), strict=True)}
    parts = list(carried.split(tensors, 16))
    assert [list(part) for part in parts] == [["a", "b"], ["c"], ["d", "e"]]


def test_parts_are_read_as_they_were_written_and_old_ones_go(tmp_path, monkeypatch):
    monkeypatch.setattr(carried, "FILE", 8)
    stem = tmp_path / "dash-s0.optimizer"
    for n in (3, 2):
        tensors = {str(i): torch.full((2,), float(i)) for i in range(n)}
        carried.write_parts(stem, tensors)
        found = carried.read_parts(stem, time.time())
        assert found.keys() == tensors.keys()
        assert all(torch.equal(found[name], of) for name, of in tensors.items())
    assert len(list(tmp_path.iterdir())) == 2
    (tmp_path / f"{stem.name}-00002-of-00002.safetensors").unlink()
    with pytest.raises(TimeoutError, match=r"dash-s0\.optimizer-\* in .* did not come in time"):
        carried.read_parts(stem, time.time() - 1)


@pytest.mark.parametrize(
    ("row", "before"),
    [("a-b-s0", None), ("a-b-x2-s1", "a-b-s1"), ("a-b-x3-s1", "a-b-x2-s1"), ("x2-b-s0", None)],
)
def test_a_row_that_is_trained_again_was_another_before(row, before):
    assert before_again(row) == before


def test_students_go_on_with_weights_stages_and_optimizer(tmp_path):
    for part in ("train", "test"):
        parquet(tmp_path / f"{part}-00000-of-00001.parquet", 30)
    first = Plan(
        tmp_path / "work", tmp_path, tmp_path / "weights", rows=(ROW,), device="cpu", rounds=2,
        dry=True,
    )  # fmt: skip
    first.weights.mkdir()
    teacher = {k: v.half() for k, v in UNet(first.learner.unet).state_dict().items()}
    carried.write_parts(first.weights / "teacher", teacher)
    first.write()
    students.train(first)

    again = replace(first, rows=(AGAIN,), work=tmp_path / "again")
    with pytest.raises(FileNotFoundError, match=rf"{AGAIN} is trained again: put {ROW}\.safeten"):
        students.start_of(again, AGAIN)
    for path in (first.work / "students").iterdir():
        path.rename(first.weights / path.name)
    again.write()
    students.train(again)
    note = json.loads((again.work / "students" / f"{AGAIN}.json").read_text())
    assert [stage["steps"] for stage in note["stages"]] == [4, 4]
    assert [stage["updates"] for stage in note["stages"]] == [4, 8]

    for path in first.weights.glob("*.optimizer-*"):
        path.unlink()
    students.train(again)
    note = json.loads((again.work / "students" / f"{AGAIN}.json").read_text())
    assert [stage["updates"] for stage in note["stages"]] == [4, 4], "with a new optimizer"

    path = first.weights / f"{ROW}.optimizer-00001-of-00001.safetensors"
    path.write_bytes(pack({"0.step": torch.zeros(())}))
    with pytest.raises(CheckpointError, match=rf"{ROW}\.optimizer-\* is the optimizer's state of"):
        students.train(again)
