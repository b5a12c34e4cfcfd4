"""FitNets: features are compared up to a linear map, layer by layer; the regressors are trained."""

from dataclasses import replace
from itertools import islice

import pytest
import torch

from dashlib.baselines.fitnets import default_layers
from dashlib.data import Batch, Stream, with_teacher
from dashlib.guidance import branches
from dashlib.losses import make_objective
from dashlib.training import TrainConfig, Trainer
from dashlib.unet import STUDENT_CIFAR10, TEACHER_CIFAR10, UNet
from dashlib.weighting import make_weighting

CONFIG = TrainConfig(steps=6, lr=3e-3, ema=0.99, weight_decay=0.5)


@pytest.fixture
def teacher(tiny):
    """Wider and deeper than the student, which is ``tiny``."""
    return UNet(replace(tiny, ch=16, blocks=2))


@pytest.fixture
def objective(teacher, tiny):
    return make_objective("fitnets", teacher=teacher, student=tiny)


@pytest.fixture
def batch(teacher):
    x, t, y = torch.randn(3, 1, 8, 8), torch.tensor([5, 400, 900]), torch.arange(3)
    with torch.no_grad():
        answers = branches(teacher.eval(), x, t, y)
    return Batch(x, t, y, torch.full_like(y, 10), torch.randn(3, 1, 8, 8), answers)


def identity(objective):
    """Let every regressor pass its input on; returns the objective."""
    for regressor in objective.regressors:
        torch.nn.init.dirac_(regressor.weight)
        torch.nn.init.zeros_(regressor.bias)
    return objective


def test_default_layers_are_the_levels_on_the_way_down_and_the_middle(objective):
    assert objective.layers == (
        ("down.0.attn.0", "down.0.attn.1"),
        ("down.1.block.0", "down.1.block.1"),
        ("mid.block_2", "mid.block_2"),
    )
    pairs = default_layers(TEACHER_CIFAR10, STUDENT_CIFAR10)
    assert [t for _, t in pairs][:3] == ["down.0.block.1", "down.1.attn.1", "down.2.block.1"]
    assert pairs[-1] == ("mid.block_2", "mid.block_2")


def test_features_are_the_outputs_of_the_named_modules(model, batch):
    out, seen = model.features(batch.x_t, batch.t, batch.y, ("conv_in", "conv_out"))
    assert torch.equal(out, model(batch.x_t, batch.t, batch.y))
    x = torch.nn.functional.pixel_unshuffle(batch.x_t, 2)
    assert torch.equal(seen["conv_in"], model.conv_in(x))
    assert torch.equal(torch.nn.functional.pixel_shuffle(seen["conv_out"], 2), out)
    assert not any(m._forward_hooks for m in model.modules())  # nothing is left behind
    with pytest.raises(ValueError, match=r"no such layer: down\.7; for example down\.0\.attn\.0"):
        model.features(batch.x_t, batch.t, batch.y, ["down.7"])


def test_the_terms_are_one_an_image_and_computed_for_the_given_labels(objective, model, batch):
    terms = objective.terms(model, batch)
    assert {k: v.shape for k, v in terms.items()} == {"imitation": (3,), "features": (3,)}
    cond = make_objective("cond_only").terms(model, batch)["imitation"]
    torch.testing.assert_close(terms["imitation"], cond)
    model.class_embed.weight.data[-1] += 1  # the null row
    assert torch.equal(objective.terms(model, batch)["features"], terms["features"])


def test_features_of_the_same_network_agree(teacher, batch):
    same = identity(make_objective("fitnets", teacher=teacher, student=teacher.cfg))
    terms = same.terms(teacher, batch)
    assert terms["features"].max() < 1e-10
    assert terms["imitation"].max() < 1e-10


def test_features_are_compared_up_to_a_linear_map(teacher, batch):
    """The student's maps, permuted and scaled, are free: the regressor undoes it."""
    layers = (("mid.block_2", "mid.block_2"),)
    same = make_objective("fitnets", teacher=teacher, student=teacher.cfg, layers=layers)
    order = torch.randperm(32)

    class Permuted:
        def features(self, *args):
            out, seen = teacher.features(*args)
            return out, {k: 2 * v[:, order] for k, v in seen.items()}

    assert identity(same).terms(Permuted(), batch)["features"].min() > 0.1
    inverse = 0.5 * torch.eye(32)[order].T
    same.regressors[0].weight.data.copy_(inverse[:, :, None, None])
    assert same.terms(Permuted(), batch)["features"].max() < 1e-10


def test_layers_weigh_alike(objective, model, batch):
    """A regressor that answers 0 costs 1 for each layer and image, however large the maps."""
    for parameter in objective.learned.parameters():
        parameter.data.zero_()
    features = objective.terms(model, batch)["features"]
    torch.testing.assert_close(features, torch.full((3,), 3.0))


def test_the_coefficient_scales_the_features(teacher, tiny, model, batch):
    objective = make_objective("fitnets", teacher=teacher, student=tiny, features=0.25)
    terms = objective.terms(model, batch)
    want = terms["imitation"] + 0.25 * terms["features"]
    torch.testing.assert_close(objective.total(terms), want)


