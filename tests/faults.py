"""Damaged files, hostile options, kills, two writers, and what became of them: ``make faults``.

Each case is survived, refused clearly, a bare traceback, a hang, or silently accepted.  Cases are
drawn with seed 0, so that a figure can be made again.
"""

import argparse
import contextlib
import errno
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from click.testing import CliRunner

from dashlib import checkpoints, classifier, results
from dashlib.__main__ import main
from dashlib.scale.checkpointing import Checkpoints, read_checkpoint
from dashlib.unet import STUDENT_CIFAR10, UNet, UNetConfig

TINY = UNetConfig(1, 8, ch=8, mults=(1, 2), blocks=1, attn_resolutions=(4,), groups=4, patch_size=2)
CLEAR = (ValueError, OSError)  # CheckpointError and MissingRun are such
VALUES = [None, True, -1, 0, 2**70, 1e999, "", "x", "../../x", "\udcff", [], [[]], {}, {"a": None}]
WORDS = ["nan", "inf", "-1", "0", "99999999999999999999", "1e400", "", "x", "../x", "\u2603", "1 2"]
TRAIN = ["train", "digits", "--steps", "12", "--save-every", "2", "--batch", "4", "--device", "cpu"]


def damaged(content: bytes, rng: random.Random) -> bytes:
    """A content cut short, with a changed byte, or another one altogether."""
    kind, at = rng.randrange(5), rng.randrange(len(content))
    if kind == 0:
        return content[:at]
    if kind == 1:
        return content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]
    if kind == 2:
        return content[:at] + bytes(64) + content[at + 64 :]
    if kind == 3:
        return rng.choice([b"", b"null", b"[]", b"{}", b"<html>", b"\xff" * 9, b"[" * 5000])
    return content[:at] + rng.randbytes(rng.randrange(1, 50)) + content[at:]


def altered(content: bytes, rng: random.Random) -> bytes:
    """A JSON object with one value, at any depth, replaced or missing."""
    whole = json.loads(content)
    inner, place = whole, rng.choice([*whole])
    while isinstance(inner[place], dict) and inner[place] and rng.random() < 0.7:
        inner = inner[place]
        place = rng.choice([*inner])
    if rng.random() < 0.3:
        del inner[place]
    else:
        inner[place] = rng.choice([v for v in VALUES if v != inner[place]])
    return json.dumps(whole).encode()


def readers(folder: Path) -> dict[Path, Callable[[], object]]:
    """Files of every kind that dashlib reads back, and what reads each."""
    torch.manual_seed(0)
    model, other = UNet(TINY), UNet(STUDENT_CIFAR10)
    checkpoints.save_model(folder / "m", model)
    torch.save({"ema_state_dict": {"shadow": other.state_dict()}}, folder / "a.pth")
    saved = Checkpoints(folder / "c").save(1, {"step": 1, "ema": model.state_dict()})
    run = results.Run("digits/x-s0", {"unet": vars(TINY)}, 0, {}, 0.0, 1, {"rho": 1.0})
    run = results.store(run, weights=model.state_dict())
    return {
        folder / "m.json": lambda: checkpoints.load_model(folder / "m"),
        folder / "m.safetensors": lambda: checkpoints.load_model(folder / "m"),
        folder / "a.pth": lambda: checkpoints.load_official(folder / "a.pth"),
        saved: lambda: read_checkpoint(saved),
        run.folder / "run.json": lambda: results.load(run.name).model(),
        run.folder / run.files["weights"]["name"]: lambda: results.load(run.name).model(),
    }


def files(count: int, seed: int = 0) -> Counter[str]:
    """Count what became of so many damaged files."""
    rng, found = random.Random(seed), Counter[str]()
    with tempfile.TemporaryDirectory() as place:
        os.environ["DASH_RESULTS"] = f"{place}/results"
        known = readers(Path(place))
        whole = {path: path.read_bytes() for path in known}
        for number in range(count):
            path = [*known][number % len(known)]
            change = altered if path.suffix == ".json" and rng.random() < 0.5 else damaged
            content = change(whole[path], rng)
            path.write_bytes(content)
            found[outcome(known[path], f"{path.name}: {content[:80]!r}")] += content != whole[path]
            path.write_bytes(whole[path])
        del os.environ["DASH_RESULTS"]
    return +found


def outcome(read: Callable[[], object], what: str) -> str:
    """Return how reading a damaged file ended; what did not end well is printed."""
    try:
        read()
    except CLEAR:
        return "refused"
    except Exception as error:
        print(f"bare {error!r}: {what}")
        return "bare"
    print(f"accepted: {what}")
    return "accepted"


