"""Training: it learns, it averages, it stops at NaN, and a resumed run is the run itself."""

import math
from dataclasses import replace
from itertools import chain, islice, repeat

import pytest
import torch

from dashlib.data import Stream, with_teacher
from dashlib.losses import OBJECTIVES, make_objective
from dashlib.scale.checkpointing import Checkpoints, read_checkpoint
from dashlib.training import EMA, TrainConfig, Trainer
from dashlib.unet import UNet
from dashlib.weighting import make_weighting

CONFIG = TrainConfig(steps=6, lr=3e-3, ema=0.99)


@pytest.fixture
def make(tiny, schedule):
    """A fresh trainer; by default of a tiny network from scratch with learned importance."""

    def build(objective="scratch", weighting="tirt", cfg=CONFIG, unet=tiny, seed=0, **options):
        torch.manual_seed(seed)
        objective = make_objective(objective, **options)
        return Trainer(UNet(unet), objective, make_weighting(weighting, schedule), cfg)

    return build


@pytest.fixture
def make_stream(digits, schedule):
    return lambda seed=0: Stream(digits.train, schedule, 10, 8, seed=seed)


def state(trainer):
    """Copies of everything that training changes."""
    parts = {"model": trainer.model, "ema": trainer.ema, "weighting": trainer.weighting}
    return {
        f"{part}.{k}": v.clone() for part, m in parts.items() for k, v in m.state_dict().items()
    }


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(v, b[k]) for k, v in a.items())


@pytest.mark.parametrize("name", [n for n in OBJECTIVES if n not in ("fitnets", "single_head")])
def test_five_steps_lower_the_loss(make, make_stream, model, name):
    """On one batch, without dropout; the teacher is another random network."""
    batch = next(with_teacher(make_stream(), model))
    quiet = replace(model.cfg, dropout=0.0)
    trainer = make(name, "uniform", replace(CONFIG, steps=6, lr=3e-3), quiet, seed=1)
    losses = [record.loss for record in trainer.run(repeat(batch))]
    assert losses[5] < losses[0]


def test_a_stream_with_a_teacher_trains(make, make_stream, model):
    """The stream is a generator: its `no_grad` must not reach the student."""
    trainer = make("dash", "uniform")
    before = state(trainer)
    records = list(trainer.run(with_teacher(make_stream(), model)))
    assert [r.step for r in records] == [1, 2, 3, 4, 5, 6]
    assert not equal(state(trainer), before)


def test_a_record_tells_what_the_step_did(make, make_stream):
    trainer = make("scratch", "uniform", unet=replace(make().model.cfg, dropout=0.0))
    batch = next(make_stream())
    terms = trainer.objective.terms(trainer.model.eval(), batch)
    record = next(trainer.run(repeat(batch)))
    assert record.step == 1
    assert record.terms == {"denoising": pytest.approx(terms["denoising"].mean().item(), rel=1e-5)}
    assert record.loss == pytest.approx(record.terms["denoising"], rel=1e-5)
    assert record.grad_norm > 0


def test_the_loss_is_weighted_and_the_terms_are_not(make, make_stream, schedule):
    trainer = make("scratch", "min_snr", unet=replace(make().model.cfg, dropout=0.0))
    batch = next(make_stream())
    term = trainer.objective.terms(trainer.model, batch)["denoising"].detach()
    record = next(trainer.run(repeat(batch)))
    weights = make_weighting("min_snr", schedule)(batch.t)
    assert record.loss == pytest.approx((weights * term).mean().item(), rel=1e-5)
    assert record.terms["denoising"] == pytest.approx(term.mean().item(), rel=1e-5)


def test_the_learning_rate_falls_along_a_cosine(make, make_stream):
    cfg = replace(CONFIG, steps=4, lr=1e-3, lr_min=1e-5)
    rates = [r.lr for r in make(cfg=cfg).run(make_stream())]
    want = [1e-5 + (1e-3 - 1e-5) * (1 + math.cos(math.pi * n / 4)) / 2 for n in range(4)]
    assert rates == pytest.approx(want)
    assert rates[0] == 1e-3
    longer = replace(cfg, steps=40)
    assert [r.lr for r in make(cfg=longer).run(make_stream())][-1] == pytest.approx(1e-5, abs=3e-6)


def test_the_optimiser_uses_the_recorded_rate(make, make_stream):
    trainer = make()
    for record in trainer.run(make_stream()):
        assert {g["lr"].item() for g in trainer.optimizer.param_groups} == {record.lr}


