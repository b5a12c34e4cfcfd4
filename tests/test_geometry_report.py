"""Tables of the plane of branch errors: forms of objectives, and where stored students lie."""

import math
from types import SimpleNamespace
from typing import Any

import pytest

from dashbook import geometry
from dashbook.geometry import composite, multi_w, placement
from dashbook.plots import NAMES
from dashlib.losses import make_objective


def table(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]


def run(cond: float, uncond: float, gap: float) -> Any:
    """A stored run with mean squares of e_c, of e_u and of their difference."""
    report = {"cond_mse": cond, "uncond_mse": uncond, "gap_mse": gap}
    return SimpleNamespace(metrics={"gap": {"overall": report}})


def test_objectives_by_hand() -> None:
    trained = {"composite": make_objective("composite"), "dash": make_objective("dash")}
    _, _, blind, dash = table(geometry.objectives(trained))
    assert blind[0] == NAMES["composite"]
    assert blind[1:] == ["16", "-12", "9", "0", "25", "∞", "(0.600, 0.800)", "teacher"]
    assert dash[1:] == ["1.1", "0", "1", "1", "1.1", "1.1", "(0.000, 1.000)", "elsewhere"]


def test_a_circle_has_no_softest_direction() -> None:
    trained = {"dash_no_an": make_objective("dash", anchor=0.0)}
    assert table(geometry.objectives(trained))[2][6:] == ["1", "none", "teacher"]


def test_conditioning_by_hand() -> None:
    """U[0, 1]: E w^2 = E (1 - w)^2 = 1/3, Var(w) = 1/12; eigenvalues 1/3 +- 1/6."""
    assert geometry.conditioning(composite(4)) == ["∞", "(0.600, 0.800)"]
    assert geometry.conditioning(multi_w(0, 1))[0] == "3"


def test_overall_is_the_mean_over_runs() -> None:
    both = geometry.overall([run(1, 2, 3), run(3, 2, 1)])
    assert (both.cc, both.cu, both.uu) == pytest.approx((2, 1, 2))


def test_students_writes_a_dash_for_what_does_not_exist() -> None:
    runs = {"dash": [run(0.04, 0.04, 0.02)], "composite": [run(0.36, 0.64, 0.05)] * 2}
    base, needle = (geometry.overall(seeds) for seeds in runs.values())
    placed = {"dash": placement(base, base, multi_w(0, 1)) | {"own": math.nan}}
    placed["composite"] = placement(needle, base, composite(4))
    header, _, dash, blind = table(geometry.students(runs, placed))
    cells = dict(zip(header, dash, strict=True))
    assert (cells["soft"], cells["excess"], cells["along ÷ DASH"]) == ("–", "–", "1.00")
    assert (cells["r.m.s. $e_c$"], cells["r.m.s. $e_u$"]) == ("0.200", "0.200")
    cells = dict(zip(header, blind, strict=True))
    assert (cells["student"], cells["seeds"]) == (NAMES["composite"], "2")
    assert (cells["r.m.s. $e_c$"], cells["soft"]) == ("0.600", "53°")
    assert cells["along ÷ DASH"] == f"{placed['composite']['soft']:.2f}"
    assert cells["across ÷ DASH"] == f"{placed['composite']['stiff']:.2f}"
    assert cells["best w"] == f"{placed['composite']['w']:.1f}"
