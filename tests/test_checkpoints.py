"""Weights on disk: round trips, damage, the authors' format, and pickles that want to run code.

``data/official_inventory.json``: the names and shapes of the authors' checkpoints (release of arXiv
2606.00798); see test_unet.py.  No released weights are used: the files are made here.
"""

import errno
import json
import math
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from dashlib import checkpoints
from dashlib.__main__ import main
from dashlib.checkpoints import CheckpointError
from dashlib.scale.official import load_official
from dashlib.unet import STUDENT_CIFAR10, UNet

INVENTORY = json.loads((Path(__file__).parent / "data/official_inventory.json").read_text())


def equal(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(v, b[k]) for k, v in a.items())


@pytest.mark.parametrize("lam", [None, torch.randn(1000)], ids=["plain", "lambda"])
def test_a_model_comes_back(model, tmp_path, lam):
    checkpoints.save_model(tmp_path / "m", model.train(), lam)
    again, lam_again = checkpoints.load_model(tmp_path / "m")
    assert again.cfg == model.cfg
    assert equal(again, model)
    assert not again.training
    assert lam_again is None if lam is None else torch.equal(lam_again, lam)
    assert {p.name for p in tmp_path.iterdir()} == {"m.json", "m.safetensors"}


def test_a_dot_in_the_name_is_part_of_it(model, tmp_path):
    for name in ("lr0.1", "lr0.2"):
        checkpoints.save_model(tmp_path / name, model)
    assert {p.name for p in tmp_path.iterdir()} == {
        f"lr0.{i}.{kind}" for i in (1, 2) for kind in ("json", "safetensors")
    }


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_truncated_file_is_an_error(model, tmp_path, keep):
    checkpoints.save_model(tmp_path / "m", model)
    path = tmp_path / "m.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"m\.safetensors is missing.*git checkout"):
        checkpoints.load_model(tmp_path / "m")


def test_a_missing_file_is_an_error(model, tmp_path):
    with pytest.raises(CheckpointError, match=r"m\.json"):
        checkpoints.load_model(tmp_path / "m")
    checkpoints.save_model(tmp_path / "m", model)
    (tmp_path / "m.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"m\.safetensors is missing or damaged"):
        checkpoints.load_model(tmp_path / "m")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"unet": {"chh": 3}, "lambda": null}'])
def test_a_damaged_configuration_is_an_error(model, tmp_path, text):
    checkpoints.save_model(tmp_path / "m", model)
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"m\.json is missing or damaged"):
        checkpoints.load_model(tmp_path / "m")


def test_another_architecture_is_an_error_that_names_the_parameters(model, tiny):
    wider = UNet(replace(tiny, ch=16))
    with pytest.raises(CheckpointError, match=r"here holds.*temb\.dense\.0\.weight is \(64, 16\)"):
        checkpoints.load_into(model, wider.state_dict(), "here")
    deeper = UNet(replace(tiny, blocks=2))
    with pytest.raises(CheckpointError, match=r"block\.1.* is not in the model.*and \d+ more"):
        checkpoints.load_into(model, deeper.state_dict(), "here")
    with pytest.raises(CheckpointError, match=r"block\.1.* is missing"):
        checkpoints.load_into(deeper, model.state_dict(), "here")


def test_a_failed_load_leaves_the_model(model, tiny):
    before = {k: v.clone() for k, v in model.state_dict().items()}
    tensors = {k: torch.zeros_like(v) for k, v in before.items()}
    tensors["conv_in.weight"] = torch.zeros(3)
    with pytest.raises(CheckpointError, match=r"conv_in\.weight"):
        checkpoints.load_into(model, tensors, "here")
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in before.items())


def test_half_precision_is_read_as_float32(model):
    halves = {k: v.half() for k, v in model.state_dict().items()}
    checkpoints.load_into(model, checkpoints.load_bytes(checkpoints.pack(halves)), "here")
    assert {v.dtype for v in model.state_dict().values()} == {torch.float32}
    assert torch.equal(model.conv_in.weight.detach(), halves["conv_in.weight"].float())


