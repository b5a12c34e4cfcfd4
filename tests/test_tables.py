"""Tables: the numbers are those of the runs, ours and the paper's in separate columns."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dashlib import results, tables
from dashlib.paper import PAPER


def runs(*values: float) -> Any:
    return [SimpleNamespace(metrics={"value": v}) for v in values]


def test_spread() -> None:
    def value(run: Any) -> float:
        return run.metrics["value"]

    assert tables.spread(runs(1.0), value) == "1.00"
    assert tables.spread(runs(1.0, 2.0, 3.0), value, 1) == "2.0 ± 1.0"


def test_markdown_is_a_table() -> None:
    lines = tables.markdown(["a", "b"], [["1", "2"]]).splitlines()
    assert lines == ["| a | b |", "| :-- | --: |", "| 1 | 2 |"]


def test_headline_shows_the_stored_numbers_and_the_papers_apart() -> None:
    table = tables.headline("transfer").splitlines()
    header, dash = ([c.strip() for c in line.split("|")[1:-1]] for line in (table[0], table[-1]))
    row = dict(zip(header, dash, strict=True))
    stored = [r.metrics["gap"]["overall"]["rho"] for r in results.select("dash", "transfer")]
    assert len(stored) == 3
    assert row["ρ"] == f"{np.mean(stored):.2f} ± {np.std(stored, ddof=1):.2f}"
    assert (
        row["*paper:* FID C10/C100"]
        == f"{PAPER['dash'].fid_cifar10} / {PAPER['dash'].fid_cifar100}"
    )


def test_a_row_that_the_paper_lacks_has_no_paper_numbers() -> None:
    line = next(x for x in tables.headline("transfer").splitlines() if "dropout" in x)
    assert [c.strip() for c in line.split("|")[-4:-1]] == [tables.DASHES] * 3


def test_missing_rows_name_the_command() -> None:
    command = "python -m dashlib make digits/scratch-nothing-s0"
    with pytest.raises(results.MissingRun, match=command):
        tables.headline("nothing")
