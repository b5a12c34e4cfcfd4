"""Tables of costs: what stands in them is what was measured, or calculated from it."""

from dataclasses import fields, replace

import numpy as np
import pytest

from dashbook import cost, paper_scale
from dashbook.cost import Assumptions, Speed, Workload
from dashbook.paper import FURTHER, PAPER
from dashbook.paper_scale import between, span
from dashbook.tables import DASHES
from dashlib.scale.presets import preset

# 1,000 images/s at 100 images a step: 0.1 s each; 36,000 steps of 200 images.
SPEED = Speed(1000.0, 2e9, 100, "bf16", "a GPU")
WORK = Workload("w", 36_000, 200, 1_000_000, 250_000_000, 2e9)
SAMPLED = {"batch": 64, "steps": 50, "parameters": 6e6, "gflops_sample": 250.0, "peak_mib": 2000.0}


def table(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]


def sampled(precision: str, model: str, latency: float, **changes: float) -> dict:
    row = {"precision": precision, "model": model, "latency_ms": latency}
    return SAMPLED | row | {"all_latencies_ms": [0.9 * latency, latency, 1.1 * latency]} | changes


REPORT = {
    "hardware": "a GPU",
    "rows": [
        sampled("tf32", "teacher", 800),
        sampled("tf32", "student", 400, parameters=1e6, peak_mib=1000),
        sampled("bf16", "teacher", 900),
        sampled("bf16", "student", 600),
    ],
}


def test_between_is_the_cost_without_and_with_the_measured_step_as_the_least() -> None:
    by_hand = [cost.cost(WORK, SPEED, 64, Assumptions(floor=f)) for f in (0, 1)]
    assert between(WORK, SPEED, 64, "hours") == [c.hours for c in by_hand]
    assert between(WORK, SPEED, 64, "gpu_hours")[1] > between(WORK, SPEED, 64, "gpu_hours")[0]
    assert between(WORK, SPEED, 1, "hours") == pytest.approx([2, 2])
    slower = Assumptions(parallel=0.5, floor=0.3)
    least = cost.cost(WORK, SPEED, 64, replace(slower, floor=0)).hours
    assert between(WORK, SPEED, 64, "hours", slower)[0] == least


def test_span_prints_one_number_for_two_that_look_alike() -> None:
    assert span([2.71, 1234.5]) == "2.7 – 1,234.5"
    assert span([2.71, 2.74]) == "2.7"
    assert span([2.71, 2.74], 2) == "2.71 – 2.74"


def test_settings_say_where_the_two_documents_differ() -> None:
    paper, released = (
        paper_scale.settings(preset(f"cifar10/{n}")) for n in ("paper_v2", "released")
    )
    assert list(paper) == list(released)
    assert paper["training images"] == "50,000"
    assert released["training images"] == "45,000"
    assert paper["teacher: steps × batch"] == "391,000 × 64"
    assert released["student: learning rate"] == "0.0002 → 1e-06"
    assert released["TIRT normalised over"] == "batch"
    assert paper["sampler: timesteps, clamp"] == "linspace, recompute"


def test_sampling_keeps_the_papers_gpu_apart() -> None:
    header, _, *rows = table(paper_scale.sampling(REPORT))
    assert header[:4] == ["*a GPU*", "teacher", "student", "ratio"]
    assert header[4:] == [f"*paper, T4:* {name}" for name in header[1:4]]
    by_name = {name: cells for name, *cells in rows}
    assert by_name["parameters, million"][:3] == ["6.00", "1.00", "**6.00**"]
    paper = ["14,217", "3,926", "**3.62**"]
    assert by_name["ms a batch of 64 (tf32)"] == ["800", "400", "**2.00**", *paper]
    assert by_name["ms a batch of 64 (bf16)"] == ["900", "600", "**1.50**", *["–"] * 3]
    assert by_name["peak memory, MiB (tf32)"][:3] == ["2,000", "1,000", "**2.00**"]
    assert len(rows) == 6


def test_a_step_by_hand() -> None:
    """64 samples of 250 GFLOPs in 800 ms are 20 TFLOP/s; 800 ms are 50 steps of 16 ms."""
    step = paper_scale.step(REPORT["rows"][0], 320)
    hand = {"operators": 320, "ms": 16, "us_each": 50, "tflops": 20, "scatter": 0.2}
    assert step == pytest.approx(hand)


def test_launches_is_a_line_a_step() -> None:
    steps = {("tf32", "teacher"): paper_scale.step(REPORT["rows"][0], 320)}
    header, _, row = table(paper_scale.launches(steps))
    assert row == ["teacher, tf32", "320", "16.0", "50", "20", "20%"]
    assert len(header) == len(row)


def test_training_multiplies_speed_by_work() -> None:
    rows = [{"ms_per_step": 100.0, "peak_mib": 2048}, {"ms_per_step": 200.0, "peak_mib": 512}]
    slow = replace(SPEED, images_per_s=500.0)
    header, _, teacher, student = table(paper_scale.training({"rows": rows}, [SPEED, slow]))
    assert header[0] == "batch 100, bf16"
    assert teacher == ["teacher", "1,000", "100.0", "2.0", "2", "2.0"]
    assert student == ["student by DASH", "500", "200.0", "2.0", "1", "0.5"]


