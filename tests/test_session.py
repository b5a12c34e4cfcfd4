"""`train` and `distill` from the command line: stopped in every way, and resumed to the same."""

import errno
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from test_imagenet64 import write as write_imagenet

from dashlib import checkpoints, data
from dashlib.__main__ import main
from dashlib.cli import train
from dashlib.data import Dataset, Images
from dashlib.runs import building
from dashlib.runs.session import Job, Session
from dashlib.scale import checkpointing, presets
from dashlib.scale.distributed import make_accelerator
from dashlib.scale.presets import preset
from dashlib.scale.sampling import find
from dashlib.unet import STUDENT_CIFAR10, UNet, UNetConfig

SMALL = ("--batch", "4", "--device", "cpu")
TRAIN = ("train", "digits", *SMALL)
DISTILL = ("distill", "digits", *SMALL)


def invoke(*args):
    return CliRunner().invoke(main, [str(arg) for arg in args])


def ok(*args):
    result = invoke(*args)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*args):
    result = invoke(*args)
    assert result.exit_code in (1, 2), result.output
    assert isinstance(result.exception, SystemExit), result.exception
    return result.output


def log(folder):
    """The records of a run, without how fast they were."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "images_per_s"} for line in lines]


def last_state(folder):
    kept = checkpointing.Checkpoints(folder / "checkpoints")
    return checkpointing.read_checkpoint(kept.newest())


def same(a, b):
    """Tell if two nested states are equal bit by bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(v, b[k]) for k, v in a.items())
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


# --- killed, stopped, resumed --------------------------------------------------------------------

