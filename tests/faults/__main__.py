"""``make faults``: so many cases of each kind, and a JSON of the figures."""

import argparse
import json
import os
import sys
import time
from pathlib import Path

from dashlib import checkpoints, results
from faults import PARTS, WRONG
from faults.api import api
from faults.disks import disks
from faults.files import files
from faults.forks import warm
from faults.kills import kills, writers
from faults.options import options

RUNS = {part.__name__: part for part in (kills, disks, writers, files, api, options)}


def seconds() -> float:
    """CPU seconds of this process and of those that ended before it."""
    return sum(os.times()[:4])


def main() -> int:
    """Run the parts, writing the figures after each; 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    for part, usual in PARTS.items():  # forks come first: the others leave threads behind
        parser.add_argument(f"--{part}", type=int, default=usual)
    parser.add_argument("--out", type=Path, help="JSON of the figures; a part of 0 cases stays")
    asked = vars(parser.parse_args())
    out = asked.pop("out")
    held = json.loads(out.read_text())["figures"] if out and out.exists() else {}
    if asked["kills"] + asked["disks"] + asked["writers"]:
        warm()
    figures = {part: held[part] for part in PARTS if part in held}
    for part, count in asked.items():
        if count:
            began, cpu = time.monotonic(), seconds()
            found = {"cases": count, **RUNS[part](count)}
            found |= {"seconds": round(time.monotonic() - began)}
            figures[part] = found | {"cpu_seconds": round(seconds() - cpu)}
            text = json.dumps({**results.provenance(), "figures": figures}, indent=1)
            print(f"{part}: {json.dumps(figures[part])}", flush=True)
            if out:
                checkpoints.write_atomically(out, f"{text}\n".encode())
    return int(any(WRONG & {*of} for of in figures.values()))


if __name__ == "__main__":
    sys.exit(main())
