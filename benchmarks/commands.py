"""Time the README's two commands in a fresh clone of what is committed, on an idle machine.

``python -m benchmarks.commands [--out results/bench/commands.json]``: the set-up, with what pip or
uv has in its cache; ``make book`` and ``make test`` after it.  Seconds of wall clock.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

from dashlib import results
from dashlib.checkpoints import write_atomically

ROOT = Path(__file__).parents[1]
COMMANDS = ("setup", "book", "test")
KEPT = ("HOME", "UV_CACHE_DIR")  # of the environment, besides a plain PATH
PLAIN = "/usr/local/bin:/usr/bin:/bin"


def timed(clone: Path, target: str) -> float:
    """Seconds of ``make TARGET`` in a clone; ``CalledProcessError`` if it fails."""
    env = {k: os.environ[k] for k in KEPT if k in os.environ} | {"PATH": PLAIN}
    clock = time.perf_counter()
    subprocess.run(["make", target], cwd=clone, env=env, check=True)
    return round(time.perf_counter() - clock, 1)


def main() -> None:
    """Make a clone, run the commands, print their times, and store them if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "book"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        seconds = {f"make {target}": timed(clone, target) for target in COMMANDS}
    print(seconds, flush=True)
    if args.out:
        found = results.provenance() | {"cores": os.cpu_count(), "seconds": seconds}
        write_atomically(args.out, (json.dumps(found, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
