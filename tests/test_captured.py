"""Co-training: the step of the Trainer, shared batches, time-budgeted annealing, sound losses."""

import itertools
from dataclasses import replace

import pytest
import torch
from torch._dynamo.utils import counters
from torch._inductor.utils import fresh_cache

from benchmarks.sweep.captured import (
    SOUND,
    CoTraining,
    fast,
    keep_compiled,
    use_compiled,
)
from benchmarks.sweep.scoring import Half
from dashlib import data
from dashlib.data import with_teacher
from dashlib.losses import make_objective
from dashlib.schedule import Schedule
from dashlib.training import TrainConfig, Trainer
from dashlib.unet import UNet
from dashlib.weighting import HighNoise, Uniform

CFG = TrainConfig(steps=4, lr=1e-3, lr_min=0.0, ema=0.9)


@pytest.fixture
def images(tiny):
    x = torch.rand(16, tiny.image_channels, tiny.image_size, tiny.image_size) * 2 - 1
    return data.Images(x, torch.arange(16) % tiny.num_classes)


def stream(images, tiny, seed=3):
    return data.Stream(images, Schedule(), tiny.null_label, batch_size=4, seed=seed)


def network(tiny, seed):
    torch.manual_seed(seed)
    return UNet(replace(tiny, dropout=0.0))


def trainer_of(tiny, objective="dash", seed=0, cfg=CFG, weighting=Uniform):
    model = network(tiny, seed)
    return Trainer(model, make_objective(objective), weighting(Schedule()), cfg)


def co(tiny, images, **trainers):
    shares = {name: 2 if name == "sampled" else 1 for name in trainers}
    return CoTraining(trainers, shares, stream(images, tiny), network(tiny, 9))


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def defined(model):
    """Return the weights that have a gradient: softmax is blind to the keys' bias.

    What is left there of rounding AdamW makes as large as any other step.
    """
    named = model.named_parameters()
    return torch.cat([p.detach().flatten() for name, p in named if not name.endswith("k.bias")])


def test_a_round_is_the_trainers_step(tiny, images):
    """Same batches, teacher, learning rates: the same weights and averages as Trainer.run."""
    plain = Trainer(network(tiny, 0), make_objective("dash"), HighNoise(Schedule()), CFG)
    batches = stream(images, tiny)
    next(batches)  # what lies in the buffers while they are made
    answered = with_teacher(batches, network(tiny, 9).eval())
    records = list(plain.run(answered))

    training = co(tiny, images, dash=trainer_of(tiny, weighting=HighNoise))
    trainer = training.trainers["dash"]
    for record in records:
        training.feed()
        trainer.prepare(record.lr)
        training.compute()
    for ours, theirs in ((trainer.model, plain.model), (trainer.ema, plain.ema)):
        torch.testing.assert_close(defined(ours), defined(theirs), rtol=0, atol=1e-5)
    moved = weights(network(tiny, 0)) - weights(plain.model)
    assert moved.abs().median() > 1e-3, "each step moves a weight by about the learning rate"
    mean = sum(r.loss for r in records) / len(records)
    assert training.sums["dash"].item() / len(records) == pytest.approx(mean, rel=1e-5)
    assert trainer.step == plain.step == 4


def test_captured_and_plain_rounds_call_one_function(tiny, images, monkeypatch):
    training, calls = co(tiny, images, dash=trainer_of(tiny)), []
    monkeypatch.setattr(training, "compute", lambda **how: calls.append(how))
    training.round(0.5)
    monkeypatch.setattr(training, "capture", True)
    graphs = []

    class Graph:
        def replay(self):
            graphs.append(1)

    def captured():
        training.compute()
        return Graph()

    monkeypatch.setattr(training, "_captured", captured)
    training.round(0.5)
    training.round(0.6)
    assert len(calls) == 2, "once plain, once to record"
    assert len(graphs) == 2, "then it is replayed"


def test_one_pass_students_take_two_batches_and_two_steps(tiny, images):
    sampled = trainer_of(tiny, "dash_sampled", seed=1)
    training = co(tiny, images, dash=trainer_of(tiny), sampled=sampled)
    seen = []
    for name, trainer in training.trainers.items():
        original = trainer.gradients

        def gradients(batch, name=name, original=original):
            seen.append((name, batch.x_t.sum().item()))
            return original(batch)

        trainer.gradients = gradients
    training.round(0.5)
    of = {name: [x for n, x in seen if n == name] for name in training.trainers}
    assert len(of["dash"]) == 1
    assert len(set(of["sampled"])) == 2
    assert of["dash"][0] == of["sampled"][0], "the first batch is everyone's"
    assert {n: t.step for n, t in training.trainers.items()} == {"dash": 1, "sampled": 2}
    assert sampled.averaged.updates == 2


