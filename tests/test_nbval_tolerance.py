"""Stored outputs survive another processor's rounding, and nothing else."""

import re
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


def test_nbval_compares_that_way(tmp_path):
    """The real plugin with our conftest.py runs a notebook that prints 0.333 twice."""
    cells = []
    for stored in ("0.331", "0.35"):
        cell = nbformat.v4.new_code_cell("print(f'{1 / 3:.3f}')", execution_count=len(cells) + 1)
        cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=stored + "\n")]
        cells.append(cell)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "one.ipynb")
    shutil.copy(ROOT / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npythonpath = {ROOT / 'tests'}\n")
    sanitize = ["--nbval-sanitize-with", ROOT / "tests/nbval_sanitize.cfg"]
    command = [sys.executable, "-m", "pytest", "--nbval", *sanitize, "-rA", "one.ipynb"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    verdicts = re.findall(r"^(PASSED|FAILED) \S*::Cell (\d)", done.stdout, re.MULTILINE)
    expected = {("PASSED", "0"), ("FAILED", "1")}
    assert set(verdicts) == expected, done.stdout + done.stderr
