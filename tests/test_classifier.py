"""The classifier that scores samples: it learns, repeats, and its features are what it says."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dashlib import classifier, results
from dashlib.data import Images


@pytest.fixture(scope="module")
def some(digits):
    return Images(digits.train.x[:300], digits.train.y[:300])


@pytest.fixture(scope="module")
def judge(some):
    return classifier.fit(some, epochs=40)


def test_it_learns(judge, some, digits):
    assert classifier.accuracy(judge, some) > 0.95
    assert classifier.accuracy(judge, digits.test) > 0.8


def test_it_comes_back_frozen(judge):
    assert not judge.training
    assert not any(p.requires_grad for p in judge.parameters())


def test_it_depends_on_its_seed_only(some):
    one, again, other = (classifier.fit(some, epochs=1, seed=s) for s in (1, 1, 2))
    weights = [m.head.weight for m in (one, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_features_are_the_hidden_layer(judge, some):
    features = judge.features(some.x[:4])
    assert features.shape == (4, 64)
    assert (features >= 0).all()
    torch.testing.assert_close(judge.head(features), judge(some.x[:4]))


def test_accuracy_is_a_share(judge, some):
    wrong = Images(some.x, (judge(some.x).argmax(1) + 1) % 10)
    assert classifier.accuracy(judge, wrong) == 0
    right = Images(some.x, torch.cat([judge(some.x).argmax(1)[:150], wrong.y[150:]]))
    assert classifier.accuracy(judge, right) == pytest.approx(0.5)


def test_shifts_move_by_one_pixel_and_pad_with_background():
    x = torch.full((1, 1, 4, 4), -1.0)
    x[0, 0, 1, 2] = 1
    seen = set()
    for seed in range(60):
        moved = classifier._shifted(x, torch.Generator().manual_seed(seed))
        assert moved.shape == x.shape
        assert moved.eq(1).sum() == 1
        assert moved.eq(-1).sum() == 15
        seen.add(tuple(moved[0, 0].eq(1).nonzero()[0].tolist()))
    assert seen == {(r, c) for r in (0, 1, 2) for c in (1, 2, 3)}


def former_classifier():
    """The classifier of the first stored results, layer by layer."""
    net = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.25),
        nn.Linear(64 * 4 * 4, 64),
    )
    return nn.ModuleDict({"features_net": net, "head": nn.Linear(64, 10)})


def test_at_digit_size_it_trains_to_the_bit_as_it_did(some):
    """The stored runs were scored by the former code: written out here, one epoch of it."""
    torch.manual_seed(5)
    generator = torch.Generator().manual_seed(5)
    model = former_classifier()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-3)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=3)
    for i in torch.randperm(len(some), generator=generator).split(100):
        x = classifier._shifted(some.x[i], generator)
        logits = model["head"](F.relu(model["features_net"](x)))
        optimizer.zero_grad()
        F.cross_entropy(logits, some.y[i]).backward()
        optimizer.step()
        rate.step()
    want, have = model.state_dict(), classifier.fit(some, epochs=1, seed=5).state_dict()
    assert list(have) == list(want)
    assert all(torch.equal(have[name], want[name]) for name in want)


def test_accuracy_does_not_depend_on_the_batch(judge, some):
    answers = judge(some.x).argmax(1)
    assert classifier.accuracy(judge, some) == (answers == some.y).float().mean().item()
    assert classifier.accuracy(judge, some, batch_size=70) == classifier.accuracy(judge, some)
    assert torch.is_grad_enabled()


def test_the_stored_classifier_judges_as_stored(digits):
    run = results.load("digits/classifier")
    again = classifier.accuracy(run.classifier(), digits.test)
    assert again == pytest.approx(run.metrics["accuracy_test"], abs=1 / 297)