def test_gradients_are_clipped_and_the_norm_is_recorded_before(make, make_stream):
    trainer = make(cfg=replace(CONFIG, clip=1e-3))
    record = next(trainer.run(make_stream()))
    norm = torch.stack([p.grad.norm() for p in trainer.model.parameters()]).norm()
    assert norm.item() == pytest.approx(1e-3, rel=1e-3)
    assert record.grad_norm > 0.01


def test_learned_importance_has_no_weight_decay(make):
    trainer = make(cfg=replace(CONFIG, weight_decay=0.5))
    network, learned = trainer.optimizer.param_groups
    assert (network["weight_decay"], learned["weight_decay"]) == (0.5, 0.0)
    assert learned["params"] == [trainer.weighting.lam]


def test_importance_is_learned_or_frozen(make, make_stream):
    for trainer in (make(), make()):
        list(islice(trainer.run(make_stream()), 2))
        assert trainer.weighting.lam.ne(0).any()
    trainer.weighting.lam.requires_grad_(False)
    frozen = Trainer(trainer.model, trainer.objective, trainer.weighting.freeze(), CONFIG)
    before = trainer.weighting.lam.clone()
    list(frozen.run(make_stream()))
    assert torch.equal(frozen.weighting.lam, before)
    assert len(frozen.optimizer.param_groups) == 1


def test_the_average_warms_up(model):
    """Decay n is min(decay, (1 + n)/(10 + n)): 2/11, 3/12, then 0.26."""
    for parameter in model.parameters():
        parameter.data.zero_()
    averaged = EMA(model, 0.26)
    want = 0.0
    for n, decay in ((1, 2 / 11), (2, 3 / 12), (3, 0.26), (4, 0.26)):
        for parameter in model.parameters():
            parameter.data.fill_(n)
        averaged.prepare()
        averaged.update(model)
        want = decay * want + (1 - decay) * n
        assert averaged.updates == n
        for parameter in averaged.model.parameters():
            torch.testing.assert_close(parameter, torch.full_like(parameter, want))


def test_the_average_is_a_frozen_copy_in_evaluation_mode(model):
    averaged = EMA(model.train(), 0.9)
    assert not averaged.model.training
    assert not any(p.requires_grad for p in averaged.model.parameters())
    assert model.training
    assert all(p.requires_grad for p in model.parameters())


def test_the_average_lags_behind(make, make_stream):
    trainer = make()
    list(trainer.run(make_stream()))
    assert not equal(trainer.model.state_dict(), trainer.ema.state_dict())
    assert trainer.averaged.updates == 6


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nan_stops_before_it_touches_the_weights(make, make_stream, bad):
    trainer, stream = make(), make_stream()
    broken = next(stream)
    broken = replace(broken, x_t=torch.full_like(broken.x_t, bad))
    steps = trainer.run(chain(islice(stream, 2), [broken]))
    next(steps), next(steps)
    before, moments = state(trainer), trainer.optimizer.state_dict()["state"][0]["exp_avg"].clone()
    with pytest.raises(FloatingPointError, match=r"step 3: loss nan.*those of step 2.*NaN"):
        next(steps)
    assert trainer.step == 2
    assert equal(state(trainer), before)
    assert torch.equal(trainer.optimizer.state_dict()["state"][0]["exp_avg"], moments)
    next(trainer.run(stream))
    assert trainer.step == 3  # the trainer is still usable


def test_a_gradient_that_is_not_finite_stops_too(make, make_stream):
    trainer = make()
    trainer.model.conv_out.bias.register_hook(lambda g: g * math.inf)
    before = state(trainer)
    with pytest.raises(FloatingPointError, match="gradient norm"):
        next(trainer.run(make_stream()))
    assert equal(state(trainer), before)


def test_training_uses_dropout_and_leaves_the_model_in_training_mode(make, make_stream):
    trainer = make()
    trainer.model.eval()
    next(trainer.run(make_stream()))
    assert trainer.model.training


def through_a_file(trainer, stream, tmp_path):
    """Return what comes back from a checkpoint of a training."""
    kept = Checkpoints(tmp_path / "checkpoints")
    return read_checkpoint(kept.save(trainer.step, trainer.state(stream)))


