"""Scores against direct computations, closed forms and point sets whose scores are known."""

import math
import socket
import sys

import pytest
import torch
from torch import multiprocessing as mp

from dashlib.metrics import frechet, gaussian
from dashlib.scale import evaluation
from dashlib.scale.distributed import gather_rows, make_accelerator, share
from dashlib.scale.features import Extracted, extract


def moments_and_rows(data, sizes, place):
    """Hold what is known of this process's share of the data, in batches: each row is an image."""
    own = share(len(data), place)
    parts = data[own.start : own.stop].split(sizes)
    return extract(parts, len(data), Same(), place, logits=True)


class Same:
    """Stands in for a network: the images are their features, the first two of them logits."""

    def __call__(self, images):
        return images

    def head(self, pool):
        return pool[:, :2]


def known(pool, logits=None):
    """Features, where moments are of no interest."""
    return Extracted((pool, pool), pool, pool if logits is None else logits)


def inception_score(logits):
    found = evaluation.compute(known(torch.zeros(0, 1), logits), known(torch.zeros(0, 1)), ["is"])
    return found["is"], found["is, std over splits"]


def kernel_distance(x, y):
    found = evaluation.compute(known(x), known(y), ["kid"])
    return found["kid"], found["kid, std over subsets"]


def precision_recall(fake, real):
    found = evaluation.compute(known(fake), known(real), ["pr"])
    return found["precision"], found["recall"]


@pytest.fixture
def place():
    return make_accelerator(device="cpu")


@pytest.fixture
def features():
    """60 correlated vectors far from the origin, where sums of squares cancel most."""
    return torch.randn(60, 5) @ torch.randn(5, 5) + 1000


@pytest.mark.parametrize("sizes", [[60], [1, 59], [30, 30], [7, 1, 20, 32], [1] * 60])
def test_moments_in_any_batches_are_those_of_all(features, sizes, place):
    found = moments_and_rows(features, sizes, place)
    mean, covariance = found.gaussian
    torch.testing.assert_close(mean, features.double().mean(0), rtol=1e-12, atol=0)
    torch.testing.assert_close(covariance, torch.cov(features.double().T), rtol=1e-7, atol=1e-7)
    assert torch.equal(found.pool, features)
    assert torch.equal(found.logits, features[:, :2])


def test_frechet_distance_is_that_of_metrics_and_of_torch_fidelity(features, place):
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    other = features * 1.1 + 3
    pair = [moments_and_rows(x, [7, 53], place) for x in (features, other)]
    found = evaluation.compute(*pair, ("fid",))
    assert found["fid"] == pytest.approx(frechet(gaussian(features), gaussian(other)), rel=1e-6)
    theirs = [fid_features_to_statistics(x.double()) for x in (features, other)]
    (value,) = fid_statistics_to_metric(*theirs, verbose=False).values()
    assert found["fid"] == pytest.approx(value, rel=1e-5)
    assert value > 1


def test_inception_score_of_sure_answers_is_the_number_of_classes():
    logits = 1000.0 * torch.eye(4).repeat(10, 1)  # every split sees all four classes alike
    assert inception_score(logits) == (pytest.approx(4), pytest.approx(0, abs=1e-9))


def test_inception_score_of_equal_answers_is_one():
    assert inception_score(torch.ones(20, 4))[0] == pytest.approx(1)
    assert inception_score(torch.ones(3, 4))[0] == pytest.approx(1)  # fewer than splits


def test_inception_score_by_its_definition():
    logits = torch.randn(40, 6, dtype=torch.float64)
    parts = logits.softmax(1).split(4)
    want = torch.tensor([math.exp((q * (q / q.mean(0)).log()).sum(1).mean()) for q in parts])
    mean, spread = inception_score(logits)
    assert mean == pytest.approx(want.mean().item())
    assert spread == pytest.approx(want.std(correction=0).item())


