"""The paper's experiment end to end on a CPU, at the real size, from images to scores.

Networks are those of ``cifar10/paper_v2`` (35,751,939 and 6,082,627 parameters); the images are a
small set in CIFAR's file format, read and verified by the real loader; the Inception weights are
random, under the published file's name in a torch hub cache of their own.  Batches and numbers of
steps are as small as they can be.
"""

import ast
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from shutil import which

import click
import numpy as np
import pytest
import small_cifar
import torch
from test_session import check_same_as, invoke, log, ok, refused

from dashlib import checkpoints, results
from dashlib.__main__ import main
from dashlib.datasets import originals
from dashlib.scale import features
from dashlib.scale.evaluation import Store
from dashlib.scale.presets import PRESETS, preset

PRESET = "cifar10/paper_v2"
STEPS = 8  # of two processes: after fewer, one process samples other pixels by 3 levels
FEWER = 4  # of one, killed and resumed
SAMPLING = {"steps": 50, "spacing": "linspace", "clamp": "recompute", "precision": "fp32"}
HERE = Path(__file__).parent
UNVERIFIED = "(unverified Inception weights)"
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where pip puts mpirun
MPI_SETTINGS = {  # Open MPI refuses root, and two processes on one core
    "PATH": PATH,
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}
HAS_MPI = which("mpirun", path=PATH) is not None


def cached():
    """Return where torch hub, and so pytorch-fid, keeps the Inception weights."""
    return Path(torch.hub.get_dir()) / "checkpoints" / features.INCEPTION


