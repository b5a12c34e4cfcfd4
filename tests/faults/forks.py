"""Commands in forks of this process, which has imported what they need; what they leave."""

import contextlib
import io
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from small_cifar import parquet
from tqdm import tqdm

from benchmarks.sweep import students
from benchmarks.sweep.plan import Plan
from dashlib import checkpoints, classifier, datasets
from dashlib.__main__ import main
from dashlib.unet import STUDENT_CIFAR10, UNet
from faults.files import TINY

SHORT = ["--steps", "12", "--save-every", "2", "--batch", "4", "--device", "cpu"]
TRAIN = ["train", "digits", *SHORT, "--out", "run"]
MODEL = ("run/model.safetensors", "run/model.json")
LOCKS = (".lock", ".holder", ".campaigns.lock")


@dataclass(frozen=True)
class Job:
    """Work in the current folder, and the files that it must leave there."""

    run: Callable[[], object]
    leaves: Sequence[str]
    often: int = 6  # how often it is drawn

    @property
    def contents(self) -> list[object]:
        """Give what the files hold; of a stored run without its clock: the SHA-256 of its parts."""
        texts = {name: Path(name).read_bytes() for name in self.leaves}
        return [json.loads(t)["files"] if n.endswith("run.json") else t for n, t in texts.items()]


def forked(job: Job, folder: Path, before: Callable[[], None] = lambda: None) -> int:
    """Begin a job in a fork of this process; its number."""
    if number := os.fork():
        return number
    code = 70
    try:
        os.chdir(folder)
        os.environ["DASH_RESULTS"] = str(folder / "results")
        with (folder / "said.txt").open("w") as said:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            before()
            job.run()
            code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(code)


def ended(number: int, seconds: float) -> int | None:
    """The exit code of a fork, or None for one that had to be killed when its time was over."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(number, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(number, signal.SIGKILL)
    os.waitpid(number, 0)
    return None


def left(job: Job, folder: Path) -> list[object] | None:
    """Tell what a job left in a folder; None if something is missing."""
    with contextlib.chdir(folder), contextlib.suppress(OSError, ValueError, KeyError):
        return job.contents
    return None


def kind_of(job: Job, folder: Path, code: int | None, whole: list[object]) -> str:
    """Tell how a job ended that should end as if left alone; what did not end well is printed."""
    kind = "hangs" if code is None else "bare" if code else "survived"
    if code == 0 and left(job, folder) != whole:
        kind = "accepted"
    if kind != "survived":
        print(f"{kind} {job.leaves}: exit {code}, {(folder / 'said.txt').read_text()[-400:]}")
    return kind


def warm() -> None:
    """Run each kind of command once here: its forks then find all modules imported."""
    tqdm.monitor_interval = 0  # no thread, which a fork would lack
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        checkpoints.save_model(Path("tiny"), UNet(TINY))
        for words in (
            ["train", "digits", "--steps", "1", "--batch", "4", "--device", "cpu", "--out", "run"],
            ["sample", "tiny", "--n", "1", "--steps", "1", "--device", "cpu", "--out", "x.npz"],
        ):
            with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
                main(words)
        classifier.fit(datasets.load_dataset("digits").test, epochs=1)


def command(*words: str) -> Callable[[], object]:
    """The command line, in the process that calls this."""
    return partial(main, words)


def make_classifier(*words: str) -> Callable[[], object]:
    """A command that trains the digits classifier, for a twentieth of its epochs."""

    def run() -> None:
        classifier.fit = partial(classifier.fit, epochs=3)
        main(words)

    return run


def sweep(shared: Path) -> Job:
    """The students of a dry sweep of CIFAR-10: two rows, a few rounds."""
    rows = ("dash-uniform-s0", "cond_only_dropout-uniform-s1")
    plan = Plan(
        Path("work"), shared / "data", shared / "weights", rows=rows, device="cpu", rounds=3,
        pairs=20, chunk=4, steps=2, pictures=2, dry=True,
    )  # fmt: skip
    plan.data.mkdir()
    plan.weights.mkdir()
    for part in ("train", "test"):
        parquet(plan.data / f"{part}-00000-of-00001.parquet", 40)
    torch.manual_seed(0)
    halves = {k: v.half() for k, v in UNet(plan.learner.unet).state_dict().items()}
    teacher = plan.weights / "teacher-00001-of-00001.safetensors"
    teacher.write_bytes(checkpoints.pack(halves))
    stage = {"source": "before", "steps": 7, "seconds": 1.0}
    note = json.dumps({"stages": [stage], "scores": []})
    (plan.weights / "teacher.json").write_text(note)

    def run() -> None:
        plan.write()
        students.train(plan)

    return Job(run, [f"work/students/{row}.safetensors" for row in rows], often=2)


def jobs(shared: Path) -> dict[str, Job]:
    """Every command that writes for longer than a moment; what they need is made here."""
    shadow = {"shadow": UNet(STUDENT_CIFAR10).state_dict()}
    torch.save({"ema_state_dict": shadow}, shared / "a.pth")
    torch.manual_seed(0)
    checkpoints.save_model(shared / "tiny", UNet(TINY))
    assert ended(forked(Job(command(*TRAIN), MODEL), shared), 600) == 0
    distil = ["distill", "digits", "--teacher", str(shared / "run"), *SHORT, "--out", "run"]
    stored = ("results/digits/classifier/run.json",)
    again = ("reproduce", "digits", "--only", "classifier", "--processes", "1")
    grid = ("sample", str(shared / "tiny"), "--n", "50", "--steps", "10", "--out", "x.npz")
    return {
        "train": Job(command(*TRAIN), MODEL),
        "distill": Job(command(*distil), MODEL),
        "convert": Job(
            command("convert", str(shared / "a.pth"), "out"), ("out.safetensors", "out.json")
        ),
        "sample": Job(command(*grid, "--device", "cpu"), ("x.npz",)),
        "make": Job(make_classifier("make", "digits/classifier"), stored),
        "sweep": sweep(shared),
        "reproduce": Job(command(*again), stored, often=1),  # in a process of its own, whole
    }
