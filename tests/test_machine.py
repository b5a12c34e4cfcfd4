"""The larger scale is offered by itself, and only where there is a GPU."""

import pytest
import torch

from dashbook.machine import offered
from dashlib.recipes import DIGITS, FASHION


@pytest.mark.parametrize(
    ("gpu", "scale", "device"), [(True, FASHION, "cuda"), (False, DIGITS, "cpu")]
)
def test_a_gpu_gets_clothes_and_a_cpu_digits(monkeypatch, gpu, scale, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert offered() == (scale, torch.device(device))