LONG = (*TRAIN, "--steps", "40", "--save-every", "6")


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """40 steps of the digits teacher without interruption."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    ok(*LONG, "--out", folder)
    return folder


def start_and_send(folder, number, *args):
    """The command in a process of its own, sent a signal after a checkpoint and some steps more."""
    command = [sys.executable, "-m", "dashlib", *LONG, *args, "--out", str(folder)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder.parent
    )
    path, deadline = folder / "log.jsonl", time.time() + 100
    while not path.exists() or path.read_text().count("\n") < 9:
        assert process.poll() is None, process.communicate()[0]
        assert time.time() < deadline
        time.sleep(0.002)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    return process.returncode, output


def check_same_as(straight, folder):
    assert log(folder) == log(straight)
    for name in ("model.safetensors", "model.json"):
        assert (folder / name).read_bytes() == (straight / name).read_bytes()
    assert same(last_state(folder), last_state(straight))


def test_a_run_killed_with_sigkill_resumes_to_the_same_bits(straight, tmp_path):
    folder = tmp_path / "run"
    code, _ = start_and_send(folder, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert len(log(folder)) >= 8  # a line may be cut short
    assert not (folder / "model.safetensors").exists()
    assert "resumed" in ok(*LONG, "--out", folder)
    check_same_as(straight, folder)
    run = json.loads((folder / "run.json").read_text())
    assert [s["ended"] for s in run["sessions"]] == ["training", "finished"]
    assert run["sessions"][1]["from_step"] % 6 == 0


def test_sigterm_saves_and_exits_with_a_code_of_its_own(straight, tmp_path):
    folder = tmp_path / "run"
    code, output = start_and_send(folder, signal.SIGTERM, "--save-every", "1000")
    assert code == checkpointing.INTERRUPTED == 75
    step = last_state(folder)["step"]
    assert 9 <= step < 40
    assert f"SIGTERM: saved step {step} of 40 in {folder}" in output
    assert "the same command goes on" in output
    assert f"step {step} of 40" in ok(*LONG, "--out", folder)
    check_same_as(straight, folder)


def test_a_damaged_newest_checkpoint_falls_back_to_the_former(straight, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(straight, folder)
    (newest,) = (folder / "checkpoints").glob("step-000000040-*")
    newest.write_bytes(newest.read_bytes()[:1000])
    output = ok(*LONG, "--out", folder)
    assert "warning" in output
    assert f"{newest} is damaged" in output
    assert "resumed" in output
    assert "step 36 of 40" in output
    check_same_as(straight, folder)


def test_a_finished_run_is_left_alone(straight):
    before, records = (straight / "model.safetensors").read_bytes(), log(straight)
    assert "finished: 40 steps" in ok(*LONG, "--out", straight)
    assert (straight / "model.safetensors").read_bytes() == before
    assert log(straight) == records


def test_stopping_after_some_steps_and_resuming_by_path(straight, tmp_path):
    folder, other = tmp_path / "a", tmp_path / "b"
    output = ok(*LONG, "--out", folder, "--stop-after", "14", "--keep", "2")
    assert "stopped: saved step 14 of 40" in output
    kept = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert [name[:15] for name in kept] == ["step-000000012-", "step-000000014-"]
    ok(*LONG, "--out", other, "--resume", folder / "checkpoints" / kept[0])
    assert same(last_state(other), last_state(straight))
    assert log(other) == log(straight)[12:]
    message = refused(*LONG, "--out", folder, "--resume", folder / "checkpoints" / kept[0])
    assert f"{kept[1]}, which is newer" in message
    assert "choose another --out" in refused(*LONG, "--out", folder, "--resume", "never")


def test_other_settings_do_not_go_on(straight):
    message = refused(*LONG, "--out", straight, "--steps", "41")
    assert "was made with other training: {'steps': 40}, here {'steps': 41}" in message
    assert "other stream" in refused(*LONG, "--out", straight, "--batch", "8")


# --- what ends training --------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_stops_with_the_step_and_the_checkpoint(tmp_path, monkeypatch):
    real = data.Stream.__next__
    batches = []

    def broken(stream):
        batches.append(real(stream))
        x_t = batches[-1].x_t * (math.nan if len(batches) == 4 else 1)
        return replace(batches[-1], x_t=x_t)

    monkeypatch.setattr(data.Stream, "__next__", broken)
    folder = tmp_path / "run"
    message = refused(*TRAIN, "--steps", "6", "--out", folder, "--save-every", "2")
    assert "step 4: loss nan" in message
    assert f"last good checkpoint is {folder}/checkpoints/step-000000002" in message
    monkeypatch.undo()
    assert last_state(folder)["step"] == 2
    ok(*TRAIN, "--steps", "6", "--out", folder)
    assert [line["step"] for line in log(folder)] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
            "out of memory, after step 3 of 6",
        ),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
            "out of memory, after step 3 of 6",
        ),
    ],
)
def test_out_of_memory_says_what_to_do(tmp_path, monkeypatch, error, message):
    real, calls = UNet.forward, []

    def forward(*args):
        calls.append(args)
        if len(calls) == 4:
            raise error
        return real(*args)

    monkeypatch.setattr(UNet, "forward", forward)
    folder = tmp_path / "run"
    output = refused(*TRAIN, "--steps", "6", "--out", folder, "--save-every", "2")
    assert message in output
    assert f"{folder}/checkpoints/step-000000002" in output
    assert "--accumulate" in output
    monkeypatch.undo()
    assert "resumed" in ok(*TRAIN, "--steps", "6", "--out", folder)


def test_a_full_disk_says_so_and_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    real, calls = checkpointing.write_atomically, []

    def write(path, content):
        calls.append(path)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        real(path, content)

    monkeypatch.setattr(checkpointing, "write_atomically", write)
    folder = tmp_path / "run"
    output = refused(*TRAIN, "--steps", "6", "--out", folder, "--save-every", "2")
    assert "disk full writing" in output
    assert "Free space" in output
    assert f"last good checkpoint is {folder}/checkpoints/step-000000002" in output
    monkeypatch.undo()
    assert "step 2 of 6" in ok(*TRAIN, "--steps", "6", "--out", folder)


# --- what is stored ------------------------------------------------------------------------------


def test_the_configuration_is_printed_and_stored(straight):
    run = json.loads((straight / "run.json").read_text())
    settings = run["settings"]
    assert settings["preset"] == "digits"
    assert settings["recipe"]["train"]["steps"] == 40
    assert settings["recipe"]["batch_size"] == 4
    assert settings["recipe"]["train"]["lr"] == preset("digits").teacher.train.lr
    assert (run["status"], run["step"], run["parameters"]) == ("finished", 40, 942_468)
    assert run["sources"] == preset("digits").notes
    session = run["sessions"][0]
    assert session["versions"]["torch"] == torch.__version__
    assert session["processes"] == 1
    assert {"commit", "hardware", "seconds"} <= session.keys()
    assert session["hardware"].endswith(f", {torch.get_num_threads()} thread(s)")
    assert '"preset": "digits"' in ok(*LONG, "--out", straight)  # printed before anything else


def test_speed_and_memory_are_stored_with_every_session(straight):
    """Both of a whole session; memory on a GPU only.  One that made no step has no speed."""
    first, *others = json.loads((straight / "run.json").read_text())["sessions"]
    assert first["images_per_s"] == pytest.approx(40 * 4 / first["seconds"], rel=0.1)
    assert first["peak_mib"] is None
    assert all(s["images_per_s"] is None for s in others if s["from_step"] == s["to_step"])


def test_the_log_is_a_line_a_step(straight):
    lines = [json.loads(line) for line in (straight / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 41))
    assert all(
        line.keys() == {"step", "loss", "terms", "grad_norm", "lr", "images_per_s"}
        for line in lines
    )
    assert all(line["images_per_s"] > 0 for line in lines)


def test_reading_the_loss_seldom_changes_nothing_else(straight, tmp_path):
    ok(*LONG, "--out", tmp_path / "run", "--log-every", "7")
    check_states = [last_state(folder) for folder in (straight, tmp_path / "run")]
    assert same(*check_states)
    assert log(tmp_path / "run") == log(straight)


# --- distillation --------------------------------------------------------------------------------


def test_a_student_learns_from_a_folder_a_stem_or_a_file(straight, tmp_path):
    for i, path in enumerate((straight, straight / "model", straight / "model.safetensors")):
        ok(*DISTILL, "--steps", "2", "--teacher", path, "--out", tmp_path / str(i))
    assert log(tmp_path / "0") == log(tmp_path / "1") == log(tmp_path / "2")
    assert set(log(tmp_path / "0")[0]["terms"]) == {"imitation", "unconditional", "anchor"}
    model, lam = checkpoints.load_model(tmp_path / "0/model")
    assert model.cfg == preset("digits").student.unet
    assert torch.equal(lam, find(str(straight)).lam)  # transferred, frozen


@pytest.mark.parametrize(
    ("options", "terms"),
    [
        (("--objective", "composite", "--option", "w=2"), {"composite"}),
        (("--objective", "single_head", "--weighting", "uniform"), {"guided"}),
        (("--objective", "fitnets"), {"imitation", "features"}),
        (("--objective", "scratch", "--weighting", "min_snr"), {"denoising"}),
    ],
    ids=lambda x: x[1] if isinstance(x, tuple) else "",
)
def test_every_kind_of_objective_trains(straight, tmp_path, options, terms):
    ok(*DISTILL, "--steps", "2", "--teacher", straight, "--out", tmp_path / "run", *options)
    assert set(log(tmp_path / "run")[-1]["terms"]) == terms


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """A file in the authors' format, with the smaller of their networks, and its lambda."""
    path = tmp_path_factory.mktemp("official") / "teacher.pth"
    torch.manual_seed(0)
    lam = torch.randn(1000)
    content = {
        "ema_state_dict": {"shadow": UNet(STUDENT_CIFAR10).state_dict(), "mu": 0.9999},
        "tirt_state_dict": {"importance_adjustment": lam, "snr_gamma": torch.tensor(5.0)},
    }
    torch.save(content, path)
    return path, lam