def lines(rng: random.Random) -> Iterator[list[str]]:
    """Command lines with hostile values, none of which can do any work."""
    starts = {
        "sample": ["nowhere", "--out", "out.png"],
        "evaluate": ["nowhere", "--data", "digits", "--features", "classifier"],
        "train": ["cifar10/paper_v2", "--data", "nowhere", "--out", "run"],
        "distill": ["digits", "--teacher", "nowhere", "--out", "run"],
        "convert": ["nowhere.pth", "out"],
        "make": ["nowhere"],
        "verify": ["--only", "nowhere"],
        "reproduce": ["digits", "--only", "nowhere"],
    }
    while True:
        name = rng.choice([*starts])
        words = [name, *starts[name]]
        options = [p for p in main.commands[name].params if p.param_type_name == "option"]
        for option in rng.sample(options, k=min(len(options), rng.randrange(4))):
            if option.name not in ("download", "unverified", "only"):  # which could do work
                flag = getattr(option, "is_flag", False)
                wild = [rng.choice(WORDS) for _ in range(0 if flag else option.nargs)]
                words += [rng.choice(option.opts), *wild]
        yield words


def options(count: int, seed: int = 0) -> Counter[str]:
    """Count the ends of so many command lines; a file opened for writing elsewhere is an error."""
    found, rng = Counter[str](), random.Random(seed)
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        home, outside = os.path.realpath(place), list[str]()

        def watch(event: str, arguments: tuple) -> None:
            path, *mode = arguments if event == "open" else ("", "")
            if isinstance(path, (str, bytes)) and mode[0] and set(mode[0]) & set("wax+"):
                path = os.path.realpath(os.fsdecode(path))
                if not path.startswith((home, "/dev/")) and watch.on and "pycache" not in path:
                    outside.append(path)

        watch.on = True
        sys.addaudithook(watch)
        for _, words in zip(range(count), lines(rng), strict=False):
            result = CliRunner().invoke(main, words)
            clear = result.exit_code in (1, 2) and isinstance(result.exception, SystemExit)
            kind = "refused" if clear else "accepted" if result.exit_code == 0 else "bare"
            found[kind] += 1
            if kind != "refused":
                print(f"{kind} {result.exception!r}: {words}")
        watch.on = False
        found["written outside"] += len(outside)
    return +found


def forked(folder: Path, words: list[str], before: Callable[[], None] = lambda: None) -> int:
    """Begin a command in a fork of this process, which has imported what it needs; its number."""
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
            main(words)
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


def jobs(shared: Path) -> dict[str, tuple[list[str], list[str]]]:
    """Commands that write, and the files that each must leave; what they need is made here."""
    shadow = {"shadow": UNet(STUDENT_CIFAR10).state_dict()}
    torch.save({"ema_state_dict": shadow}, shared / "a.pth")
    assert ended(forked(shared, [*TRAIN, "--out", "teacher"]), 600) == 0
    model = ["run/model.safetensors", "run/model.json"]
    distil = ["distill", "digits", "--teacher", str(shared / "teacher"), *TRAIN[2:], "--out", "run"]
    stored = ["results/digits/classifier/run.json"]
    again = ["reproduce", "digits", "--only", "classifier", "--processes", "1"]
    return {
        "train": ([*TRAIN, "--out", "run"], model),
        "distill": (distil, model),
        "convert": (["convert", str(shared / "a.pth"), "out"], ["out.safetensors", "out.json"]),
        "make": (["make", "digits/classifier"], stored),
        "reproduce": (again, stored),
    }


def contents(folder: Path, names: list[str]) -> list[object]:
    """Return what files hold; of a stored run without its clock: the SHA-256 of its parts."""
    texts = {name: (folder / name).read_bytes() for name in names}
    return [json.loads(t)["files"] if n.endswith("run.json") else t for n, t in texts.items()]


LOCKS = (".lock", ".holder", ".campaigns.lock")
ODDS = (6, 6, 6, 6, 1)  # of the jobs to be killed: the last one starts a process of its own


def brief() -> None:
    """Train the classifier for a tenth of its epochs, in the process that calls it."""
    classifier.fit = partial(classifier.fit, epochs=6)


