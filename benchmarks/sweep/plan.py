"""Plan what a sweep of CIFAR-10 makes, where, and until when."""

import hashlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

import torch

from dashlib import datasets
from dashlib.checkpoints import write_atomically
from dashlib.data import Dataset, Images, as_floats, to_bytes
from dashlib.guidance import GuidanceSchedule
from dashlib.recipes import CIFAR10, ONE_PASS, Recipe

DEFAULT = (  # which objective leads at equal cost, over seeds?  which weighting serves DASH?
    *(
        f"{row}-high_noise-s{seed}"
        for seed in (1, 2)
        for row in ("dash_v", "cond_only_dropout_v", "dash_sampled_v")
    ),
    "dash_v-transfer-s1",
    "dash_v-uniform-s1",
)
SAMPLERS = {  # start and eta of DDIM, 50 steps; the first is the default
    "970, eta 0.5": (970, 0.5),
    "999, eta 0": (999, 0.0),
    "970, eta 1": (970, 1.0),
}
CIFAR_PRINTS = {  # fingerprints of the original images and labels
    ("cifar10", "train"): "6c3d94351344c6460973c9795f4a4fcc19984b1b894a9b39889a02e380f4d4d3",
    ("cifar10", "test"): "7742db831caeba84ea1d4663e0d07ca1879cbb76e501e036935be5fd5506749b",
}
_FIRST = (  # (guidance, sampler, samples), most wanted first
    *((w, "970, eta 0.5", 2_000) for w in ("1.5", "TAG", "4")),
    ("1.5", "970, eta 1", 2_000),
    *((w, "970, eta 0.5", 10_000) for w in ("1.5", "TAG")),
    ("TAG", "999, eta 0", 2_000),
    ("4", "970, eta 0.5", 10_000),
    *((w, "970, eta 0.5", 2_000) for w in ("2", "3")),
    ("1", "970, eta 0.5", 2_000),  # one branch: another network to compile
)
_ALL = product((2_000, 10_000), ("970, eta 0.5", "970, eta 1"), ("1.5", "TAG", "4", "2", "3", "1"))
WANTED = (*dict.fromkeys((*_FIRST, *((w, sampler, n) for n, sampler, w in _ALL))),)


COLOUR = "dash_colour"  # a row that only this sweep has: DASH and a loss on the mean colours


def fingerprint(images: Images) -> str:
    """A SHA-256 of pixels and labels, 64 hexadecimal digits, in whatever order the images are.

    That of the sorted digests of every image's bytes (HWC; those that floats stand for, or else
    ``ValueError``) with its label (int64, little-endian).
    """
    pixels = to_bytes(images.x)
    if images.x.dtype != torch.uint8 and not torch.equal(as_floats(pixels), images.x):
        raise ValueError("these images are not 256 levels scaled to [-1, 1]: no bytes")
    rows = pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    labels = images.y.cpu().numpy().astype("<i8")
    pairs = (x.tobytes() + y.tobytes() for x, y in zip(rows, labels, strict=True))
    digests = [hashlib.sha256(pair).digest() for pair in pairs]
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()


def which(name: str, part: str, images: Images) -> str:
    """In words, whether these are the original images of a part, in any order, where we know."""
    if (name, part) not in CIFAR_PRINTS:
        return f"unknown: no fingerprint of {name}, {part}, is kept"
    if fingerprint(images) == CIFAR_PRINTS[name, part]:
        return "original pixels"
    return f"not the original: {len(images):,} images (a subset, recompressed or relabelled)"


