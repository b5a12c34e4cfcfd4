"""Tables of cost, teacher against student, and of training speed: ``python -m benchmarks.bench``.

Both come as rows (dictionaries), printed as they are measured and kept as JSON with the commit
and the hardware.  A row that does not fit into memory says so, and the others go on.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks.efficiency import (
    PAIRS,
    Autocast,
    Row,
    Settings,
    arithmetic,
    best_device,
    freeing,
    network,
    pair,
    sampling_cost,
    wait,
)
from dashlib import results
from dashlib.checkpoints import write_atomically
from dashlib.data import Batch, Images, Stream, with_teacher
from dashlib.losses import Dash, Scratch
from dashlib.scale.distributed import PRECISIONS
from dashlib.schedule import Schedule
from dashlib.training import TrainConfig, Trainer
from dashlib.unet import UNetConfig
from dashlib.weighting import make_weighting, transfer

CONVENTIONS = {
    "gflops": "1e9 FLOPs, a multiply-add is 2; convolutions, linear layers and attention products",
    "gflops_sample": "one image by DDIM with guidance: 2 forward passes a step",
    "latency_ms": "median over repeats of sampling one batch, both branches in one forward pass",
    "peak_mib": "2^20 bytes; CUDA: tensors allocated at most, CPU: growth of resident memory",
    "images_per_s": "full step: forward, backward, clipping, AdamW, averaged weights, drawing",
}
SAMPLING = ("parameters", "gflops_forward", "gflops_sample", "latency_ms", "ms_per_image")
TRAINING = ("images_per_s", "ms_per_step", "warmup_s")
READ_EVERY = 10  # training steps between reads of the loss on a GPU


def _training_run(
    role: str, teacher: UNetConfig, student: UNetConfig, settings: Settings
) -> tuple[Trainer, Iterator[Batch]]:
    """A trainer and its batches: ``teacher`` from scratch with TIRT, or ``dash`` distillation."""
    cfg = teacher if role == "teacher" else student
    read_every = READ_EVERY if settings.device == "cuda" else 1
    train = TrainConfig(
        steps=read_every + settings.train_steps,
        bf16=settings.precision == "bf16",
        read_every=read_every,
    )
    size = (max(settings.batch, 512), cfg.image_channels, cfg.image_size, cfg.image_size)
    x = torch.rand(size, device=settings.device) * 2 - 1
    images = Images(x, torch.arange(len(x), device=settings.device) % cfg.num_classes)
    schedule = Schedule()
    batches: Iterator[Batch] = Stream(images, schedule, cfg.null_label, settings.batch)
    model, tirt = network(cfg, settings), make_weighting("tirt", schedule).to(settings.device)
    if role == "teacher":
        return Trainer(model, Scratch(), tirt, train), batches
    frozen_teacher = network(teacher, settings).eval().requires_grad_(False)
    answering = Autocast(frozen_teacher, settings)
    frozen = transfer(torch.zeros(schedule.T), schedule).to(settings.device)
    return Trainer(model, Dash(), frozen, train), with_teacher(batches, answering)


def training_speed(role: str, teacher: UNetConfig, student: UNetConfig, settings: Settings) -> Row:
    """Images/s, ms a step and (CUDA) peak MiB of training the ``teacher``, or the ``dash`` student.

    DASH computes the teacher's two branches in every step.  ``ValueError`` for fp16.
    """
    if settings.precision == "fp16":
        raise ValueError("training has no loss scaling for fp16: use fp32, tf32 or bf16")

    def measure() -> Row:
        with arithmetic(settings):
            if settings.device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            trainer, batches = _training_run(role, teacher, student, settings)
            records, clock = trainer.run(batches), time.perf_counter()
            next(records)  # on a GPU the first READ_EVERY steps
            wait(settings.device)
            first, warm = trainer.step, time.perf_counter()
            for _ in records:
                continue
            wait(settings.device)
            step = (time.perf_counter() - warm) / (trainer.step - first)
        return {
            "images_per_s": settings.batch / step,
            "ms_per_step": 1000 * step,
            "warmup_s": warm - clock,
            "peak_mib": torch.cuda.max_memory_allocated() / 2**20 or None,
        }

    return freeing(measure, settings.device)


def _rows(names: Sequence[str], grid: Sequence[Settings], throughput: bool) -> Iterator[Row]:
    """All rows in order; a pair's two networks follow each other."""
    for name in names:
        teacher, student = pair(name)
        for settings in grid:
            about = {"pair": name, **asdict(settings)}
            if throughput:
                for role in ("teacher", "dash"):
                    cost = training_speed(role, teacher, student, settings)
                    yield {"model": role, **about, **cost}
            else:
                yield {"model": "teacher", **about, **sampling_cost(teacher, settings)}
                yield {"model": "student", **about, **sampling_cost(student, settings)}


