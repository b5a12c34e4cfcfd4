"""The command ``sweep``: what it plans, and how it ends."""

import sys
import time
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.sweep import plan, stages, stored
from benchmarks.sweep.__main__ import sweep_runs as main


@pytest.mark.parametrize("code", [0, 1, -15])
def test_it_fails_if_a_process_does(monkeypatch, code):
    planned = []
    codes = {"students": 0, "scoring": code}
    monkeypatch.setattr(stages, "run", lambda wanted: planned.append(wanted) or codes)
    arguments = ["cifar10", "--work", "w", "--minutes", "2", "--rows", "dash-uniform-s0"]
    found = CliRunner().invoke(main, [*arguments, "--device", "cpu"])
    assert found.exit_code == (code != 0)
    ended = {0: "done", 1: "failed, w/scoring.log says why", -15: "stopped by signal 15"}[code]
    assert found.output.splitlines()[1:] == ["students: done", f"scoring: {ended}"]
    assert "w/*.log" in found.output
    (wanted,) = planned
    assert (wanted.work, wanted.data, wanted.weights) == (Path("w"), Path("data"), Path("weights"))
    assert (wanted.rows, wanted.minutes, wanted.dry) == (("dash-uniform-s0",), 2.0, False)


def test_what_waits_for_a_process_that_failed_is_stopped():
    spawn = get_context("spawn").Process
    sleeper, failing = partial(spawn, target=time.sleep), spawn(target=sys.exit, args=(3,))
    made = {"compile:a": sleeper(args=(0.1,)), "teacher": failing}
    made |= {name: sleeper(args=(600,)) for name in ("students", "scoring")}
    for process in made.values():
        process.start()
    codes = stages.joined(made)
    assert codes == {"compile:a": 0, "teacher": 3, "students": -15, "scoring": -15}


def test_a_dry_sweep_is_small(monkeypatch):
    planned = []
    monkeypatch.setattr(stages, "run", lambda wanted: planned.append(wanted) or {})
    assert CliRunner().invoke(main, ["cifar10", "--dry"]).exit_code == 0
    (wanted,) = planned
    assert (wanted.rows, wanted.dry, wanted.device) == (plan.DEFAULT, True, "cpu")
    assert (wanted.pairs, wanted.chunk, wanted.steps, wanted.pictures) == (20, 4, 2, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rows", "dahs-uniform"], "row 'dahs-uniform': ROW-WEIGHTING-sSEED with one of"),
        (["--rows", "dash"], "row 'dash': ROW-WEIGHTING-sSEED"),
        (["--device", "gpu"], "device 'gpu': one of cpu, cuda"),
        (["--rows", "dash-uniform-x2-s0"], "is trained again: put dash-uniform-s0.safetensors"),
        (["--teach", "0.9"], "0.9 is not in the range"),
        (["--teach", "0.4", "--given", "dash-uniform-s0"], "the teacher as it is: no --teach"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_starts(monkeypatch, options, message):
    monkeypatch.setattr(stages, "run", lambda wanted: pytest.fail("it started"))
    found = CliRunner().invoke(main, ["cifar10", *options])
    assert found.exit_code != 0
    assert message in found.output
    assert "Traceback" not in found.output


def test_a_teacher_is_trained_by_a_process_of_its_own(monkeypatch):
    planned = []
    monkeypatch.setattr(stages, "run", lambda wanted: planned.append(wanted) or {})
    assert CliRunner().invoke(main, ["cifar10", "--dry", "--teach", "0.4"]).exit_code == 0
    assert stages.stages(planned[0]) == ["teacher", "students", "scoring"]


def test_collecting_stores_what_the_plan_of_the_work_folder_names(monkeypatch, tmp_path):
    plan.Plan(tmp_path, Path("d"), Path("elsewhere"), rows=("dash-uniform-s0",)).write()
    seen = []
    monkeypatch.setattr(stored, "collect", lambda made: seen.append(made) or ["cifar10/a"])
    arguments = ["cifar10", "--collect", "--work", str(tmp_path), "--weights", "here"]
    found = CliRunner().invoke(main, arguments)
    assert (found.exit_code, found.output) == (0, "stored cifar10/a\n")
    assert (seen[0].rows, seen[0].weights) == (("dash-uniform-s0",), Path("here"))
    missing = CliRunner().invoke(main, ["cifar10", "--collect", "--work", "nowhere"])
    assert missing.exit_code == 1
    assert "nowhere/plan.json" in missing.output
