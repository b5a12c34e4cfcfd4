"""Studies beside the stored runs: samplers, and rivals of distillation, on tiny networks."""

import json
from dataclasses import replace
from functools import partial
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from safetensors.torch import load_file

from benchmarks import reguide, rivals, samplers, samplers_cifar10
from dashbook import geometry
from dashlib import data, results
from dashlib.data import with_teacher
from dashlib.guidance import TAG, Guided, branches
from dashlib.losses import make_objective
from dashlib.recipes import ROWS
from dashlib.sampling import balanced_labels, ddim, sample, starting_noise
from dashlib.schedule import Schedule
from dashlib.unet import UNet


def test_dynamic_thresholding_is_that_of_diffusers(schedule):
    """The images it predicts, from a network's noise; an image within the range stays as it is."""
    x_t, t = torch.randn(4, 1, 8, 8), torch.tensor([300] * 4)
    noise = torch.randn(4, 1, 8, 8)
    theirs = DDIMScheduler(thresholding=True, sample_max_value=1e9)
    eps = samplers.dynamic(lambda x, t: noise, schedule)(x_t, t)
    raw = schedule.predict_x0(x_t, noise, t)
    found = schedule.predict_x0(x_t, eps, t)
    torch.testing.assert_close(found, theirs._threshold_sample(raw), atol=1e-5, rtol=1e-5)
    assert raw.abs().max() > 1 >= found.abs().max() - 1e-5
    inside = schedule.predict_eps(x_t, raw / 10, t)
    again = samplers.dynamic(lambda x, t: inside, schedule)(x_t, t)
    torch.testing.assert_close(again, inside, atol=1e-5, rtol=1e-5)


def test_every_setting_can_be_sampled_and_has_its_name_once(model):
    found = samplers.settings()
    assert {"start 999, eta 0", "start 950, eta 1", "leading, eta 0"} < set(found)
    for options in found.values():
        images = samplers.drawn(model, "TAG", 2, 1, options | {"steps": 4})
        assert images.shape == (2, 1, 8, 8)
        assert images.abs().max() <= 1


def test_colour_is_drawn_in_every_way_and_once(tiny, tmp_path, monkeypatch):
    """The same noise for every setting; what is there already is not drawn again."""
    torch.manual_seed(1)
    model = UNet(replace(tiny, image_channels=3)).eval()
    monkeypatch.setattr(results, "load", lambda name: SimpleNamespace(model=lambda: model))
    monkeypatch.setattr(samplers_cifar10, "CHUNK", 2)
    full = samplers_cifar10.settings
    monkeypatch.setattr(
        samplers_cifar10,
        "settings",
        lambda few: {k: v | {"steps": 5} for k, v in full(few).items()},
    )
    ways = full(samplers_cifar10.SAMPLERS)
    assert {"start 970, eta 0.5", "leading, eta 0", "dynamic, start 970, eta 0.5"} < set(ways)
    cases = list(samplers_cifar10.draw_all(["cifar10/one"], 3, tmp_path))
    images = [load_file(file)["images"] for _, file in cases]
    assert len(cases) == len(list(tmp_path.iterdir())) == len(ways) + 4
    assert all(one.shape == (3, 3, 8, 8) and one.dtype == torch.uint8 for one in images)
    assert len({one.numpy().tobytes() for one in images}) == len(images), "no way changes anything"
    with torch.autocast("cpu", torch.bfloat16):
        noise, y = starting_noise(3, model.cfg), balanced_labels(3)
        plain = sample(Guided(model, y, TAG()), noise, Schedule(), steps=5).clamp(-1, 1)
    found = {
        (case["setting"], case["w"]): one for (case, _), one in zip(cases, images, strict=True)
    }
    apart = data.to_bytes(plain).int() - found["start 999, eta 0", "TAG"].int()
    assert apart.abs().max() <= 1
    monkeypatch.setattr(samplers_cifar10, "drawn", None)
    assert list(samplers_cifar10.draw_all(["cifar10/one"], 3, tmp_path)) == cases


def test_a_start_by_signal_to_noise_is_the_last_that_has_it(schedule):
    for snr in samplers.PASSED:
        start = samplers.start_where(snr, schedule)
        assert schedule.snr()[start] >= snr > schedule.snr()[start + 1]


