"""Runs made side by side: in the right order, by workers that end with their campaign."""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dashlib.recipes import SPECS
from dashlib.runs import workers
from dashlib.runs.workers import CLASSIFIER

TEACHERS = [name for name, spec in SPECS.items() if spec.teacher is None]
STUDENTS = [name for name, spec in SPECS.items() if spec.teacher]
OTHERS_PRIOR = "digits/dash-transfer_tirt_eps-s0"
BROKEN = "digits/dash-tirt-s2"


@pytest.fixture
def in_threads(monkeypatch):
    """Threads for processes."""

    def pool(workers, *, mp_context, initializer):
        return ThreadPoolExecutor(workers)

    monkeypatch.setattr(workers, "ProcessPoolExecutor", pool)


@pytest.fixture
def campaign(in_threads, monkeypatch):
    """``reproduce`` in threads, with runs that only note when they start and end."""
    noted, lock = [], threading.Lock()

    def make(name, progress):
        with lock:
            noted.append(("start", name))
        if name == BROKEN:
            raise RuntimeError("broken")
        time.sleep(0.3 if "teacher" in name else 0.01)
        with lock:
            noted.append(("end", name))
        return name

    monkeypatch.setattr(workers, "_execute_with", make)
    return lambda chosen: (list(workers.reproduce(chosen)), noted)


def test_a_run_starts_when_what_it_needs_is_made(campaign):
    prior = "digits/teacher-tirt_eps"
    chosen = [OTHERS_PRIOR, STUDENTS[1], prior, CLASSIFIER, *TEACHERS]
    made, noted = campaign(chosen)
    assert sorted(made) == sorted(chosen)
    assert made[0] == CLASSIFIER
    for name in chosen:
        for needed in workers._needs(name):
            assert noted.index(("end", needed)) < noted.index(("start", name))
    assert {prior, SPECS[OTHERS_PRIOR].teacher} < workers._needs(OTHERS_PRIOR)


def test_no_process_idles_while_a_run_is_ready_and_none_has_two(campaign):
    students = [f"digits/dash-tirt-s{seed}" for seed in (0, 1)]  # their teacher is stored
    _, noted = campaign(["digits/teacher-uncertainty", *students])
    assert noted.index(("end", students[-1])) < noted.index(("end", "digits/teacher-uncertainty"))
    busy = [sum(1 if what == "start" else -1 for what, _ in noted[:i]) for i in range(len(noted))]
    assert max(busy) == 2


def test_students_of_a_seed_share_a_process_that_asks_their_teacher_once(in_threads, monkeypatch):
    threads = {}

    def make(name, progress):
        threads.setdefault(SPECS[name].seed, []).append(threading.get_ident())
        time.sleep(0.02)
        return name

    monkeypatch.setattr(workers, "_execute_with", make)
    students = [name for name in STUDENTS if "tirt-s" in name or "min_snr-s" in name]
    assert len(list(workers.reproduce(students))) == len(students) == 6
    assert [len(set(threads[seed])) for seed in (0, 1)] == [1, 1]
    assert len(set(threads[2])) == 2  # the last seed's are shared: no process idles
    assert all(len(made) == 2 for made in threads.values())


def test_a_failed_run_ends_the_campaign(campaign):
    with pytest.raises(RuntimeError, match="broken"):
        campaign([BROKEN, "digits/dash-tirt-s0", "digits/dash-tirt-s1", STUDENTS[0]])
    assert campaign([])[1].count(("start", STUDENTS[0])) == 0


def test_reproducing_an_unknown_run_is_an_error():
    with pytest.raises(ValueError, match="digits/typo"):
        list(workers.reproduce(["digits/typo"]))


ORPHANAGE = """
import os, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from dashlib.runs.workers import start_worker
if __name__ == "__main__":
    context = get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=start_worker) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        time.sleep(60)
"""


def alive(pid):
    """Whether a process runs (one that only waits to be reaped does not)."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_a_worker_ends_with_a_killed_campaign(tmp_path):
    script = tmp_path / "campaign.py"
    script.write_text(ORPHANAGE)
    campaign = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    worker = int(campaign.stdout.readline())
    assert alive(worker)
    campaign.kill()
    campaign.wait()
    for _ in range(100):
        if not alive(worker):
            return
        time.sleep(0.1)
    pytest.fail("the worker goes on")
