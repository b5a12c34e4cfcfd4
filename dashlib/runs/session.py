"""A session: one call of ``train`` or ``distill``, which starts a job or goes on with it.

A job's folder holds ``run.json`` (all settings with sources, and every session), ``log.jsonl``
(a record a step), ``checkpoints/``, and at the end ``model.safetensors`` with ``model.json``.
"""

import json
import math
import signal
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import accelerate
import torch
from accelerate.utils import broadcast_object_list, set_seed

from dashlib import checkpoints, results
from dashlib.progress import Progress
from dashlib.recipes import Recipe
from dashlib.runs.building import build, stream
from dashlib.scale import checkpointing
from dashlib.scale.distributed import make_accelerator
from dashlib.scale.engine import Numerics, Parallel
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
    cache: Path | None = None  # of ImageNet's pixels, if not in data
    download: bool = False
    workers: int = 4  # processes that read ImageNet's files
    device: str = "auto"
    numerics: Numerics = field(default_factory=Numerics)
    resume: str = "auto"  # auto, never or a checkpoint's path
    save_every: int = 1000  # steps
    keep: int = 3  # checkpoints
    stop_after: int | None = None  # steps of this session


class Session:
    """One process's part in one call of a job: resumes, trains, saves, and says how it ended."""

    def __init__(self, job: Job, say: Callable[[str], object], progress: Progress) -> None:
        self.job, self.recipe, self.progress = job, job.recipe, progress
        self.accelerator = make_accelerator(job.numerics.precision, job.device)
        self.main = self.accelerator.is_main_process
        self.say = say if self.main else (lambda message: None)
        self.saved = checkpointing.Checkpoints(job.out / "checkpoints", job.keep)
        self.last: Path | None = None  # checkpoint
        self.record, self.former = job.out / "run.json", list[dict[str, Any]]()
        self.ended = "training"  # then finished, stopped or the name of a signal

    @property
    def step(self) -> int:
        """Count the steps made, by former sessions, too."""
        return self.trainer.step if hasattr(self, "trainer") else 0

    def run(self) -> str:
        """Train to the end, or as far as the job or a signal allows; returns how it ended.

        Raises ``TrainingStopped``, ``CheckpointError``, ``FileNotFoundError`` (no such data) or
        ``ValueError`` (settings that do not go together, or differ from the checkpoint's).
        """
        self.say(json.dumps(asdict(self.job), indent=1, default=str))
        with checkpointing.Stop() as stop, checkpointing.explained(self._so_far):
            self.trainer = self._built()
            with checkpointing.alone(self.job.out) if self.main else nullcontext():
                self._resume()
                first, began = self.step, time.perf_counter()
                self._note(first, 0)
                self.ended = self._train(stop)
                self._note(first, time.perf_counter() - began)
        self.accelerator.end_training()
        return self.ended

    def report(self) -> str:
        """Say how it ended, and what to do next."""
        if self.ended == "finished":
            return f"finished: {self.step} steps, model in {self.job.out / 'model'}.safetensors"
        where = f"step {self.step} of {self.recipe.train.steps} in {self.last}"
        return f"{self.ended}: saved {where}; the same command goes on"

    def _so_far(self) -> str:
        made = f"after step {self.step} of {self.recipe.train.steps}"
        kept = f"The last good checkpoint is {self.last}" if self.last else "No checkpoint was made"
        return f"{made if self.step else 'before the first step'}. {kept}."

    def _built(self) -> Trainer:
        """The untrained job on this process's device; its batches are ``self.stream``."""
        job, recipe, place = self.job, self.recipe, self.accelerator
        teacher, lam = None, None
        if recipe.teacher is not None:
            found = find(recipe.teacher)
            found.check(recipe.unet.images)
            self.say(f"teacher {found.name}, SHA-256 {found.sha[:8]}")
            teacher, lam = found.model, found.lam
            if lam is None and recipe.weighting == "transfer":
                fault = "has no learned lambda (TIRT) to transfer: choose another --weighting"
                raise ValueError(f"the teacher {found.name} {fault}, for example min_snr")
        how: Any = {"download": job.download, "workers": job.workers, "cache": job.cache}
        with place.main_process_first():  # the others find what it downloaded
            self.stream = stream(recipe, place.device, job.data, **how)
        asked = None if recipe.objective == "scratch" else teacher
        trainer = build(recipe, teacher, lam=lam, execution=Parallel(place, job.numerics, asked))
        set_seed(recipe.seed, device_specific=True)
        return trainer

    def _train(self, stop: checkpointing.Stop) -> str:
        """Go on until the end or a reason to stop, which is returned; the last state is saved."""
        first = saved = self.step
        group, began, ended = list[StepRecord](), time.perf_counter(), None
        self._cut_log()
        for record in self.trainer.run(self.stream):
            group.append(record)
            if record.step < self.step:  # the loss is read every so many steps
                continue
            self._log(group, time.perf_counter() - began)
            group, began = [], time.perf_counter()
            if ended := self._early(stop, self.step - first):
                break
            if self.step - saved >= self.job.save_every:
                self._save()
                saved = self.step
        if self.last is None or self.step > saved:
            self._save()
        if ended is None and self.main:  # the averaged network, with the lambda of TIRT
            learned = self.trainer.weighting
            lam = learned.lam.detach().cpu() if isinstance(learned, TIRT) else None
            checkpoints.save_model(self.job.out / "model", self.trainer.ema, lam)
        return ended or "finished"

    def _cut_log(self) -> None:
        """Drop the lines of steps that are made again, and one that a kill cut short."""
        path = self.job.out / "log.jsonl"
        lines = path.read_text().splitlines(keepends=True) if self.main and path.exists() else []
        with checkpoints.reading(path):
            kept = [x for x in lines if x.endswith("\n") and json.loads(x)["step"] <= self.step]
        if kept != lines:
            checkpoints.write_atomically(path, "".join(kept).encode())

    def _log(self, records: list[StepRecord], seconds: float) -> None:
        """A line of ``log.jsonl`` a step, with the group's speed; an infinite norm as null."""
        if not self.main:
            return
        speed = round(len(records) * self.recipe.batch_size / max(seconds, 1e-9), 1)
        with (self.job.out / "log.jsonl").open("a") as file:
            for record in records:
                norm = record.grad_norm if math.isfinite(record.grad_norm) else None
                entry = {**asdict(record), "grad_norm": norm, "images_per_s": speed}
                file.write(json.dumps(entry) + "\n")
        self.progress(self.recipe.objective, self.step, self.recipe.train.steps)

    def _early(self, stop: checkpointing.Stop, made: int) -> str | None:
        """Say why to stop before the end, agreed on by all processes; None to go on."""
        if self.step == self.recipe.train.steps:
            return None
        number = torch.tensor([stop.received or 0], device=self.accelerator.device)
        if received := int(self.accelerator.gather(number).max()):
            return signal.Signals(received).name
        return "stopped" if made >= (self.job.stop_after or math.inf) else None

    def _save(self) -> None:
        state = self.trainer.state(self.stream)
        self.last = self.saved.save(self.step, state) if self.main else self.saved.folder

    def _resume(self) -> None:
        """Go on from the checkpoint that the job asks for, which the main process chooses."""
        with checkpoints.reading(self.record):
            if self.record.exists():
                self.former = list(json.loads(self.record.read_text())["sessions"])
        (path,) = broadcast_object_list([self._chosen() if self.main else None])
        if path is not None:
            self.trainer.restore(checkpointing.read_checkpoint(path), self.stream, str(path))
            self.last = path
            self.say(f"resumed {path}: step {self.step} of {self.recipe.train.steps}")

    def _chosen(self) -> Path | None:
        """The checkpoint to go on from; None to begin.  ``ValueError`` if others are in the way."""
        if self.job.resume == "auto":
            return self.saved.newest(lambda message: self.say(f"warning: {message}"))
        chosen = None if self.job.resume == "never" else self._asked(Path(self.job.resume))
        newer = [p.name for p in self.saved.all() if chosen is None or p.name > chosen.name]
        if newer:
            held = f"{newer[0]}, which is newer than what --resume {self.job.resume} asks for"
            raise ValueError(f"{self.job.out} holds {held}: choose another --out, or resume auto")
        return chosen

    def _asked(self, path: Path) -> Path:
        """The checkpoint at a path: itself, or the newest of a run or of a folder of them."""
        folder = next((f for f in (path / "checkpoints", path) if f.is_dir()), None)
        found = checkpointing.Checkpoints(folder).newest() if folder else path
        if found is None or not found.is_file():
            raise FileNotFoundError(f"--resume {path}: no step-*.pt is there: give a run's folder")
        return found

    def _note(self, first: int, seconds: float) -> None:
        """Write ``run.json``: settings with their sources, and how this session went so far."""
        if not self.main:
            return
        images = (self.step - first) * self.recipe.batch_size  # warm-up and checkpoints too
        where = results.provenance()
        where["versions"] |= {"cuda": torch.version.cuda, "accelerate": accelerate.__version__}
        session = {
            "from_step": first,
            "to_step": self.step,
            "ended": self.ended,
            "seconds": round(seconds, 1),
            "images_per_s": round(images / seconds, 1) if images and seconds else None,
            "peak_mib": round(torch.cuda.max_memory_allocated() / 2**20, 1) or None,  # of a GPU
            "processes": self.accelerator.num_processes,
            "device": str(self.accelerator.device),
            "precision": self.job.numerics.precision,
        }
        content = {
            "settings": asdict(self.job),
            "sources": preset(self.job.preset).notes,
            "parameters": count_parameters(self.trainer.model),
            "status": self.ended,
            "step": self.step,
            "sessions": [*self.former, session | where],
        }
        text = json.dumps(content, indent=1, default=str)
        checkpoints.write_atomically(self.record, f"{text}\n".encode())