@pytest.fixture
def place(tmp_path, random_inception, monkeypatch):
    """A folder with the archive and a torch hub cache, known to this and to other processes.

    Emptied at the end: a checkpoint of the teacher takes 570 MB.
    """
    (tmp_path / "data").mkdir()
    (tmp_path / "data/cifar-10-python.tar.gz").write_bytes(small_cifar.archive("cifar10"))
    for attribute, value in small_cifar.expected("cifar10").items():
        monkeypatch.setattr(originals.torchvision_class("cifar10"), attribute, value)
    monkeypatch.setitem(originals.CIFAR_MIRRORS, "cifar10", ())
    monkeypatch.delenv("DASH_INCEPTION", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("PYTHONPATH", str(HERE), prepend=os.pathsep)
    cached().parent.mkdir(parents=True)
    cached().symlink_to(random_inception)
    yield tmp_path
    shutil.rmtree(tmp_path)


def training(place, *more, steps=STEPS):
    """The command that trains the teacher, two images a step."""
    options = ("--data", place / "data", "--steps", steps, "--batch", 2, "--device", "cpu")
    return [str(word) for word in ("train", PRESET, *options, "--keep", 1, *more)]


def distilled(place, teacher, out):
    """One step of the student from a teacher, folder or file."""
    options = ("--data", place / "data", "--steps", 1, "--batch", 2, "--device", "cpu")
    ok("distill", PRESET, *options, "--teacher", teacher, "--out", out)
    return json.loads((out / "run.json").read_text())


def sampled(place, model, *more):
    """The arrays of two images, sampled as the preset does but in two steps."""
    out = place / "images.npz"
    ok("sample", model, "--preset", PRESET, "--steps", 2, "--device", "cpu", "--n", 2, "--out", out)
    assert json.loads((place / "images.npz.json").read_text())["guidance"] == "TAG(1,4,5)"
    return np.load(out)["arr_0"]


def scoring(place, *models):
    """The arguments that evaluate models, as the preset does but in two steps."""
    options = ("--preset", PRESET, "--steps", 2, "--root", place / "data", "--device", "cpu")
    return ["evaluate", *models, *options, "--seeds", 42]


def records(place):
    return json.loads((place / "scores.json").read_text())["scores"]


def killed(command, folder, lines):
    """Run a command in a process of its own until its log has some lines, then kill -9."""
    process = subprocess.Popen(
        [sys.executable, "-m", "small_cifar", *command],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    path, deadline = folder / "log.jsonl", time.time() + 600
    while not path.exists() or path.read_text().count("\n") < lines:
        assert process.poll() is None, process.communicate()[0]
        assert time.time() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL


def as_the_authors(run, path):
    """Write a run's network and lambda as a checkpoint in the authors' format."""
    model, lam = checkpoints.load_model(run / "model")
    shadow = {"shadow": model.state_dict(), "mu": 0.9999, "registered": True}
    tirt = {"importance_adjustment": lam, "snr_gamma": torch.tensor(5.0)}
    torch.save({"ema_state_dict": shadow, "tirt_state_dict": tirt}, path)
    return path


def test_from_images_to_scores_in_one_process(place):
    teacher, straight, student = (place / name for name in ("teacher", "straight", "student"))
    # killed after three steps or so, and resumed to the same bits
    command = training(place, "--out", teacher, "--save-every", 2, steps=FEWER)
    killed(command, teacher, lines=3)
    output = ok(*command, "--resume", "auto")
    assert f"step 2 of {FEWER}" in output
    assert f"finished: {FEWER} steps" in output
    ok(*training(place, "--out", straight, steps=FEWER))
    check_same_as(straight, teacher)
    shutil.rmtree(straight)
    shutil.rmtree(teacher / "checkpoints")
    run = json.loads((teacher / "run.json").read_text())
    assert (run["parameters"], run["step"]) == (35_751_939, FEWER)
    assert run["sources"] == PRESETS[PRESET].notes
    assert [s["ended"] for s in run["sessions"]] == ["training", "finished"]
    assert all(np.isfinite(line["loss"]) for line in log(teacher))

    # a student of that teacher; the same of the same teacher in the authors' format
    official = as_the_authors(teacher, place / "official.pth")
    assert distilled(place, teacher, student)["parameters"] == 6_082_627
    distilled(place, official, place / "other")
    assert log(student) == log(place / "other")
    assert set(log(student)[0]["terms"]) == {"imitation", "unconditional", "anchor"}

    # samples, also straight from the authors' file
    images = sampled(place, teacher)
    assert (images.shape, images.dtype) == ((2, 32, 32, 3), np.uint8)
    assert np.array_equal(sampled(place, official), images)
    assert not np.array_equal(sampled(place, student), images)

    # scores: refused with these weights, and never called FID
    options = [*scoring(place, student), "--n", 4, "--out", place / "scores.json"]
    output = refused(*options)
    sha = hashlib.sha256(cached().read_bytes()).hexdigest()[:8]
    assert f"{cached()} has SHA-256 {sha}..., the Inception weights 6726825d..." in output
    assert not (place / "scores.json").exists()
    output = ok(*options, "--unverified")
    assert f"Frechet distance {UNVERIFIED}" in output
    for part in ("N=4", "torch-fidelity 0", "reference cifar10/train, 20 images", "TAG(1,4,5)"):
        assert part in output
    (record,) = records(place)
    scores = record["scores"]
    ours = [f"{score} {UNVERIFIED}" for score in ("Frechet distance", "class score")]
    assert set(scores) == {*ours, f"{ours[1]}, std over splits"}
    assert "FID" not in output + (place / "scores.json").read_text()
    assert all(np.isfinite(value) for value in record["scores"].values())
    options = [*scoring(place, teacher, official), "--n", 2, "--out", place / "scores.json"]
    ok(*options, "--unverified", "--metrics", "kid")
    ours, theirs = records(place)[1:]
    assert theirs["weights"] == ours["weights"]
    assert theirs["scores"] == ours["scores"]


def test_the_archive_is_verified(place):
    """One changed byte, and nothing is trained."""
    archive = place / "data/cifar-10-python.tar.gz"
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)
    message = refused(*training(place, "--out", place / "run"))
    assert "cifar-10-python.tar.gz is damaged (MD5" in message
    assert not (place / "run").exists()


# --- two processes -------------------------------------------------------------------------------


def by_mpi(place):
    """The issue's own words, and what accelerate needs to obey them."""
    hosts = place / "hosts"
    hosts.write_text("localhost slots=2\n")
    return ("--cpu", "--mpirun_hostfile", str(hosts)) if HAS_MPI else ("--multi_gpu",)


def launch(*command, how):
    """Run commands under ``accelerate launch --num_processes 2``; what they printed.

    ``--multi_gpu`` is accelerate's name for torch's own launcher, which serves CPUs (``--device
    cpu``) as well (see ``test_session``); ``--cpu`` starts several processes by MPI, if it is given
    a host file.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "2"]
    launcher += [*how, "--main_process_port", str(port), "-m", "small_cifar"]
    done = subprocess.run(
        [*launcher, *map(str, command)],
        capture_output=True,
        text=True,
        timeout=900,
        env=os.environ | MPI_SETTINGS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_from_images_to_scores_in_two_processes(place):
    """Launched twice: to stop after five steps, and for all the rest in turn."""
    out, how = place / "run", by_mpi(place)
    output = launch(*training(place, "--out", out, "--stop-after", 5), how=how)
    assert output.count(f"stopped: saved step 5 of {STEPS}") == 1
    options = ("--preset", PRESET, "--steps", 2, "--device", "cpu")
    sampling = ("sample", out, *options, "--samples", 2, "--out", place / "two.npz")
    scored = (*scoring(place, out), "--samples", 2, "--metrics", "fid", "--unverified")
    scored = (*scored, "--out", place / "scores.json")
    resumed = training(place, "--out", out, "--resume", "auto")
    output = launch(*resumed, "then", *sampling, "then", *scored, how=how)
    assert output.count(f"finished: {STEPS} steps") == 1
    assert f"step 5 of {STEPS}" in output
    run = json.loads((out / "run.json").read_text())
    assert [s["processes"] for s in run["sessions"]] == [2, 2]
    assert (run["parameters"], run["settings"]["recipe"]["batch_size"]) == (35_751_939, 2)
    assert [line["step"] for line in log(out)] == list(range(1, STEPS + 1))
    assert all(np.isfinite(line["loss"]) for line in log(out))

    images = sampled(place, out)  # by one process; here are the same by two
    both = np.load(place / "two.npz")["arr_0"]
    assert np.abs(both.astype(int) - images).max() <= 1

    (record,) = records(place)
    assert record["processes"] == 2
    assert list(record["scores"]) == [f"Frechet distance {UNVERIFIED}"]
    assert output.count(f"seed 42: Frechet distance {UNVERIFIED}") == 1


def test_accelerate_with_cpu_alone_is_refused_for_it_starts_one_process(place):
    """Should a later accelerate start two without MPI, this fails, and the refusal may go."""
    options = ("--batch", 2, "--device", "cpu", "--stop-after", 1, "--out", place / "run")
    with pytest.raises(AssertionError, match="started one process: torchrun starts several"):
        launch("train", "digits", *options, how=("--cpu",))
    assert not (place / "run/run.json").exists()


# --- the chapter ----------------------------------------------------------------------------------


def test_the_chapters_tables_fill_themselves_from_stored_scores(run_folder):
    """Let the chapter's function read what ``evaluate`` stores: FID of 50,000 samples."""
    text = (HERE.parent / "notebooks/06_paper_scale.py").read_text()
    (code,) = (n for n in ast.parse(text).body if getattr(n, "name", "") == "own_scores")
    names = {"results": results, "json": json, "Path": Path, "preset": preset}
    exec(compile(ast.unparse(code), "chapter", "exec"), names)
    assert names["own_scores"]("cifar10") == {}
    shared = {"weights": "", "n": 50_000, "features": "", "reference": {}, "library": "any"}
    shared |= {"sampling": SAMPLING, "guidance": "TAG(1,4,5)"}
    (run_folder / "paper").mkdir()
    store = Store(run_folder / "paper/cifar10.json")
    for seed, fid in ((42, 8.0), (123, 10.0)):
        store.add(shared | {"model": "runs/dash", "seed": seed, "scores": {"FID": fid}})
    for model, more in (
        ("runs/teacher/model", {}),
        ("runs/teacher", {"guidance": "w=1"}),
        ("runs/few", {"n": 100}),
        ("runs/released", {"sampling": SAMPLING | {"clamp": "clamp"}}),
        ("runs/leading", {"sampling": SAMPLING | {"spacing": "leading"}}),
        ("runs/unverified", {"scores": {f"Frechet distance {UNVERIFIED}": 1.0}}),
    ):
        store.add(shared | {"model": model, "seed": 42, "scores": {"FID": 5.0}} | more)
    assert names["own_scores"]("cifar10") == {
        "TAG(1,4,5)": {"dash": "9.00 ± 1.41", "teacher": "5.00"},
        "w=1": {"teacher": "5.00"},
    }


# --- help ----------------------------------------------------------------------------------------


def commands(command, *path):
    """Every command of the program, with the words that call it."""
    yield path, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands(inner, *path, name)


@pytest.mark.parametrize(
    ("path", "command"), [pytest.param(*c, id=" ".join(c[0]) or "dashlib") for c in commands(main)]
)
def test_every_command_explains_itself_and_its_options(path, command):
    result = invoke(*path, "--help")
    assert result.exit_code == 0, result.output
    assert command.help
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, option.name
            assert any(name in result.output for name in option.opts)
    if isinstance(command, click.Group):
        assert all(name in result.output for name in command.commands)


def test_the_program_has_the_commands_of_the_issue():
    assert {"train", "distill", "sample", "evaluate", "convert"} <= set(main.commands)