def test_pack_takes_views_and_gradients():
    tensor = torch.arange(6.0, requires_grad=True).reshape(2, 3).T
    assert torch.equal(checkpoints.load_bytes(checkpoints.pack({"a": tensor}))["a"], tensor)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, step):
    path = tmp_path / "deep" / "file"
    checkpoints.write_atomically(path, b"old")

    def fail(*args):
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="no space"):
        checkpoints.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_a_written_file_replaces_the_old_one(tmp_path):
    for content in (b"old", b"new"):
        checkpoints.write_atomically(tmp_path / "file", content)
    assert (tmp_path / "file").read_bytes() == b"new"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """A student-sized file in the authors' format: raw weights 1, averaged weights 2 to 3."""
    shapes = INVENTORY["student"]["shapes"]
    generator = torch.Generator().manual_seed(0)
    shadow = {k: 2 + torch.rand(s, generator=generator) for k, s in shapes.items()}
    path = tmp_path_factory.mktemp("official") / "student.pth"
    content = {
        "model_state_dict": {k: torch.ones(s) for k, s in shapes.items()},
        "ema_state_dict": {"shadow": shadow, "mu": 0.9995, "registered": True},
        "tirt_state_dict": {
            "importance_adjustment": torch.linspace(-1, 1, 1000),
            "snr_gamma": torch.tensor(5.0),
        },
        "optimizer_state_dict": {"state": {}, "param_groups": [{"lr": 2e-4}]},
        "epoch": 270,
        "loss_history": [0.5, 0.1],
    }
    torch.save(content, path)
    return path


def rewrite(official, path, change):
    """The same file with ``change(content)`` applied."""
    content = torch.load(official, weights_only=True)
    change(content)
    torch.save(content, path)
    return path


def test_an_official_checkpoint_gives_the_averaged_model_and_lambda(official):
    model, lam = load_official(official)
    assert model.cfg == STUDENT_CIFAR10
    assert not model.training
    assert all(2 <= v.min() <= v.max() <= 3 for v in model.state_dict().values())
    assert torch.equal(lam, torch.linspace(-1, 1, 1000))


def test_the_command_line_converts_an_official_checkpoint(official, tmp_path):
    result = CliRunner().invoke(main, ["convert", str(official), str(tmp_path / "student")])
    assert result.exit_code == 0, result.output
    assert "with TIRT lambda" in result.output
    model, lam = checkpoints.load_model(tmp_path / "student")
    want_model, want_lam = load_official(official)
    assert equal(model, want_model)
    torch.testing.assert_close(lam, want_lam)


def test_the_command_line_names_the_files_it_wrote(official, tmp_path):
    out = tmp_path / "student.v2"
    result = CliRunner().invoke(main, ["convert", str(official), str(out)])
    written = sorted(str(p) for p in tmp_path.iterdir())
    assert all(path in result.output for path in written), (result.output, written)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.pop("tirt_state_dict"),
        lambda c: c["tirt_state_dict"].pop("importance_adjustment"),
        lambda c: c.update(tirt_state_dict=None),
    ],
)
def test_lambda_may_be_absent(official, tmp_path, change):
    path = rewrite(official, tmp_path / "plain.pth", change)
    assert load_official(path)[1] is None


@pytest.mark.parametrize("size", ["teacher", "student"])
def test_the_architecture_is_recognised_by_its_shapes(tmp_path, size):
    """Only the shapes are needed: every tensor is one number, expanded."""
    shapes = dict(INVENTORY[size]["shapes"])
    width = shapes["class_embed.weight"][1]
    shadow = {k: torch.zeros(()).expand(s) for k, s in shapes.items()}
    shadow["class_embed.weight"] = torch.zeros(()).expand(101, width)
    torch.save({"ema_state_dict": {"shadow": shadow}}, tmp_path / "c100.pth")
    found = load_official(tmp_path / "c100.pth")[0].cfg
    assert (found.num_classes, found.ch, found.blocks) == (
        (100, 128, 2) if size == "teacher" else (100, 64, 1)
    )