def test_half_of_each_batch_are_states_of_the_teachers_guided_sampling(model, stream, schedule):
    plain = list(islice(replace(stream), 3))
    mixed = rivals.on_trajectories(replace(stream), model, schedule, share=0.5, seed=1)
    batches = list(islice(with_teacher(mixed, model), 3))
    generator = torch.Generator().manual_seed(1)
    noise, y = torch.randn(16, 1, 8, 8, generator=generator), plain[0].y
    path = list(ddim(Guided(model, y, TAG()), noise, schedule))
    states = {(i.t, tuple(i.x_t[j].flatten().tolist())): int(y[j]) for i in path for j in range(16)}
    for before, after in zip(plain, batches, strict=True):
        assert torch.equal(after.x_t[8:], before.x_t[8:])
        assert torch.equal(after.t[8:], before.t[8:])
        for x, t, label in zip(after.x_t[:8], after.t[:8], after.y[:8], strict=True):
            assert states.pop((int(t), tuple(x.flatten().tolist()))) == int(label)  # each once
        answers = branches(model, after.x_t, after.t, after.y)
        torch.testing.assert_close(after.teacher.cond, answers.cond)


def test_new_trajectories_are_drawn_when_all_states_are_used(tiny, stream, schedule):
    mixed = rivals.on_trajectories(stream, UNet(tiny).eval(), schedule, share=1.0, seed=1)
    batches = list(islice(mixed, 60))  # 50 states an image
    assert len({b.x_t.sum().item() for b in batches}) == 60


def test_guidance_free_training_is_least_for_a_network_that_guides_itself(stream, fixed):
    """S_w = S_uncond + w gap leaves |S_cond - eps|^2, whatever w."""
    batch = next(stream)
    cond, uncond = torch.randn_like(batch.x_t), torch.randn_like(batch.x_t)

    def right(x_t, t, y, w):
        of = torch.where((y == 10)[:, None, None, None], uncond, cond)
        return uncond + w.view(-1, 1, 1, 1) * (of - uncond)

    right.null_label = 10
    found = rivals.GuidanceFree().terms(right, batch)["denoising"]
    null = (batch.y_dropped == 10)[:, None, None, None]
    want = (torch.where(null, uncond, cond) - batch.eps).square().flatten(1).mean(1)
    torch.testing.assert_close(found, want)


def test_no_gradient_goes_through_the_unconditional_branch(tiny, stream):
    model, batch = UNet(replace(tiny, w_conditioned=True)), next(stream)
    kept = data.Batch(batch.x_t, batch.t, batch.y, batch.y, batch.eps)  # no label is dropped
    rivals.GuidanceFree().terms(model, kept)["denoising"].sum().backward()
    assert model.class_embed.weight.grad[-1].eq(0).all()