def test_a_resumed_run_is_the_run_itself(make, make_stream, tmp_path):
    """Bit by bit, with dropout, learned importance and a stream that goes on where it stopped."""
    straight = make()
    records = list(straight.run(make_stream()))

    first, stream = make(), make_stream()
    begun = list(islice(first.run(stream), 3))
    saved = through_a_file(first, stream, tmp_path)
    list(first.run(stream))  # going on after saving changes nothing in the file

    second, stream = make(seed=99), make_stream()
    torch.rand(7)
    next(stream)  # goes on elsewhere until it is restored
    second.restore(saved, stream, "a file")
    rest = list(second.run(stream))
    assert begun + rest == records
    assert equal(state(second), state(straight))
    assert second.averaged.updates == straight.averaged.updates == 6


def test_resuming_a_finished_run_does_nothing(make, make_stream):
    trainer, stream = make(), make_stream()
    list(trainer.run(stream))
    again = make(seed=1)
    again.restore(trainer.state(stream), stream, "a file")
    assert list(again.run(stream)) == []
    assert equal(state(again), state(trainer))


@pytest.fixture
def saved(make, make_stream, tmp_path):
    """The state of a run after two steps."""
    trainer, stream = make(), make_stream()
    list(islice(trainer.run(stream), 2))
    return through_a_file(trainer, stream, tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"cfg": replace(CONFIG, lr=1e-4)},
        {"weighting": "uniform"},
        {"weighting": "tirt_eps"},
        {"objective": "dash"},
    ],
    ids=["config", "uniform", "tirt_eps", "objective"],
)
def test_resuming_with_other_settings_is_an_error(make, make_stream, saved, change):
    other = make(seed=5, **change)
    before = state(other)
    with pytest.raises(ValueError, match="a file was made with other"):
        other.restore(saved, make_stream(), "a file")
    assert equal(state(other), before)


def test_resuming_with_another_stream_is_an_error(make, saved, make_stream):
    other = make_stream()
    other.batch_size += 1
    with pytest.raises(ValueError, match="other stream"):
        make().restore(saved, other, "a file")
    with pytest.raises(ValueError, match="other stream"):
        make().restore(saved, make_stream(seed=1), "a file")


@pytest.mark.parametrize("change", [{"ch": 16}, {"patch_size": 1}, {"dropout": 0.5}])
def test_resuming_another_architecture_is_an_error(make, make_stream, saved, tiny, change):
    other = make(unet=replace(tiny, **change))
    before = state(other)
    with pytest.raises(ValueError, match="a file was made with other network"):
        other.restore(saved, make_stream(), "a file")
    assert equal(state(other), before)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "steps=0: a number above 0"),
        ({"lr": 0.0}, "lr=0.0: a number above 0"),
        ({"lr": math.nan}, "lr=nan: a number above 0"),
        ({"clip": -1.0}, "clip=-1.0: a number above 0"),
        ({"ema": 1.0}, "0 <= ema < 1"),
        ({"weight_decay": -1.0}, "weight_decay and warm from 0"),
        ({"lr_min": math.nan}, "lr_min, weight_decay and warm from 0"),
    ],
)
def test_settings_that_cannot_train_are_an_error(wrong, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**{"steps": 5, **wrong})


def test_a_warm_rate_rises_and_ends_at_its_least():
    cfg = TrainConfig(steps=100, lr=2.0, lr_min=0.0, warm=0.02)
    assert cfg.rate(0) == cfg.rate(1) == cfg.rate(2) == 0
    assert cfg.rate(0.01) == pytest.approx(1.0, abs=0.01)
    rates = [cfg.rate(p / 100) for p in range(2, 101)]
    assert max(rates) == rates[0] > 1.99
    assert rates == sorted(rates, reverse=True)
    assert TrainConfig(steps=1, lr=2.0).rate(0) == 2.0


def test_bfloat16_agrees_loosely_with_float32(make, make_stream, tiny):
    cfg, quiet = replace(CONFIG, steps=5), replace(tiny, dropout=0.0)
    runs = [
        [r.loss for r in make("scratch", "uniform", replace(cfg, bf16=b), quiet).run(make_stream())]
        for b in (False, True)
    ]
    assert runs[1] == pytest.approx(runs[0], rel=0.02)
    assert runs[1] != runs[0]


def test_bfloat16_keeps_the_weights_in_float32(make, make_stream):
    trainer = make(cfg=replace(CONFIG, steps=2, bf16=True))
    list(trainer.run(make_stream()))
    assert {v.dtype for v in state(trainer).values()} == {torch.float32}
