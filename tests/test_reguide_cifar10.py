"""The study of ways back on CIFAR-10, with tiny networks on tiny coloured images."""

import json
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from benchmarks import reguide_cifar10 as study
from dashlib import datasets
from dashlib.checkpoints import pack
from dashlib.data import Dataset, Images
from dashlib.distillation import distilling
from dashlib.recipes import CIFAR10
from dashlib.unet import UNet

NAMES = ["none", "repair", "null row, 5 %", "null row, 20 %", "embeddings, 20 %"]
NAMES += ["all, 5 %", "all, 20 %"]


@pytest.fixture
def small(tiny, tmp_path, monkeypatch):
    """A study of 40 steps; the judge says how bright the samples are."""
    torch.manual_seed(0)
    unet = replace(tiny, image_channels=3)
    found = [replace(of, unet=unet) for of in (CIFAR10.learner, CIFAR10.student)]
    monkeypatch.setattr(study, "CIFAR10", replace(CIFAR10, learner=found[0], student=found[1]))
    x, y = torch.randint(256, (40, 3, 8, 8), dtype=torch.uint8), torch.arange(40) % 10
    data = Dataset("cifar10", 10, Images(x[:20], y[:20]), Images(x[20:], y[20:]))
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **how: data)
    monkeypatch.setattr(UNet, "compile", lambda self, **how: None)
    untrained = ["wrong prediction", "untrained null"]
    monkeypatch.setattr(study, "distilling", partial(distilling, allow=untrained))
    judge = SimpleNamespace(
        score=lambda images, labels: {"fd": images.double().mean().item(), "n": len(labels)},
        floor=lambda n: {"fd": 0.0, "n": n},
    )
    monkeypatch.setattr(study.Judge, "of", lambda *_: judge)
    teacher = UNet(unet)
    nn.init.normal_(teacher.conv_out.weight, std=0.1)
    for i, part in enumerate((dict(list(teacher.state_dict().items())[k::2]) for k in (0, 1)), 1):
        (tmp_path / f"teacher-0000{i}-of-00002.safetensors").write_bytes(pack(part))
    sizes = {"steps": 40, "batch": 4, "samples": 10, "ddim": 2, "pairs": 64, "device": "cpu"}
    return study.Study(tmp_path, tmp_path, tmp_path, **sizes)


def test_a_network_is_asked_the_same_only_once(model):
    asked = []
    model.register_forward_hook(lambda *_: asked.append(1))
    net, x, t, y = study.Remembered(model), torch.randn(2, 1, 8, 8), torch.arange(2), torch.ones(2)
    inputs = (x, t, y.long())
    assert torch.equal(net(*inputs), net(*inputs))
    assert len(asked) == 1
    net(x, t + 1, y.long())
    assert len(asked) == 2


def test_every_way_back_is_measured_stored_and_made_once(small, tmp_path, monkeypatch):
    out = tmp_path / "report.json"
    study.update(small, out, ["cond_only"], [0])
    report = json.loads(out.read_text())
    entry = report["entries"]["cond_only-s0"]
    assert [*entry["ways"]] == NAMES
    assert entry["training"]["train"]["steps"] == 40
    assert report["config"]["floor"] == {"fd": 0.0, "n": 10}
    passes = {name: (*of["forwards"].values(),) for name, of in entry["ways"].items()}
    assert passes["repair"] == (128, 128)
    assert passes["null row, 5 %"] == (8, 8)  # 2 steps of 4 images, one branch
    assert passes["embeddings, 20 %"] == passes["all, 20 %"] == (64, 64)
    own = CIFAR10.student.train.lr
    rates = [entry["ways"][name]["lr"] / own for name in (NAMES[2], *NAMES[4:6])]
    assert rates == pytest.approx([64, 4, 0.25])  # digits: 0.256, 0.016 and 0.001 beside 0.004
    brightness = {(*(of["guidance"][w]["fd"] for w in study.SCALES),) for of in
                  entry["ways"].values()}  # fmt: skip
    assert len(brightness) == len(NAMES), "two ways made the same samples"
    monkeypatch.setattr(study.Study, "train", None)
    del report["entries"]["cond_only-s0"]["ways"]["none"]
    out.write_text(json.dumps(report))
    study.update(small, out, ["cond_only"], [0])
    assert {*json.loads(out.read_text())["entries"]["cond_only-s0"]["ways"]} == {*NAMES}


def test_all_trainings_of_a_seed_share_the_teachers_answers(small):
    """The longest way's batches are the others', too: both branches of a batch are one question."""
    model, _ = small.student("composite", 0)
    kept = small.network.module.kept
    before = {*kept}
    for name, steps in (("all", 8), ("null row", 2), ("embeddings", 8)):
        small.given_back(model, name, steps, 0)
    apart = {*kept} - before
    held = -(-small.pairs // 64)
    assert len(apart) == held  # of held-out images; the training batches are composite's own


def test_the_null_row_moves_alone(small):
    model = study.half(study.two_branches(small.student("single_head", 0)[0]))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    way, own = study.WAYS["null row"], CIFAR10.student.train
    model.requires_grad_(True)
    after, record = small.train(model, way.rule, replace(own, steps=3), 0, way.train)
    moved = {k: (v != before[k]).nonzero()[:, 0].unique() for k, v in after.state_dict().items()}
    assert {k: rows.tolist() for k, rows in moved.items() if len(rows)} == {
        "class_embed.weight": [model.null_label]
    }
    assert record["loss"] > 0
