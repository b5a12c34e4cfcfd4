"""The sweep's scores in EfficientNet-Lite0's features, and the probe that tells classes apart."""

from dataclasses import replace

import pytest
import torch
from test_lite0 import CPU, noise

from benchmarks.sweep.judge import Judge, Probe
from dashlib.data import Images
from dashlib.metrics import frechet, gaussian
from dashlib.scale.features import lite0


def random_features(count, seed=0, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 6, generator=generator) / 5 + shift


def judge(count=200):
    """A judge of two classes that differ in their first feature."""
    train, held = random_features(count), random_features(count, seed=1)
    labels = torch.arange(count) % 2
    train[:, 0] += 2 * labels
    held[:, 0] += 2 * labels
    probe = Probe.fit(train, labels, 2)
    return Judge(None, train, gaussian(train), probe, held, labels)


def test_the_probe_is_ridge_regression():
    x, labels = random_features(50), torch.arange(50) % 3
    a = torch.cat([x.double(), torch.ones(50, 1).double()], 1)
    stacked = torch.cat([a, 10**0.5 * torch.eye(7).double()])  # ridge as seven more equations
    answers = torch.cat([torch.eye(3).double()[labels], torch.zeros(7, 3).double()])
    want = torch.linalg.lstsq(stacked, answers).solution
    torch.testing.assert_close(Probe.fit(x, labels, 3).weight, want)


def test_the_probe_learns_what_a_line_separates():
    found = judge()
    assert found.probe.accuracy(found.held, found.labels) == 1
    assert found.probe.accuracy(found.held, 1 - found.labels) == 0


def test_scores_of_the_reference_itself():
    found = judge()
    scores = found.compare(found.pool, torch.arange(200) % 2)
    assert scores["fd"] == pytest.approx(0, abs=1e-8)
    assert scores["kid"] < 0  # unbiased: the same images on both sides are closer than by chance
    assert scores["accuracy"] == 1
    assert scores.keys() == {
        "fd", "kid", "accuracy", "precision", "recall", "n", "features", "reference"
    }  # fmt: skip
    assert scores["features"] == "EfficientNet-Lite0 (ImageNet), 1280-d, 224 px bicubic"
    assert scores["reference"] == "200 training images"


def test_scores_tell_the_same_distribution_from_another():
    found = judge(1000)
    floor = found.floor(400)
    assert abs(floor["kid"]) < 0.05
    assert (floor["precision"], floor["recall"]) > (0.8, 0.8)
    other = found.compare(random_features(400, shift=2.0), torch.zeros(400, dtype=torch.long))
    assert other["kid"] > 10 * abs(floor["kid"])
    assert other["precision"] < 0.1 < floor["precision"]
    assert other["fd"] == pytest.approx(
        frechet(gaussian(random_features(400, shift=2.0)), gaussian(found.pool))
    )


def test_the_floor_leaves_out_the_manifold():
    found = judge(20)
    same = replace(found, held=found.held * 0)
    same.held[:10] = 100.0  # the manifold
    assert same.floor(10)["precision"] == 0
    assert same.floor(20)["n"] == 20
    assert found.floor(6, seed=0)["fd"] != found.floor(6, seed=1)["fd"]


def test_a_judge_of_images():
    pytest.importorskip("efficientnet_lite_pytorch")
    train, test = (Images(noise(8, seed=s), torch.arange(8) % 2) for s in (0, 1))
    found = Judge.of(train, test, "cpu", half=True)  # which only a GPU obeys
    torch.testing.assert_close(found.pool, lite0(CPU)(train.x).double())
    assert sorted(found.labels.tolist()) == [0] * 4 + [1] * 4
    scores = found.score(train.x, train.y)
    assert scores["fd"] == pytest.approx(0, abs=1e-3)
    assert scores["accuracy"] == 1
    assert found.floor(4)["n"] == 4