def shadow(content):
    return content["ema_state_dict"]["shadow"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("ema_state_dict"), "not a DASH checkpoint"),
        (lambda c: c.update(ema_state_dict=3), "not a DASH checkpoint"),
        (lambda c: shadow(c).pop("class_embed.weight"), "not a DASH checkpoint"),
        (lambda c: shadow(c).pop("mid.attn_1.q.bias"), r"mid\.attn_1\.q\.bias is missing"),
        (lambda c: shadow(c).update(extra=torch.zeros(1)), "extra is not in the model"),
        (lambda c: shadow(c).update({"conv_out.bias": torch.zeros(4)}), r"\(4,\), should be \(3,"),
        (lambda c: shadow(c).update({"conv_in.weight": torch.zeros(48, 3, 3, 3)}), "bad.pth"),
        (lambda c: shadow(c).update({"conv_in.weight": 3}), "bad.pth"),
        (lambda c: shadow(c).update({"class_embed.weight": torch.tensor(1.0)}), "bad.pth"),
        (lambda c: c["tirt_state_dict"].update(importance_adjustment=torch.zeros(9)), "bad.pth"),
    ],
)
def test_another_content_is_an_error(official, tmp_path, change, message):
    path = rewrite(official, tmp_path / "bad.pth", change)
    with pytest.raises(CheckpointError, match=message):
        load_official(path)


@pytest.mark.parametrize("content", [[1, 2], 3, torch.zeros(3), None], ids=type)
def test_another_object_is_an_error(tmp_path, content):
    torch.save(content, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match=r"bad\.pth"):
        load_official(tmp_path / "bad.pth")


@pytest.mark.parametrize("content", [b"", b"hello, this is text", b"\x80\x02", b"PK\x03\x04"])
def test_a_file_that_is_no_checkpoint_is_an_error(tmp_path, content):
    path = tmp_path / "bad.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"bad\.pth cannot be read"):
        load_official(path)


def test_a_truncated_official_checkpoint_is_an_error(official, tmp_path):
    path = tmp_path / "half.pth"
    path.write_bytes(official.read_bytes()[:1_000_000])
    with pytest.raises(CheckpointError, match=r"half\.pth cannot be read"):
        load_official(path)


@pytest.mark.parametrize("name", ["missing.pth", "."])
def test_a_path_without_a_file_is_an_error_on_the_command_line(tmp_path, name):
    result = CliRunner().invoke(main, ["convert", str(tmp_path / name), str(tmp_path / "out")])
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    assert "Error:" in result.output