def test_students_do_not_see_each_other(tiny, images):
    alone = co(tiny, images, dash=trainer_of(tiny))
    beside = co(tiny, images, dash=trainer_of(tiny), scratch=trainer_of(tiny, "scratch", 1))
    for training in (alone, beside):
        for _ in range(3):
            training.round(0.5)
    first, second = (weights(t.trainers["dash"].model) for t in (alone, beside))
    assert torch.equal(first, second)


def test_without_a_teacher_scratch_trains_and_dash_says_what_to_do(tiny, images):
    trainer = trainer_of(tiny, "scratch")
    before = weights(trainer.model)
    CoTraining({"scratch": trainer}, {"scratch": 1}, stream(images, tiny)).round(0.5)
    assert not torch.equal(before, weights(trainer.model))
    lonely = CoTraining({"dash": trainer_of(tiny)}, {"dash": 1}, stream(images, tiny))
    with pytest.raises(ValueError, match="needs a teacher"):
        lonely.round(0.5)


def test_compiling_moves_nothing(tiny, images):
    trainer = trainer_of(tiny)
    before = weights(trainer.model)
    co(tiny, images, dash=trainer).compute(update=False)
    assert torch.equal(before, weights(trainer.model))


def test_training_ends_by_the_clock_and_is_annealed(tiny, images):
    training = co(tiny, images, dash=trainer_of(tiny))
    clock = itertools.count()
    seen = list(training.run(lambda done: next(clock) / (2 * SOUND + 20)))
    assert [s.done for s in seen] == [SOUND, 2 * SOUND, 2 * SOUND + 20]
    assert training.trainers["dash"].optimizer.param_groups[0]["lr"].item() < 1e-3 * 1e-3, (
        "almost none is left"
    )
    assert all(s.losses["dash"] > 0 for s in seen)


def test_the_end_may_be_moved_while_it_trains(tiny, images):
    training, ends = co(tiny, images, dash=trainer_of(tiny)), iter([100] * 5 + [5] * 5)
    seen = list(training.run(lambda done: done / next(ends)))
    assert [s.done for s in seen] == [5]


def test_a_loss_that_is_not_finite_names_its_student(tiny, images):
    broken = trainer_of(tiny, seed=1)
    with torch.no_grad():
        next(broken.model.parameters()).fill_(torch.nan)
    training = co(tiny, images, good=trainer_of(tiny), broken=broken)
    clock = itertools.count()
    with pytest.raises(FloatingPointError, match="loss of broken is not finite: lower"):
        list(training.run(lambda done: next(clock) / 3))


def test_a_round_that_cannot_be_captured_runs_as_it_is(tiny, images, monkeypatch):
    training = co(tiny, images, dash=trainer_of(tiny))
    before = weights(training.trainers["dash"].model)
    monkeypatch.setattr(training, "capture", True)

    def captured():
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(training, "_captured", captured)
    with pytest.warns(UserWarning, match="runs uncaptured, slower: operation not permitted"):
        training.round(0.5)
    training.round(0.6)
    assert not torch.equal(before, weights(training.trainers["dash"].model))


def test_half_is_the_network_itself_on_a_cpu(tiny):
    model = network(tiny, 0)
    x, y = torch.randn(2, tiny.image_channels, tiny.image_size, tiny.image_size), torch.arange(2)
    t = torch.tensor([5, 900])
    net = Half(model, "cpu")
    assert net.null_label == model.null_label
    assert net.cfg == model.cfg
    with torch.no_grad():
        assert torch.equal(net(x, t, y), model.eval()(x, t, y))
    assert fast(model, "cpu") is model


@pytest.mark.usefixtures("inductor")
def test_what_one_process_compiled_another_does_not_compile_again(tmp_path, capsys):
    """With an empty cache of its own; and a file that is none of these is named, and left."""
    kept, broken = tmp_path / "compiled-students", tmp_path / "compiled-broken"
    broken.write_bytes(b"none")
    torch.compiler.reset()
    with fresh_cache():
        torch.compile(lambda x: (x.sin() + 1).cos())(torch.ones(3))
        keep_compiled(kept)
    torch.compiler.reset()
    counters.clear()
    with fresh_cache():
        use_compiled([broken, kept])
        out = torch.compile(lambda x: (x.sin() + 1).cos())(torch.ones(3))
    torch.testing.assert_close(out, (torch.ones(3).sin() + 1).cos())
    assert (
        counters["inductor"]["fxgraph_cache_hit"] + counters["aot_autograd"]["autograd_cache_hit"]
    )
    told = capsys.readouterr().out
    assert f"{broken} is not used" in told or f"{broken} has nothing" in told
    assert f"{kept} is used" in told
