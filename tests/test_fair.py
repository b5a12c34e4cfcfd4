"""The table of the fair comparison, from a few made-up runs."""

from dataclasses import asdict, replace

import pytest

from benchmarks import fair
from dashlib import results
from dashlib.recipes import PARTS

GAP = {"rho": 0.9, "cos": 0.7, "gap_mse": 0.006, "cond_mse": 0.02, "uncond_mse": 0.03}


def store(row, seed, factor):
    """A run whose distances and errors are ``factor`` times those of others."""
    name = f"digits/{row}-s{seed}"
    scores = {w: {"frechet": factor * (10 + seed)} for w in ("1", "1.5", "2", "3", "4", "TAG")}
    errors = {k: v * factor if "mse" in k else v for k, v in GAP.items()}
    metrics = {"guidance": scores, "resampled": scores, "gap": {"overall": errors}}
    if "single_head" in row:
        del metrics["gap"]
    config = asdict(PARTS["fair"][name])
    results.store(results.Run(name, config, seed, {"train": 1.0}, 60.0, 1000, metrics))


@pytest.fixture
def rows(run_folder, monkeypatch):
    dash = PARTS["fair"]["digits/dash-uniform-from_uniform-s0"]
    of = {r.name.rpartition("-s")[0]: r for r in PARTS["fair"].values()}
    of["digits/dash_gap_10-uniform-from_uniform"] = dash
    asked = [replace(r, name=f"{name}-s{s}", seed=s) for name, r in of.items() for s in range(3)]
    monkeypatch.setitem(PARTS, "fair", {recipe.name: recipe for recipe in asked})
    for seed in range(3):
        store("dash-uniform-from_uniform", seed, 1.0)
        store("dash_gap_3-uniform-from_uniform", seed, 0.5 + 0.001 * seed)
        store("single_head-uniform-from_uniform", seed, 1.3 + 0.001 * seed)
    store("dash_gap_10-uniform-from_uniform", 0, 0.1)  # a study of one seed
    return fair.stored()


def cells(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_rows_have_their_seeds_and_their_cost(rows):
    assert {row: len(runs) for row, runs in rows.items()} == {
        "dash-uniform": 3,
        "single_head-uniform": 3,
        "dash_gap_3-uniform": 3,
        "dash_gap_10-uniform": 1,
    }
    header, _, *lines = cells(fair.numbers(rows))
    found = {line[0]: dict(zip(header, line, strict=True)) for line in lines}
    assert found["dash-uniform"]["FD TAG"] == "11.0 ± 1.0"
    head = found["single_head-uniform"]
    assert [head[k] for k in ("student", "teacher", "cos")] == ["1", "2", "–"]
    assert found["dash-uniform"]["CPU s"] == "60"


def test_verdicts_are_of_the_seeds_that_all_have(rows):
    header, _, *lines = cells(fair.compared(rows, "dash-uniform"))
    assert header[0] == "beside dash-uniform, n = 3"
    found = {line[0]: dict(zip(header, line, strict=True)) for line in lines}
    assert set(found) == {"single_head-uniform", "dash_gap_3-uniform"}, "one seed is left out"
    assert found["dash_gap_3-uniform"]["FD* 4"].endswith("better")
    assert found["dash_gap_3-uniform"]["gap MSE"].endswith("better")
    assert found["dash_gap_3-uniform"]["cos"] == "+0 equal"
    assert found["single_head-uniform"]["FD 1"].endswith("worse")
    assert found["single_head-uniform"]["cos"] == "–"
