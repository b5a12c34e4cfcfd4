"""The form of a chapter: its parts, its code in small cells, more words than code."""

import json
import re
from statistics import median

import jupytext
import pytest

import colab
from execute import NOTEBOOKS

TWINS = sorted(NOTEBOOKS.glob("*.py"))
MOST_LINES, MEDIAN_LINES = 20, 8
MOST_WORDS, MOST_FOLDED = 2500, 500  # of a chapter's body, and of its asides that are folded
FOLDED = re.compile(r"^(`{3,})\{admonition\} ([^\n]*)\n:class: dropdown\n(.*?)^\1$", re.M | re.S)
FORMULA = re.compile(r"\$\$.*?\$\$|\$[^$]+\$", re.S)
MOST_COLUMNS = 88  # of code: what fits on the page at 1,280 pixels
NOT_SHOWN = re.compile(r"\b(assert|explorer|markdown|Markdown|show|plots\.\w+)\b")


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
def shown(cells, code):
    """Return the sources of the code cells that the page has and does not collapse."""
    tags = {c.source: c.metadata.get("tags", []) for c in cells}
    return [source for source in code if not {"hide-input", "remove-cell"} & {*tags[source]}]


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


def test_parts_in_order(prose):
    parts = headings(prose, 2)
    assert parts[0] == "Overview"
    assert parts.index("What we found") < parts.index("Exercises")


def test_a_question_opens_the_chapter_and_is_answered(twin):
    text = twin.read_text()
    places = ("## Overview", "**Question.**", "## What we found", "**Answer.**", "## Exercises")
    assert [text.count(place) for place in places] == [1] * len(places)
    assert sorted(places, key=text.index) == list(places)


def test_the_answer_has_a_number(twin):
    """As the page shows it: most are rendered from what is stored."""
    cells = json.loads(twin.with_suffix(".ipynb").read_text())["cells"]
    outputs = [out.get("data", {}) for cell in cells for out in cell.get("outputs", [])]
    shown = [cell["source"] for cell in cells if cell["cell_type"] == "markdown"]
    shown += [data["text/markdown"] for data in outputs if "text/markdown" in data]
    answers = [text for text in map("".join, shown) if "**Answer.**" in text]
    (answer,) = (text.partition("**Answer.**")[2].partition("\n\n")[0] for text in answers)
    assert re.search(r"\d", answer)


def test_exercises_hide_their_solutions(prose):
    exercises = prose[prose.index("## Exercises") :]
    assert len(re.findall(r"\{admonition\} Solution\n:class: dropdown\n", exercises)) >= 3


def test_sources_are_cited(prose):
    assert re.search(r"\{cite(:\w+)?\}`", prose), "cite what the chapter builds on"


def words(text):
    return len(FORMULA.sub("formula", text).split())


def test_the_body_is_short(prose):
    """Count what stands between blanks in the Markdown cells, a formula as one word.

    Questions of exercises count, their solutions do not, and neither do other asides that the page
    folds; those have a limit of their own.
    """
    assert words(FOLDED.sub("", prose)) <= MOST_WORDS
    asides = [text for _, title, text in FOLDED.findall(prose) if title != "Solution"]
    assert sum(map(words, asides)) <= MOST_FOLDED


def test_cells_are_short(code, shown):
    assert max(map(lines, code)) <= MOST_LINES
    assert median(map(lines, shown or [""])) <= MEDIAN_LINES


def test_no_line_of_code_is_wider_than_the_page(twin, code, prose):
    quoted = re.findall(r"```(?:python|sh)\n(.*?)```", prose, re.DOTALL)
    wide = [x for s in code + quoted for x in s.splitlines() if len(x) > MOST_COLUMNS]
    assert not wide, wide


def test_what_is_shown_is_the_method(twin, shown):
    other = [source for source in shown if NOT_SHOWN.search(source)]
    assert not other, other  # tables, assertions, plots: collapsed


def test_more_words_than_code(code, prose):
    assert sum(len(source.split()) for source in code) < len(prose.split())


def test_every_explorer_says_what_to_try_and_what_to_see(code, prose):
    drawn = [re.findall(r"^(?:display\()?explorer\(", source, re.MULTILINE) for source in code]
    count = sum(map(len, drawn)) + len(re.findall(r"^```{live}", prose, re.MULTILINE))
    assert count >= 1
    assert prose.count("**Try:**") >= count
    assert prose.count("**See:**") >= count


def test_what_jupyterlab_alone_runs_is_not_on_the_page(cells):
    """A live explorer is a directive on a page; a cell beside it shows the widget in JupyterLab."""
    for cell in cells:
        tags = cell.metadata.get("tags", [])
        assert ("skip-execution" in tags) == ("dashbook.live" in cell.source), cell.source
        assert "skip-execution" not in tags or "remove-cell" in tags
