"""Cost and scores of networks of the paper's size: Markdown tables and a figure.

All is read from reports of ``benchmarks.bench`` (ours: :func:`dashbook.cost.stored`) or calculated
from them by :mod:`dashbook.cost`.  The paper's figures stand in columns of their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dashbook import cost, plots
from dashbook.cost import Assumptions, Speed, Workload
from dashbook.paper import FURTHER, IMAGENET64, PAPER
from dashbook.tables import DASHES, markdown
from dashlib.scale.presets import Preset

Row = dict[str, Any]

NOT_RUN = "not run here"  # where a score would be ours
PAPER_SETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet64": "ImageNet-64"}
COLORS = {"teacher": plots.color("teacher"), "student": plots.color("dash")}
FLOORS = (0.0, 1.0)  # the least time of a step, as a share of the measured one, is not known
USUAL = Assumptions()
LABELS = {  # of the keys of cost.PAPER_T4: label, unit, digits, whether precision matters
    "parameters": ("parameters, million", 1e-6, 2, False),
    "gflops_sample": ("GFLOPs a sample", 1, 1, False),
    "latency_ms": ("ms a batch of 64", 1, 0, True),
    "peak_mib": ("peak memory, MiB", 1, 0, True),
}
ASSUMED = {  # of the fields of Assumptions: unit, meaning
    "floor": ("", "least time of a step, as a share of the measured step"),
    "parallel": ("", "speed that several GPUs keep while they wait for each other"),
    "node": ("", "GPUs in a machine"),
    "node_gb_s": (" GB/s", "out of a GPU within a machine"),
    "network_gb_s": (" GB/s", "out of a machine"),
}
SHEETS = {  # dense half-precision TFLOP/s and memory GB/s, as data sheets give them
    "T4": (65, 320),
    "A100 (80 GB)": (312, 2039),
    "H100 (SXM)": (989, 3350),
    "H200": (989, 4800),
}
P100_FP32 = 9.3  # TFLOP/s in float32, PCIe card: data sheet


def between(
    work: Workload, speed: Speed, gpus: int, key: str, assume: Assumptions = USUAL
) -> list[float]:
    """A field of :class:`dashbook.cost.Cost` without a least time of a step, and with it."""
    ends = (cost.cost(work, speed, gpus, replace(assume, floor=floor)) for floor in FLOORS)
    return [getattr(end, key) for end in ends]


def span(values: Sequence[float], digits: int = 1) -> str:
    """``low – high`` with so many digits; one number where both are printed alike."""
    low, high = (f"{value:,.{digits}f}" for value in values)
    return low if low == high else f"{low} – {high}"


def settings(preset: Preset) -> dict[str, str]:
    """List what a preset trains and samples with, by the name of the setting."""
    jobs = dict(zip(("teacher", "student"), cost.workloads(preset), strict=True))
    rows = {"training images": f"{jobs['teacher'].images:,}"}
    for name, role in (("teacher", preset.teacher), ("student", preset.student)):
        train = role.train
        rows[f"{name}: steps × batch"] = f"{train.steps:,} × {role.batch_size}"
        rows[f"{name}: epochs"] = f"{jobs[name].epochs:.0f}"
        rows[f"{name}: learning rate"] = f"{train.lr:g} → {train.lr_min:g}"
        rows[f"{name}: EMA, weight decay"] = f"{train.ema:g}, {train.weight_decay:g}"
    teacher, sampling = preset.teacher, preset.sampling
    rows["TIRT normalised over"] = "batch" if "batch" in teacher.weighting else "timesteps"
    rows["label dropout"] = f"{teacher.label_dropout:g} a {teacher.dropout_per}"
    rows["sampler: timesteps, clamp"] = f"{sampling.spacing}, {sampling.clamp}"
    return rows


def _beside(key: str, teacher: float, student: float) -> list[str]:
    """The two networks' values of a key, and their ratio in bold."""
    _, unit, digits, _ = LABELS[key]
    shown = [f"{value * unit:,.{digits}f}" for value in (teacher, student)]
    return [*shown, f"**{teacher / student:.2f}**"]


