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
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from dashlib import checkpoints, results
from dashlib.progress import Progress
from dashlib.recipes import Recipe
from dashlib.runs.building import build, check_teacher, stream
from dashlib.scale import checkpointing
from dashlib.scale.distributed import make_accelerator
from dashlib.scale.engine import Numerics, Parallel, seed_process
from dashlib.scale.precision import cuda_peak
from dashlib.scale.presets import preset
from dashlib.scale.sampling import find
from dashlib.training import StepRecord, Trainer
from dashlib.unet import count_parameters
from dashlib.weighting import TIRT


@dataclass(frozen=True)
class Job:
    """A recipe to train, where, and how: everything that its result depends on."""

    preset: str  # where the settings come from
    recipe: Recipe
    out: Path
    data: Path = Path("data")
    download: bool = False
    workers: int = 4  # processes that read ImageNet's files
    device: str = "auto"
    numerics: Numerics = field(default_factory=Numerics)
    resume: str = "auto"  # auto, never or a checkpoint's folder
    save_every: int = 1000  # steps
    keep: int = 3  # checkpoints
    stop_after: int | None = None  # steps of this session

    def __post_init__(self) -> None:
        if self.save_every < 1 or (self.stop_after is not None and self.stop_after < 1):
            raise ValueError(
                f"save_every={self.save_every}, stop_after={self.stop_after}: 1 step or more"
            )
        if self.recipe.teacher is None and self.recipe.weighting == "transfer":
            raise ValueError("weighting 'transfer' needs a teacher with a learned lambda")

    def settings(self) -> dict[str, Any]:
        """Everything as plain JSON."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self), default=str))
        return plain


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

    def flush(self) -> None:
        """Write the pending records, those of a group of steps; an infinite norm as null."""
        now = time.perf_counter()
        rate = round(len(self.pending) * self.batch / max(now - self.clock, 1e-9), 1)
        if self.main:
            with self.path.open("a") as file:
                for record in self.pending:
                    norm = record.grad_norm if math.isfinite(record.grad_norm) else None
                    entry = {**asdict(record), "grad_norm": norm, "images_per_s": rate}
                    file.write(json.dumps(entry) + "\n")
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
        self.job, self.recipe, self.progress = job, job.recipe, progress
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
            self.trainer = self._built()
            self._resume()
            first, clock = self.trainer.step, time.perf_counter()
            self._note(first, "training", 0)
            try:
                why = self._train(stop)
            finally:
                how_far = f"after step {self.trainer.step} of {self.recipe.train.steps}"
            self._note(first, why, time.perf_counter() - clock)
        self.accelerator.end_training()
        assert self.last is not None
        return Outcome(self.trainer.step, why, self.last)

    def _built(self) -> Trainer:
        """The untrained job on this process's device; its batches are ``self.stream``."""
        job, teacher, lam = self.job, None, None
        if self.recipe.teacher is not None:
            found = find(self.recipe.teacher)
            teacher, lam = found.model, found.lam
            check_teacher(teacher.cfg, self.recipe)
            if lam is None and self.recipe.weighting == "transfer":
                raise ValueError(
                    f"the teacher {self.recipe.teacher} has no learned lambda (TIRT) to transfer: "
                    "choose another --weighting, for example uniform or min_snr"
                )
        with self.accelerator.main_process_first():  # the others find what it downloaded
            where = self.accelerator.device, job.data
            self.stream = stream(self.recipe, *where, download=job.download, workers=job.workers)
        asked = None if self.recipe.objective == "scratch" else teacher
        execution = Parallel(self.accelerator, job.numerics, asked)
        trainer = build(self.recipe, teacher, lam=lam, execution=execution)
        seed_process(self.recipe.seed, self.accelerator.process_index)
        return trainer

    def _train(self, stop: checkpointing.Stop) -> str:
        """Go on until the end or a reason to stop, which is returned; the last state is saved."""
        trainer, job = self.trainer, self.job
        first = saved = trainer.step
        log = Log(job.out / "log.jsonl", self.recipe.batch_size, first, self.main)
        why = "finished"
        for record in trainer.run(self.stream):
            log.pending.append(record)
            if self.main:
                self.progress(self.recipe.objective, record.step, self.recipe.train.steps)
            if record.step < trainer.step:  # within a group of steps
                continue
            log.flush()
            if early := self._early(stop, record.step - first):
                why = early
                break
            if record.step - saved >= job.save_every:
                self._save()
                saved = record.step
        if self.last is None or trainer.step > saved:
            self._save()
        if why == "finished" and self.main:  # the averaged network, with the lambda of TIRT
            learned = trainer.weighting
            lam = learned.lam.detach().cpu() if isinstance(learned, TIRT) else None
            checkpoints.save(job.out / "model", trainer.ema, lam)
        return why

    def _early(self, stop: checkpointing.Stop, made: int) -> str | None:
        """Why to stop before the end, agreed on by all processes; None to go on."""
        if self.trainer.step == self.recipe.train.steps:
            return None
        number = torch.tensor([stop.received or 0], device=self.accelerator.device)
        if received := int(self.accelerator.gather(number).max()):
            return signal.Signals(received).name
        return "stopped" if made >= (self.job.stop_after or math.inf) else None

    def _save(self) -> None:
        """Write a checkpoint of all processes' states; the main process does."""
        state = self.trainer.state(self.stream)
        self.last = self.saved.folder
        if self.main:
            self.last = self.saved.save(self.trainer.step, state)

    def _resume(self) -> None:
        """Go on from the checkpoint that the job asks for, which the main process chooses."""
        from accelerate.utils import broadcast_object_list

        (path,) = broadcast_object_list([self._chosen() if self.main else None])
        if path is None:
            return
        self.trainer.restore(checkpointing.read_checkpoint(path), self.stream, str(path))
        self.last = path
        self.say(f"resumed {path}: step {self.trainer.step} of {self.recipe.train.steps}")

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
        import accelerate

        steps, device = self.trainer.step - first, self.accelerator.device
        images = steps * self.recipe.batch_size  # of all processes, warm-up and checkpoints too
        where = results.provenance()
        where["versions"] |= {"cuda": torch.version.cuda, "accelerate": accelerate.__version__}
        mine = {
            "from_step": first,
            "to_step": self.trainer.step,
            "ended": ended,
            "seconds": round(seconds, 1),
            "images_per_s": round(images / seconds, 1) if steps and seconds else None,
            "peak_mib": round(cuda_peak(), 1) if device.type == "cuda" else None,
            "processes": self.accelerator.num_processes,
            "device": str(device),
            "precision": self.job.numerics.precision,
            **where,
        }
        content = {
            "settings": self.job.settings(),
            "sources": preset(self.job.preset).notes,
            "parameters": count_parameters(self.trainer.model),
            "status": ended,
            "step": self.trainer.step,
            "sessions": [*self.sessions, mine],
        }
        text = json.dumps(content, indent=1) + "\n"
        checkpoints.write_atomically(self.job.out / "run.json", text.encode())


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
