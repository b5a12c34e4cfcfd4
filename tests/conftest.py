"""Share among the tests: a tiny network, the digits, and stub denoisers with known branches."""

from shutil import which

import book_pages
import pytest
import torch
from torch import Tensor

from dashlib import data, datasets
from dashlib.runs import scoring
from dashlib.scale import features
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
    scoring._held_out.cache_clear()


@pytest.fixture
def inductor():
    """Let torch.compile generate C++, without trying which vector instructions g++ knows."""
    if not which("g++"):
        pytest.skip("inductor needs a C++ compiler")
    from torch._inductor import config  # it takes a second to import

    # Not monkeypatch: what it sets in this module it deletes afterwards.
    with config.patch({"compile_threads": 1, "cpp.vec_isa_ok": False}):  # starts no processes
        yield


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
    return datasets.load_dataset("digits")


@pytest.fixture
def stream(digits: data.Dataset, schedule: Schedule) -> data.Stream:
    """Batches of 16 noisy digits."""
    return data.Stream(digits.train, schedule, null_label=10, batch_size=16)


@pytest.fixture
def run_folder(tmp_path, monkeypatch):
    """An empty folder that dashlib takes for results/."""
    monkeypatch.setenv("DASH_RESULTS", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="session")
def random_inception(tmp_path_factory):
    """pytorch-fid's network with random weights, stored under the published file's name."""
    fid_inception = pytest.importorskip("pytorch_fid.inception")
    path = tmp_path_factory.mktemp("weights") / features.INCEPTION
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        kept: dict[str, torch.nn.Module] = {}

        class Enough(Exception):
            pass

        def stop(*_, **__):
            raise Enough

        build = fid_inception._inception_v3

        def remember(*args, **kwargs):
            kept["net"] = build(*args, **kwargs)
            return kept["net"]

        patch.setattr(fid_inception, "_inception_v3", remember)
        patch.setattr(fid_inception, "load_state_dict_from_url", stop)
        with pytest.raises(Enough):
            fid_inception.fid_inception_v3()
    for module in kept["net"].modules():  # keep activations of order one through 90 layers
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    torch.save(kept["net"].state_dict(), path)
    return path


@pytest.fixture(scope="session")
def chromium():
    """A browser; the tests that use it are skipped without one, except under CI=true."""
    with book_pages.launched() as browser:
        yield browser
