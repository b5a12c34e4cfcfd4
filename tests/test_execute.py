"""The executor: the same text gives the same bytes, and no newer edit is lost."""

import asyncio
import json
import os

import nbformat
import pytest

import execute

TEXT = """\
# %% [markdown]
# # Tiny

# %% tags=["keep"]
import ipywidgets as widgets

# %%
print("out")
slider, dial = widgets.IntSlider(max=3), widgets.IntSlider(max=3)
link = widgets.jslink((slider, "value"), (dial, "value"))
widgets.VBox([slider, dial])

# %%
print("out")

# %%
print("out")
"""


@pytest.fixture
def twin(tmp_path):
    path = tmp_path / "01_tiny.py"
    path.write_text(TEXT)
    return path


def store(notebook, path):
    execute.write(notebook, path)
    return path.read_bytes()


def newer(path, than):
    moment = than.stat().st_mtime + 10
    os.utime(path, (moment, moment))


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """Return the bytes of two independent executions of the same text."""
    path = tmp_path_factory.mktemp("nb") / "01_tiny.py"
    path.write_text(TEXT)
    results = []
    asyncio.run(execute.run_all([path, path], lambda _, notebook: results.append(notebook)))
    return [store(notebook, path.with_suffix(f".{i}.ipynb")) for i, notebook in enumerate(results)]


def test_two_executions_give_the_same_bytes(executed):
    assert executed[0] == executed[1]


def test_outputs_widgets_and_tags_are_stored(executed):
    notebook = nbformat.reads(executed[0].decode(), as_version=4)
    state = notebook.metadata.widgets[execute.WIDGET_STATE].state
    assert set(state) == {f"{i:032x}" for i in range(len(state))}
    assert notebook.cells[1].metadata.tags == ["keep"]
    assert notebook.cells[3].outputs[0].text == "out\n"
    nbformat.validate(notebook)


def test_nothing_depends_on_time_or_python(executed):
    notebook = nbformat.reads(executed[0].decode(), as_version=4)
    assert notebook.metadata.language_info == execute.LANGUAGE
    assert all(set(c.metadata) <= {"tags"} for c in notebook.cells)


def test_cell_ids_survive_an_insertion(twin):
    before = [c.id for c in execute.read_twin(twin).cells]
    twin.write_text(TEXT.replace("# %% tags", "# %% [markdown]\n# New.\n\n# %% tags"))
    after = [c.id for c in execute.read_twin(twin).cells]
    assert len(set(before)) == len(before)
    assert [i for i in after if i in before] == before


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("# # Tiny", "# # Edited", "cell 1"),
        ('tags=["keep"]', 'tags=["other"]', "cell 2"),
        ("max=3", "max=4", "cell 3"),
        ('# %%\nprint("out")\n\n# %%\nprint("out")\n', '# %%\nprint("out")\n', "cell 5"),
    ],
)
def test_a_newer_notebook_that_differs_stops_the_run(twin, old, new, where):
    notebook = twin.with_suffix(".ipynb")
    store(execute.read_twin(twin), notebook)
    text = twin.read_text()
    twin.write_text(text.replace(old, new))
    newer(notebook, than=twin)
    with pytest.raises(execute.ConflictError, match=f"first in {where}(?s:.*)jupytext(?s:.*)touch"):
        execute.check_no_newer_edits(twin)
    newer(twin, than=notebook)
    execute.check_no_newer_edits(twin)


def test_a_newer_notebook_with_the_same_cells_is_fine(twin):
    notebook = twin.with_suffix(".ipynb")
    store(execute.read_twin(twin), notebook)
    newer(notebook, than=twin)
    execute.check_no_newer_edits(twin)


def test_a_failing_cell_is_named_and_the_others_finish(twin, capsys):
    broken = twin.with_name("02_broken.py")
    broken.write_text("# %%\n1 / 0\n")
    finished = []
    with pytest.raises(RuntimeError, match=r"02_broken\.py failed:(?s:.*)ZeroDivisionError"):
        asyncio.run(execute.run_all([broken, twin], lambda path, _: finished.append(path)))
    assert finished == [twin]


def test_chapters_are_picked_by_prefix(twin, monkeypatch):
    monkeypatch.setattr(execute, "NOTEBOOKS", twin.parent)
    assert execute.chapters(["01"]) == execute.chapters() == [twin]
    with pytest.raises(FileNotFoundError, match=r"no chapter matches 07.*01_tiny"):
        execute.chapters(["07"])


def test_a_timing_belongs_to_a_text(twin, tmp_path, monkeypatch):
    monkeypatch.setattr(execute, "TIMINGS", tmp_path / "build/timings.json")
    execute.note_seconds(twin, 1.234)
    other = twin.with_name("02_other.py")
    other.write_text("# %%\n")
    execute.note_seconds(other, 5)
    noted = json.loads(execute.TIMINGS.read_text())
    assert noted["01_tiny"] == {"seconds": 1.2, "text": execute.text_hash(twin)}
    assert set(noted) == {"01_tiny", "02_other"}
    twin.write_text(TEXT + "# edited")
    assert noted["01_tiny"]["text"] != execute.text_hash(twin)


def test_the_longest_chapters_start_first(tmp_path, monkeypatch):
    started = []

    async def run(twin):
        started.append(twin.stem)

    for name, size in {"01_short": 1, "02_long": 3, "03_new": 0, "04_middle": 2}.items():
        if size:
            (tmp_path / f"{name}.ipynb").write_text("x" * size)
    monkeypatch.setattr(execute, "run", run)
    twins = [tmp_path / f"{n}.py" for n in ("01_short", "02_long", "03_new", "04_middle")]
    asyncio.run(execute.run_all(twins, lambda *_: None))
    assert started == ["02_long", "04_middle", "01_short", "03_new"]
