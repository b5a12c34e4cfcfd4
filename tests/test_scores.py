"""Scores against direct computations, closed forms and point sets whose scores are known."""

import math
import socket

import pytest
import torch
from torch import multiprocessing as mp

from dashlib.metrics import frechet, gaussian
from dashlib.scale import scores
from dashlib.scale.distributed import Shards, shards
from dashlib.scale.scores import Moments


@pytest.fixture
def features():
    """60 correlated vectors far from the origin, where sums of squares would cancel."""
    return torch.randn(60, 5) @ torch.randn(5, 5) + 1000


def assert_same(a: Moments, b: Moments):
    assert a.n == b.n
    torch.testing.assert_close(a.mean, b.mean, rtol=1e-12, atol=0)
    torch.testing.assert_close(a.scatter, b.scatter, rtol=1e-10, atol=1e-9)


def test_moments_agree_with_torch_cov(features):
    mean, cov = Moments.of(features).gaussian
    torch.testing.assert_close(mean, features.double().mean(0))
    torch.testing.assert_close(cov, torch.cov(features.double().T))


@pytest.mark.parametrize("sizes", [(60,), (1, 59), (0, 30, 0, 30), (7, 1, 20, 32), (1,) * 60])
def test_merging_any_split_gives_the_moments_of_all(features, sizes):
    parts = [Moments.of(part) for part in features.split(list(sizes))]
    assert_same(scores.merged(parts), Moments.of(features))
    assert_same(scores.merged(reversed(parts)), Moments.of(features))


def test_a_covariance_needs_two():
    with pytest.raises(ValueError, match="at least 2"):
        _ = Moments.of(torch.ones(1, 3)).gaussian


def test_frechet_distance_is_that_of_metrics(features):
    other = features * 1.1 + 3
    found = scores.frechet_distance(Moments.of(features), Moments.of(other))
    assert found == pytest.approx(frechet(gaussian(features), gaussian(other)), rel=1e-9)
    assert found > 1


def test_inception_score_of_sure_answers_is_the_number_of_classes():
    logits = 1000.0 * torch.eye(4).repeat(10, 1)  # every split sees all four classes alike
    mean, spread = scores.inception_score(logits, splits=10)
    assert mean == pytest.approx(4)
    assert spread == pytest.approx(0, abs=1e-9)


def test_inception_score_of_equal_answers_is_one():
    assert scores.inception_score(torch.ones(20, 4))[0] == pytest.approx(1)


def test_inception_score_by_its_definition():
    logits = torch.randn(40, 6, dtype=torch.float64)
    p = logits.softmax(1)
    parts = [p[:20], p[20:]]
    want = [math.exp((q * (q / q.mean(0)).log()).sum(1).mean()) for q in parts]
    mean, spread = scores.inception_score(logits, splits=2)
    assert mean == pytest.approx(sum(want) / 2)
    assert spread == pytest.approx(abs(want[0] - want[1]) / 2)


def test_inception_score_refuses_fewer_samples_than_splits():
    with pytest.raises(ValueError, match="9 samples"):
        scores.inception_score(torch.ones(9, 2), splits=10)


def test_squared_mmd_is_the_direct_double_sum():
    x, y = torch.randn(7, 3).double(), torch.randn(5, 3).double() + 0.5

    def k(a, b):
        return (float(a @ b) / 3 + 1) ** 3

    want = sum(k(x[i], x[j]) for i in range(7) for j in range(7) if i != j) / 42
    want += sum(k(y[i], y[j]) for i in range(5) for j in range(5) if i != j) / 20
    want -= 2 * sum(k(a, b) for a in x for b in y) / 35
    assert scores.squared_mmd(x, y) == pytest.approx(want, rel=1e-12)


def test_kernel_distance_of_whole_sets_is_their_squared_mmd():
    x, y = torch.randn(8, 3), torch.randn(6, 3) + 1
    mean, spread = scores.kernel_distance(x, y, subsets=3)
    assert mean == pytest.approx(scores.squared_mmd(x, y))
    assert spread == pytest.approx(0, abs=1e-12)


def test_squared_mmd_is_unbiased():
    values = [scores.squared_mmd(*torch.randn(2, 20, 4)) for _ in range(300)]
    mean, spread = torch.tensor(values).mean(), torch.tensor(values).std()
    assert min(values) < 0
    assert abs(mean) < 4 * spread / 300**0.5  # one distribution: 0


def test_kernel_distance_averages_over_different_subsets():
    x, y = torch.randn(300, 4), torch.randn(300, 4) + 1
    mean, spread = scores.kernel_distance(x, y, subsets=50, size=30)
    assert spread > 0.05
    assert mean == pytest.approx(scores.squared_mmd(x, y), abs=4 * spread / 50**0.5)


def test_radii_are_distances_to_the_kth_other_point():
    points = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    torch.testing.assert_close(scores.radii(points, k=1).tolist(), [1.0, 1.0, 2.0, 4.0])
    torch.testing.assert_close(scores.radii(points, k=2, batch=3).tolist(), [3.0, 2.0, 3.0, 6.0])


def test_radii_refuse_too_few_points():
    with pytest.raises(ValueError, match="3 feature vectors"):
        scores.radii(torch.zeros(3, 2), k=3)


def test_precision_and_recall_of_known_points():
    real = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1], [50, 50], [50, 51], [51, 50], [51, 51]])
    fake = torch.tensor([[0.4, 0.5], [0.5, 0.4], [0.6, 0.5], [0.5, 0.6], [20, 0], [0, 20]])
    # four of six samples lie among the first four real points; the other two are outliers, whose
    # balls (k = 3) reach the samples at 19.5, and so the real points (1, 0), (1, 1) and (0, 1)
    assert scores.precision_recall(fake, real, k=3) == (pytest.approx(4 / 6), pytest.approx(3 / 8))
    assert scores.precision_recall(real, real) == (1, 1)
    assert scores.precision_recall(fake + 1000, real) == (0, 0)


def test_slices_cover_every_number_once():
    parts = [Shards(rank, 3).slice(10) for rank in range(3)]
    assert [i for part in parts for i in part] == list(range(10))
    with pytest.raises(ValueError, match="2 images for 3 processes"):
        Shards(1, 3).slice(2)


def test_a_single_process_changes_nothing(features):
    with shards("cpu") as alone:
        assert alone.first
        assert alone.gather(features) is features
        assert_same(alone.moments(Moments.of(features)), Moments.of(features))
        assert alone.from_first("value") == "value"


def _process(rank: int, port: int, data: torch.Tensor, answers: dict) -> None:
    """One of two processes with unequal parts of the data."""
    import os

    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_PORT": str(port)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "LOCAL_RANK": str(rank)}
    torch.set_num_threads(1)
    with shards("cpu") as place:
        part = data[place.slice(len(data)).start : place.slice(len(data)).stop]
        united = place.moments(Moments.of(part))
        answers[rank] = {
            "moments": (united.n, united.mean, united.scatter),
            "rows": place.gather(part[: len(part) - rank]),
            "all": (place.all(True), place.all(rank == 0)),
            "first": place.from_first({"rank": rank}),
        }


def test_two_processes_agree_with_one(features):
    data = features[:59]  # slices of 29 and 30
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with mp.Manager() as manager:
        answers = manager.dict()
        mp.spawn(_process, (port, data, answers), nprocs=2)
        found = dict(answers)
    for rank in (0, 1):
        assert_same(Moments(*found[rank]["moments"]), Moments.of(data))
        torch.testing.assert_close(found[rank]["rows"], data[:58])
        assert found[rank]["all"] == (True, False)
        assert found[rank]["first"] == {"rank": 0}
