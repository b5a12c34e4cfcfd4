"""FD-DINOv2: torch-fidelity's own command reads the folder that ``sample`` writes.

DINOv2's weights cannot be had here; a tiny network stands in for what torch hub would give.
"""

import ast
import json
import shlex
from pathlib import Path

import jupytext
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from dashlib.__main__ import main
from dashlib.datasets import read_images
from dashlib.metrics import frechet, gaussian

ROOT = Path(__file__).resolve().parents[1]
RUN = "digits/dash-uniform-s0"


@pytest.fixture
def hub(monkeypatch):
    """What torch hub is asked for; it gives four means a channel of an image."""
    asked = []

    def load(*of):
        asked.append(of)
        return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())

    monkeypatch.setattr(torch.hub, "load", load)
    return asked


@pytest.fixture
def folders(tmp_path):
    """Two folders of samples, of other seeds."""
    for seed in ("0", "1"):
        how = ["--n", "40", "--steps", "2", "--seed", seed, "--device", "cpu"]
        made = CliRunner().invoke(main, ["sample", RUN, *how, "--out", str(tmp_path / seed)])
        assert made.exit_code == 0, made.output
    return [tmp_path / "0", tmp_path / "1"]


@pytest.fixture(scope="module")
def command():
    """The command as chapter 6 gives it, without its inputs and the GPU."""
    cells = jupytext.read(ROOT / "notebooks/06_paper_scale.py").cells
    (cell,) = (cell.source for cell in cells if "MORE = " in cell.source)
    commands = ast.literal_eval(ast.parse(cell).body[0].value).replace("\\\n", "").split("\n\n")
    (line,) = (line for line in commands if line.strip().startswith("fidelity "))
    words = shlex.split(line, comments=True)
    return words[: words.index("--input1")]


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")
def test_the_books_command_scores_a_folder_of_samples(hub, folders, command, monkeypatch, capsys):
    from torch_fidelity import fidelity
    from torch_fidelity.interpolate_compat_tensorflow import (
        interpolate_bilinear_2d_like_tensorflow1x as resize,
    )

    inputs = ["--input1", str(folders[0]), "--input2", str(folders[1])]
    few = ["--cpu", "--json", "--silent", "--no-cache", "--kid-subset-size", "20"]
    monkeypatch.setattr("sys.argv", [*command, *inputs, *few])
    fidelity.main()
    found = json.loads(capsys.readouterr().out)
    assert hub == [("facebookresearch/dinov2", "dinov2_vitl14")]
    assert {"kernel_inception_distance_mean", "precision", "recall"} <= found.keys()
    moments = []
    for folder in folders:
        images = read_images(folder, 40, (1, 8, 8))
        x = resize(images.expand(-1, 3, -1, -1).float(), (224, 224), align_corners=False)
        mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]) * 255
        x = (x - mean.view(3, 1, 1)) / std.view(3, 1, 1)
        moments.append(gaussian(nn.AdaptiveAvgPool2d(2)(x).flatten(1).double()))
    ours = frechet(*moments)
    assert found["frechet_inception_distance"] == pytest.approx(ours, rel=1e-3)
    assert ours > 0