def test_autoguidance_has_the_weak_networks_conditional_branch(tiny):
    strong, weak = UNet(tiny).eval(), UNet(tiny).eval()
    guided = rivals.AutoGuided(strong, weak)
    x, t, y = torch.randn(3, 1, 8, 8), torch.tensor([5, 500, 999]), torch.tensor([0, 4, 9])
    both = branches(guided, x, t, y)
    torch.testing.assert_close(both.cond, strong(x, t, y), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(both.uncond, weak(x, t, y), atol=1e-5, rtol=1e-4)
    assert sample(Guided(guided, y, TAG()), x, Schedule(), steps=2).shape == x.shape


def test_what_a_seed_has_is_not_made_again(tmp_path, monkeypatch, capsys):
    asked, out = [], tmp_path / "rivals.json"
    kept = {row: {"guidance": {}} for row in ("autoguidance", "tag_form", "dash_sampled_0.1")}
    out.write_text(json.dumps({"0": {}, "1": kept}))
    named = dict.fromkeys(rivals.ways(1))
    monkeypatch.setattr(rivals, "ways", lambda seed: {k: partial(asked.append, k) for k in named})
    monkeypatch.setattr(rivals, "swept", lambda longer, seed, rows: dict.fromkeys(rows, longer))
    monkeypatch.setattr(rivals, "scored", lambda *of: {"guidance": {"4": {"frechet": 1.23}}})
    monkeypatch.setattr("sys.argv", ["rivals", "--seed", "1", "--out", str(out)])
    rivals.main()
    assert asked == [name for name in named if name not in kept]
    found = json.loads(out.read_text())
    assert found["0"] == {}
    assert set(found["1"]) == {*named, *rivals.SWEPT[1], *rivals.SWEPT[2]}
    assert found["1"]["tag_form"] == {"guidance": {}}
    assert set(found["1"]["dash_gap_10"]) > {"guidance", "cpu_seconds", "commit", "hardware"}
    assert "1 dash_sampled_0.25 {'4': 1.2}" in capsys.readouterr().out


def test_the_row_of_tags_form_has_its_axes_and_a_tenth_of_its_stiffness():
    """Traces agree with DASH's, 2, to the four digits that are written down."""
    row = geometry.form_of(make_objective(ROWS["tag_form"].objective, **ROWS["tag_form"].options))
    of_tag = geometry.scheduled(TAG(), torch.arange(1000))
    for mine, theirs in zip(row.axes, of_tag.axes, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-3)
    low, high = row.eigenvalues
    assert low / high == pytest.approx(0.1, abs=1e-3)
    assert low + high == pytest.approx(2, abs=1e-3)


def test_a_network_that_takes_w_is_an_ordinary_one_at_w_1(tiny):
    model = UNet(replace(tiny, w_conditioned=True)).eval()
    x, t, y = torch.randn(3, 1, 8, 8), torch.tensor([5, 500, 999]), torch.tensor([0, 4, 10])
    plain = reguide.two_branches(model)
    assert not plain.w_conditioned
    torch.testing.assert_close(plain(x, t, y), model(x, t, y, torch.ones(3)))
    assert reguide.two_branches(plain) is plain


@pytest.fixture
def quick(monkeypatch):
    """The study of ways back with few samples, pairs and steps."""
    monkeypatch.setattr(reguide.scoring, "SAMPLES", 20)
    monkeypatch.setattr(reguide.scoring, "sample", partial(sample, steps=2))
    monkeypatch.setattr(reguide.scoring, "held_out_gap", lambda *of: SimpleNamespace(overall={}))
    monkeypatch.setattr(reguide, "PAIRS", 200)
    ways = {name: replace(way, steps=(2,)) for name, way in reguide.WAYS.items()}
    monkeypatch.setattr(reguide, "WAYS", ways)


def test_every_way_back_is_measured_and_costs_what_it_says(quick):
    model = results.load("digits/cond_only-uniform-s0").model()
    found = {name: measure() for name, measure in reguide.measures(model, 0).items()}
    assert [*found] == ["none", "repair", "null row, 2", "embeddings, 2", "all, 2"]
    passes = {name: (*of["forwards"].values(),) for name, of in found.items()}
    assert passes["none"] == (0, 0)
    assert passes["repair"] == (400, 400)
    assert passes["null row, 2"] == (256, 256)  # one branch of each, 128 images a step
    assert passes["embeddings, 2"] == passes["all, 2"] == (512, 512)
    scores = {name: [of["guidance"][w]["frechet"] for w in ("1.5", "4")] for name, of in
              found.items()}  # fmt: skip
    assert len({tuple(of) for of in scores.values()}) == len(scores)  # each made other samples


def test_a_study_that_was_interrupted_goes_on_where_it_was(tmp_path, monkeypatch):
    asked, ways = [], ["none", "repair", "null row, 60", "null row, 240", "embeddings, 240"]
    ways += ["all, 60", "all, 240"]
    entry = {"guidance": {}, "cpu_seconds": 0.0}

    def measures(model, seed):
        return {way: lambda way=way: asked.append((seed, model, way)) or entry for way in ways}

    monkeypatch.setattr(reguide, "student", lambda row, *of: row)
    monkeypatch.setattr(reguide, "measures", measures)
    out = tmp_path / "report.json"
    reguide.update(out, tmp_path)
    every = [(seed, row, way) for seed in (0, 1, 2) for row in reguide.ROWS for way in ways]
    assert asked == every
    report = json.loads(out.read_text())
    del report["entries"]["composite-s1"]["ways"]["repair"]
    out.write_text(json.dumps(report))
    reguide.update(out, tmp_path)
    assert asked[len(every) :] == [(1, "composite", "repair")]
    report["config"]["samples"] = 1
    out.write_text(json.dumps(report))
    reguide.update(out, tmp_path)
    assert asked[len(every) + 1 :] == every  # made with other settings