def sampling(report: Row) -> str:
    """Show what a sample costs: an efficiency report in tf32 and bf16, beside the paper's T4."""
    rows = {(row["precision"], row["model"]): row for row in report["rows"]}
    lines = []
    for key, (label, _, _, timed) in LABELS.items():
        for precision in ("tf32", "bf16") if timed else ("tf32",):
            ours = _beside(key, *(rows[precision, name][key] for name in ("teacher", "student")))
            papers = _beside(key, *cost.PAPER_T4[key]) if precision == "tf32" else [DASHES] * 3
            lines.append([f"{label} ({precision})" if timed else label, *ours, *papers])
    header = ["teacher", "student", "ratio"]
    theirs = [f"*paper, T4:* {column}" for column in header]
    return markdown([f"*{report['hardware']}*", *header, *theirs], lines)


def step(row: Row, operators: int) -> dict[str, float]:
    """The mean step of a row of an efficiency report: both branches of a batch, guided sampling.

    ``operators`` that it calls; ``ms``; ``us_each``: microseconds an operator; ``tflops``: 1e12
    FLOPs done in a second; ``scatter``: range of the repeated runs, as a share of their median.
    """
    latency, ms = row["latency_ms"], row["latency_ms"] / row["steps"]
    return {
        "operators": operators,
        "ms": ms,
        "us_each": 1000 * ms / operators,
        "tflops": row["gflops_sample"] * row["batch"] / latency,
        "scatter": float(np.ptp(row["all_latencies_ms"])) / latency,
    }


def launches(steps: Mapping[tuple[str, str], Mapping[str, float]]) -> str:
    """Operators, time and FLOP/s of :func:`step`, by precision and network."""
    shown = ("{:d}", "{:.1f}", "{:.0f}", "{:.0f}", "{:.0%}")
    lines = [
        [f"{name}, {precision}", *map(str.format, shown, of.values())]
        for (precision, name), of in steps.items()
    ]
    header = ["operators a step", "ms a step", "µs an operator", "TFLOP/s", "range of repeats"]
    return markdown(["", *header], lines)


def training(report: Row, speeds: Sequence[Speed]) -> str:
    """A throughput report: the speeds of its rows, the teacher's and that of DASH."""
    lines = [
        [name, f"{s.images_per_s:,.0f}", f"{row['ms_per_step']:.1f}", f"{s.flops_image / 1e9:.1f}",
         f"{s.images_per_s * s.flops_image / 1e12:.0f}", f"{row['peak_mib'] / 1024:.1f}"]
        for name, row, s in zip(("teacher", "student by DASH"), report["rows"], speeds, strict=True)
    ]  # fmt: skip
    header = ["images/s", "ms a step", "GFLOPs an image", "TFLOP/s", "peak GiB"]
    return markdown([f"batch {speeds[0].batch}, {speeds[0].precision}", *header], lines)


def assumptions(teacher: Speed, student: Speed, assume: Assumptions = USUAL) -> str:
    """List what :func:`between` assumes, and the two measured speeds that it starts from."""
    lines = []
    for name, (unit, meaning) in ASSUMED.items():
        values = FLOORS if name == "floor" else [getattr(assume, name)]
        lines.append([name, " and ".join(f"{value:g}" for value in values) + unit, meaning])
    rates = f"{teacher.images_per_s:,.0f} and {student.images_per_s:,.0f} images/s"
    how = f"{teacher.hardware}, batch {teacher.batch}, {teacher.precision}, not compiled"
    slower = "networks that were not measured: speed goes down as FLOPs an image go up"
    lines += [["speed", rates, f"**measured**: {how}"], ["same FLOP/s", "", slower]]
    return markdown(["assumption", "value", "of what"], lines, left=3)


