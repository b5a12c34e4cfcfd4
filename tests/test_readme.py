"""The README shows what is stored: its measured block cannot drift from results/."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import readme
import torch
from diffusers import DDPMScheduler, UNet2DModel
from PIL import Image
from torch.nn import functional

from dashlib import results

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("path", readme.SHOWN, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_measured_block_is_what_the_runs_say(path: Path) -> None:
    text = path.read_text()
    assert len(readme.BLOCK.findall(text)) == 1, f"{path} has lost its markers"
    assert readme.rewritten(path, text) == text, "run `make readme`"


def test_a_stale_number_would_be_rewritten() -> None:
    path = ROOT / "results" / "README.md"
    text = path.read_text()
    pruned = results.select("pruned", "transfer")
    rho = np.mean([run.metrics["gap"]["overall"]["rho"] for run in pruned])
    row = f"| 238,276 | {rho:.2f} ±"
    assert text.count(row) == 1
    assert readme.rewritten(path, text.replace(row, "| 238,276 | 7.77 ±")) == text


def test_the_first_page_is_short() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= 6000


def test_the_commands_take_as_long_as_they_are_said_to() -> None:
    stored = json.loads((ROOT / "results/bench/commands.json").read_text())
    assert stored["cores"] == 2
    took = {target.removeprefix("make "): of for target, of in stored["seconds"].items()}
    text = " ".join((ROOT / "README.md").read_text().split())
    said = f"On two cores the set-up took {took['setup']:.0f} s with a fast network, the book"
    said += f" {took['book'] / 60:.0f} minutes after it, the tests {took['test'] / 60:.0f}."
    assert said in text


def pixels(png: bytes, size: tuple[int, int] = (300, 200)) -> np.ndarray:
    """Gray levels of a PNG, small: releases of matplotlib place things a pixel apart."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("L").resize(size), dtype=float)


def test_the_first_picture_is_that_of_the_stored_digits() -> None:
    first = re.search(r"!\[[^]]*\]\(([^)]+)\)", (ROOT / "README.md").read_text())
    assert first
    path = ROOT / first[1]
    assert path == readme.PICTURE
    assert_current(path, readme.picture())


def test_the_pictures_of_the_live_explorers_are_those_of_the_stored_runs() -> None:
    assert_current(readme.DIAL_PICTURE, readme.dial())
    assert_current(readme.WEIGHTS_PICTURE, readme.importance(), ink=3)


def assert_current(path: Path, picture: bytes, ink: float = 20) -> None:
    kept, drawn = (pixels(content) for content in (path.read_bytes(), picture))
    assert abs(kept - drawn).mean() < 1, "run `make readme`"  # fonts may differ a little
    assert abs(kept - kept.mean()).mean() > ink  # a picture of nothing would agree with anything


def test_every_make_target_of_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert (
        set(re.findall(r"(?<!dashlib )make ([a-z]+)", (ROOT / "README.md").read_text())) <= targets
    )


def test_every_link_of_the_readme_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)]+)\)", (ROOT / "README.md").read_text())
    assert all((ROOT / link).exists() for link in links if "://" not in link)


def class_teacher(images: torch.Tensor, labels: torch.Tensor) -> UNet2DModel:
    """A tiny UNet2DModel that has learned these images with label dropout, class 10 the null."""
    torch.manual_seed(0)
    sizes = {"sample_size": 4, "in_channels": 1, "out_channels": 1, "norm_num_groups": 8}
    blocks = {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",)}
    unet = UNet2DModel(num_class_embeds=11, block_out_channels=(16,), **sizes, **blocks)
    optimizer, scheduler = torch.optim.AdamW(unet.parameters(), lr=3e-3), DDPMScheduler()
    for _ in range(150):
        index, t = torch.randint(len(images), (64,)), torch.randint(1000, (64,))
        eps, y = torch.randn(64, 1, 4, 4), labels[index].where(torch.rand(64) > 0.2, 10)
        out = unet(scheduler.add_noise(images[index], eps, t), t, class_labels=y).sample
        loss = functional.mse_loss(out, eps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return unet


def test_ones_own_model_is_distilled_as_the_first_page_says(tmp_path, monkeypatch, capsys) -> None:
    blocks = re.findall(r"```python\n(.+?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (snippet,) = (block for block in blocks if "distill(" in block)
    labels = torch.arange(500) % 10
    images = (labels / 4.5 - 1).reshape(-1, 1, 1, 1) + 0.05 * torch.randn(500, 1, 4, 4)
    monkeypatch.chdir(tmp_path)
    class_teacher(images, labels).save_pretrained("teacher")
    DDPMScheduler().save_pretrained("scheduler")
    assert snippet.count("steps=2000") == 1
    exec(snippet.replace("steps=2000", "steps=20"), {"images": images, "labels": labels})
    assert "uncond_mse" in capsys.readouterr().out
    assert UNet2DModel.from_pretrained("student").num_parameters() > 0