@pytest.fixture
def small_cifar(monkeypatch):
    """CIFAR-10 of 20 random images, and a preset whose student is thin."""
    x = torch.randint(256, (20, 3, 32, 32), generator=torch.Generator().manual_seed(0)).byte()
    images = Images(x, torch.arange(20) % 10)
    monkeypatch.setattr(
        building.datasets, "load_dataset", lambda *a, **k: Dataset("cifar10", 10, images, images)
    )
    for name in ("cifar10/paper_v2", "cifar10/released"):
        whole = preset(name)
        thin = replace(whole.student.unet, ch=32)
        changed = replace(whole, student=replace(whole.student, unet=thin))
        monkeypatch.setitem(presets.PRESETS, name, changed)


@pytest.mark.parametrize(
    ("name", "normalize"), [("cifar10/paper_v2", "timesteps"), ("cifar10/released", "batch")]
)
def test_a_student_learns_from_the_authors_checkpoint(
    official, small_cifar, tmp_path, name, normalize
):
    path, lam = official
    options = ("--steps", "1", "--batch", "2", "--device", "cpu", "--out", tmp_path / "run")
    ok("distill", name, *options, "--teacher", path)
    (record,) = log(tmp_path / "run")
    assert math.isfinite(record["loss"])
    assert torch.equal(checkpoints.load_model(tmp_path / "run/model")[1], lam)
    assert (
        json.loads((tmp_path / "run/run.json").read_text())["settings"]["recipe"]["normalize"]
        == normalize
    )


