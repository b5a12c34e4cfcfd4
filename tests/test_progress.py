"""Progress bars: one a stage, and usable from a spawned process."""

import pickle

from dashlib.cli.bars import Bars


def test_a_stage_has_one_bar():
    bars = Bars()
    bars("train", 1, 3)
    first = bars.bar
    bars("train", 3, 3)
    assert bars.bar is first
    assert (first.n, first.total) == (3, 3)
    bars("samples", 2, 6)
    assert bars.bar is not first
    assert (bars.bar.n, bars.bar.total, bars.bar.desc) == (2, 6, "samples")
    bars.bar.close()


def test_a_worker_process_can_make_one():
    assert pickle.loads(pickle.dumps(Bars)) is Bars
