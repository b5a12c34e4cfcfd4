"""Command lines with hostile values, none of which can do any work."""

import random
from collections import Counter
from collections.abc import Iterator

from click.testing import CliRunner

from dashlib.__main__ import main
from faults.watch import watched

WORDS = ["nan", "inf", "-1", "0", "99999999999999999999", "1e400", "", "x", "../x", "\u2603", "1 2"]
STARTS = {
    "sample": ["nowhere", "--out", "out.png"],
    "evaluate": ["nowhere", "--data", "digits", "--features", "classifier"],
    "train": ["cifar10/paper_v2", "--data", "nowhere", "--out", "run"],
    "distill": ["digits", "--teacher", "nowhere", "--out", "run"],
    "convert": ["nowhere.pth", "out"],
    "make": ["nowhere"],
    "verify": ["--only", "nowhere"],
    "reproduce": ["digits", "--only", "nowhere"],
}
WORKING = ("download", "unverified", "only")  # options which could do work


def lines(rng: random.Random) -> Iterator[list[str]]:
    """A command that is refused in any case, with up to three options of hostile values."""
    while True:
        name = rng.choice([*STARTS])
        words = [name, *STARTS[name]]
        known = [p for p in main.commands[name].params if p.param_type_name == "option"]
        for option in rng.sample(known, k=min(len(known), rng.randrange(4))):
            if option.name not in WORKING:
                flag = getattr(option, "is_flag", False)
                wild = [rng.choice(WORDS) for _ in range(0 if flag else option.nargs)]
                words += [rng.choice(option.opts), *wild]
        yield words


def options(count: int, seed: int = 0) -> Counter[str]:
    """What became of so many command lines; a file written elsewhere is a fault of its own."""
    found, rng = Counter[str](), random.Random(seed)
    with watched() as outside:
        for _, words in zip(range(count), lines(rng), strict=False):
            result = CliRunner().invoke(main, words)
            clear = result.exit_code in (1, 2) and isinstance(result.exception, SystemExit)
            kind = "refused" if clear else "accepted" if result.exit_code == 0 else "bare"
            found[kind] += 1
            if kind != "refused":
                print(f"{kind} {result.exception!r}: {words}")
        found["written outside"] += len(outside)
    return +found
