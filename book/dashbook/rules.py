"""Rules of the ledger of claims: an interval that a measured number must lie in.

``above 0``, ``below 0.35``, ``between 0.35 and 0.85``, ``within 1 % of 216.3``.  A number x with
standard error e stands for x ± k e (k = 2 unless asked otherwise).  For the difference of two rows
under the rule ``above 0`` this asks that it exceed twice the pooled standard error.
"""

import re
from math import inf, isnan

from dashbook.measurements import Estimate

ERRORS = 2.0  # k: standard errors on either side of a measured number
NUMBER = r"(-?\d+(?:\.\d+)?(?:e\d+)?)"


def accepts(rule: str) -> tuple[float, float]:
    """The interval that a rule accepts; ``ValueError`` for one that has none of the forms above."""
    forms = (
        (f"above {NUMBER}", lambda x: (x, inf)),
        (f"below {NUMBER}", lambda x: (-inf, x)),
        (f"between {NUMBER} and {NUMBER}", lambda a, b: (a, b)),
        (f"within {NUMBER} % of {NUMBER}", lambda p, x: (x - p * x / 100, x + p * x / 100)),
    )
    for form, bounds in forms:
        match = re.fullmatch(form, rule)
        if match:
            low, high = bounds(*map(float, match.groups()))
            if low < high:
                return low, high
    raise ValueError(f"rule {rule!r}: above X, below X, between X and Y (X < Y), within P % of X")


def holds(rule: str, estimate: Estimate, errors: float = ERRORS) -> bool | None:
    """Whether an estimate obeys a rule, give or take so many standard errors.

    None if that cannot be told: the interval reaches over an edge, or the number is undefined.
    """
    low, high = accepts(rule)
    if isnan(estimate.value):
        return None
    least, most = (estimate.value + sign * errors * estimate.error for sign in (-1, 1))
    if low < least and most < high:
        return True
    return False if most <= low or least >= high else None
