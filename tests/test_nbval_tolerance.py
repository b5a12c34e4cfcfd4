"""Stored outputs survive another processor's rounding, and nothing else."""

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbval_tolerance import Printed

ROOT = Path(__file__).parents[1]
ROW = "| DASH | 0.91 | 1.2e-4 | 12 |"


@pytest.mark.parametrize(
    "other",
    [
        ROW,
        ROW.replace("0.91", "0.92"),  # one in the last digit
        ROW.replace("1.2e-4", "1.3e-4"),
        ROW.replace("| DASH ", "| DASH  "),  # a wider column
    ],
)
def test_rounding_is_not_a_difference(other):
    assert Printed(ROW) == Printed(other)
    assert (Printed(ROW) != Printed(other)) is False


@pytest.mark.parametrize(
    "other",
    [
        ROW.replace("0.91", "0.93"),
        ROW.replace("0.91", "-0.91"),
        ROW.replace("1.2e-4", "1.2e-3"),
        ROW.replace("12 ", "13 "),  # a count
        ROW.replace("DASH", "scratch"),
        ROW + " 1.0",
        ROW.replace("0.91", "nan"),
    ],
)
def test_anything_else_is(other):
    assert Printed(ROW) != Printed(other)


def test_large_numbers_may_differ_by_a_hundredth():
    assert Printed("loss 1234.5") == Printed("loss 1240.0")
    assert Printed("loss 1234.5") != Printed("loss 1260.0")


@pytest.mark.parametrize(("stored", "passes"), [("0.331", True), ("0.35", False)])
def test_nbval_compares_that_way(tmp_path, stored, passes):
    """The real plugin with our conftest.py runs a notebook that prints 0.333."""
    cell = nbformat.v4.new_code_cell("print(f'{1 / 3:.3f}')", execution_count=1)
    cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=stored + "\n")]
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "one.ipynb")
    shutil.copy(ROOT / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npythonpath = {ROOT / 'tests'}\n")
    sanitize = ["--nbval-sanitize-with", ROOT / "tests/nbval_sanitize.cfg"]
    command = [sys.executable, "-m", "pytest", "--nbval", *sanitize, "one.ipynb"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert ("1 passed" if passes else "1 failed") in done.stdout, done.stdout + done.stderr