def test_a_split_keeps_a_part_of_the_images(small_cifar):
    recipe = preset("cifar10/released").teacher
    kept, again = (building.stream(recipe, torch.device("cpu"), Path("x")).images for _ in "12")
    assert len(kept) == 18
    assert kept.x.dtype == torch.uint8
    assert torch.equal(kept.x, again.x)


def test_imagenet_is_read_from_its_files_and_resumed(tmp_path):
    """Ten small files of the real kind; the stream goes on where it stopped."""
    write_imagenet(tmp_path)
    unet = UNetConfig(
        image_size=64, num_classes=1000, ch=8, mults=(1, 2), blocks=1, attn_resolutions=(),
        groups=4, patch_size=4,
    )  # fmt: skip
    recipe = preset("imagenet64/paper_v2").teacher
    recipe = replace(recipe, unet=unet, batch_size=8, train=replace(recipe.train, steps=7))
    job = Job("imagenet64/paper_v2", recipe, tmp_path / "a", data=tmp_path, workers=0, device="cpu")
    quiet = {"say": lambda message: None, "progress": lambda *progress: None}
    assert Session(job, **quiet).run() == "finished"
    begun = replace(job, out=tmp_path / "b", stop_after=3)
    assert Session(begun, **quiet).run() == "stopped"
    again = Session(replace(begun, stop_after=None), **quiet)
    assert (again.run(), again.step) == ("finished", 7)
    assert log(tmp_path / "a") == log(tmp_path / "b")
    assert same(last_state(tmp_path / "a"), last_state(tmp_path / "b"))


# --- errors --------------------------------------------------------------------------------------


def test_a_teacher_that_does_not_fit_is_an_error(straight, official, tmp_path):
    out = ("--out", tmp_path / "run")
    message = refused("distill", "cifar10/paper_v2", *SMALL, *out, "--teacher", straight)
    assert "makes 8x8 images of 1 channel(s) and 10 classes, not 32x32 images of 3" in message
    assert "no.pth" in refused(*DISTILL, *out, "--teacher", tmp_path / "no.pth")
    checkpoints.save_model(tmp_path / "plain", UNet(preset("digits").student.unet))
    message = refused(*DISTILL, *out, "--teacher", tmp_path / "plain")
    assert "no learned lambda (TIRT) to transfer: choose another --weighting" in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ("train", "cifar10", *SMALL),
            "'cifar10' is not one of 'cifar10/paper_v2'",
        ),
        (("train", "cifar10/paper_v2", *SMALL, "--data", "nowhere"), "nowhere"),
        ((*TRAIN, "--accumulate", "3"), "cannot be divided evenly into 3 parts"),
        ((*TRAIN, "--precision", "fp16"), "fp16 needs a CUDA GPU"),
        ((*TRAIN, "--steps", "0"), "range 1<=x<=10000000"),
        ((*DISTILL, "--teacher", "x", "--option", "w"), "--option w: KEY=NUMBER"),
        ((*TRAIN, "--resume", "nowhere"), "no step-*.pt is there: give a run's folder"),
    ],
    ids=lambda x: "" if isinstance(x, str) else " ".join(x[-2:]),
)
def test_settings_that_cannot_be_are_errors(tmp_path, args, message):
    assert message in refused(*args, "--out", tmp_path / "run")


def test_a_run_or_the_folder_of_its_checkpoints_is_resumed(tmp_path):
    out = tmp_path / "run"
    ok(*LONG, "--out", out, "--stop-after", "2")
    for number, place in enumerate((out, out / "checkpoints"), start=1):
        ended = ok(*LONG, "--out", out, "--stop-after", "2", "--resume", place)
        assert f"resumed {out}/checkpoints/step-00000000{2 * number}-" in ended
    (tmp_path / "empty").mkdir()
    message = refused(*LONG, "--out", out, "--resume", tmp_path / "empty")
    assert "no step-*.pt is there: give a run's folder" in message
    assert "delete" not in message


