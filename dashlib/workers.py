"""Processes that make stored runs side by side, each on one thread.

On few cores, several processes of one thread each are faster than one of several threads.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context, parent_process
from threading import Thread

import torch

from dashlib import results
from dashlib.experiments import CLASSIFIER, Progress, execute, silent
from dashlib.specs import SPECS


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


def _needs(name: str) -> set[str]:
    """The runs that must be stored before this one can be made: classifier, teacher, prior."""
    if name == CLASSIFIER:
        return set()
    return {CLASSIFIER, *filter(None, (SPECS[name].teacher, SPECS[name].prior))}


def reproduce(
    chosen: list[str], *, processes: int = 2, progress: Callable[[], Progress] = lambda: silent
) -> Iterator[results.Run]:
    """Make runs from scratch on several one-threaded processes, yielding each as it is stored.

    A run starts as soon as a process is free and what it needs is made; otherwise the order is the
    one given.  ``progress()`` is called in each process to make its reporter (so it must be
    picklable).  A run that fails ends the campaign once those beside it are stored.
    """
    unknown = [name for name in chosen if name != CLASSIFIER and name not in SPECS]
    if unknown:
        raise ValueError(f"unknown runs {unknown}: see `python -m dashlib list`")
    waiting, running = list(chosen), dict[Future[results.Run], str]()
    context = get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=start_worker) as pool:
        while waiting or running:
            unmade = {*waiting, *running.values()}
            ready = [name for name in waiting if not _needs(name) & unmade]
            for name in ready[: processes - len(running)]:
                running[pool.submit(_execute_with, name, progress)] = name
                waiting.remove(name)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                del running[future]
                yield future.result()


def _execute_with(name: str, progress: Callable[[], Progress]) -> results.Run:
    return execute(name, progress())
