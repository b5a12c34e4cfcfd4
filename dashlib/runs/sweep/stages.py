"""The stages of a sweep, on worker processes that share one accelerator."""

import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from dashlib import results
from dashlib.recipes import Spec
from dashlib.runs.sweep.cotraining import train_classifier, train_group
from dashlib.runs.sweep.plan import Plan
from dashlib.runs.sweep.scoring import (
    collect,
    examine,
    note_score,
    score,
    score_lines,
    scoring_tasks,
    warm_up_scoring,
)
from dashlib.runs.workers import start_worker

Task = tuple[Callable[..., Any], tuple[Any, ...]]


def _drain(
    pool: ProcessPoolExecutor, tasks: list[Task], at_once: int, deadline: float
) -> Iterator[Any]:
    """Results of tasks as they end; none is started after the deadline."""
    waiting, running = iter(tasks), set[Future[Any]]()
    while True:
        while len(running) < at_once and time.time() < deadline and (task := next(waiting, None)):
            running.add(pool.submit(task[0], *task[1]))
        if not running:
            return
        finished, running = wait(running, return_when=FIRST_COMPLETED)
        for future in finished:
            try:
                yield future.result()
            except Exception:  # the others go on; the next call tries this one again
                traceback.print_exc()


def _missing(plan: Plan, specs: list[Spec]) -> list[Spec]:
    return [s for s in specs if not (results.root() / s.name / "run.json").exists()]


def _groups(plan: Plan, specs: list[Spec]) -> list[tuple[str, tuple[str, ...]]]:
    """Runs trained side by side: those of a seed, in as equal parts as the seeds allow."""
    groups = []
    for seed in sorted({s.seed for s in specs}):
        names = [s.name for s in specs if s.seed == seed]
        size = max(-(-len(specs) // plan.processes), 1)
        parts = -(-len(names) // size)
        groups += [(f"students-s{seed}-{i}", tuple(names[i::parts])) for i in range(parts)]
    return groups


def _start() -> None:
    """A worker: one thread, and full precision wherever none lower is asked for."""
    start_worker()
    torch.backends.cudnn.allow_tf32 = False


def run(plan: Plan, seconds: float) -> bool:
    """Go on with the sweep for so many seconds; returns whether all of it is done."""
    deadline = time.time() + seconds
    plan.work.mkdir(parents=True, exist_ok=True)
    context = get_context("spawn")
    with ProcessPoolExecutor(plan.processes, mp_context=context, initializer=_start) as pool:
        for stage in (_training_stage, _examine_stage, _score_stage):
            for outcome in _drain(pool, stage(plan, deadline), plan.processes, deadline):
                if isinstance(outcome, dict):
                    note_score(plan, outcome)
                print(f"{deadline - time.time():5.0f} s left  {outcome}", flush=True)
            if stage(plan, deadline):
                break
    collect(plan)
    return not any(stage(plan, deadline) for stage in (_training_stage, _score_stage))


def _training_stage(plan: Plan, deadline: float) -> list[Task]:
    """The teachers, students (which wait for them) and the classifier."""
    teachers = _missing(plan, [s for s in plan.specs() if s.teacher is None])
    tasks: list[Task] = [
        (train_group, ((s.name,), plan, Path(s.name).name, deadline)) for s in teachers
    ]
    if not (results.root() / plan.settings.classifier / "run.json").exists():
        tasks.append((train_classifier, (plan,)))
    if teachers:
        tasks.append((warm_up_scoring, (plan,)))
    wanted = [s for s in plan.specs() if s.teacher]
    left = {s.name for s in _missing(plan, wanted)}
    groups = [(key, names) for key, names in _groups(plan, wanted) if left & set(names)]
    return tasks + [(train_group, (names, plan, key, deadline)) for key, names in groups]


def _examine_stage(plan: Plan, deadline: float) -> list[Task]:
    seen = {line["run"] for line in score_lines(plan) if "examined" in line}
    return [(examine, (s.name, plan)) for s in plan.specs() if s.name not in seen]


def _score_stage(plan: Plan, deadline: float) -> list[Task]:
    seen = {(e["run"], e["label"], e["seed"], e["n"]) for e in score_lines(plan) if "label" in e}
    return [(score, (*task, plan)) for task in scoring_tasks(plan) if task not in seen]
