"""Two rows compared seed by seed: who is lower, and what the table says of it."""

import pytest

from dashbook.comparison import compare, frechet, gap, off
from dashbook.tables import DASHES
from dashlib.results import Run


def row(rho: list[float], fd: list[float]) -> list[Run]:
    metrics = [
        {"gap": {"overall": {"rho": r}}, "guidance": {"4": {"frechet": d}}}
        for r, d in zip(rho, fd, strict=True)
    ]
    return [Run(f"digits/x-s{i}", {}, i, {}, 0.0, 1, m) for i, m in enumerate(metrics)]


OURS = row([0.9, 0.8, 0.7], [1.0, 2.0, 3.0])
THEIRS = row([1.05, 1.04, 1.06], [4.0, 5.0, 6.1])


def test_measures_read_a_run() -> None:
    assert (gap("rho")(OURS[1]), frechet("4")(OURS[1])) == (0.8, 2.0)
    assert off("rho")(OURS[1]) == pytest.approx(0.2)
    assert off("rho")(THEIRS[1]) == pytest.approx(0.04)


def test_the_lower_row_is_named_only_beyond_doubt() -> None:
    measures = {"FD": frechet("4"), "ρ": gap("rho"), "off": off("rho")}
    found = compare(OURS, THEIRS, measures, ("ours", "theirs"))
    assert found.lower == {"FD": "ours", "ρ": DASHES, "off": DASHES}, "ρ: by 0.25 ± 0.26"
    assert found.pairs["FD"].ours.tolist() == [1, 2, 3]
    turned = compare(THEIRS, OURS, measures, ("theirs", "ours"))
    assert turned.lower == found.lower


def test_table_has_means_and_the_paired_difference() -> None:
    lines = compare(OURS, THEIRS, {"FD": frechet("4")}, ("A", "B")).table().splitlines()
    assert lines[0] == "| lower is better | A | B | difference | clear |"
    assert lines[2] == "| FD | 2 | 5.03 | -3 ± 0.06 | A |"


def test_rows_of_different_seeds_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="seeds"):
        compare(OURS, THEIRS[:2], {"FD": frechet("4")}, ("A", "B"))
