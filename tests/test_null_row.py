"""Another start of an untrained null row: what is put in, and what is left as it was."""

import pytest
import torch

from dashbook import null_row
from dashlib import results
from dashlib.metrics import NoisyPairs, predict
from dashlib.unet import UNet, UNetConfig

NAME = "digits/cond_only-transfer-s0"


@pytest.fixture(scope="module")
def run():
    return results.load(NAME)


def test_only_the_null_row_is_exchanged(run):
    before, after = run.model().state_dict(), null_row.restarted(run, "zero").state_dict()
    changed = [key for key in before if not torch.equal(before[key], after[key])]
    assert changed == ["class_embed.weight"]
    table = after["class_embed.weight"]
    assert not table[-1].any()
    assert torch.equal(table[:-1], before["class_embed.weight"][:-1])


def test_the_mean_of_the_first_class_rows_has_decayed_like_the_row_that_was_there(run):
    torch.manual_seed(run.seed)
    first = UNet(UNetConfig(**run.config["unet"])).class_embed.weight.detach()
    found = null_row.restarted(run, "mean_of_classes").class_embed.weight[-1]
    decay = run.model().class_embed.weight[-1] / first[-1]
    assert 0.9 < decay.median() < 1
    torch.testing.assert_close(found, decay * first[:-1].mean(0), rtol=1e-3, atol=1e-6)


def test_another_start_is_refused(run):
    with pytest.raises(ValueError, match="'zero' or 'mean_of_classes'"):
        null_row.restarted(run, "normal")


def test_the_global_generator_is_left_alone(run):
    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    null_row.restarted(run, "zero")
    assert torch.equal(torch.rand(3), want)


def test_gap_metrics_are_against_the_given_answers(run):
    noisy = NoisyPairs(torch.randn(6, 1, 8, 8), torch.randint(1000, (6,)), torch.arange(6))
    own = predict(null_row.restarted(run, "zero"), noisy)
    found = null_row.gap_after(run, "zero", noisy, own)
    assert (found["rho"], found["gap_mse"], found["n"]) == (pytest.approx(1), 0, 6)
    assert null_row.gap_after(run, "mean_of_classes", noisy, own)["gap_mse"] > 0
