"""Errors for what cannot be: they name the value and say what would do."""

from collections.abc import Iterable

from torch import Tensor, compiler


def check_choice(what: str, value: str, choices: Iterable[str]) -> None:
    """``ValueError`` that lists the choices, unless the value is one of them."""
    if value not in choices:
        raise ValueError(f"{what} {value!r}: one of {', '.join(choices)}")


def check_finite(what: str, values: Tensor) -> None:
    """``ValueError`` that says where the first is, unless all values are finite."""
    if len(wrong := (~values.isfinite()).nonzero()):
        raise ValueError(f"{what}: {len(wrong)} are not finite, the first at {wrong[0].tolist()}")


def check_range(what: str, values: Tensor, last: float, known: str) -> None:
    """``ValueError`` unless all are in [0, ``last``]; unchecked on a GPU and in compiled code."""
    if values.device.type == "cpu" and values.numel() and not compiler.is_compiling():
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > last:
            raise ValueError(f"{what} out of range: got {low}..{high}; {known}")


def check_positive(**numbers: float) -> None:
    """``ValueError`` that names the first number that is not above 0; infinity is."""
    for name, number in numbers.items():
        if not number > 0:
            raise ValueError(f"{name}={number}: a number above 0")