def test_gradients_reach_student_and_regressors_and_not_the_teacher(
    objective, teacher, model, batch
):
    objective.total(objective.terms(model, batch)).mean().backward()
    assert all(p.grad.ne(0).any() for p in objective.learned.parameters())
    assert len(list(objective.learned.parameters())) == 2 * 3
    assert model.conv_in.weight.grad.ne(0).any()
    assert not any(p.requires_grad for p in teacher.parameters())
    assert not teacher.training


def test_the_features_alone_train_the_student(objective, model, batch):
    objective.terms(model, batch)["features"].mean().backward()
    assert model.conv_in.weight.grad.ne(0).any()
    assert model.conv_out.weight.grad is None


def test_regressors_do_not_change_how_a_student_starts(teacher, tiny):
    torch.manual_seed(5)
    want = UNet(tiny).state_dict()
    torch.manual_seed(5)
    first = make_objective("fitnets", teacher=teacher, student=tiny).regressors.state_dict()
    assert all(torch.equal(v, want[k]) for k, v in UNet(tiny).state_dict().items())
    torch.manual_seed(6)
    other = make_objective("fitnets", teacher=teacher, student=tiny).regressors.state_dict()
    assert not torch.equal(first["0.weight"], other["0.weight"])  # they follow the seed


def test_moving_the_objective_moves_all_it_holds(objective):
    objective.to(torch.device("meta"))
    held = [*objective.learned.parameters(), *objective.teacher.parameters()]
    assert {p.device.type for p in held} == {"meta"}


def test_settings_are_named_without_weights(objective):
    assert repr(objective).startswith("FitNets(features=1.0, layers=(('down.0.attn.0'")
    assert "Conv2d" not in repr(objective)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((("down.0.block.0", "mid.block_2"),), r"grid is \(4, 4\) and the teacher's \(2, 2\)"),
        ((("down.9", "mid.block_2"),), r"no such layer: down\.9"),
        ((("mid.block_2", "down.9"),), r"no such layer: down\.9"),
    ],
)
def test_layers_that_cannot_be_compared_are_an_error(teacher, tiny, layers, message):
    with pytest.raises(ValueError, match=message):
        make_objective("fitnets", teacher=teacher, student=tiny, layers=layers)


def test_another_number_of_levels_is_an_error(teacher, tiny):
    with pytest.raises(ValueError, match="student has 1 levels and the teacher 2"):
        make_objective("fitnets", teacher=teacher, student=replace(tiny, mults=(1,)))


def test_networks_are_asked_for():
    with pytest.raises(ValueError, match=r"'fitnets' takes \['teacher', 'student', 'features'"):
        make_objective("fitnets")


def test_a_teacher_in_the_batch_is_asked_for(objective, model, batch):
    with pytest.raises(ValueError, match=r"data\.with_teacher"):
        objective.terms(model, replace(batch, teacher=None))


@pytest.fixture
def make(tiny, teacher, schedule):
    """A fresh trainer of a tiny student; all of its trainers share the teacher."""

    def build(seed=0, cfg=CONFIG):
        torch.manual_seed(seed)
        objective = make_objective("fitnets", teacher=teacher, student=tiny)
        return Trainer(UNet(tiny), objective, make_weighting("uniform", schedule), cfg)

    return build


@pytest.fixture
def make_stream(digits, schedule):
    return lambda seed=0: Stream(digits.train, schedule, 10, 8, seed=seed)


def state(trainer):
    parts = (trainer.model, trainer.ema, trainer.objective.regressors)
    return [v.clone() for m in parts for v in m.state_dict().values()]


def test_regressors_are_trained_decayed_and_clipped(make, make_stream, teacher):
    trainer = make(cfg=replace(CONFIG, clip=1e-3))
    regressors = list(trainer.objective.learned.parameters())
    group = trainer.optimizer.param_groups[0]
    assert group["weight_decay"] == 0.5
    assert all(any(p is q for q in group["params"]) for p in regressors)
    before = [p.detach().clone() for p in regressors]
    next(trainer.run(with_teacher(make_stream(), teacher)))
    assert all(not torch.equal(p, q) for p, q in zip(regressors, before, strict=True))
    grads = [
        p.grad.norm() for p in (*trainer.model.parameters(), *regressors) if p.grad is not None
    ]
    assert torch.stack(grads).norm().item() == pytest.approx(1e-3, rel=1e-3)


def test_training_lowers_the_loss(make, make_stream, teacher):
    cfg = replace(CONFIG, steps=30, weight_decay=0.01)
    records = list(make(cfg=cfg).run(with_teacher(make_stream(), teacher)))
    assert records[-1].terms["features"] < 0.8 * records[0].terms["features"]


def test_a_resumed_run_is_the_run_itself(make, make_stream, teacher):
    straight = make()
    records = list(straight.run(with_teacher(make_stream(), teacher)))

    first, stream = make(), make_stream()
    begun = list(islice(first.run(with_teacher(stream, teacher)), 3))
    saved = first.state(stream)

    second, stream = make(seed=99), make_stream()
    second.restore(saved, stream, "the first")
    rest = list(second.run(with_teacher(stream, teacher)))
    assert begun + rest == records
    pairs = zip(state(second), state(straight), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