def test_a_log_that_is_damaged_is_named(tmp_path):
    ok(*LONG, "--out", tmp_path / "run", "--stop-after", "2")
    log = tmp_path / "run/log.jsonl"
    log.write_text('{"step": 1, \n')
    assert f"{log} is missing or damaged" in refused(*LONG, "--out", tmp_path / "run")


def test_another_seed_does_not_go_on(straight):
    assert "other stream" in refused(*LONG, "--out", straight, "--seed", "1")


def test_two_calls_do_not_work_in_one_folder(tmp_path):
    (tmp_path / "run").mkdir()
    stale = tmp_path / "run/.model.json.abcdefgh.dashlib"  # of a call that was killed
    stale.touch()
    with checkpointing.alone(tmp_path / "run"):
        assert not stale.exists()
        stale.touch()  # of the call that works: the second leaves it
        message = refused(*LONG, "--out", tmp_path / "run")
    assert f"another call works in {tmp_path / 'run'}, process {os.getpid()} on" in message
    assert not (tmp_path / "run/log.jsonl").exists()
    assert stale.exists()


def test_the_sessions_of_a_folder_are_read_under_its_lock(tmp_path):
    """Keep what another call noted after this one began."""
    options = {"preset": "digits", "out": tmp_path / "run", "device": "cpu", "precision": "fp32"}
    job = train.job_of("teacher", options | {"steps": 1, "batch_size": 4})
    first, second = (Session(job, print, lambda *step: None) for _ in range(2))
    first.run()
    second.run()
    noted = json.loads((tmp_path / "run/run.json").read_text())["sessions"]
    assert [(s["from_step"], s["to_step"]) for s in noted] == [(0, 1), (1, 1)]


def test_other_images_do_not_go_on(straight, monkeypatch):
    whole = data.Stream.images_sha.fget
    monkeypatch.setattr(data.Stream, "images_sha", property(lambda s: whole(s)[::-1]))
    message = refused(*LONG, "--out", straight)
    assert "was made with other stream" in message
    assert "give the same, or begin anew in another folder" in message


def test_more_steps_than_the_training_was_made_for_are_refused(straight):
    """They would bend the cosine of all the steps that were made."""
    message = refused(*LONG, "--out", straight, "--steps", "41")
    assert "'steps': 40" in message
    assert "'steps': 41" in message
    assert "begin anew in another folder" in message


@pytest.mark.parametrize("place", ["", "checkpoints"])
def test_a_training_that_has_not_ended_is_sampled_by_its_average(tmp_path, place):
    out = tmp_path / "run"
    ok(*LONG, "--out", out, "--stop-after", "3")
    (saved,) = (out / "checkpoints").glob("step-*.pt")
    found = find(str(saved if place else out))
    assert found.name.endswith("(step 3 of 40, averaged)")
    assert same(dict(found.model.state_dict()), dict(last_state(out)["ema"]))
    assert torch.equal(found.lam, last_state(out)["weighting"]["lam"])
    saved.write_bytes(saved.read_bytes()[:-1])
    with pytest.raises(checkpoints.CheckpointError, match=r"is not a whole checkpoint"):
        find(str(saved))


def test_without_a_compiler_compile_says_so(tmp_path, monkeypatch):
    class NoCompilerError(RuntimeError):
        __module__ = "torch._inductor.exc"

    def fail(*_, **__):
        raise NoCompilerError("No working C++ compiler found in\n/nonexistent/g++")

    monkeypatch.setattr(building.datasets, "load_dataset", fail)
    message = refused(*LONG, "--out", tmp_path / "run", "--compile")
    assert "install a C++ compiler (g++, or what CXX names), or leave --compile out" in message
    assert "\n" not in message.rpartition("Error: ")[2].strip()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--batch", value) for value in ("0", "-1", "x", "99999999999999999999")),
        *(("--seed", value) for value in ("-1", "99999999999999999999")),
        *(("--workers", "-1"), ("--log-every", "0"), ("--steps", "-3")),
        *(("--ema", "2"), ("--label-dropout", "-0.1"), ("--device", "tpu")),
    ],
)
def test_options_have_bounds_that_the_message_names(tmp_path, option, value):
    result = invoke(*TRAIN, "--out", tmp_path / "run", option, value)
    assert result.exit_code == 2
    assert f"Invalid value for '{option}'" in result.output
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("options", [("w=nan",), ("w=inf",), ("w",), ("w=1", "w=2")])
def test_an_objectives_options_are_finite_and_given_once(tmp_path, options):
    given = [word for option in options for word in ("--option", option)]
    out = ("--teacher", "x", "--out", tmp_path / "run")
    result = invoke(*DISTILL, *out, "--objective", "composite", *given)
    assert result.exit_code == 2
    assert "--option" in result.output


