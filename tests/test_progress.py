"""Progress bars: one a stage, and usable from a spawned process."""

import pickle
from contextlib import closing

from dashlib.runs.pool import Bars


def test_every_stage_begins_the_bar_anew(capfd):
    with closing(Bars()) as bars:
        assert not capfd.readouterr().err  # nothing to show yet
        for done in (1, 3):
            bars("train", done, 3)
            assert (bars.n, bars.total, bars.desc) == (done, 3, "train")
        bars("samples", 2, 6)
        assert (bars.n, bars.total, bars.desc) == (2, 6, "samples")


def test_a_worker_process_can_make_one():
    assert pickle.loads(pickle.dumps(Bars)) is Bars
