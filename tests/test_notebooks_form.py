"""The form of a chapter: its parts, its code in small cells, more words than code.

A chapter that is written before a rule was tested may have a debt; a debt can shrink, never grow.
"""

import re
from statistics import median

import colab
import jupytext
import pytest

from execute import NOTEBOOKS

TWINS = sorted(NOTEBOOKS.glob("*.py"))
MOST_CELLS, FEWEST_CELLS = 20, 10
MOST_LINES, MEDIAN_LINES = 20, 8
# Debts of chapters whose cells draw figures and assert claims at once.
MORE_CELLS = {
    "04b_tirt_microscope": 26,
    "05_fashion_mnist": 27,
    "06_paper_scale": 28,
    "07_playground": 23,
    "09_gap_atlas": 23,
}
LONGER_CELLS = {  # median of the lines that are not empty
    "01_teacher": 14,
    "02_guidance_gap_collapse": 14,
    "03_dual_branch_distillation": 17,
    "04_tirt_transfer": 15,
    "04b_tirt_microscope": 14,
    "05_fashion_mnist": 14,
    "06_paper_scale": 13,
    "07_playground": 14,
    "08_loss_geometry": 11.5,
    "09_gap_atlas": 13,
}
CODE_PER_WORD = {"05_fashion_mnist": 1.11}
OTHER_END = {"05_fashion_mnist": "What to take away", "06_paper_scale": "What to take away"}


@pytest.fixture(params=TWINS, ids=lambda p: p.stem)
def twin(request):
    return request.param


@pytest.fixture
def cells(twin):
    return jupytext.read(twin).cells


@pytest.fixture
def code(cells):
    """Return the sources of the code cells, without the one that every chapter begins with."""
    sources = [c.source for c in cells if c.cell_type == "code" and c.source.strip()]
    return [source for source in sources if not source.startswith(colab.FIRST_LINE)]


@pytest.fixture
def prose(cells):
    return "\n\n".join(c.source for c in cells if c.cell_type == "markdown")


def lines(source):
    return sum(bool(line.strip()) for line in source.splitlines())


def headings(prose, level):
    return re.findall(rf"^#{{{level}}} (.+)$", prose, re.MULTILINE)


def test_one_title_with_an_anchor(prose):
    assert len(headings(prose, 1)) == 1
    assert re.match(r"\(ch-[a-z-]+\)=\n# ", prose), "the chapter begins with (ch-name)= and its H1"


def test_parts_in_order(twin, prose):
    parts = headings(prose, 2)
    wanted = {"What we found", OTHER_END.get(twin.stem, "What we found")}
    assert parts[0] == "Overview"
    (end,) = [i for i, part in enumerate(parts) if part in wanted]
    assert end < parts.index("Exercises")


def test_exercises_hide_their_solutions(prose):
    exercises = prose[prose.index("## Exercises") :]
    assert len(re.findall(r"\{admonition\} Solution\n:class: dropdown\n", exercises)) >= 3


def test_sources_are_cited(prose):
    assert re.search(r"\{cite(:\w+)?\}`", prose), "cite what the chapter builds on"


def test_as_many_cells_as_one_can_follow(twin, code):
    assert FEWEST_CELLS <= len(code) <= MORE_CELLS.get(twin.stem, MOST_CELLS)


def test_cells_are_short(twin, code):
    length = [lines(source) for source in code]
    assert max(length) <= MOST_LINES
    assert median(length) <= LONGER_CELLS.get(twin.stem, MEDIAN_LINES)


def test_more_words_than_code(twin, code, prose):
    ratio = sum(len(source.split()) for source in code) / len(prose.split())
    assert ratio <= CODE_PER_WORD.get(twin.stem, 1)


def test_every_explorer_says_what_to_try_and_what_to_see(code, prose):
    found = [re.findall(r"^(?:display\()?explorer\(", source, re.MULTILINE) for source in code]
    assert sum(map(len, found)) >= 1
    assert prose.count("**Try:**") >= sum(map(len, found))
    assert prose.count("**See:**") >= sum(map(len, found))
