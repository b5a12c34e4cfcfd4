"""The README shows what is stored: its measured block cannot drift from results/."""

import re
from pathlib import Path

import readme

ROOT = Path(__file__).parents[1]


def test_measured_block_is_what_the_runs_say() -> None:
    block = readme.BLOCK.search((ROOT / "README.md").read_text())
    assert block, "README.md has lost its markers"
    assert block[0].split("-->\n", 1)[1].rsplit("<!--", 1)[0] == readme.measured()


def test_every_make_target_of_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z]+)", (ROOT / "README.md").read_text())) <= targets


def test_every_link_of_the_readme_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)]+)\)", (ROOT / "README.md").read_text())
    assert all((ROOT / link).exists() for link in links if "://" not in link)