class Attack:
    """Unpickling this would create the file ``target``."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.parametrize("how", [torch.save, lambda x, p: p.write_bytes(pickle.dumps(x, 2))])
def test_a_pickle_that_runs_code_is_refused(tmp_path, how):
    path, target = tmp_path / "evil.pth", tmp_path / "executed"
    how({"ema_state_dict": {"shadow": {}}, "extra": Attack(target)}, path)
    with pytest.raises(CheckpointError, match=r"evil\.pth .*would execute code.*refuses"):
        load_official(path)
    assert not target.exists()
    pickle.loads(pickle.dumps(Attack(target)))
    assert target.exists()  # the attack itself works


def test_nan_is_refused(model, tmp_path):
    model.conv_in.bias.data[0] = math.nan
    checkpoints.save_model(tmp_path / "m", model)
    with pytest.raises(CheckpointError, match=r"conv_in\.bias is not finite"):
        checkpoints.load_model(tmp_path / "m")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_an_official_network_that_is_not_finite_is_refused(official, tmp_path, value):
    content = torch.load(official, weights_only=True)
    content["ema_state_dict"]["shadow"]["conv_out.bias"][1] = value
    torch.save(content, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match=r"conv_out\.bias is not finite"):
        load_official(tmp_path / "bad.pth")


def test_a_mixed_pair_is_refused(model, tiny, tmp_path):
    """The weights of one training beside the configuration of another of the same network."""
    checkpoints.save_model(tmp_path / "a", model)
    checkpoints.save_model(tmp_path / "b", UNet(tiny))
    (tmp_path / "a.json").replace(tmp_path / "b.json")
    with pytest.raises(CheckpointError, match=r"b\.json is missing or damaged.*SHA-256"):
        checkpoints.load_model(tmp_path / "b")


def test_a_flipped_bit_of_a_zip_is_found_by_its_crc(official, tmp_path):
    content = bytearray(official.read_bytes())
    content[len(content) // 2] ^= 1  # within the numbers: torch.load alone reads it
    (tmp_path / "bad.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match="CRC"):
        load_official(tmp_path / "bad.pth")


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_prefixes_of_wrapped_networks_are_dropped(official, tmp_path, prefix):
    content = torch.load(official, weights_only=True)
    shadow = content["ema_state_dict"]["shadow"]
    content["ema_state_dict"]["shadow"] = {prefix + k: v for k, v in shadow.items()}
    torch.save(content, tmp_path / "wrapped.pth")
    model, _ = load_official(tmp_path / "wrapped.pth")
    assert all(torch.equal(v, shadow[k]) for k, v in model.state_dict().items())


def test_what_is_written_follows_links_and_leaves_devices_alone(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    checkpoints.write_atomically(link, b"x")
    assert link.is_symlink()
    assert target.read_bytes() == b"x"
    for place in (Path("/dev/null"), tmp_path):
        with pytest.raises(OSError, match="a folder or a device"):
            checkpoints.write_atomically(place, b"x")


def test_an_error_of_a_full_disk_names_the_file(tmp_path, monkeypatch):
    def full(file):  # which, like a write, knows no name
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*/m\.json'"):
        checkpoints.write_atomically(tmp_path / "m.json", b"{}")
    assert not [*tmp_path.iterdir()]


def test_numbers_of_numpy_beside_the_weights_are_read(official, tmp_path):
    content = torch.load(official, weights_only=True)
    numbers = {"best_fid": np.float64(2.5), "epoch": np.int32(7), "done": np.bool_(True)}
    torch.save(content | numbers, tmp_path / "numbers.pth")
    read = checkpoints.read_pickled(tmp_path / "numbers.pth")
    assert {name: read[name] for name in numbers} == {"best_fid": 2.5, "epoch": 7, "done": True}
    load_official(tmp_path / "numbers.pth")


def test_an_object_in_the_place_of_a_number_is_refused(tmp_path):
    class Hostile:
        def __reduce__(self):
            return np._core.multiarray.scalar, (np.dtype("O"), b"\x10" * 8)

    torch.save({"best_fid": Hostile()}, tmp_path / "object.pth")
    with pytest.raises(CheckpointError, match=r"object\.pth cannot be read"):
        checkpoints.read_pickled(tmp_path / "object.pth")


def test_weights_that_are_integers_are_refused(official, tmp_path):
    content = torch.load(official, weights_only=True)
    shadow = content["ema_state_dict"]["shadow"]
    shadow["conv_out.bias"] = shadow["conv_out.bias"].round().long()
    torch.save(content, tmp_path / "integers.pth")
    with pytest.raises(CheckpointError, match=r"conv_out\.bias is torch\.int64"):
        load_official(tmp_path / "integers.pth")


@pytest.mark.parametrize("lam", ["x", [0.0] * 1000, torch.zeros(3), torch.full((1000,), math.nan)])
def test_a_lambda_that_is_none_is_refused(official, tmp_path, lam):
    content = torch.load(official, weights_only=True)
    content["tirt_state_dict"] = {"importance_adjustment": lam}
    torch.save(content, tmp_path / "lam.pth")
    with pytest.raises(CheckpointError, match=r"lam\.pth: not a DASH checkpoint"):
        load_official(tmp_path / "lam.pth")


def test_a_lambda_of_ours_that_is_not_finite_is_refused(model, tmp_path):
    checkpoints.save_model(tmp_path / "m", model, torch.full((1000,), math.inf))
    with pytest.raises(CheckpointError, match=r"lambda: 1000 are not finite"):
        checkpoints.load_model(tmp_path / "m")
