"""Tell if a stored output counts as made again: words and whole numbers equal, decimals nearly."""

import re
from collections.abc import Callable
from typing import Any

# A decimal number, as chapters print it; counts and other whole numbers must be equal.
DECIMAL = re.compile(r"-?\d+\.\d+(?:e[-+]?\d+)?")
RELATIVE = 0.01  # what another processor or a minor release of PyTorch may change


class Printed(str):
    """Wrap what a cell printed, equal to what differs by little more than rounding.

    Two texts are equal if their words and whole numbers are, and if each pair of decimal numbers
    differs by at most 1 %, or by 1 in the last digit that is printed.
    """

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        """Compare words, then numbers."""
        if str.__eq__(self, other) is True:
            return True
        if not isinstance(other, str) or words(self) != words(other):
            return False
        return all(map(close, DECIMAL.findall(self), DECIMAL.findall(other)))

    def __ne__(self, other: object) -> bool:
        """Not equal."""
        return not self == other


def words(text: str) -> list[str]:
    """The text without its decimal numbers, however wide the columns."""
    return DECIMAL.sub("#", re.sub(r"[-:]{3,}", "--", text)).split()


def close(a: str, b: str) -> bool:
    """Tell if two printed numbers are equal up to rounding."""
    x, y = float(a), float(b)
    mantissa, _, exponent = a.partition("e")
    last = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    return abs(x - y) <= max(1.01 * last, RELATIVE * abs(x))


def tolerant(sanitize: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Wrap nbval's clean-up of an output, so that texts compare as :class:`Printed`."""

    def wrapped(cell: Any, text: Any) -> Any:
        clean = sanitize(cell, text)
        return Printed(clean) if isinstance(clean, str) else clean

    return wrapped
