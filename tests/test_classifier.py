"""The classifier that scores samples: it learns, repeats, and its features are what it says."""

import pytest
import torch

from dashlib import classifier
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
