"""Training jobs: a network, its data and its teacher, as ``train`` and ``distill`` make them."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from dashlib import checkpoints, datasets
from dashlib.baselines.fitnets import FitNets
from dashlib.data import Images, Stream
from dashlib.losses import OBJECTIVES, Objective, make_objective
from dashlib.scale.engine import Engine, Numerics, seed_process
from dashlib.scale.presets import Role
from dashlib.schedule import Schedule
from dashlib.training import Source
from dashlib.unet import UNet, UNetConfig
from dashlib.weighting import Weighting, make_weighting, transfer

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class Job:
    """One network to train, with everything that its result depends on."""

    preset: str  # where the settings come from
    role: Role  # the network and its training
    dataset: str
    out: Path
    flip: bool = True
    split: float = 1.0  # part of the training images that is trained on
    teacher: Path | None = None
    options: dict[str, float] = field(default_factory=dict)  # of the objective
    normalize: Literal["timesteps", "batch"] = "timesteps"  # of a transferred weighting
    seed: int = 0
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
        if self.teacher is None and self.role.weighting == "transfer":
            raise ValueError("weighting 'transfer' needs a teacher with a learned lambda")

    def settings(self) -> dict[str, Any]:
        """Everything as plain JSON."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self), default=str))
        return plain


def load_teacher(path: Path) -> tuple[UNet, Tensor | None]:
    """A teacher and its TIRT lambda ``(T,)``, if it has one.

    ``path``: an authors' ``.pth``, the stem (or either file) of our format, or a job's folder.
    Raises ``CheckpointError`` for a file that is missing, damaged or of another kind.
    """
    if path.suffix in (".pth", ".pt"):
        official = checkpoints.load_official(path)
        return official.model, official.lam
    stem = path.with_suffix("") if path.suffix in (".safetensors", ".json") else path
    return checkpoints.load(stem / "model" if stem.is_dir() else stem)


def _check_teacher(teacher: UNetConfig, student: UNetConfig, path: Path | None) -> None:
    """``ValueError`` unless both networks take the same images and labels."""
    for name in ("image_channels", "image_size", "num_classes"):
        theirs, mine = getattr(teacher, name), getattr(student, name)
        if theirs != mine:
            raise ValueError(
                f"the teacher {path} has {name} {theirs}, the preset's student {mine}: choose the "
                "preset of the teacher's dataset"
            )


def _images(job: Job) -> Images:
    """The images to train on: all, or a random part drawn with seed 0."""
    held: datasets.Pixels = "float32" if job.dataset == "digits" else "uint8"
    train = datasets.load(job.dataset, job.data, download=job.download, dtype=held).train
    if job.split == 1:
        return train
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    chosen = order[: round(job.split * len(train))].sort().values
    return Images(train.x[chosen], train.y[chosen])


def stream(job: Job, device: torch.device) -> Source:
    """The job's global batches, on the device, where all images are held but ImageNet's."""
    role = job.role
    drawn: dict[str, Any] = {
        "schedule": Schedule(),
        "null_label": role.unet.null_label,
        "batch_size": role.batch,
        "label_dropout": role.label_dropout,
        "dropout_per": role.dropout_per,
        "seed": job.seed,
        "flip": job.flip,
    }
    if job.dataset == "imagenet64":
        from dashlib.datasets.imagenet64 import ImageNet64, LoadedStream

        return LoadedStream(ImageNet64(job.data), device=device, workers=job.workers, **drawn)
    return Stream(_images(job).to(device), **drawn)


def _weighting(job: Job, lam: Tensor | None, schedule: Schedule) -> Weighting:
    if job.role.weighting != "transfer":
        return make_weighting(job.role.weighting, schedule)
    if lam is None:
        raise ValueError(
            f"the teacher {job.teacher} has no learned lambda (TIRT) to transfer: choose another "
            "--weighting, for example uniform or min_snr"
        )
    frozen = transfer(lam, schedule)
    frozen.normalize = job.normalize
    return frozen


def _objective(job: Job, teacher: UNet | None) -> Objective:
    networks = {"teacher": teacher, "student": job.role.unet}
    extra = networks if OBJECTIVES[job.role.objective] is FitNets else {}
    return make_objective(job.role.objective, **extra, **job.options)


def build(job: Job, accelerator: "Accelerator") -> tuple[Engine, Source]:
    """The untrained job on this process's device, and its stream of global batches."""
    role = job.role
    teacher, lam = (None, None) if job.teacher is None else load_teacher(job.teacher)
    if teacher is not None:
        _check_teacher(teacher.cfg, role.unet, job.teacher)
    with accelerator.main_process_first():  # the others find what it downloaded
        batches = stream(job, accelerator.device)
    torch.manual_seed(job.seed)  # the same weights in every process
    network, objective = UNet(role.unet), _objective(job, teacher)
    engine = Engine(
        network,
        objective,
        _weighting(job, lam, Schedule()),
        role.train,
        accelerator=accelerator,
        numerics=job.numerics,
        teacher=teacher if objective.needs_teacher else None,
    )
    seed_process(job.seed, accelerator.process_index)
    return engine, batches
