"""Weights on disk: ours (safetensors + JSON), and pickled ones, never executed."""

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from safetensors.torch import load as load_bytes
from safetensors.torch import save as save_bytes
from torch import Tensor, nn

from dashlib.checks import check_finite
from dashlib.unet import UNet, UNetConfig


class CheckpointError(ValueError):
    """A file that is not the checkpoint it should be; the message names file, fault and remedy."""


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write that becomes ``path`` at the end of the block; failing, it leaves the old."""
    if (path := path.resolve()).exists() and not path.is_file():  # resolved: links stay links
        raise OSError(f"{path} is a folder or a device: choose another place to write to")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(".dashlib", f".{path.name}.", path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        os.unlink(temporary)
        if isinstance(error, OSError) and error.errno and not error.filename:  # a full disk
            error.filename = str(path)
        raise


def write_atomically(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` in one step: a killed process leaves the old file whole."""
    with replacing(path) as file:
        file.write(content)


def sha256(content: bytes) -> str:
    """The SHA-256 of a content, 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


@contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """Around the reading of a file: whatever is wrong with it becomes a ``CheckpointError``."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # damaged content raises anything
        remedy = f"restore it (`git checkout {path}`), or give the command that made it again"
        raise CheckpointError(f"{path} is missing or damaged ({error!r}): {remedy}") from error


def pack(tensors: Mapping[str, Tensor]) -> bytes:
    """Tensors as the bytes of a safetensors file."""
    return save_bytes({k: v.detach().cpu().contiguous() for k, v in tensors.items()})


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; ``CheckpointError`` if it is missing or damaged."""
    with reading(path):
        return load_bytes(path.read_bytes())


_SCALAR = np.float64().__reduce__()[0]  # makes a number of NumPy; also as numpy 1 calls it
_NUMPY: list[Any] = [np.dtype, _SCALAR, (_SCALAR, "numpy.core.multiarray.scalar")]
_NUMPY += [type(np.dtype(kind)) for kind in "?bhilqBHILQefd"]


def read_pickled(path: Path) -> Any:
    """The plain data of a file of ``torch.save``; ``CheckpointError`` if damaged or with code."""
    try:
        if zipfile.is_zipfile(path) and (part := zipfile.ZipFile(path).testzip()):
            raise ValueError(f"{part} has another CRC-32")
        with torch.serialization.safe_globals(_NUMPY):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds for a file that is none of its own
        reason = " ".join([type(error).__name__, *str(error).splitlines()[:1]])
        why = f"{reason}: damaged, no PyTorch file, or would execute code, which dashlib refuses"
        raise CheckpointError(f"{path} cannot be read as plain tensors ({why})") from error


def load_into(model: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copy finite tensors into the model; ``CheckpointError`` unless names and shapes agree."""
    pair = (model.state_dict(), tensors)
    want, have = ({k: tuple(getattr(v, "shape", ())) for k, v in of.items()} for of in pair)
    faults = [f"{k} is missing" for k in want if k not in have]
    faults += [f"{k} is not in the model" for k in have if k not in want]
    both = [k for k in want if k in have]
    faults += [f"{k} is {have[k]}, should be {want[k]}" for k in both if have[k] != want[k]]
    same = [k for k in both if have[k] == want[k]]
    faults += [f"{k} is {tensors[k].dtype}" for k in same if not tensors[k].is_floating_point()]
    faults += [f"{k} is not finite" for k in same if not tensors[k].isfinite().all()]
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        fault = "holds another architecture than the configuration describes, or damage"
        raise CheckpointError(f"{source} {fault}: {'; '.join(faults[:3])}{more}")
    model.load_state_dict({k: v.float() for k, v in tensors.items()})


def save_model(stem: Path, model: UNet, lam: Tensor | None = None) -> None:
    """Write ``stem.safetensors`` and ``stem.json``: configuration, lambda, a SHA-256 of all."""
    write_atomically(Path(f"{stem}.safetensors"), content := pack(model.state_dict()))
    sidecar = {"unet": asdict(model.cfg), "lambda": None if lam is None else lam.tolist()}
    digest = {"sha256": sha256(json.dumps(sidecar).encode() + content)}
    write_atomically(Path(f"{stem}.json"), json.dumps(sidecar | digest).encode())


def load_model(stem: Path) -> tuple[UNet, Tensor | None]:
    """Read what :func:`save_model` wrote: the model in evaluation mode, lambda ``(T,)`` or None."""
    path, weights = Path(f"{stem}.json"), Path(f"{stem}.safetensors")
    with reading(path):
        sidecar = json.loads(path.read_text())
        model = UNet(UNetConfig(**sidecar["unet"]))
        lam = None if sidecar["lambda"] is None else torch.tensor(sidecar["lambda"])
        check_finite("lambda", torch.zeros(0) if lam is None else lam)
        load_into(model, read_tensors(weights), str(stem))
        if sidecar.pop("sha256") != sha256(json.dumps(sidecar).encode() + weights.read_bytes()):
            raise ValueError(f"its SHA-256 is not that of itself and {weights}")
    return model.eval(), lam