def test_every_assumption_is_listed_with_its_value() -> None:
    rows = table(paper_scale.assumptions(SPEED, replace(SPEED, images_per_s=500.0)))[2:]
    values = {name: value for name, value, _ in rows}
    assert [*values][:-2] == [field.name for field in fields(Assumptions)]
    assert (values["floor"], values["parallel"]) == ("0 and 1", "0.9")
    assert values["network_gb_s"] == f"{Assumptions().network_gb_s:g} GB/s"
    halved = table(paper_scale.assumptions(SPEED, SPEED, Assumptions(parallel=0.5)))
    assert halved[3][:2] == ["parallel", "0.5"]
    assert values["speed"] == "1,000 and 500 images/s"


def test_hours_have_more_digits_for_short_work() -> None:
    short = replace(WORK, name="short", steps=360)
    _, _, long_row, short_row = table(paper_scale.hours([(WORK, SPEED), (short, SPEED)]))
    assert long_row[:3] == ["w", "7 M", "2.0"]
    assert short_row[:3] == ["short", "0 M", "0.020"]
    assert long_row[4] == span(between(WORK, SPEED, 8, "gpu_hours"), 0)
    assert short_row[5] == span(between(short, SPEED, 64, "hours"), 3)
    far = Assumptions(parallel=0.5)
    _, _, row = table(paper_scale.hours([(WORK, SPEED)], far))
    assert row[4] == span(between(WORK, SPEED, 8, "gpu_hours", far), 0) != long_row[4]


def test_elsewhere_names_a_factor_only_where_a_gpu_is_slower() -> None:
    ends = {"slow": [[2.0, 8.0], [1.0, 4.0]], "ours": [[2.0, 2.0], [1.0, 1.5]]}
    _, _, slow, ours = table(paper_scale.elsewhere({"slow": 4.0, "ours": 1.0}, ends))
    assert slow == ["slow", "1 – 4.0", "2.0 – 8.0", "1.0 – 4.0"]
    assert ours == ["ours", "1", "2.0", "1.0 – 1.5"]


def test_scores_shows_own_scores_beside_the_papers_and_says_what_was_not_run() -> None:
    own = {name: {} for name in paper_scale.PAPER_SETS}
    own["cifar100"] = {"TAG(1,4,5)": {"dash": "9.00 ± 1.41"}, "w=1": {"teacher": "5.00"}}
    header, _, *lines = (
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in paper_scale.scores(own).splitlines()
    )
    rows = {cells[0]: dict(zip(header, cells, strict=True)) for cells in lines}
    assert len(rows) == len(PAPER | FURTHER)
    assert rows["DASH"]["CIFAR-100"] == "9.00 ± 1.41"
    assert rows["DASH"]["CIFAR-10"] == rows["Teacher"]["CIFAR-100"] == paper_scale.NOT_RUN
    assert rows["DASH"]["*paper:* CIFAR-100"] == "10.47"
    assert rows["Composite"]["*paper:* ImageNet-64"] == "18.43"
    assert rows["Scratch"]["*paper:* ImageNet-64"] == DASHES


GPUS = (1, 2, 4)
HOURS = {
    "teacher": np.array([[4.0, 8.0], [2.0, 8.5], [1.0, 9.0]]),
    "student": np.array([[2.0, 2.0], [1.0, 3.0], [0.5, 4.0]]),
}
SHARE = {name: 1 / (1 + values / 10) for name, values in HOURS.items()}


def test_both_ends_of_both_networks_are_drawn_and_one_number_of_gpus_is_marked() -> None:
    figure = paper_scale.scaling("a pair", GPUS, HOURS, SHARE, 2)
    for ax, given in zip(figure.axes, (HOURS, SHARE), strict=True):
        curves = [line for line in ax.lines if len(line.get_xdata()) == len(GPUS)]
        assert [line.get_linestyle() for line in curves] == ["-", "--"] * 2
        drawn = np.array([line.get_ydata() for line in curves])
        assert drawn == pytest.approx(np.concatenate([given["teacher"].T, given["student"].T]))
        shades = [line.get_color() for line in curves]
        assert shades == [paper_scale.COLORS[name] for name in ("teacher",) * 2 + ("student",) * 2]
        dots = [line for line in ax.lines if line.get_marker() == "o"]
        assert [tuple(dot.get_xdata()) for dot in dots] == [(2, 2)] * 2
        assert [list(dot.get_ydata()) for dot in dots] == [sorted(given[n][1]) for n in given]


def test_the_ranges_are_written_out() -> None:
    clock, share = paper_scale.scaling("a pair", GPUS, HOURS, SHARE, 2).axes
    labels = [text.get_text().replace("\n", " ") for text in clock.texts]
    assert labels == ["student: 1.0 – 3.0", "teacher: 2.0 – 8.5"], "from below"
    labels = [text.get_text().replace("\n", " ") for text in share.texts]
    assert labels == ["teacher: 0.54 – 0.83", "student: 0.77 – 0.91"]
    assert clock.get_title() == "hours on the clock"
    assert clock.figure.get_suptitle() == "a pair"
    assert share.get_title() == "efficiency on 2 GPUs"
    assert clock.get_yscale() == "log"


def test_one_gpu_is_singular() -> None:
    share = paper_scale.scaling("a pair", GPUS, HOURS, SHARE, 1).axes[1]
    assert share.get_title() == "efficiency on 1 GPU"
