"""Tables: the numbers are those of the runs, ours and the paper's in separate columns."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import readme

from dashbook import tables
from dashbook.paper import NAMES, PAPER
from dashlib import results
from dashlib.recipes import PARTS, RECIPES


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


def test_spread_averages_the_runs_that_have_the_metric() -> None:
    some = [*runs(1.0, 3.0), SimpleNamespace(metrics={})]
    assert tables.spread(some, tables.metric("value"), 1) == "2.0 ± 1.4"
    assert tables.spread(some[:1], tables.metric("value"), 1) == "1.0"
    assert tables.spread(some, tables.metric("value", "deeper")) == tables.DASHES


def test_gaps_shows_every_metric_of_every_row() -> None:
    found = rows(tables.gaps())
    assert set(found) == {NAMES[key] for key in tables.DIGITS_ROWS}
    stored = [r.metrics["gap"]["overall"] for r in results.select("composite", "transfer")]
    for column, key in (("a*", "a_star"), ("cos", "cos")):
        values = [gap[key] for gap in stored]
        want = f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}"
        assert found[NAMES["composite"]][column] == want


@pytest.mark.parametrize(("metric", "digits"), [("frechet", 1), ("accuracy", 3)])
def test_guidance_shows_every_scale_and_the_best_ones(metric: str, digits: int) -> None:
    found = rows(tables.guidance(metric, digits))
    teacher, student = found["Teacher"], found[NAMES["cond_only"]]
    own = results.load("digits/teacher-tirt").metrics["guidance"]
    best = min(own, key=lambda w: own[w]["frechet"])
    assert teacher["own best"] == f"{own[best][metric]:.{digits}f} ({best})"
    assert student[f"teacher's best ({best})"] == student[best]
    assert list(student)[1:-2] == list(own)
    value, label = student["own best"].rsplit(" ", 1)
    assert student[label.strip("()")] == value


def test_weighted_shows_every_stored_dash_student() -> None:
    found = rows(readme.weighted())
    uniform = [r.metrics["guidance"]["TAG"]["frechet"] for r in results.select("dash", "uniform")]
    assert found["uniform"]["FD TAG"] == f"{np.mean(uniform):.1f} ± {np.std(uniform, ddof=1):.1f}"
    assert found["TIRT Transfer, anchor 1"]["seeds"] == "1"
    dash = {name for name in RECIPES if name.startswith(("digits/dash-", "digits/dash_an"))}
    dash -= PARTS["fair"].keys()  # of another teacher
    assert sum(int(row["seeds"]) for row in found.values()) == len(dash)


def test_a_row_with_one_branch_has_no_gap() -> None:
    assert set(rows(tables.gaps())["Single head"].values()) == {"Single head", tables.DASHES}


def test_missing_rows_name_the_command() -> None:
    command = "python -m dashlib make digits/scratch-nothing-s0"
    with pytest.raises(results.MissingRun, match=command):
        tables.headline("nothing")


def test_numbers_picks_and_rounds_the_columns() -> None:
    rows = {"DASH": {"rho": 0.987, "gap_mse": 0.00123, "n": 5}}
    table = tables.numbers("student", rows, {"ρ": ("rho", 2), "gap MSE": ("gap_mse", 4)})
    assert table.splitlines()[0] == "| student | ρ | gap MSE |"
    assert table.splitlines()[2] == "| DASH | 0.99 | 0.0012 |"


def test_spreads_is_a_line_a_row_and_a_column_a_measure() -> None:
    table = tables.spreads("row", {"a": runs(1.0, 3.0)}, {"x": (tables.metric("value"), 1)})
    assert table.splitlines()[0] == "| row | x |"
    assert table.splitlines()[2] == "| a | 2.0 ± 1.4 |"


def test_measures_read_a_run() -> None:
    run = SimpleNamespace(
        metrics={"gap": {"overall": {"rho": 0.8}}, "guidance": {"4": {"frechet": 2.0}}}
    )
    assert (tables.gap("rho")(run), tables.frechet("4")(run)) == (0.8, 2.0)
    assert tables.off("rho")(run) == pytest.approx(0.2)


def test_ranges_of_timesteps_come_in_order() -> None:
    reports = [{"500": {"cos": 0.5}, "0": {"cos": 0.1}, "1000": {"cos": 1.0}}, {}]
    reports[1] = {start: {"cos": 2 * of["cos"]} for start, of in reports[0].items()}
    some: Any = [SimpleNamespace(metrics={"gap": {"per_timestep": of}}) for of in reports]
    assert tables.per_timestep(some, "cos").tolist() == [[0.1, 0.5, 1.0], [0.2, 1.0, 2.0]]
