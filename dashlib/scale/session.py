"""A session: one call of ``train`` or ``distill``, which starts a job or goes on with it.

A job's folder holds ``run.json`` (all settings with their sources, and every session that worked on
it), ``log.jsonl`` (a record a step), ``checkpoints/``, and at the end the averaged network,
``model.safetensors`` with ``model.json``.
"""

import json
import math
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from dashlib import checkpoints, results
from dashlib.scale import checkpointing
from dashlib.scale.distributed import make_accelerator
from dashlib.scale.jobs import Job, build
from dashlib.scale.precision import cuda_peak
from dashlib.scale.presets import preset
from dashlib.training import StepRecord
from dashlib.unet import count_parameters
from dashlib.weighting import TIRT

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Outcome:
    """How a session ended: at which step, and why (``finished``, ``stopped`` or a signal)."""

    step: int
    why: str
    checkpoint: Path

    @property
    def exit_code(self) -> int:
        """What the command exits with: 0, or 75 after a signal."""
        return 0 if self.why in ("finished", "stopped") else checkpointing.INTERRUPTED


def _finite(value: float) -> float | None:
    """JSON knows no infinity: an overflowed gradient (fp16) is logged as null."""
    return value if math.isfinite(value) else None


class Log:
    """``log.jsonl``: one object a step, with images/s over its group; the main process writes.

    Of a log that exists, lines after ``step`` go: those steps are made again.
    """

    def __init__(self, path: Path, batch: int, step: int, main: bool) -> None:
        self.path, self.batch, self.main = path, batch, main
        self.pending: list[StepRecord] = []
        if main:
            lines = path.read_text().splitlines() if path.exists() else []
            kept = [f"{line}\n" for line in lines if _step_of(line) <= step]
            checkpoints.write_atomically(path, "".join(kept).encode())
        self.clock = time.perf_counter()

    def add(self, record: StepRecord) -> None:
        """Note a record; it is written by :meth:`flush`."""
        self.pending.append(record)

    def flush(self) -> None:
        """Write the records of a group of steps."""
        now = time.perf_counter()
        rate = round(len(self.pending) * self.batch / max(now - self.clock, 1e-9), 1)
        entries = [
            {**asdict(r), "grad_norm": _finite(r.grad_norm), "images_per_s": rate}
            for r in self.pending
        ]
        if self.main:
            with self.path.open("a") as file:
                file.writelines(json.dumps(entry) + "\n" for entry in entries)
        self.pending, self.clock = [], now


