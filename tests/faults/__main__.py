"""``make faults``: so many cases of each kind, and a JSON of the figures."""

import argparse
import json
import os
import sys
import time
from pathlib import Path

from dashlib import checkpoints, results
from faults import WRONG
from faults.api import api
from faults.disks import disks
from faults.files import files
from faults.forks import warm
from faults.kills import kills, writers
from faults.options import options

# Forks come first: options leave threads behind.
PARTS = {kills: 52, disks: 24, writers: 6, files: 600, api: 4_000, options: 10_000}


def seconds() -> float:
    """CPU seconds of this process and of those that ended before it."""
    return sum(os.times()[:4])


def main() -> int:
    """Run the parts, writing the figures after each; 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    for part, usual in PARTS.items():
        parser.add_argument(f"--{part.__name__}", type=int, default=usual)
    parser.add_argument("--out", type=Path, help="JSON of the figures; a part of 0 cases stays")
    asked = vars(parser.parse_args())
    out, figures = asked.pop("out"), {}
    if out and out.exists():
        figures = json.loads(out.read_text())["figures"]
    if asked["kills"] + asked["disks"] + asked["writers"]:
        warm()
    figures = {part.__name__: figures.get(part.__name__, {}) for part in PARTS}
    for part in PARTS:
        if count := asked[part.__name__]:
            began, cpu = time.monotonic(), seconds()
            found = {"cases": count, **part(count)}
            found |= {"seconds": round(time.monotonic() - began)}
            figures[part.__name__] = found | {"cpu_seconds": round(seconds() - cpu)}
            held = {name: of for name, of in figures.items() if of}
            text = json.dumps({**results.provenance(), "figures": held}, indent=1)
            print(f"{part.__name__}: {json.dumps(figures[part.__name__])}", flush=True)
            if out:
                checkpoints.write_atomically(out, f"{text}\n".encode())
    return int(any(WRONG & {*of} for of in figures.values()))


if __name__ == "__main__":
    sys.exit(main())
