"""Processes that make stored runs side by side, each on one thread: the fastest on few cores."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any

import torch
from filelock import FileLock
from tqdm import tqdm

from dashlib import results
from dashlib.checkpoints import write_atomically
from dashlib.progress import Progress, refresh_seconds, silent
from dashlib.recipes import DIGITS, RECIPES
from dashlib.runs.making import check_names, make

TOGETHER = 4  # students that one process trains side by side, asking their teacher once


class Bars(tqdm):
    """A progress reporter that shows one bar a process, begun anew for each stage of a run."""

    def __init__(self) -> None:
        super().__init__(mininterval=refresh_seconds(), leave=False, delay=0.01)  # none at once

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` steps of ``what`` are done."""
        if what != self.desc:
            self.set_description_str(what, refresh=False)
            self.reset(total)
        self.update(done - self.n)


def start_worker() -> None:
    """One thread a process (more would spin), which ends when the main process does."""
    torch.set_num_threads(1)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Wait for the main process, even a killed one, and stop: nothing trains on unseen."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def processes(count: int) -> ProcessPoolExecutor:
    """A pool of such processes."""
    return ProcessPoolExecutor(count, get_context("spawn"), start_worker)


def needs(name: str) -> set[str]:
    """The runs that must be stored before this one can be made: classifier, teacher, prior."""
    if name == DIGITS.classifier:
        return set()
    recipe = RECIPES[name]
    return {DIGITS.classifier, *filter(None, (recipe.teacher, recipe.prior))}


def groups(names: list[str]) -> list[tuple[str, ...]]:
    """Runs that are made together: up to :data:`TOGETHER` students that need the same."""
    alike: dict[Any, list[str]] = {}
    for name in names:
        recipe = RECIPES.get(name)
        drawn = (recipe.seed, recipe.train.steps) if recipe and recipe.teacher else (name,)
        alike.setdefault((*drawn, *sorted(needs(name))), []).append(name)
    cuts = [(same, i) for same in alike.values() for i in range(0, len(same), TOGETHER)]
    return [tuple(same[i : i + TOGETHER]) for same, i in cuts]


def reproduce(
    chosen: list[str], *, workers: int = 2, progress: Callable[[], Progress] = lambda: silent
) -> Iterator[results.Run]:
    """Make runs from scratch on several one-threaded processes, yielding each as it is stored.

    A group starts once a process is free and what it needs is made.  ``progress()`` makes each
    process's reporter (picklable).  A run that fails ends the sweep once those beside it are done.
    """
    check_names(chosen)
    waiting, running = groups(chosen), dict[Future[list[results.Run]], tuple[str, ...]]()
    with processes(workers) as pool:
        while waiting or running:
            unmade = {name for group in (*waiting, *running.values()) for name in group}
            for group in [g for g in waiting if not needs(g[0]) & unmade]:
                if len(running) < workers:
                    running[pool.submit(_made, group, progress)] = group
                    waiting.remove(group)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                del running[future]
                yield from future.result()


def _made(group: tuple[str, ...], progress: Callable[[], Progress]) -> list[results.Run]:
    return list(make(group, progress()))


def note_sweep(entry: Mapping[str, Any]) -> None:
    """Append what a sweep of runs took to ``results/campaigns.jsonl``, one object a line."""
    path = results.root() / "campaigns.jsonl"
    line = {**entry, "commit": results.commit(), "hardware": results.hardware()}
    with FileLock(path.with_name(".campaigns.lock")):  # read, appended to and replaced by one
        former = path.read_text() if path.exists() else ""
        write_atomically(path, (former + json.dumps(line) + "\n").encode())
