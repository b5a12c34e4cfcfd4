"""The README shows what is stored: its measured block cannot drift from results/."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
import readme
from PIL import Image

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