@pytest.mark.parametrize("option", ["--stop-after", "--save-every", "--keep", "--accumulate"])
def test_steps_are_counted_from_one(option):
    result = invoke(*TRAIN, option, "0", "--out", "nowhere")
    assert result.exit_code == 2
    assert f"Invalid value for '{option}': 0 is not in the range 1<=x<=10000000" in result.output


@pytest.mark.parametrize(
    "command", [train.train_command, train.distill_command], ids=lambda c: c.name
)
def test_every_option_is_explained(command):
    output = invoke(command.name, "--help").output
    for option in command.params:
        if option.param_type_name == "option":
            assert option.help, option.name
            assert option.opts[0] in output
    words = "".join(output.split())
    assert all(name in words for name in presets.PRESETS)


@pytest.mark.parametrize(
    ("device", "gpu", "computes", "asked", "got"),
    [
        ("auto", True, True, "auto", "bf16"),
        ("auto", True, False, "auto", "fp32"),  # a T4, which emulates it
        ("auto", False, True, "auto", "fp32"),
        ("cpu", True, True, "auto", "fp32"),
        ("auto", True, True, "fp32", "fp32"),
        ("cpu", False, False, "bf16", "bf16"),
    ],
)
def test_the_precision_is_that_of_the_machine_unless_asked_for(
    monkeypatch, device, gpu, computes, asked, got
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: computes)
    options = {"preset": "digits", "out": Path("x"), "precision": asked, "device": device}
    job = train.job_of("teacher", options)
    assert job.numerics.precision == got
    assert job.recipe.train.read_every == (10 if gpu and device == "auto" else 1)


def test_the_precision_is_stored_as_it_was_chosen(straight):
    run = json.loads((straight / "run.json").read_text())
    assert run["settings"]["numerics"]["precision"] == "fp32"
    assert run["sessions"][0]["precision"] == "fp32"


def test_an_accelerator_can_be_made_again():
    """With another precision, too: a notebook may train twice."""
    assert make_accelerator("bf16", "cpu").mixed_precision == "bf16"
    assert make_accelerator("fp32", "cpu").mixed_precision == "no"


# --- several processes ---------------------------------------------------------------------------


def launchers(machines):
    """Start two processes on some machines (all of them this one).

    On one by ``accelerate launch``, whose ``--multi_gpu`` is torchrun and serves CPUs, too.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    if machines == 1:
        words = ["--num_processes", "2", "--multi_gpu", "--main_process_port", str(port)]
        return [[sys.executable, "-m", "accelerate.commands.launch", *words]]
    meet = [f"--nnodes={machines}", "--master_addr=127.0.0.1", f"--master_port={port}"]
    each = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=1", *meet]
    return [[*each, f"--node_rank={rank}"] for rank in range(machines)]


@pytest.mark.parametrize("machines", [1, 2])
def test_two_processes_log_what_one_does(straight, tmp_path, machines):
    """The digits student has no dropout, so the records agree to rounding; one process writes."""
    options = (*DISTILL, "--steps", "3", "--teacher", str(straight))
    ok(*options, "--out", tmp_path / "one")
    command = ["-m", "dashlib", *options, "--out", str(tmp_path / "two")]
    started = [
        subprocess.Popen(
            [*launcher, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            cwd=tmp_path,
        )
        for launcher in launchers(machines)
    ]  # fmt: skip
    try:
        printed = [process.communicate(timeout=300)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0] * machines, printed
    assert "".join(printed).count("finished: 3 steps") == 1
    assert "".join(printed).count('"preset"') == 1
    for mine, theirs in zip(log(tmp_path / "one"), log(tmp_path / "two"), strict=True):
        assert theirs["loss"] == pytest.approx(mine["loss"], rel=1e-4)
        assert theirs["terms"] == pytest.approx(mine["terms"], rel=1e-4)
    (session,) = json.loads((tmp_path / "two/run.json").read_text())["sessions"]
    assert (session["processes"], session["ended"]) == (2, "finished")
    assert session["device"].startswith("cpu")
