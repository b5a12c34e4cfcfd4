"""Tables: the numbers are those of the runs, ours and the paper's in separate columns."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dashbook import tables
from dashbook.paper import FURTHER, PAPER
from dashbook.plots import NAMES
from dashlib import results
from dashlib.recipes import HEADLINE, SPECS


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


def rows(table: str) -> dict[str, dict[str, str]]:
    """The cells of a Markdown table by first column and header."""
    header, _, *lines = ([c.strip() for c in x.split("|")[1:-1]] for x in table.splitlines())
    return {line[0]: dict(zip(header, line, strict=True)) for line in lines}


def test_measured_averages_the_runs_that_have_the_metric() -> None:
    some = [*runs(1.0, 3.0), SimpleNamespace(metrics={})]
    assert tables.measured(some, ["value"], 1) == "2.0 ± 1.4"
    assert tables.measured(some[:1], ["value"], 1) == "1.0"
    assert tables.measured(some, ["value", "deeper"]) == tables.DASHES


def test_gaps_shows_every_metric_of_every_row() -> None:
    found = rows(tables.gaps(HEADLINE))
    assert set(found) == {NAMES[key] for key in HEADLINE}
    stored = [r.metrics["gap"]["overall"] for r in results.select("composite", "transfer")]
    for column, key in (("a*", "a_star"), ("cos", "cos")):
        values = [gap[key] for gap in stored]
        want = f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}"
        assert found[NAMES["composite"]][column] == want


@pytest.mark.parametrize(("metric", "digits"), [("frechet", 1), ("accuracy", 3)])
def test_guidance_shows_every_scale_and_the_best_ones(metric: str, digits: int) -> None:
    found = rows(tables.guidance(metric, HEADLINE, digits))
    teacher, student = found["Teacher"], found[NAMES["cond_only"]]
    own = results.load("digits/teacher-tirt").metrics["guidance"]
    best = min(own, key=lambda w: own[w]["frechet"])
    assert teacher["own best"] == f"{own[best][metric]:.{digits}f} ({best})"
    assert student[f"teacher's best ({best})"] == student[best]
    assert list(student)[1:-2] == list(own)
    value, label = student["own best"].rsplit(" ", 1)
    assert student[label.strip("()")] == value


def test_weighted_shows_every_stored_dash_student() -> None:
    found = rows(tables.weighted())
    uniform = [r.metrics["guidance"]["TAG"]["frechet"] for r in results.select("dash", "uniform")]
    assert found["uniform"]["FD TAG"] == f"{np.mean(uniform):.1f} ± {np.std(uniform, ddof=1):.1f}"
    assert found["TIRT Transfer, anchor 1"]["seeds"] == "1"
    dash = {name for name in SPECS if name.startswith(("digits/dash-", "digits/dash_an"))}
    assert sum(int(row["seeds"]) for row in found.values()) == len(dash)


def test_a_row_with_one_branch_has_no_gap() -> None:
    assert set(rows(tables.gaps(["single_head"]))["Single head"].values()) == {
        *("Single head", tables.DASHES)
    }


def test_missing_rows_name_the_command() -> None:
    command = "python -m dashlib make digits/scratch-nothing-s0"
    with pytest.raises(results.MissingRun, match=command):
        tables.headline("nothing")


def test_paper_scale_shows_own_scores_beside_the_papers_and_says_what_was_not_run() -> None:
    own = {name: {} for name in tables.PAPER_SETS}
    own["cifar100"] = {"TAG(1,4,5)": {"dash": "9.00 ± 1.41"}, "w=1": {"teacher": "5.00"}}
    header, _, *lines = (
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in tables.paper_scale(own).splitlines()
    )
    rows = {cells[0]: dict(zip(header, cells, strict=True)) for cells in lines}
    assert len(rows) == len(PAPER | FURTHER)
    assert rows["DASH"]["CIFAR-100"] == "9.00 ± 1.41"
    assert rows["DASH"]["CIFAR-10"] == rows["Teacher"]["CIFAR-100"] == tables.NOT_RUN
    assert rows["DASH"]["*paper:* CIFAR-100"] == "10.47"
    assert rows["Composite"]["*paper:* ImageNet-64"] == "18.43"
    assert rows["Scratch"]["*paper:* ImageNet-64"] == tables.DASHES


def test_objectives_are_ranked_beside_the_paper() -> None:
    distances = {"uniform": {"dash": 3.0, "scratch": 9.0, "composite": 5.0}}
    rhos = {"uniform": {"dash": 0.9, "scratch": 1.0, "composite": 2.346}}
    found = rows(tables.beside_paper(distances, rhos))
    ours = [row["ours: rank by FD TAG, uniform"] for row in found.values()]
    theirs = [row["*paper:* rank by FID, CIFAR-10"] for row in found.values()]
    assert (list(found), ours, theirs) == (
        [NAMES[row] for row in rhos["uniform"]],
        ["1", "3", "2"],
        ["1", "3", "2"],
    )
    assert found[NAMES["composite"]]["ours: ρ, uniform"] == "2.35"
    assert found[NAMES["dash"]]["*paper:* ρ"] == "0.91"
    assert found[NAMES["scratch"]]["*paper:* ρ"] == tables.DASHES


def test_numbers_picks_and_rounds_the_columns() -> None:
    rows = {"DASH": {"rho": 0.987, "gap_mse": 0.00123, "n": 5}}
    table = tables.numbers("student", rows, {"ρ": ("rho", 2), "gap MSE": ("gap_mse", 4)})
    assert table.splitlines()[0] == "| student | ρ | gap MSE |"
    assert table.splitlines()[2] == "| DASH | 0.99 | 0.0012 |"