def hours(work: Sequence[tuple[Workload, Speed]], assume: Assumptions = USUAL) -> str:
    """Hours and GPU-hours of workloads on 1, 8 and 64 GPUs, each as :func:`between` two ends."""
    lines = []
    for job, speed in work:
        alone = between(job, speed, 1, "hours", assume)
        more = 2 if max(alone) < 1 else 0  # digits
        line = [job.name, f"{job.seen / 1e6:.0f} M", span(alone, 1 + more)]
        for gpus in (8, 64):
            for key, digits in (("hours", 1 + more), ("gpu_hours", more)):
                line.append(span(between(job, speed, gpus, key, assume), digits))
        lines.append(line)
    header = ["images", "1: h", "8: h", "8: GPU‑h", "64: h", "64: GPU‑h"]
    return markdown(["*calculated; GPUs:*", *header], lines)


def elsewhere(slower: Mapping[str, float], ends: Mapping[str, Sequence[Sequence[float]]]) -> str:
    """Hours of the CIFAR-10 pair, ``ends[gpu]``, where a step takes up to so many times as long."""
    lines = [
        [gpu, f"1 – {factor:.1f}" if factor > 1 else "1", *map(span, ends[gpu])]
        for gpu, factor in slower.items()
    ]
    header = ["times as long", "CIFAR-10 teacher: h", "student by DASH: h"]
    return markdown(["*calculated*", *header], lines)


def scores(own: Mapping[str, Mapping[str, Mapping[str, str]]]) -> str:
    """The paper's FIDs on the sets of ``PAPER_SETS``, and beside them those of our own runs.

    ``own[set]["TAG(1,4,5)"][model]`` is a score as it is printed; one that is missing was not run.
    """
    rows = []
    for key, row in (PAPER | FURTHER).items():
        fids = (row.fid_cifar10, row.fid_cifar100, IMAGENET64.get(key))
        theirs = [DASHES if fid is None else f"{fid:.2f}" for fid in fids]
        ours = [own[name].get("TAG(1,4,5)", {}).get(key, NOT_RUN) for name in PAPER_SETS]
        rows.append([row.model, *theirs, *ours])
    papers = [f"*paper:* {title}" for title in PAPER_SETS.values()]
    return markdown(["FID, 50K samples, TAG", *papers, *PAPER_SETS.values()], rows)


def _draw_ends(
    ax: Axes, gpus: Sequence[int], ends: Mapping[str, np.ndarray], at: int, digits: int
) -> None:
    """Both ends of each network's range as lines, and dots at one number of GPUs."""
    for name, values in ends.items():
        here = sorted(values[gpus.index(at)])
        labels = f"{name}: {span(here, digits)}", None
        for end, style, label in zip(values.T, ("-", "--"), labels, strict=True):
            ax.plot(gpus, end, style, color=COLORS[name], lw=1.5, label=label)
        ax.plot([at] * 2, here, "o", color=COLORS[name])
    ax.set(xlabel="GPUs", xscale="log", xticks=gpus, xticklabels=gpus)
    ax.axvline(at, color="#999999", lw=1, zorder=0)
    ax.minorticks_off()


def scaling(
    title: str, gpus: Sequence[int], hours: Mapping[str, np.ndarray],
    efficiency: Mapping[str, np.ndarray], at: int,
) -> Figure:  # fmt: skip
    """Hours on the clock (log scale), and the share of speed kept, against the number of GPUs.

    ``hours[name]`` and ``efficiency[name]``, shape ``(len(gpus), 2)``, hold the two ends of what is
    calculated for ``teacher`` and ``student``: solid, then dashed; those at ``at`` are written out.
    """
    figure, ((clock, share),) = plots.axes(1, 2, (7.6, 3.8), title)
    _draw_ends(clock, gpus, hours, at, digits=1)
    _draw_ends(share, gpus, efficiency, at, digits=2)
    clock.set(title="hours on the clock", yscale="log")
    share.set(title=f"efficiency on {at} GPU{'s' * (at > 1)}", ylim=(0, 1.1))
    plots.name_ends(clock, 9)
    plots.name_ends(share, 9)
    return figure
