"""What L_un gains: steps, shares and the table."""

from math import isnan
from types import SimpleNamespace

import pytest

from dashbook import gains
from dashbook.gains import Gain


def test_the_share_of_the_second_step():
    found = Gain(imitation=1.0, anchored=0.9, full=0.5)
    assert (found.step, found.total) == (pytest.approx(0.4), 0.5)
    assert found.share == pytest.approx(0.8)


@pytest.mark.parametrize("full", [1.0, 1.5])
def test_without_a_total_gain_there_is_no_share(full):
    assert isnan(Gain(1.0, 2.0, full).share)


def test_gain_measures_the_first_seed_of_each_row():
    values = {"cond_only": (3.0, 9.0), "dash_no_un": (2.0,), "dash": (1.0, 9.0, 9.0)}
    rows = {k: [SimpleNamespace(metrics={"x": v}) for v in of] for k, of in values.items()}
    assert gains.gain(lambda run: run.metrics["x"], rows) == (3.0, 2.0, 1.0)


def test_table_has_a_line_a_measure():
    found = {"gap MSE": Gain(1.0, 0.9, 0.5), "FD": Gain(100.0, 120.0, 110.0)}
    lines = gains.table(found).splitlines()
    assert lines[2] == "| gap MSE | 1 | 0.9 | 0.5 | +0.4 | +0.5 | 80% |"
    assert lines[3] == "| FD | 100 | 120 | 110 | +10 | -10 | no gain |"
