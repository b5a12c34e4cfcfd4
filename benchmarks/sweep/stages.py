"""The processes of a sweep: compilers, teacher, students and scoring share one GPU."""

import os
import sys
import time
import traceback
from collections.abc import Mapping
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from benchmarks.sweep import plan as plans
from benchmarks.sweep.captured import keep_compiled, use_compiled
from benchmarks.sweep.plan import Plan
from dashlib.scale.distributed import numerics

NEEDS = {"students": ("teacher",), "scoring": ("teacher", "students")}  # what would wait in vain
COMPILED = "compiled"  # files of what was compiled, from one sweep's work to the next one's weights


def _stage(name: str, work: Path) -> None:
    """A process: one stage, its output in ``work/NAME.log``."""
    log = (work / log_name(name)).open("a", buffering=1)
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    plan, started = plans.read(work)
    if plan.device == "cpu":
        torch.set_num_threads(1)
    print(f"{name} starts at {time.time() - started:.1f} s", flush=True)
    try:
        use_compiled(sorted(plan.weights.glob(f"{COMPILED}-*")))
        with numerics(plan.device, "tf32" if plan.device == "cuda" else "fp32"):
            _work(name, plan)
        if not name.startswith("compile:"):
            keep_compiled(work / f"{COMPILED}-{name}")
    except Exception:
        traceback.print_exc()
        sys.exit(1)
    finally:
        print(f"{name} ends at {time.time() - started:.1f} s", flush=True)


def log_name(name: str) -> str:
    """The file in the work folder that a process writes to."""
    return f"{name.replace(':', '-')}.log"


def _work(name: str, plan: Plan) -> None:
    from benchmarks.sweep import scoring, students, teacher

    stage, _, row = name.partition(":")
    if stage == "compile":
        students.compile_row(plan, row)
    elif stage == "teacher":
        teacher.teach(plan)
    elif stage == "students":
        students.train(plan)
    else:
        os.nice(5)
        scoring.evaluate(plan)


def stages(plan: Plan) -> list[str]:
    """The names of the processes: a compiler for each step that differs, then the stages."""
    kinds = {(s.unet, plan.share(row)): row for row, s in reversed(plan.recipes().items())}
    compilers = [f"compile:{row}" for row in kinds.values()] if plan.device == "cuda" else []
    return [*compilers, *["teacher"][: plan.teach > 0], "students", "scoring"]


def run(plan: Plan) -> dict[str, int]:
    """Make the whole sweep; the exit code of each process (0: it went well; below: stopped)."""
    plan.write()
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(plan.work / "inductor"))
    context = get_context("spawn")
    made = {name: context.Process(target=_stage, args=(name, plan.work)) for name in stages(plan)}
    for process in made.values():
        process.start()
    return joined(made)


def joined(processes: Mapping[str, BaseProcess]) -> dict[str, int]:
    """Wait for all to end; what needs one that failed is stopped, for it would wait in vain."""
    running = dict(processes)
    while running:
        wait([process.sentinel for process in running.values()])
        for name in [name for name, process in running.items() if not process.is_alive()]:
            if running.pop(name).exitcode:
                for other in (other for other in running if name in NEEDS.get(other, ())):
                    running[other].terminate()
    return {name: process.exitcode or 0 for name, process in processes.items()}
