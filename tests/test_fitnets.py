"""FitNets: features are compared up to a linear map, layer by layer; the regressors are trained."""

from dataclasses import replace
from itertools import islice

import pytest
import torch

from dashlib.baselines.fitnets import make_regressors
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


def test_features_are_the_outputs_of_the_levels_and_the_middle(teacher, batch):
    """Of what comes last in each: attention, if a level has some, else its last block."""
    modules, seen = dict(teacher.named_modules()), {}
    ends = ("down.0.attn.1", "down.1.block.1", "mid.block_2")
    for name in ends:
        modules[name].register_forward_hook(lambda m, i, out, name=name: seen.update({name: out}))
    out, found = teacher.features(batch.x_t, batch.t, batch.y)
    assert all(torch.equal(a, seen[name]) for a, name in zip(found, ends, strict=True))
    assert torch.equal(out, teacher(batch.x_t, batch.t, batch.y))
    assert sum(len(m._forward_hooks) for m in modules.values()) == len(ends)  # none left behind


def test_regressors_have_the_widths_of_the_levels():
    found = make_regressors(TEACHER_CIFAR10, STUDENT_CIFAR10)
    for cfg, side in ((STUDENT_CIFAR10, "in_channels"), (TEACHER_CIFAR10, "out_channels")):
        with torch.device("meta"):
            x, t = torch.empty(1, 3, 32, 32), torch.zeros(1, dtype=torch.long)
            _, maps = UNet(cfg).features(x, t, t)
        assert [getattr(r, side) for r in found] == [x.shape[1] for x in maps]


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
    same = make_objective("fitnets", teacher=teacher, student=teacher.cfg)
    orders = [torch.randperm(r.in_channels) for r in same.regressors]

    class Permuted:
        def features(self, *args):
            out, seen = teacher.features(*args)
            return out, [2 * v[:, order] for v, order in zip(seen, orders, strict=True)]

    assert identity(same).terms(Permuted(), batch)["features"].min() > 0.1
    for regressor, order in zip(same.regressors, orders, strict=True):
        inverse = 0.5 * torch.eye(len(order))[order].T
        regressor.weight.data.copy_(inverse[:, :, None, None])
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
    assert repr(objective) == "FitNets(features=1.0)"


@pytest.mark.parametrize("change", [{"mults": (1,)}, {"image_size": 16}])
def test_levels_of_other_grids_are_an_error(teacher, tiny, change):
    with pytest.raises(ValueError, match=r"grids .*, the teacher's \[4, 2\]: FitNets"):
        make_objective("fitnets", teacher=teacher, student=replace(tiny, **change))


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