def squared_mmd(x, y):
    """The unbiased squared maximum mean discrepancy as a direct double sum."""

    def k(a, b):
        return (float(a @ b) / x.shape[1] + 1) ** 3

    m, n = len(x), len(y)
    found = sum(k(x[i], x[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    found += sum(k(y[i], y[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    return found - 2 * sum(k(a, b) for a in x for b in y) / (m * n)


def test_kernel_distance_of_whole_sets_is_their_squared_mmd():
    x, y = torch.randn(7, 3).double(), torch.randn(7, 3).double() + 0.5
    mean, spread = kernel_distance(x, y)
    assert mean == pytest.approx(squared_mmd(x, y), rel=1e-12)
    assert spread == pytest.approx(0, abs=1e-12)


def test_kernel_distance_is_unbiased():
    values = torch.tensor([kernel_distance(*torch.randn(2, 20, 4))[0] for _ in range(100)])
    assert values.min() < 0
    assert abs(values.mean()) < 4 * values.std() / 100**0.5  # one distribution: 0


def test_kernel_distance_averages_over_different_subsets(monkeypatch):
    x, y = torch.randn(60, 4), torch.randn(60, 4) + 1
    monkeypatch.setattr(evaluation, "SUBSET_SIZE", 30)
    mean, spread = kernel_distance(x, y)
    assert spread > 0.05
    assert mean == pytest.approx(squared_mmd(x, y), abs=4 * spread / 100**0.5)


def test_precision_and_recall_of_known_points():
    real = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1], [50, 50], [50, 51], [51, 50], [51, 51]])
    fake = torch.tensor([[0.4, 0.5], [0.5, 0.4], [0.6, 0.5], [0.5, 0.6], [20, 0], [0, 20]])
    # four of six samples lie among the first four real points; the other two are outliers, whose
    # balls (k = 3) reach the samples at 19.5, and so the real points (1, 0), (1, 1) and (0, 1)
    assert precision_recall(fake, real) == (pytest.approx(4 / 6), pytest.approx(3 / 8))
    assert precision_recall(real, real) == (1, 1)
    assert precision_recall(fake + 1000, real) == (0, 0)


def test_scores_refuse_too_few_points():
    with pytest.raises(ValueError, match=r"1 feature vector\(s\): kid needs 2"):
        kernel_distance(torch.ones(1, 2), torch.ones(5, 2))
    with pytest.raises(ValueError, match=r"3 feature vector\(s\): pr needs 4"):
        precision_recall(torch.zeros(3, 2), torch.zeros(9, 2))


def test_what_torch_fidelity_computes_says_so_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity.metric_kid", None)
    with pytest.raises(ImportError, match=r"torch_fidelity .*pip install 'dash-book\[fid\]'"):
        kernel_distance(torch.ones(9, 2), torch.ones(9, 2))


class Rank:
    """Stands in for an accelerator that is one of three processes."""

    num_processes = 3

    def __init__(self, rank):
        from accelerate.state import PartialState

        self.split = PartialState.split_between_processes
        self.process_index = rank

    def split_between_processes(self, inputs):
        return self.split(self, inputs)


def test_shares_cover_every_number_once():
    parts = [share(10, Rank(rank)) for rank in range(3)]
    assert [i for part in parts for i in part] == list(range(10))
    with pytest.raises(ValueError, match="2 images for 3 processes"):
        share(2, Rank(1))


def _process(rank: int, port: int, data: torch.Tensor, answers: dict) -> None:
    """One of two processes with unequal parts of the data."""
    import os

    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_PORT": str(port)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "LOCAL_RANK": str(rank)}
    torch.set_num_threads(1)
    place = make_accelerator(device="cpu")
    own = share(len(data), place)
    part = data[own.start : own.stop]
    rows = gather_rows(part[: len(part) - rank])
    answers[rank] = (*moments_and_rows(data, [10, len(part) - 10], place), rows)
    place.end_training()


def test_two_processes_agree_with_one(features, place):
    data = features[:59]  # shares of 30 and 29
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with mp.Manager() as manager:
        answers = manager.dict()
        mp.spawn(_process, (port, data, answers), nprocs=2)
        found = dict(answers)
    one = moments_and_rows(data, [59], place)
    for rank in (0, 1):
        moments, pool, logits, rows = found[rank]
        torch.testing.assert_close(moments, one.gaussian, rtol=1e-7, atol=1e-7)
        assert torch.equal(pool, one.pool)
        assert torch.equal(logits, one.logits)
        assert torch.equal(rows, data[:58])
