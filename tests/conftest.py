"""What the tests share: a tiny network, the digits, and stub denoisers with known branches."""

import pytest
import torch
from torch import Tensor

from dashlib import data, experiments
from dashlib.schedule import Schedule
from dashlib.unet import UNet, UNetConfig

TINY = UNetConfig(
    image_channels=1,
    image_size=8,
    ch=8,
    mults=(1, 2),
    blocks=1,
    attn_resolutions=(4,),
    groups=4,
    patch_size=2,
)


class Fixed:
    """A denoiser with given branches, ``x_t`` times ``slope`` plus a tensor each; counts calls."""

    null_label = 10

    def __init__(self, cond: Tensor, uncond: Tensor, slope: float = 0.0) -> None:
        self.cond, self.uncond, self.slope = cond, uncond, slope
        self.batches: list[int] = []

    def __call__(self, x_t: Tensor, t: Tensor, y: Tensor) -> Tensor:
        self.batches.append(len(x_t))
        null = (y == self.null_label).reshape(-1, *[1] * (x_t.ndim - 1))
        return self.slope * x_t + torch.where(null, self.uncond, self.cond)


@pytest.fixture(autouse=True)
def _leave_torch_as_it_was():
    """Every test starts from one seed, with gradients, and none changes the threads of the next."""
    threads = torch.get_num_threads()
    torch.set_grad_enabled(True)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)
    experiments.teacher_batches.cache_clear()
    experiments._held_out.cache_clear()


@pytest.fixture(scope="session")
def fixed() -> type[Fixed]:
    return Fixed


@pytest.fixture(scope="session")
def tiny() -> UNetConfig:
    """43,308 parameters; 8x8 grey images, ten classes."""
    return TINY


@pytest.fixture
def model(tiny: UNetConfig) -> UNet:
    """A tiny network with random weights, in evaluation mode."""
    return UNet(tiny).eval()


@pytest.fixture(scope="session")
def schedule() -> Schedule:
    return Schedule()


@pytest.fixture(scope="session")
def digits() -> data.Dataset:
    return data.digits()


@pytest.fixture
def stream(digits: data.Dataset, schedule: Schedule) -> data.Stream:
    """Batches of 16 noisy digits."""
    return data.Stream(digits.train, schedule, null_label=10, batch_size=16)


@pytest.fixture
def run_folder(tmp_path, monkeypatch):
    """An empty folder that dashlib takes for results/."""
    monkeypatch.setenv("DASH_RESULTS", str(tmp_path))
    return tmp_path
