"""Runs made side by side: in the right order, by workers that end with their sweep."""

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dashlib import results
from dashlib.recipes import DIGITS, RECIPES
from dashlib.runs import pool

TEACHERS = [name for name, recipe in RECIPES.items() if recipe.teacher is None]
STUDENTS = [name for name, recipe in RECIPES.items() if recipe.teacher]
OTHERS_PRIOR = "digits/dash-transfer_tirt_eps-s0"
BROKEN = "digits/dash-tirt-s2"


@pytest.fixture
def sweep(monkeypatch):
    """``reproduce`` in threads, with groups of runs that only note when they start and end."""
    noted, lock = [], threading.Lock()

    def make(group, progress):
        with lock:
            noted.extend(("start", name) for name in group)
        if BROKEN in group:
            raise RuntimeError("broken")
        time.sleep(0.3 if "teacher" in group[0] else 0.01)
        with lock:
            noted.extend(("end", name) for name in group)
        return list(group)

    monkeypatch.setattr(pool, "processes", ThreadPoolExecutor)
    monkeypatch.setattr(pool, "_made", make)
    return lambda chosen: (list(pool.reproduce(chosen)), noted)


def test_a_run_starts_when_what_it_needs_is_made(sweep):
    prior = "digits/teacher-tirt_eps"
    chosen = [OTHERS_PRIOR, STUDENTS[1], prior, DIGITS.classifier, *TEACHERS]
    made, noted = sweep(chosen)
    assert sorted(made) == sorted(chosen)
    assert made[0] == DIGITS.classifier
    for name in chosen:
        for needed in pool.needs(name):
            assert noted.index(("end", needed)) < noted.index(("start", name))
    assert {prior, RECIPES[OTHERS_PRIOR].teacher} < pool.needs(OTHERS_PRIOR)


def test_no_process_idles_while_a_run_is_ready_and_none_has_two(sweep):
    students = [f"digits/dash-tirt-s{seed}" for seed in (0, 1)]  # their teacher is stored
    _, noted = sweep(["digits/teacher-uncertainty", *students])
    assert noted.index(("end", students[-1])) < noted.index(("end", "digits/teacher-uncertainty"))
    busy = [sum(1 if what == "start" else -1 for what, _ in noted[:i]) for i in range(len(noted))]
    assert max(busy) == 2


def test_groups_are_students_of_one_seed_that_need_the_same():
    groups = pool.groups([*RECIPES, DIGITS.classifier])
    assert sorted(name for group in groups for name in group) == sorted(
        [*RECIPES, DIGITS.classifier]
    )
    assert max(map(len, groups)) == pool.TOGETHER
    for group in (g for g in groups if len(g) > 1):
        assert len({(RECIPES[name].seed, *sorted(pool.needs(name))) for name in group}) == 1
        assert len({RECIPES[name].batch_size for name in group}) == 1
    assert all(len(group) == 1 for group in groups if group[0] in TEACHERS)


def test_a_failed_run_ends_the_sweep(sweep):
    with pytest.raises(RuntimeError, match="broken"):
        sweep([BROKEN, "digits/dash-tirt-s0", "digits/dash-tirt-s1", STUDENTS[0]])


def test_reproducing_an_unknown_run_is_an_error():
    with pytest.raises(ValueError, match="digits/typo"):
        list(pool.reproduce(["digits/typo"]))


def test_what_sweeps_took_is_noted(run_folder):
    path = results.root() / "campaigns.jsonl"
    pool.note_sweep({"runs": 2, "minutes": 1.5})
    pool.note_sweep({"runs": 3, "minutes": 2.5})
    noted = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(c["runs"], c["minutes"]) for c in noted] == [(2, 1.5), (3, 2.5)]
    assert all(c["commit"] and c["hardware"] for c in noted)


def _note_many(who):
    for i in range(50):
        pool.note_sweep({"who": who, "i": i})


def test_no_note_of_two_sweeps_at_a_time_is_lost(run_folder, monkeypatch):
    monkeypatch.setattr(results, "commit", lambda: "c")
    with ThreadPoolExecutor(2) as both:
        list(both.map(_note_many, (0, 1)))
    noted = (results.root() / "campaigns.jsonl").read_text().splitlines()
    found = {(c["who"], c["i"]) for c in map(json.loads, noted)}
    assert found == {(who, i) for who in (0, 1) for i in range(50)}


ORPHANAGE = """
import os, time
from dashlib.runs.pool import processes
if __name__ == "__main__":
    with processes(1) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        time.sleep(60)
"""


def alive(pid):
    """Tell if a process runs (one that only waits to be reaped does not)."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_a_worker_ends_with_a_killed_sweep(tmp_path):
    script = tmp_path / "sweep.py"
    script.write_text(ORPHANAGE)
    sweep = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    worker = int(sweep.stdout.readline())
    assert alive(worker)
    sweep.kill()
    sweep.wait()
    for _ in range(100):
        if not alive(worker):
            return
        time.sleep(0.1)
    pytest.fail("the worker goes on")
