"""The stored notebooks were run from top to bottom and kept what the static book needs.

nbval compares nothing for a cell that was never run, so a stripped notebook would pass it.
"""

import json
import re

import nbformat
import pytest

from execute import NOTEBOOKS, WIDGET_STATE, read_twin

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))


@pytest.fixture(params=PATHS, ids=lambda p: p.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


@pytest.fixture
def code(notebook):
    """Give what was run: all code but the cells that are for JupyterLab and Colab."""
    cells = [c for c in notebook.cells if c.cell_type == "code" and c.source.strip()]
    return [c for c in cells if "skip-execution" not in c.metadata.get("tags", [])]


def test_all_cells_ran_in_order(code):
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1))


def test_no_cell_failed_or_warned(code):
    outputs = [o for c in code for o in c.outputs]
    assert [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"] == []


def test_every_widget_has_its_state(notebook, code):
    state = notebook.metadata.get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    data = [o.get("data", {}) for c in code for o in c.outputs]
    views = [d[WIDGET_VIEW]["model_id"] for d in data if WIDGET_VIEW in d]
    linked = re.findall("IPY_MODEL_([0-9a-f]+)", json.dumps(state))
    assert set(views + linked) <= set(state), (
        "the book's sliders would be dead: run `make notebooks`"
    )


def test_stored_as_the_executor_writes_it(path, notebook):
    expected = read_twin(path.with_suffix(".py"))
    assert [c.id for c in notebook.cells] == [c.id for c in expected.cells]
    assert all("execution" not in c.metadata for c in notebook.cells), "timings are stored"
    assert notebook.metadata.language_info == expected.metadata.language_info


def test_your_own_model_took_less_than_a_minute_of_a_core() -> None:
    stored = nbformat.read(NOTEBOOKS / "11_your_own_model.ipynb", as_version=4)
    said = re.findall(r"What did this chapter take\? \| (\d+) s of a core", json.dumps(stored))
    assert [int(seconds) < 60 for seconds in said] == [True]
