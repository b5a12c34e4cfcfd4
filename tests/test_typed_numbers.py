"""Numbers that prose types instead of computing them: each is held to what is stored.

The chapters assert most of what they say; here is the rest, and the landing page.
"""

import contextlib
import io
import re
from functools import cache

import numpy as np
import torch
from live_js import Random

from dash_live import FILES
from dashbook import atlas, cifar10, playground
from dashbook.live import USUAL
from dashlib import results
from dashlib.data import Stream
from dashlib.datasets import load_dataset
from dashlib.distillation.probe import STALE
from dashlib.guidance import Guided, branches
from dashlib.losses import mse
from dashlib.metrics import noisy_pairs, pair_stats, predict, spreads
from dashlib.sampling import ddim
from dashlib.schedule import Schedule
from dashlib.unet import UNet, UNetConfig
from execute import NOTEBOOKS, ROOT

INDEX = ROOT / "book/index.md"


def text_of(name):
    """Return the prose of a page, on one line."""
    path = INDEX if name == "index" else next(NOTEBOOKS.glob(f"{name}_*.py"))
    return " ".join(path.read_text().replace("\n# ", " ").split())


def parameters(run):
    with torch.device("meta"):
        return sum(p.numel() for p in UNet(UNetConfig(**run.config["unet"])).parameters())


@cache
def dial_gap(row):
    """The mean norm of a network's gap in the view that the guidance dial opens with."""
    usual, model = USUAL["dial"], results.load(f"digits/{FILES[row]}").model()
    y = torch.full((4,), usual["label"])
    x_T = Random(usual["seed"]).normals(4, 1, 8, 8)
    norms = []
    with torch.no_grad():
        for at in ddim(Guided(model, y, float(usual["w"])), x_T, Schedule(), steps=usual["steps"]):
            both = branches(model, at.x_t, torch.full((4,), at.t), y)
            norms.append((both.cond - both.uncond).flatten(1).norm(dim=1).mean())
    return torch.stack(norms).mean().item()


def longer(row):
    return dial_gap(row) / dial_gap("teacher")


def test_the_networks_have_as_many_parameters_as_the_pages_say():
    teacher, student = (
        results.load(f"digits/{name}") for name in (FILES["teacher"], FILES["dash"])
    )
    said = f"8×8 digits with {parameters(teacher):,} parameters, and students"
    assert f"{said} with {parameters(student):,}." in text_of("index")
    rows = ("teacher", "dash_v-high_noise")
    sizes = [parameters(cifar10.seeds(row)[0]) / 1e6 for row in rows]
    said = f"a teacher of {sizes[0]:.1f} million parameters and"
    assert f"{said} a student of {sizes[1]:.1f} million." in text_of("05")
    assert f"{said} students of {sizes[1]:.1f} million." in text_of("index")


def test_the_gaps_that_the_dial_opens_with_are_as_the_pages_say():
    assert "its gap is three times too large" in text_of("index")
    assert 2.5 < longer("cond_only") < 3.5
    assert "DASH's stays within a fifth of the teacher's" in text_of("index")
    said = f"scratch's gap is {longer('scratch'):.1f} times as long as the teacher's, dropout's"
    said += f" {longer('cond_only_dropout'):.1f} times, and DASH's longer by a twentieth."
    assert said in text_of("03")
    assert 1.025 < longer("dash") < 1.075


def test_the_steps_of_every_training_are_as_the_chapters_say():
    teacher, student = (
        results.load(f"digits/{name}") for name in (FILES["teacher"], FILES["dash"])
    )
    steps = [run.config["train"]["steps"] for run in (student, teacher)]
    assert f"students learn for {steps[0]:,} steps" in text_of("04b")
    assert f"by a teacher of its own ({steps[1]:,} steps)" in text_of("04b")
    assert f"trained for {cifar10.shared()['students']['steps']:,} steps" in text_of("05")


def test_the_accuracy_that_the_second_training_aimed_at_is_below_the_teachers():
    accuracy = cifar10.score(cifar10.seeds("teacher")[0], "1.5")["accuracy"]
    assert f"accuracy at $w = 1.5$ at least 0.75 (the teacher: {accuracy:.2f})" in text_of("05")