@dataclass(frozen=True)
class Plan:
    """A sweep's rows, folders and time.

    ``weights`` holds those of the teacher (with ``teach`` to go on from, if ``teacher.json`` is
    there when the sweep starts) and of students to go on.
    """

    work: Path
    data: Path
    weights: Path
    rows: tuple[str, ...] = DEFAULT
    given: tuple[str, ...] = ()  # students that are scored as they lie in ``weights``
    minutes: float = 13.0
    device: str = "cuda"
    teach: float = 0.0  # of the minutes, from the start: until then the teacher trains
    train: float = 0.83  # of the minutes, from the start: until then students train
    rounds: int = 2696  # the longest training of a seed's students
    pairs: int = 10_000  # for the gap
    chunk: int = 500  # images sampled at a time
    pictures: int = 100  # kept a model, guidance and sampler
    steps: int = 50  # of DDIM
    dry: bool = False  # narrow networks, few images: to see it through on a CPU

    def recipes(self) -> dict[str, Recipe]:
        """The students by row; ``ValueError`` for a row that there is not."""
        return {row: self.recipe(row) for row in self.rows}

    def recipe(self, row: str) -> Recipe:
        """The student of ``ROW-WEIGHTING-sSEED``, or ``-x2-sSEED``: trained for a second time."""
        parts = re.fullmatch(r"([\w.]+)-(\w+?)(-x\d+)?-s(\d+)", row)
        if parts is None or parts[1] not in (*CIFAR10.rows, COLOUR):
            known = ", ".join((*CIFAR10.rows, COLOUR))
            raise ValueError(f"row {row!r}: ROW-WEIGHTING-sSEED with one of {known}")
        base = "dash" if parts[1] == COLOUR else parts[1]
        found = replace(CIFAR10.of(base, parts[2], int(parts[4])), name=f"{CIFAR10.name}/{row}")
        if parts[1] == COLOUR:
            found = replace(found, options={"colour": 1.0})
        return self._sized(replace(found, teacher=self.learner.name))

    @property
    def learner(self) -> Recipe:
        """The teacher; ``-xN`` if it is trained for an Nth time, as students are named."""
        found, notes = CIFAR10.learner, [f / "teacher.json" for f in (self.taught, self.weights)]
        note = next((note for note in notes if note.exists()), None)
        times = 0 if note is None else len(json.loads(note.read_text())["stages"])
        times += self.teach > 0 and note != notes[0]  # what it will be
        return self._sized(replace(found, name=f"{found.name}-x{times}") if times > 1 else found)

    @property
    def taught(self) -> Path:
        """The folder of the teacher that students learn from, with its note and lambda."""
        return self.work / "teacher" if self.teach else self.weights

    def _sized(self, found: Recipe) -> Recipe:
        narrow = replace(found, unet=replace(found.unet, ch=32), batch_size=4)
        return narrow if self.dry else found

    def wanted(self) -> list[tuple[str, str, int]]:
        """List what to score, most wanted first."""
        return [(w, s, 4 if self.dry else n) for w, s, n in WANTED[: 4 if self.dry else None]]

    def schedule_of(self, label: str) -> GuidanceSchedule:
        """The guidance of a label."""
        return CIFAR10.guidance[label]

    def seeds(self) -> dict[int, dict[str, Recipe]]:
        """The students that train side by side, by seed: one start and one stream of batches."""
        found: dict[int, dict[str, Recipe]] = {}
        for row, recipe in self.recipes().items():
            found.setdefault(recipe.seed, {})[row] = recipe
        return found

    def share(self, row: str) -> int:
        """Count the batches of a round's two that a student takes: all cost two passes a round."""
        return 2 if self.recipe(row).objective in ONE_PASS else 1

    def dataset(self) -> Dataset:
        """The images as bytes, on the device."""
        found = datasets.load_dataset("cifar10", self.data, dtype="uint8")
        if self.dry:
            parts = (Images(p.x[:300], p.y[:300]) for p in (found.train, found.test))
            found = Dataset(found.name, found.num_classes, *parts)
        return found.to(self.device)

    def write(self) -> None:
        """Note the plan and its start in the work folder, for the processes to read."""
        self.work.mkdir(parents=True, exist_ok=True)
        (self.work / "trained").unlink(missing_ok=True)  # by the sweep before
        content = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}
        text = json.dumps(content | {"started": time.time()}, indent=1)
        write_atomically(self.work / "plan.json", text.encode())


def before_again(row: str) -> str | None:
    """The name of a row before it was trained again: ``A-x2-s0`` was ``A-s0``; else ``None``."""
    found = re.fullmatch(r"(.+)-x(\d+)(-s\d+)", row)
    if found is None:
        return None
    times = int(found[2]) - 1
    return f"{found[1]}{f'-x{times}' if times > 1 else ''}{found[3]}"


def read(work: Path) -> tuple[Plan, float]:
    """The plan of a work folder, and when it started (``time.time()``)."""
    content = json.loads((work / "plan.json").read_text())
    started = content.pop("started")
    paths = {k: Path(content[k]) for k in ("work", "data", "weights")}
    rows = {k: tuple(content[k]) for k in ("rows", "given")}
    return Plan(**{**content, **paths, **rows}), started


def until(work: Path, part: float) -> float:
    """Return when a part of the minutes is over (``time.time()``), read anew each time."""
    plan, started = read(work)
    return started + 60 * plan.minutes * part


def wait_for(present: Callable[[], bool], what: str, deadline: float, pause: float = 0.3) -> None:
    """Wait until something is there, saying so; ``TimeoutError`` at the deadline."""
    if not present():
        print(f"waiting for {what} ...", flush=True)
    while not present():
        if time.time() > deadline:
            raise TimeoutError(f"{what} did not come in time")
        time.sleep(pause)


def whole(folder: Path, stem: str) -> bool:
    """Tell if all parts ``STEM-00001-of-00002.*`` are there (numbered from 0 or from 1)."""
    found = list(folder.glob(f"{stem}-*-of-*.*"))
    return bool(found) and len(found) >= int(found[0].stem.rpartition("-of-")[2])