def kills(count: int, seed: int = 0) -> Counter[str]:
    """Kill commands at random moments; the same command must then end as if left alone."""
    found, rng = Counter[str](), random.Random(seed)
    usual, whole = dict[str, float](), dict[str, list[object]]()
    with tempfile.TemporaryDirectory() as place:
        known = jobs(Path(place))
        order = [*known, *(rng.choices([*known], ODDS)[0] for _ in range(count))]
        for number, name in enumerate(order, start=-len(known)):  # the first are left alone
            words, names = known[name]
            (folder := Path(place, str(number))).mkdir()
            if number >= 0:
                ended(forked(folder, words, brief), usual[name] * rng.uniform(0.02, 0.98))
            began = time.monotonic()
            code = ended(forked(folder, words, brief), 10 * usual.get(name, 60) + 60)
            usual.setdefault(name, time.monotonic() - began)
            kind = "hangs" if code is None else "bare" if code else "survived"
            if not code and contents(folder, names) != whole.setdefault(
                name, contents(folder, names)
            ):
                kind = "accepted"
            if kind != "survived":
                print(f"{kind} {name}: exit {code}, {(folder / 'said.txt').read_text()[-400:]}")
            found[kind] += number >= 0
            temporary = (p for p in folder.rglob(".*") if p.name not in LOCKS)
            found["temporary files left"] += len([*temporary])
            shutil.rmtree(folder)
    return +found


def disks(count: int, seed: int = 0) -> Counter[str]:
    """Let the n-th write of a training fail, as on a full or a read-only disk; then go on."""
    found, rng = Counter[str](), random.Random(seed)
    words, names = [*TRAIN, "--out", "run"], ["run/model.safetensors", "run/model.json"]
    with tempfile.TemporaryDirectory() as place:
        (alone := Path(place, "alone")).mkdir()
        assert ended(forked(alone, words), 600) == 0
        for number in range(count):
            (folder := Path(place, str(number))).mkdir()
            fault = rng.choice([errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
            code = ended(forked(folder, words, failing(fault, rng.randrange(1, 10))), 600)
            said = (folder / "said.txt").read_text()
            clear = code == 1 and "Error: " in said and "Traceback" not in said
            kind = (
                "hangs" if code is None else "refused" if clear else "bare" if code else "accepted"
            )
            if kind != "refused":
                print(f"{kind} {errno.errorcode[fault]}: exit {code}, {said[-400:]}")
            found[kind] += 1
            again = ended(forked(folder, words), 600)
            same = again == 0 and contents(folder, names) == contents(alone, names)
            found["survived" if same else "bare"] += 1
    return +found


def failing(fault: int, last: int) -> Callable[[], None]:
    """Return code that makes the ``last``-th flush to disk fail in the process that calls it."""

    def install() -> None:
        calls, flush = iter(range(1, 1000)), os.fsync

        def fsync(file: int) -> None:
            if next(calls) == last:
                raise OSError(fault, os.strerror(fault), "/the/disk")
            flush(file)

        os.fsync = fsync

    return install


def writers(count: int, seed: int = 0) -> Counter[str]:
    """Two trainings in one folder: the second is refused, and no step is logged twice."""
    found, rng = Counter[str](), random.Random(seed)
    for _ in range(count):
        with tempfile.TemporaryDirectory() as place:
            words = [*TRAIN, "--out", "run"]
            first = forked(Path(place), words)
            time.sleep(rng.uniform(0, 0.5))
            codes = sorted(
                ended(number, 300) or 0 for number in (forked(Path(place), words), first)
            )
            log = (Path(place) / "run/log.jsonl").read_text().splitlines()
            steps = [json.loads(line)["step"] for line in log]
            whole = steps == [*range(1, 13)]
            kind = "refused" if whole and codes == [0, 1] else "survived"
            found[kind if whole and codes in ([0, 0], [0, 1]) else "accepted"] += 1
    return +found


PARTS = {"kills": 50, "disks": 30, "writers": 10, "files": 600, "options": 10_000}
WRONG = {"bare", "hangs", "accepted", "written outside"}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name, usual in PARTS.items():  # forks first: options leave threads behind
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--out", type=Path, help="JSON of the figures")
    asked = vars(parser.parse_args())
    out, figures = asked.pop("out"), {}
    for name, count in ((name, count) for name, count in asked.items() if count):
        began = time.monotonic()
        figures[name] = {"cases": count, **globals()[name](count)}
        figures[name]["seconds"] = round(time.monotonic() - began)
        text = json.dumps({**results.provenance(), "figures": figures}, indent=1)
        if out:
            checkpoints.write_atomically(out, f"{text}\n".encode())
    print(text)
    sys.exit(any(WRONG & {*part} for part in figures.values()))
