"""Presets: the numbers of the two documented sources, and that each says where it comes from."""

from dataclasses import asdict

import pytest
import torch

from dashlib.guidance import TAG
from dashlib.losses import OBJECTIVES
from dashlib.recipes import RECIPES
from dashlib.sampling import CLAMPS, SPACINGS
from dashlib.scale.presets import PRESETS, preset
from dashlib.unet import UNet, count_parameters
from dashlib.weighting import WEIGHTINGS

SOURCES = ("[R]", "[C]", "[D]", "[ours]")
CIFAR = ("cifar10", "cifar100")


def parameters(cfg):
    with torch.device("meta"):
        return count_parameters(UNet(cfg))


def test_the_names():
    assert set(PRESETS) == {
        *(f"{name}/{source}" for name in CIFAR for source in ("paper_v2", "released")),
        "imagenet64/paper_v2",
        "digits",
    }
    assert all(name == p.name for name, p in PRESETS.items())


@pytest.mark.parametrize(
    ("name", "teacher", "student"),
    [
        ("cifar10/paper_v2", 35_751_939, 6_082_627),
        ("cifar10/released", 35_751_939, 6_082_627),
        ("cifar100/paper_v2", 35_798_019, 6_105_667),
        ("cifar100/released", 35_798_019, 6_105_667),
        ("imagenet64/paper_v2", 116_451_203, 22_336_579),
        ("digits", 942_468, 168_916),
    ],
)
def test_the_networks_have_their_sizes(name, teacher, student):
    found = preset(name)
    assert (parameters(found.teacher.unet), parameters(found.student.unet)) == (teacher, student)


def test_imagenets_networks_round_to_the_papers_sizes():
    """116.5M and 22.3M, 5.2 to 1: all that is known of them."""
    found = preset("imagenet64/paper_v2")
    teacher, student = parameters(found.teacher.unet), parameters(found.student.unet)
    assert (f"{teacher / 1e6:.1f}", f"{student / 1e6:.1f}") == ("116.5", "22.3")
    assert f"{teacher / student:.1f}" == "5.2"
    assert (found.teacher.unet.image_size, found.teacher.unet.num_classes) == (64, 1000)


@pytest.mark.parametrize("name", CIFAR)
def test_paper_v2_is_the_readmes(name):
    found = preset(f"{name}/paper_v2")
    teacher, student = found.teacher.train, found.student.train
    assert (teacher.steps, teacher.lr, teacher.ema) == (391_000, 2e-4, 0.9999)
    assert (student.steps, student.lr, student.ema) == (234_000, 1e-4, 0.9990)
    assert (teacher.weight_decay, teacher.clip, teacher.lr_min) == (0.01, 1.0, 1e-6)
    assert (found.teacher.batch_size, found.student.batch_size, found.teacher.split) == (
        64,
        64,
        1.0,
    )
    assert (found.teacher.weighting, found.student.weighting) == ("tirt", "transfer")
    assert found.teacher.dropout_per == "sample"


@pytest.mark.parametrize("name", CIFAR)
def test_released_is_the_configurations(name):
    found = preset(f"{name}/released")
    student, steps = found.student.train, round(found.teacher.split * 50_000 / 64 + 0.5)
    assert steps == 704
    assert found.teacher.train.steps == 500 * steps
    assert (student.steps, student.lr, student.ema) == (270 * steps, 2e-4, 0.9995)
    assert student.weight_decay == 0.001
    assert (found.teacher.weighting, found.teacher.dropout_per) == ("tirt_batch", "batch")
    assert (found.sampling.spacing, found.sampling.clamp) == ("leading", "clamp")
    assert found.sampling.guidance == TAG(1, 4, 5)


def test_imagenet_makes_130_epochs_of_2048():
    role = preset("imagenet64/paper_v2").teacher
    assert role.batch_size == 2048
    assert role.train.steps * role.batch_size / 1_281_167 == pytest.approx(130, abs=1e-3)


def test_the_books_scale_is_the_one_that_was_run():
    found = preset("digits")
    assert found.teacher == RECIPES["digits/teacher-tirt"]
    assert found.student == RECIPES["digits/dash-transfer-s0"]


@pytest.mark.parametrize("name", PRESETS)
def test_all_settings_exist_elsewhere(name):
    found = preset(name)
    for role in (found.teacher, found.student):
        assert role.objective in OBJECTIVES
        assert role.weighting in ("transfer", *WEIGHTINGS)
        assert 0 <= role.label_dropout <= 1
    assert found.sampling.spacing in SPACINGS
    assert found.sampling.clamp in CLAMPS


@pytest.mark.parametrize("name", PRESETS)
def test_every_setting_has_a_source(name):
    """By its own name, or by its last part, in some note; and every note names a source."""
    found = preset(name)
    noted = {word.strip().split(".")[-1] for key in found.notes for word in key.split(",")}
    wanted = {"unet", "batch_size", "objective", "weighting", "label_dropout", "dropout_per"}
    wanted |= {"flip", "split", "precision"}
    if "train" not in noted:
        hidden = {"bf16", "read_every", "warm"}  # how a step is computed, not what
        wanted |= set(asdict(found.teacher.train)) - hidden
    if "sampling" not in noted:
        wanted |= set(asdict(found.sampling))
    assert wanted <= noted
    assert all(any(source in text for source in SOURCES) for text in found.notes.values())


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("cifar10", "one of cifar10/paper_v2, cifar10/released"),
        ("imagenet64/released", "one of cifar10/paper_v2, cifar10/released"),
        ("mnist", "one of cifar10/paper_v2, cifar10/released"),
    ],
)
def test_an_unknown_name_is_an_error_with_a_hint(name, hint):
    with pytest.raises(ValueError, match=f"unknown preset '{name}': {hint}"):
        preset(name)
