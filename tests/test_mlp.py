"""The small network for points: the UNet's interface, and every objective trains it."""

from itertools import repeat

import pytest
import torch

from dashbook.playground import MLP, ExactDenoiser, pinwheel
from dashlib.data import Stream, with_teacher
from dashlib.guidance import Guided, branches
from dashlib.losses import make_objective
from dashlib.metrics import compare, noisy_pairs, predict
from dashlib.sampling import sample
from dashlib.training import TrainConfig, Trainer
from dashlib.unet import count_parameters, reset_null_row
from dashlib.weighting import Uniform


@pytest.fixture
def mlp():
    return MLP().eval()


@pytest.fixture
def exact(schedule):
    return ExactDenoiser(pinwheel(), schedule)


@pytest.fixture
def points(exact):
    """Batches of 32 noisy points with the exact branches."""
    train = exact.mixture.sample(exact.mixture.labels(1000))
    stream = Stream(train, exact.schedule, exact.null_label, batch_size=32)
    return with_teacher(stream, exact)


def inputs(n=6):
    return torch.randn(n, 2, 1, 1), torch.arange(n) * 100, torch.arange(n) % 4


def test_points_may_be_flat_or_pixels_and_keep_their_shape(mlp):
    x_t, t, y = inputs()
    assert mlp(x_t, t, y).shape == (6, 2, 1, 1)
    assert torch.equal(mlp(x_t.flatten(1), t, y), mlp(x_t, t, y).flatten(1))


def test_the_prediction_depends_on_each_input_and_on_nothing_else_in_the_batch(mlp):
    x_t, t, y = inputs()
    out = mlp(x_t, t, y)
    for changed in ((x_t + 0.1, t, y), (x_t, t + 50, y), (x_t, t, (y + 1) % 4)):
        assert not (mlp(*changed) - out).abs().flatten(1).amax(1).lt(1e-6).any()
    alone = torch.cat([mlp(x_t[i : i + 1], t[i : i + 1], y[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(alone, out)


def test_both_branches_come_from_one_forward(mlp):
    x_t, t, y = inputs()
    both = branches(mlp, x_t, t, y)
    torch.testing.assert_close(both.uncond, mlp(x_t, t, torch.full_like(y, 3)))
    assert torch.equal(both.gap[3], torch.zeros(2, 1, 1)), "label 3 is the null label itself"


def test_a_small_class_table_hardly_hears_its_label():
    x_t, t, y = inputs()
    gaps = []
    for std in (1.0, 0.01):
        torch.manual_seed(0)
        gaps.append(branches(MLP(embed_std=std), x_t, t, y % 3).gap.norm())
    assert gaps[1] < 0.05 * gaps[0]


def test_the_sizes_are_those_of_its_parts():
    width, ch = 64, 16
    linear = width * (width + 1)
    embeddings = (ch + 1) * width + linear + 4 * width
    want = embeddings + 2 * 3 * linear + 3 * width + 2 * (width + 1)
    assert count_parameters(MLP()) == want


def test_the_null_row_can_be_replaced_like_the_unets(mlp):
    reset_null_row(mlp, "mean_of_classes")
    torch.testing.assert_close(mlp.class_embed.weight[3], mlp.class_embed.weight[:3].mean(0))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("scratch", {}),
        ("cond_only", {}),
        ("cond_only_dropout", {}),
        ("composite", {}),
        ("multi_w", {}),
        ("gap_match", {}),
        ("gap_match", {"imitation": 1.0}),
        ("dash", {}),
        ("dash", {"unconditional": 0.0}),
        ("single_head", {}),
    ],
)
def test_every_objective_learns_from_the_exact_teacher(points, schedule, name, options):
    batch = next(points)
    trainer = Trainer(
        MLP(w_conditioned=name == "single_head"),
        make_objective(name, **options),
        Uniform(schedule),
        TrainConfig(20, lr=3e-3, ema=0.5),
    )
    torch.manual_seed(0)
    losses = [record.loss for record in trainer.run(repeat(batch))]
    assert losses[-1] < 0.9 * losses[0]


def test_cond_only_leaves_the_null_row_where_it_was(points, schedule):
    model = MLP()
    start = model.class_embed.weight.detach().clone()
    objective, settings = make_objective("cond_only"), TrainConfig(5, lr=1e-2, weight_decay=0.0)
    for _ in Trainer(model, objective, Uniform(schedule), settings).run(points):
        pass
    assert torch.equal(model.class_embed.weight[3], start[3])
    assert not model.class_embed.weight[:3].isclose(start[:3]).any()


def test_the_gap_metrics_take_it_and_the_exact_teacher(exact, schedule):
    test = exact.mixture.sample(exact.mixture.labels(100))
    noisy = noisy_pairs(test, schedule, pairs=200)
    own, other = (
        compare(predict(m, noisy), predict(exact, noisy), noisy, schedule, bins=4).overall
        for m in (exact, MLP())
    )
    assert own["rho"] == pytest.approx(1)
    assert own["uncond_mse"] == 0
    assert other["gap_mse"] > 0


def test_a_single_head_hears_the_scale_and_draws_nothing_else():
    torch.manual_seed(0)
    plain = MLP().state_dict()
    torch.manual_seed(0)
    head = MLP(w_conditioned=True)
    assert all(torch.equal(head.state_dict()[name], weight) for name, weight in plain.items())
    assert {name.split(".")[0] for name in head.state_dict().keys() - plain.keys()} == {"wemb"}
    x_t, t, y = inputs()
    w = torch.linspace(1, 4, 6)
    apart = head(x_t, t, y, w) - head(x_t, t, y, torch.ones(6))
    assert torch.equal(apart[0], torch.zeros(2, 1, 1))
    assert apart[1:].flatten(1).norm(dim=1).min() > 1e-4


def test_a_single_head_can_be_sampled(schedule):
    model, y = MLP(w_conditioned=True).eval(), torch.zeros(5).long()
    with torch.no_grad():
        x = sample(Guided(model, y, 2.0), torch.randn(5, 2, 1, 1), schedule, steps=4)
    assert x.shape == (5, 2, 1, 1)


def test_a_scale_that_is_missing_or_in_vain_is_refused(mlp):
    x_t, t, y = inputs()
    with pytest.raises(ValueError, match=r"w_conditioned=True.*x_t, t, y, w"):
        MLP(w_conditioned=True)(x_t, t, y)
    with pytest.raises(ValueError, match=r"w_conditioned=True.*x_t, t, y, w"):
        mlp(x_t, t, y, torch.ones(6))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, t, y: (x, t, y + 4), "label out of range: got 4"),
        (lambda x, t, y: (x.expand(-1, 2, 2, 2), t, y), "points of shape"),
    ],
)
def test_bad_input_is_refused(mlp, change, message):
    with pytest.raises(ValueError, match=message):
        mlp(*change(*inputs()))


def test_a_copy_with_another_null_row_differs_in_that_row_alone(mlp):
    before = {name: value.clone() for name, value in mlp.state_dict().items()}
    row = torch.arange(64.0)
    other = mlp.with_null_row(row)
    table = other.class_embed.weight
    torch.testing.assert_close(table[-1], row)
    torch.testing.assert_close(table[:-1], mlp.class_embed.weight[:-1])
    assert not table.requires_grad
    torch.testing.assert_close(mlp.state_dict(), before)
