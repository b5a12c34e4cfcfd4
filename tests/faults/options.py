"""Command lines with hostile values, none of which can do any work."""

from collections import Counter

from click.testing import CliRunner
from hypothesis import strategies as st

from dashlib.__main__ import main
from faults.watch import LETTERS, tried

WORDS = ["nan", "inf", "-1", "0", "99999999999999999999", "1e400", "", "x", "../x", "\u2603", "1 2"]
HOSTILE = st.sampled_from(WORDS) | st.text(LETTERS) | (st.integers() | st.floats()).map(str)
STARTS = {
    "sample": ["nowhere", "--out", "out.png"],
    "evaluate": ["nowhere", "--data", "cifar10", "--features", "classifier"],
    "train": ["cifar10/paper_v2", "--data", "nowhere", "--out", "run"],
    "distill": ["digits", "--teacher", "nowhere", "--out", "run"],
    "convert": ["nowhere.pth", "out"],
    "make": ["nowhere"],
    "verify": ["--only", "nowhere"],
    "reproduce": ["digits", "--only", "nowhere"],
}
WORKING = ("download", "unverified", "only")  # options which could do work


@st.composite
def lines(draw: st.DrawFn) -> list[str]:
    """A command that is refused in any case, with up to three options of hostile values."""
    name = draw(st.sampled_from([*STARTS]))
    words = [name, *STARTS[name]]
    known = [p for p in main.commands[name].params if p.param_type_name == "option"]
    for option in draw(st.lists(st.sampled_from(known), max_size=3) if known else st.just([])):
        if option.name not in WORKING:
            values = 0 if getattr(option, "is_flag", False) else option.nargs
            words += [draw(st.sampled_from(option.opts)), *(draw(HOSTILE) for _ in range(values))]
    return words


def outcome(words: list[str]) -> str:
    """Tell what became of a command line."""
    result = CliRunner().invoke(main, words, catch_exceptions=False)
    return "refused" if result.exit_code in (1, 2) else "accepted"


def options(count: int) -> Counter[str]:
    """Tell what became of so many command lines."""
    return tried(outcome, lines(), count)
