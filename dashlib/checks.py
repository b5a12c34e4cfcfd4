"""Errors for what cannot be: they name the value and say what would do."""

from collections.abc import Iterable


def check_choice(what: str, value: str, choices: Iterable[str]) -> None:
    """``ValueError`` that lists the choices, unless the value is one of them."""
    if value not in choices:
        raise ValueError(f"{what} {value!r}: one of {', '.join(choices)}")
