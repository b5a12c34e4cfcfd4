"""Processes that make stored runs side by side, each on one thread.

On few cores, several processes of one thread each are faster than one of several threads.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack
from multiprocessing import get_context, parent_process
from threading import Thread

import torch

from dashlib import results
from dashlib.progress import Progress, silent
from dashlib.recipes import SPECS
from dashlib.runs.experiments import CLASSIFIER, execute


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


Answers = tuple[str, int] | None  # a teacher's to the batches of a seed, which a process keeps


def _answers(name: str) -> Answers:
    """The teacher's answers that a run trains on, if it has a teacher."""
    spec = SPECS.get(name)
    return (spec.teacher, spec.seed) if spec and spec.teacher else None


def _choose(ready: list[str], mine: Answers, others: list[Answers]) -> str:
    """The run for a free process: it prefers its own answers, then those that no other has."""
    rank = {**dict.fromkeys(others, 2), mine: 0, None: 1}
    return min(ready, key=lambda name: rank.get(_answers(name), 1))


def reproduce(
    chosen: list[str], *, processes: int = 2, progress: Callable[[], Progress] = lambda: silent
) -> Iterator[results.Run]:
    """Make runs from scratch on several one-threaded processes, yielding each as it is stored.

    A run starts as soon as a process is free and what it needs is made; students of one seed go to
    one process as far as none idles, so that it asks their teacher once.  ``progress()`` is called
    in each process to make its reporter (so it must be picklable).  A run that fails ends the
    campaign once those beside it are stored.
    """
    unknown = [name for name in chosen if name != CLASSIFIER and name not in SPECS]
    if unknown:
        raise ValueError(f"unknown runs {unknown}: see `python -m dashlib list`")
    waiting, running = list(chosen), dict[Future[results.Run], tuple[int, str]]()
    kept: list[Answers] = [None] * processes
    with ExitStack() as stack:
        pools = [stack.enter_context(_process()) for _ in range(processes)]
        while waiting or running:
            for free in set(range(processes)) - {process for process, _ in running.values()}:
                unmade = {*waiting, *(name for _, name in running.values())}
                if ready := [name for name in waiting if not _needs(name) & unmade]:
                    name = _choose(ready, kept[free], kept[:free] + kept[free + 1 :])
                    kept[free] = _answers(name) or kept[free]
                    running[pools[free].submit(_execute_with, name, progress)] = free, name
                    waiting.remove(name)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                del running[future]
                yield future.result()


def _process() -> ProcessPoolExecutor:
    """A process of one thread."""
    context = get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=context, initializer=start_worker)


def _execute_with(name: str, progress: Callable[[], Progress]) -> results.Run:
    return execute(name, progress())
