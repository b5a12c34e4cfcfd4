"""Check what the book is made of: each chapter is in it, each source cited, each citation known."""

import re
import textwrap

import jupytext
import pytest
import yaml

from execute import NOTEBOOKS, ROOT

BOOK = ROOT / "book"
PARTS = yaml.safe_load((BOOK / "_toc.yml").read_text())["parts"]
TOC = [entry["file"] for part in PARTS for entry in part["chapters"]]
BIB = (BOOK / "references.bib").read_text()
TEXTS = [*sorted(NOTEBOOKS.glob("*.py")), *sorted(BOOK.glob("*.md"))]
LIVE = re.compile(r"^```\{live\} \w+", re.MULTILINE)
SHOWN = re.compile(r"^(?:display\()?(?:explorer|Explorer|Sampler)\(", re.MULTILINE)
MODULE = re.compile(r"^\.\. automodule:: (\S+)$", re.MULTILINE)


def cited(text):
    groups = re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text)
    return {key.strip() for group in groups for key in group.split(",")}


def test_every_chapter_is_in_the_book_once():
    chapters = [name.removeprefix("notebooks/") for name in TOC if name.startswith("notebooks/")]
    assert sorted(chapters) == sorted(path.stem for path in NOTEBOOKS.glob("*.py"))


def test_chapters_are_numbered_and_no_number_is_typed():
    assert [part["caption"] for part in PARTS if part.get("numbered")] == ["Chapters", "Appendices"]
    typed = [path.name for path in TEXTS if re.search(r"\bchapters? [0-9\[]", path.read_text())]
    assert not typed, "refer to a chapter by {numref} or {ref}"


def test_epsilon_has_one_form():
    assert not [path.name for path in TEXTS if r"\epsilon" in path.read_text()]


def read_out(path):
    """The text of a page; a directive stands for a cell that alone shows an explorer."""
    if path.suffix == ".md":
        return path.read_text()
    parts = []
    for cell in jupytext.read(path).cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
        elif SHOWN.search(cell.source) and "the explorer above" not in cell.source:
            parts.append("```{live} cell\n```")
    return "\n\n".join(parts)


def unasked(text):
    """The explorers of a text below no question: "Try" and "See" may stand between the two."""
    found = []
    for explorer in LIVE.finditer(text):
        section = re.split(r"^#+ ", text[: explorer.start()], flags=re.MULTILINE)[-1]
        above = re.split(r"\n\s*\n", section.strip())
        asked = [part for part in above if not part.startswith(("**Try:**", "**See:**"))]
        if not asked or "?" not in asked[-1]:
            found.append(f"{explorer[0]}: {section[-60:]}")
    return found


def test_the_text_above_every_explorer_asks_what_it_answers():
    texts = {path.name: read_out(path) for path in TEXTS}
    assert sum(len(LIVE.findall(text)) for text in texts.values()) > 25
    assert {name: of for name, text in texts.items() if (of := unasked(text))} == {}


@pytest.mark.parametrize(
    ("above", "missing"),
    [
        ("Why? **Try:** turn it.\n\n", 0),
        ("Why?\n\n**Try:** turn it.\n\n", 0),
        ("Why?\n\nIt turns.\n\n**Try:** why not?\n\n", 1),
        ("## Why?\n\nIt turns.\n\n", 1),
        ("Why?\n\n```{live} other\n```\n\n", 1),
    ],
)
def test_an_explorer_without_a_question_is_found(tmp_path, above, missing):
    assert len(unasked(f"{above}```{{live}} dial\n```\n")) == missing
    chapter = tmp_path / "chapter.py"
    for call in ("explorer(f, w)", 'Sampler("dial", kept)', "# as the explorer above\nSampler(x)"):
        cell = f"# %% [markdown]\n{textwrap.indent(above, '# ', lambda _: True)}\n# %%\n{call}\n"
        chapter.write_text(cell)
        assert len(unasked(read_out(chapter))) == (missing if "above" not in call else 0)


def test_every_module_is_on_one_page_of_the_library():
    pages = sorted((BOOK / "library").glob("*.md"))
    assert {f"library/{page.stem}" for page in pages} <= set(TOC)
    listed = [name for page in pages for name in MODULE.findall(page.read_text())]
    files = {path.relative_to(ROOT).with_suffix("") for path in (ROOT / "dashlib").rglob("*.py")}
    named = {".".join(path.parts) for path in files if not path.stem.startswith("__")}
    assert len(set(listed)) == len(listed)
    assert set(listed) - {"dashlib.baselines", "dashlib.datasets"} == named


def test_the_paper_cites_what_the_book_cites():
    keys = set(re.findall(r"@(\w+)", (ROOT / "paper/paper.md").read_text()))
    assert len(keys) >= 8
    assert keys <= set(re.findall(r"^@\w+\{(\w+),", BIB, re.MULTILINE))


def test_the_code_for_practitioners_runs(capsys):
    blocks = re.findall(r"```python\n(.*?)```", (BOOK / "practitioners.md").read_text(), re.DOTALL)
    short = {
        "steps=2000": "steps=2",
        "% 100 == 0": "% 1 == 0",
        "x_T, schedule": "x_T, schedule, steps=2",
    }
    code = "\n".join(blocks)
    for long, few in short.items():
        assert code.count(long) == 1
        code = code.replace(long, few)
    names = {}
    exec(code, names)
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert names["drawn"].shape == (10, 1, 8, 8)
    assert names["drawn"].isfinite().all()


def test_every_source_is_cited_and_every_citation_has_a_source():
    keys = re.findall(r"^@\w+\{(\w+),", BIB, re.MULTILINE)
    assert len(set(keys)) == len(keys)
    assert set().union(*(cited(path.read_text()) for path in TEXTS)) == set(keys)


@pytest.mark.parametrize(
    "work",
    [
        "shafi2026dash",
        "ho2022classifier",
        "ho2020denoising",
        "song2021ddim",
        "hang2023minsnr",
        "karras2024edm2",
        "karras2024autoguidance",
        "kynkaanniemi2024interval",
        "meng2023distillation",
        "romero2015fitnets",
    ],
)
def test_the_works_that_the_book_rests_on_are_cited_in_chapters(work):
    assert any(work in cited(path.read_text()) for path in TEXTS if path.parent == NOTEBOOKS)


def test_the_landing_page_has_one_picture_and_a_card_for_each_kind_of_reader():
    text = (BOOK / "index.md").read_text()
    assert text.count("```{figure}") == 1
    cards = re.findall(r":::\{grid-item-card\} (I want to \w+)", text)
    assert [card.split()[3] for card in cards] == ["understand", "use", "judge"]
    linked = re.findall(r"\]\((notebooks/\w+)\)", text)
    assert sorted(linked) == sorted(name for name in TOC if name.startswith("notebooks/"))
