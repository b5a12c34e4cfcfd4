"""Every notebook and its text twin hold the same cells; compared by content, not by file time."""

import pytest

from execute import NOTEBOOKS, first_difference

TWINS = sorted(NOTEBOOKS.glob("*.py"))


def test_every_notebook_has_a_twin():
    assert TWINS
    assert {p.stem for p in NOTEBOOKS.glob("*.ipynb")} == {p.stem for p in TWINS}


@pytest.mark.parametrize("twin", TWINS, ids=lambda p: p.stem)
def test_twins_hold_the_same_cells(twin):
    where = first_difference(twin.with_suffix(".ipynb"), twin)
    assert where is None, f"they differ in {where}: run `make notebooks`"
