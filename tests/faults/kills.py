"""Commands killed at a random moment, and two trainings in one folder."""

import json
import random
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

from faults.forks import LOCKS, MODEL, TRAIN, Job, command, ended, forked, jobs, kind_of, left


def kills(count: int, seed: int = 0) -> Counter[str]:
    """Kill commands at random moments; the same command must then end as if left alone."""
    found, rng = Counter[str](), random.Random(seed)
    usual, whole = dict[str, float](), dict[str, list[object]]()
    with tempfile.TemporaryDirectory() as place:
        known = jobs(Path(place))
        for name, job in known.items():  # left alone
            (folder := Path(place, name)).mkdir()
            began = time.monotonic()
            code = ended(forked(job, folder), 600)
            assert code == 0, (name, (folder / "said.txt").read_text()[-2000:])
            usual[name], whole[name] = time.monotonic() - began, left(job, folder) or []
        odds = [job.often for job in known.values()]
        drawn = [*known, *rng.choices([*known], odds, k=max(count - len(known), 0))]
        for number, name in enumerate(drawn[:count]):
            (folder := Path(place, str(number))).mkdir()
            ended(forked(known[name], folder), usual[name] * rng.uniform(0.02, 0.98))
            code = ended(forked(known[name], folder), 10 * usual[name] + 60)
            kind = kind_of(known[name], folder, code, whole[name])
            found.update([kind, f"{kind}: {name}"])
            temporary = [p for p in folder.rglob(".*") if p.name not in LOCKS]
            found["temporary files left"] += len(temporary)
            shutil.rmtree(folder)
    return +found


def writers(count: int, seed: int = 0) -> Counter[str]:
    """Two trainings in one folder: the second is refused, and no step is logged twice."""
    found, rng = Counter[str](), random.Random(seed)
    job = Job(command(*TRAIN), MODEL)
    for _ in range(count):
        with tempfile.TemporaryDirectory() as place:
            first = forked(job, Path(place))
            time.sleep(rng.uniform(0, 0.5))
            second = forked(job, Path(place))
            codes = sorted(ended(number, 300) or 0 for number in (second, first))
            log = (Path(place) / "run/log.jsonl").read_text().splitlines()
            whole = [json.loads(line)["step"] for line in log] == [*range(1, 13)]
            kind = "refused" if whole and codes == [0, 1] else "survived"
            found[kind if whole and codes in ([0, 0], [0, 1]) else "accepted"] += 1
    return +found
