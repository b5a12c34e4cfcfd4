"""Measure how spacing, clamp and dynamic thresholding move scores of CIFAR-10, on a CPU.

Every stored student is sampled from one starting noise: by the sampler of the book's chapter and,
under TAG, by the plain one, each also with one thing changed.  (Starts and eta were tried on a
GPU.)  The networks compute in bfloat16, 16 ms a pass and image of one core.

``python -m benchmarks.samplers_cifar10 NAME... --data ROOT --work DIR [--n N] [--out FILE]``: what
``--work`` has drawn already is kept, so that an interrupted study goes on.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.samplers import dynamic, extremes
from benchmarks.sweep.judge import Judge
from dashlib import datasets, results
from dashlib.checkpoints import pack, write_atomically
from dashlib.data import as_floats, to_bytes
from dashlib.guidance import Guided
from dashlib.metrics import spreads
from dashlib.recipes import CIFAR10
from dashlib.sampling import EpsModel, balanced_labels, sample, starting_noise
from dashlib.schedule import Schedule
from dashlib.unet import UNet

SAMPLERS = ((970, 0.5), (999, 0.0))  # start and eta of DDIM
SCALES = {"TAG": SAMPLERS, "1.5": SAMPLERS[:1]}
CHUNK = 50  # images drawn at a time


def settings(samplers: Sequence[tuple[int, float]]) -> dict[str, dict[str, Any]]:
    """Options of :func:`dashlib.sampling.ddim` by name; ``dynamic`` is one more clamp."""
    found: dict[str, dict[str, Any]] = {}
    for start, eta in samplers:
        plain = {"start": start, "eta": eta}
        found[f"start {start}, eta {eta:g}"] = plain
        found[f"leading, eta {eta:g}"] = {"spacing": "leading", "eta": eta}
        for clamp in ("clamp", "dynamic"):
            found[f"{clamp}, start {start}, eta {eta:g}"] = plain | {"clamp": clamp}
    return found


@torch.inference_mode()
def drawn(model: UNet, w: str, n: int, options: dict[str, Any]) -> Tensor:
    """``n`` images as bytes, balanced over the classes, from the noise that every case gets."""
    how = options | {"generator": torch.Generator().manual_seed(0)}
    if options.get("clamp") == "dynamic":
        how["clamp"] = "none"
    parts = []
    cases = starting_noise(n, model.cfg).split(CHUNK), balanced_labels(n).split(CHUNK)
    for noise, y in zip(*cases, strict=True):
        eps: EpsModel = Guided(model, y, CIFAR10.guidance[w])
        if options.get("clamp") == "dynamic":
            eps = dynamic(eps, Schedule())
        with torch.autocast("cpu", torch.bfloat16):
            images = sample(
                eps, noise.contiguous(memory_format=torch.channels_last), Schedule(), **how
            )
        parts.append(to_bytes(images.float().clamp(-1, 1)))
    return torch.cat(parts)


def draw_all(names: list[str], n: int, work: Path) -> Iterator[tuple[dict[str, Any], Path]]:
    """Every case and the file of its images, drawn if it is not there."""
    for name in names:
        model = results.load(name).model().to(memory_format=torch.channels_last)
        for w, samplers in SCALES.items():
            for setting, options in settings(samplers).items():
                case = {"run": name, "setting": setting, "options": options, "w": w}
                file = work / f"{Path(name).name}, {w}, {setting}, {n}.safetensors"
                if not file.exists():
                    clock = time.perf_counter()
                    found = {"images": drawn(model, w, n, options)}
                    found["seconds"] = torch.tensor(time.perf_counter() - clock)
                    write_atomically(file, pack(found))
                    print(file.stem, f"{float(found['seconds']):.0f} s", flush=True)
                yield case, file


def main() -> None:
    """Draw what is missing, score all, and store it if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--data", type=Path, required=True, help="where CIFAR-10's images lie")
    parser.add_argument("--work", type=Path, required=True, help="what is drawn is kept here")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.work.mkdir(parents=True, exist_ok=True)
    cases = list(draw_all(args.names, args.n, args.work))
    real = datasets.load_dataset("cifar10", args.data, dtype="uint8")
    judge, records = Judge.of(real.train, real.test, "cpu"), []
    for case, file in cases:
        found = load_file(file)
        images = as_floats(found["images"])
        scores = judge.score(found["images"], balanced_labels(args.n))
        record = case | scores | {"spreads": spreads(images), **extremes(images)}
        records.append(record | {"seconds": round(float(found["seconds"]), 1)})
        print(f"{file.stem:80} {scores['fd']:6.1f} {scores['accuracy']:.3f}", flush=True)
    test = as_floats(real.test.x)
    about = {"n": args.n, "precision": "bfloat16", "floor": judge.floor(args.n)}
    about["data"] = extremes(test) | {"spreads": spreads(test)}
    if args.out:
        content = json.dumps(results.provenance() | about | {"records": records}, indent=1)
        write_atomically(args.out, (content + "\n").encode())


if __name__ == "__main__":
    main()
