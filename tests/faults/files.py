"""Damaged files: of every kind that dashlib reads back."""

import json
import os
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch

from dashlib import checkpoints, results
from dashlib.scale.checkpointing import Checkpoints, read_checkpoint
from dashlib.scale.official import load_official
from dashlib.unet import UNet, UNetConfig

TINY = UNetConfig(1, 8, ch=8, mults=(1, 2), blocks=1, attn_resolutions=(4,), groups=4, patch_size=2)
CLEAR = (ValueError, OSError)  # CheckpointError and MissingRun are such
VALUES = [None, True, -1, 0, 2**70, 1e999, "", "x", "../../x", "\udcff", [], [[]], {}, {"a": None}]


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
    model, other = UNet(TINY), UNet(UNetConfig(ch=32, blocks=1))
    checkpoints.save_model(folder / "m", model)
    torch.save({"ema_state_dict": {"shadow": other.state_dict()}}, folder / "a.pth")
    saved = Checkpoints(folder / "c").save(1, {"step": 1, "ema": model.state_dict()})
    run = results.Run("digits/x-s0", {"unet": vars(TINY)}, 0, {}, 0.0, 1, {"rho": 1.0})
    run = results.store(run, weights=model.state_dict())
    return {
        folder / "m.json": lambda: checkpoints.load_model(folder / "m"),
        folder / "m.safetensors": lambda: checkpoints.load_model(folder / "m"),
        folder / "a.pth": lambda: load_official(folder / "a.pth"),
        saved: lambda: read_checkpoint(saved),
        run.folder / "run.json": lambda: results.load(run.name).model(),
        run.folder / run.files["weights"]["name"]: lambda: results.load(run.name).model(),
    }


def outcome(read: Callable[[], object], what: str) -> str:
    """Tell how reading a damaged file ended; what did not end well is printed."""
    try:
        read()
    except CLEAR:
        return "refused"
    except Exception as error:
        print(f"bare {error!r}: {what}")
        return "bare"
    print(f"accepted: {what}")
    return "accepted"


def files(count: int, seed: int = 0) -> Counter[str]:
    """Tell what became of so many damaged files."""
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