def ratio(teacher: Row, student: Row) -> Row:
    """Teacher / student of every cost that both have."""
    costs = [k for k in (*SAMPLING, "peak_mib") if teacher.get(k) and student.get(k)]
    return {k: teacher[k] / student[k] for k in costs}


def _number(value: Any) -> str:
    """A cell: whole numbers with commas, others with four digits or so."""
    if value is None:
        return "not measured"
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def line(row: Row, costs: Sequence[str]) -> str:
    """A row of the printed table, with its error if there is one."""
    cells = [f"{_number(row[key]) if key in row else '-':>15}" for key in (*costs, "peak_mib")]
    return f"  {row['model']:8}" + "".join([*cells, "  ", row.get("error", "")]).rstrip()


def _title(row: Row) -> str:
    """Return what both rows of a pair have in common."""
    options = [k for k in ("compile", "channels_last") if row[k]]
    return ", ".join([row["pair"], f"batch {row['batch']}", row["precision"], *options])


def grid(
    base: Settings, batches: Sequence[int], precisions: Sequence[Any], compiled: Sequence[bool]
) -> list[Settings]:
    """The settings of every combination, those that need no compiling first."""
    return [
        replace(base, batch=batch, precision=precision, compile=compile_)
        for compile_ in compiled
        for precision in precisions
        for batch in batches
    ]


def run(
    names: Sequence[str],
    settings: Sequence[Settings],
    *,
    throughput: bool = False,
    out: Path | None = None,
    say: Callable[[str], object] = print,
) -> dict[str, Any]:
    """Measure the pairs under every setting, saying each row; the report, also written to ``out``.

    The report is written again after every row, so that what was measured survives an
    interruption.  ``ValueError`` for an unknown pair or a precision that cannot be trained in.
    """
    for name in names:
        pair(name)
    report: dict[str, Any] = {
        "measured": "training throughput" if throughput else "efficiency of sampling",
        "conventions": CONVENTIONS,
        "commit": results.commit(),
        "hardware": results.hardware(),
        "versions": {
            **results.versions(),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        },
        "rows": [],
        "ratios": [],
    }
    costs = TRAINING if throughput else SAMPLING
    for row in _rows(names, settings, throughput):
        report["rows"].append(row)
        if row["model"] == "teacher":
            say(f"{_title(row)}\n{'':10}" + "".join(f"{key:>15}" for key in (*costs, "peak_mib")))
        say(line(row, costs))
        if row["model"] == "student":
            quotient = ratio(report["rows"][-2], row)
            report["ratios"].append({"pair": row["pair"], "of": _title(row), **quotient})
            say(line({"model": "ratio", **quotient}, costs))
        if out is not None:
            write_atomically(out, (json.dumps(report, indent=1) + "\n").encode())
    return report


@click.command()
@click.option(
    "--pair",
    "pairs",
    multiple=True,
    default=["cifar10"],
    show_default=True,
    help=f"One of {', '.join(PAIRS)}, repeatable.",
)
@click.option(
    "--batch",
    "batches",
    multiple=True,
    default=[64],
    show_default=True,
    help="Images, repeatable.",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    default=["fp32"],
    show_default=True,
    help=f"One of {', '.join(PRECISIONS)}, repeatable.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="auto: CUDA if there is one.",
)
@click.option("--compile/--no-compile", "compiled", default=None, help="Unset: for training, both.")
@click.option("--channels-last", is_flag=True, help="Store weights with the channels innermost.")
@click.option("--steps", default=50, show_default=True, help="DDIM steps of a sample.")
@click.option(
    "--repeats",
    default=5,
    show_default=True,
    help="Timed sampling runs, of which the median counts.",
)
@click.option("--throughput", is_flag=True, help="Measure training instead of sampling.")
@click.option("--train-steps", default=20, show_default=True, help="Timed training steps.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="JSON to write.")
def main(
    pairs: tuple[str, ...],
    batches: tuple[int, ...],
    precisions: tuple[str, ...],
    device: str,
    compiled: bool | None,
    throughput: bool,
    out: Path | None,
    **options: Any,
) -> None:
    """Measure what teacher and student cost on this machine: FLOPs, latency, memory, training."""
    both = [False, True] if throughput else [False]
    try:
        base = Settings(device=best_device() if device == "auto" else device, **options)
        settings = grid(base, batches, precisions, both if compiled is None else [compiled])
        run(pairs, settings, throughput=throughput, out=out, say=click.echo)
    except ValueError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