def _step_of(line: str) -> float:
    """The step of a log line; infinity for a line that a kill cut short."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf


class Session:
    """One process's part in one call of a job: resumes, trains, saves, and says how it ended."""

    def __init__(self, job: Job, say: Callable[[str], object], progress: Progress) -> None:
        self.job, self.progress = job, progress
        self.accelerator = make_accelerator(job.numerics.precision, job.device)
        self.main = self.accelerator.is_main_process
        self.say = say if self.main else (lambda message: None)
        self.saved = checkpointing.Checkpoints(job.out / "checkpoints", job.keep)
        self.last: Path | None = None  # checkpoint
        self.sessions = _former_sessions(job.out)

    def run(self) -> Outcome:
        """Train to the end, or as far as the job or a signal allows.

        Raises :class:`.checkpointing.TrainingStopped`, ``ValueError`` (settings that do not go
        together, or differ from those of the checkpoint), ``CheckpointError`` or
        ``FileNotFoundError`` (no such data).
        """
        self.say(json.dumps(self.job.settings(), indent=1))
        how_far = "before the first step"
        with (
            checkpointing.Stop() as stop,
            checkpointing.explained(lambda: how_far, self._last_good),
        ):
            self.engine, self.stream = build(self.job, self.accelerator)
            self._resume()
            first, clock = self.engine.step, time.perf_counter()
            self._note(first, "training", 0)
            try:
                why = self._train(stop)
            finally:
                how_far = f"after step {self.engine.step} of {self.engine.cfg.steps}"
            self._note(first, why, time.perf_counter() - clock)
        self.accelerator.end_training()
        assert self.last is not None
        return Outcome(self.engine.step, why, self.last)

    def _train(self, stop: checkpointing.Stop) -> str:
        """Go on until the end or a reason to stop, which is returned; the last state is saved."""
        engine, job = self.engine, self.job
        first = saved = engine.step
        why, log = "finished", Log(job.out / "log.jsonl", job.role.batch, first, self.main)
        for record in engine.run(self.stream):
            log.add(record)
            if self.main:
                self.progress(job.role.objective, record.step, job.role.train.steps)
            if record.step < engine.step:  # within a group of steps
                continue
            log.flush()
            if early := self._early(stop, record.step - first):
                why = early
                break
            if record.step - saved >= job.save_every:
                self._save()
                saved = record.step
        if self.last is None or engine.step > saved:
            self._save()
        if why == "finished":
            self._store_model()
        return why

    def _early(self, stop: checkpointing.Stop, made: int) -> str | None:
        """Why to stop before the end, agreed on by all processes; None to go on."""
        if self.engine.step == self.engine.cfg.steps:
            return None
        number = torch.tensor([stop.received or 0], device=self.accelerator.device)
        if received := int(self.accelerator.gather(number).max()):
            return signal.Signals(received).name
        return "stopped" if made >= (self.job.stop_after or math.inf) else None

    def _save(self) -> None:
        """Write a checkpoint of all processes' states; the main process does."""
        state, step = self.engine.state(self.stream), self.engine.step
        path = self.saved.save(step, state) if self.main else self.saved.path(step)
        self.last = path

    def _store_model(self) -> None:
        """Write the averaged network, with the lambda of a TIRT weighting."""
        weighting = self.engine.weighting
        lam = weighting.lam.detach().cpu() if isinstance(weighting, TIRT) else None
        if self.main:
            checkpoints.save(self.job.out / "model", self.engine.ema, lam)

    def _resume(self) -> None:
        """Go on from the checkpoint that the job asks for, which the main process chooses."""
        from accelerate.utils import broadcast_object_list

        (path,) = broadcast_object_list([self._chosen() if self.main else None])
        if path is None:
            return
        self.engine.restore(checkpointing.read(path), self.stream, str(path))
        self.last = path
        self.say(f"resumed {path}: step {self.engine.step} of {self.engine.cfg.steps}")

    def _chosen(self) -> Path | None:
        """The checkpoint to go on from; None to begin.  ``ValueError`` if others are in the way."""
        if self.job.resume == "auto":
            return self.saved.newest(lambda message: self.say(f"warning: {message}"))
        chosen = None if self.job.resume == "never" else Path(self.job.resume)
        newer = [p for p in self.saved.all() if chosen is None or p.name > chosen.name]
        if newer:
            raise ValueError(
                f"{self.job.out} holds {newer[0].name}, which is newer than what --resume "
                f"{self.job.resume} asks for: choose another --out, or delete it first"
            )
        return chosen

    def _last_good(self) -> str:
        if self.last is None:
            return "No checkpoint was made yet."
        return f"The last good checkpoint is {self.last}."

    def _note(self, first: int, ended: str, seconds: float) -> None:
        """Write ``run.json``: settings with their sources, and how this session went so far."""
        if not self.main:
            return
        mine = {
            "from_step": first,
            "to_step": self.engine.step,
            "ended": ended,
            "seconds": round(seconds, 1),
            "images_per_s": self._rate(self.engine.step - first, seconds),
            "peak_mib": _peak_mib(self.accelerator.device),
            "processes": self.accelerator.num_processes,
            "device": str(self.accelerator.device),
            "precision": self.job.numerics.precision,
            **provenance(),
        }
        content = {
            "settings": self.job.settings(),
            "sources": preset(self.job.preset).notes,
            "parameters": count_parameters(self.engine.model),
            "status": ended,
            "step": self.engine.step,
            "sessions": [*self.sessions, mine],
        }
        text = json.dumps(content, indent=1) + "\n"
        checkpoints.write_atomically(self.job.out / "run.json", text.encode())

    def _rate(self, steps: int, seconds: float) -> float | None:
        """Images a second of all processes, warm-up and checkpoints included; None for no step."""
        return round(steps * self.job.role.batch / seconds, 1) if steps and seconds else None


def _peak_mib(device: torch.device) -> float | None:
    """Most MiB of tensors on this process's GPU so far; None on the CPU."""
    return round(cuda_peak(), 1) if device.type == "cuda" else None


def provenance() -> dict[str, Any]:
    """The commit, hardware and versions that a session runs on."""
    import accelerate

    return {
        "commit": results.commit(),
        "hardware": results.hardware(),
        "versions": {
            **results.versions(),
            "cuda": torch.version.cuda,
            "accelerate": accelerate.__version__,
        },
    }


def _former_sessions(out: Path) -> list[dict[str, Any]]:
    """The sessions in a job's ``run.json``; ``CheckpointError`` if that is damaged."""
    path = out / "run.json"
    if not path.exists():
        return []
    try:
        return list(json.loads(path.read_text())["sessions"])
    except (ValueError, KeyError, TypeError) as error:
        raise checkpoints.CheckpointError(
            f"{path} is not a job's ({error}): choose another --out, or delete the file"
        ) from error
