"""Damaged files, hostile options, kills, two writers, and what became of them: ``make faults``.

Each case is survived, refused clearly, a bare traceback, a hang, or silently accepted.  Cases are
drawn with seed 0, so that a figure can be made again.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from click.testing import CliRunner

from dashlib import checkpoints, results
from dashlib.__main__ import main
from dashlib.scale.checkpointing import Checkpoints, read_checkpoint
from dashlib.unet import STUDENT_CIFAR10, UNet, UNetConfig

ROOT = Path(__file__).resolve().parents[1]
TINY = UNetConfig(1, 8, ch=8, mults=(1, 2), blocks=1, attn_resolutions=(4,), groups=4, patch_size=2)
CLEAR = (ValueError, OSError)  # CheckpointError and MissingRun are such
VALUES = [None, True, -1, 0, 2**70, 1e999, "", "x", "../../x", "\udcff", [], [[]], {}, {"a": None}]
WORDS = ["nan", "inf", "-1", "0", "99999999999999999999", "1e400", "", "x", "../x", "\u2603", "1 2"]
TRAIN = ["train", "digits", "--steps", "30", "--save-every", "3", "--batch", "4", "--device", "cpu"]


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
    """What became of so many damaged files."""
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
    """How reading a damaged file ended; what did not end well is printed."""
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
    """What became of so many command lines; a file opened for writing elsewhere is an error."""
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


def dashlib(folder: Path, out: str, *more: str) -> subprocess.Popen:
    """A training that has begun."""
    words = [sys.executable, "-m", "dashlib", *TRAIN, "--out", out, *more]
    where = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words, cwd=folder, env=where, stdout=-3, stderr=-3)


def kills(count: int, seed: int = 0) -> Counter[str]:
    """Kill trainings at random moments; each must end as one that was left alone."""
    found, rng = Counter[str](), random.Random(seed)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        began = time.monotonic()
        assert dashlib(folder, "straight").wait() == 0
        usual = time.monotonic() - began
        straight = (folder / "straight/model.safetensors").read_bytes()
        for _ in range(count):
            process = dashlib(folder, "killed")
            time.sleep(usual * rng.uniform(0.5, 1.0))
            process.kill()
            process.wait()
            try:
                again = dashlib(folder, "killed").wait(timeout=10 * usual + 60)
                same = (folder / "killed/model.safetensors").read_bytes() == straight
                found["survived" if again == 0 and same else "bare"] += 1
            except subprocess.TimeoutExpired:
                found["hangs"] += 1
            shutil.rmtree(folder / "killed")
    return +found


def writers() -> Counter[str]:
    """Two trainings in one folder: one works, the other is refused, and no line is doubled."""
    with tempfile.TemporaryDirectory() as place:
        both = [dashlib(Path(place), "run", "--steps", "60") for _ in range(2)]
        codes = sorted(process.wait(timeout=300) for process in both)
        log = (Path(place) / "run/log.jsonl").read_text().splitlines()
        steps = [json.loads(line)["step"] for line in log]
        whole = steps == [*range(1, 61)] and codes in ([0, 0], [0, 1])
        return Counter({"survived" if whole else "accepted": 1})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name, usual in (("files", 600), ("options", 10_000), ("kills", 20)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    asked = vars(parser.parse_args())
    figures = {name: globals()[name](count) for name, count in asked.items()}
    figures["writers"] = writers()
    print(json.dumps(figures, indent=1))
    sys.exit(any({"bare", "hangs", "accepted", "written outside"} & {*f} for f in figures.values()))