def test_the_factor_between_the_noise_and_the_image_is_as_the_atlas_says():
    small, large = (Schedule().snr()[t].item() ** -0.5 for t in (0, 970))
    assert f"which is {small:.2f} at $t = 0$ and {large:.0f} at $t = 970$" in text_of("09")


def test_the_mixture_is_as_wide_as_the_playground_says():
    std = playground.pinwheel().std
    said = f"has a standard deviation of {std.min():.2f} to {std.max():.2f}"
    assert said in text_of("07")


def test_the_brightness_of_digits_varies_as_the_table_says():
    varies = spreads(load_dataset("digits").train.x)["luminance"]
    assert f"1,000 samples ($w = 1.5$), {varies:.3f} in the data." in text_of("03")


LEARNED = ("teacher-tirt", "dash-transfer-s0", "gap_match_cond-transfer-s0")
SUMS, OTHERS = "multi_w-transfer-s0", ("fitnets-transfer-s0", "cond_only-transfer-s0")


def null_ratio(name, noisy):
    """Give what the probe looks at: how much worse the null is than another class, relatively."""
    model = results.load(f"digits/{name}").model()
    with torch.no_grad():
        own = branches(model, noisy.x_t, noisy.t, noisy.y)
        other = branches(model, noisy.x_t, noisy.t, noisy.y.roll(1)).cond
    c, u, s = (mse(out, noisy.eps).double().mean() for out in (own.cond, own.uncond, other))
    return ((u - c) / (s - c)).item()


def test_the_probe_refuses_what_the_chapter_says():
    digits, generator = load_dataset("digits").test, torch.Generator().manual_seed(0)
    i = torch.randint(len(digits), (1024,), generator=generator)
    noisy = Stream(digits, Schedule(), 10, label_dropout=0.0).noisy(
        digits.x[i], digits.y[i], generator
    )
    low = [null_ratio(name, noisy) for name in LEARNED]
    between, *high = (null_ratio(name, noisy) for name in (SUMS, *OTHERS))
    assert f"have {min(low):.2f} to {max(low):.2f}. Multi-w" in text_of("11")
    assert f"has {between:.2f}, and cond-only" in text_of("11")
    assert f"the others {min(high):.2f} and more. Above {STALE} the probe" in text_of("11")


@cache
def of_held_out(name):
    """What a network of digits answers to the noisy held-out images; they themselves, if empty."""
    if not name:
        return noisy_pairs(load_dataset("digits").test, Schedule())
    return predict(results.load(f"digits/{name}").model(), of_held_out(""))


def last_solution(name, **known):
    """Run the code of a chapter's last solution, and read the numbers of each line it prints."""
    text = next(NOTEBOOKS.glob(f"{name}_*.py")).read_text()
    code = text.rpartition("# ```python\n")[2].partition("# ```\n")[0]
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        exec(re.sub("^# ?", "", code, flags=re.M), known)
    return [
        [float(n) for n in re.findall(r"-?\d+\.?\d*", line)]
        for line in told.getvalue().splitlines()
    ]


def test_maps_from_half_of_the_pairs_agree_as_the_solution_says():
    stats = {"dash": pair_stats(of_held_out("dash-transfer-s0"), of_held_out("teacher-tirt"))}
    known = {"noisy": of_held_out(""), "stats": stats, "atlas": atlas, "torch": torch}
    rho, cos, a_star = (numbers[-1] for numbers in last_solution("09", **known))
    assert "above 0.8 for all three metrics, and highest for cos" in text_of("09")
    assert 0.8 < min(rho, a_star) <= max(rho, a_star) < cos


def test_a_fit_needs_as_few_pairs_as_the_solution_says():
    answers = of_held_out("cond_only-transfer-s0"), of_held_out("teacher-tirt")
    known = {"noisy": of_held_out(""), "answers": answers, "atlas": atlas, "np": np}
    spread = [deviation for _, deviation in last_solution("09b", **known)]
    whole = atlas.fit(*answers, of_held_out("").t)
    scale = 4 * whole["a"][0] + whole["c"][0]
    said = f"About {spread[0]:.2f}, {spread[1]:.2f} and {spread[2]:.2f}, of a scale of {scale:.1f}"
    assert said in text_of("09b")
