"""Weights on disk: our format (safetensors + JSON) and the authors' released ``.pth`` files.

Ours are written atomically and read strictly; a pickle in the authors' is never executed.
"""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_bytes
from safetensors.torch import save as save_bytes
from torch import Tensor, nn

from dashlib.unet import UNet, UNetConfig


class CheckpointError(ValueError):
    """A file that is not the checkpoint it should be; the message names file, fault and remedy."""


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write that becomes ``path`` at the end of the block; failing, it leaves the old."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def write_atomically(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` in one step: a killed process leaves the old file whole."""
    with replacing(path) as file:
        file.write(content)


def pack(tensors: Mapping[str, Tensor]) -> bytes:
    """Tensors as the bytes of a safetensors file."""
    return save_bytes({k: v.detach().cpu().contiguous() for k, v in tensors.items()})


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; ``CheckpointError`` if it is missing or damaged."""
    try:
        return load_bytes(Path(path).read_bytes())
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} does not exist") from error
    except SafetensorError as error:
        how = f"restore it with `git checkout {path}` or make it again"
        raise CheckpointError(f"{path} is not a whole safetensors file ({error}): {how}") from error


def read_pickled(path: Path) -> Any:
    """The plain data of a file of ``torch.save``; ``CheckpointError`` if damaged or with code."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    except Exception as error:  # torch.load raises many kinds for a file that is none of its own
        reason = " ".join([type(error).__name__, *str(error).splitlines()[:1]])
        why = f"{reason}: damaged, no PyTorch file, or would execute code, which dashlib refuses"
        raise CheckpointError(f"{path} cannot be read as plain tensors ({why})") from error


def load_into(model: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copy tensors into the model; ``CheckpointError`` unless all names and shapes agree."""
    pair = (model.state_dict(), tensors)
    want, have = ({k: tuple(v.shape) for k, v in of.items()} for of in pair)
    faults = [f"{k} is missing" for k in want if k not in have]
    faults += [f"{k} is not in the model" for k in have if k not in want]
    both = [k for k in want if k in have]
    faults += [f"{k} is {have[k]}, should be {want[k]}" for k in both if have[k] != want[k]]
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        found = f"{source} holds another architecture: {'; '.join(faults[:3])}{more}"
        raise CheckpointError(f"{found}. Build the model with the configuration of the file")
    model.load_state_dict({k: v.float() for k, v in tensors.items()})


def save_model(stem: Path, model: UNet, lam: Tensor | None = None) -> None:
    """Write ``stem.safetensors`` (weights) and ``stem.json`` (configuration, lambda if any)."""
    write_atomically(Path(f"{stem}.safetensors"), pack(model.state_dict()))
    sidecar = {"unet": asdict(model.cfg), "lambda": None if lam is None else lam.tolist()}
    write_atomically(Path(f"{stem}.json"), json.dumps(sidecar).encode())


def load_model(stem: Path) -> tuple[UNet, Tensor | None]:
    """Read what :func:`save_model` wrote: the model, in evaluation mode; lambda or None."""
    path = Path(f"{stem}.json")
    try:
        sidecar = json.loads(path.read_text())
        model = UNet(UNetConfig(**sidecar["unet"]))
        lam = sidecar["lambda"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is not the configuration of a model: {error}") from error
    load_into(model, read_tensors(Path(f"{stem}.safetensors")), str(stem))
    return model.eval(), None if lam is None else torch.tensor(lam)


def load_official(path: Path) -> tuple[UNet, Tensor | None]:
    """An authors' ``.pth``: averaged model, lambda ``(1000,)``; ``CheckpointError`` if none."""
    content = read_pickled(path)
    try:
        shadow = dict(content["ema_state_dict"]["shadow"])
        classes, ch = len(shadow["class_embed.weight"]) - 1, len(shadow["conv_in.weight"])
        blocks = 1 + ("down.0.block.1.conv1.weight" in shadow)
        model = UNet(UNetConfig(ch=ch, blocks=blocks, num_classes=classes))
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise CheckpointError(f"{path}: not a DASH checkpoint ({error})") from error
    if strange := [name for name, value in shadow.items() if not isinstance(value, Tensor)]:
        raise CheckpointError(f"{path}: {strange[0]} is not a tensor: not a DASH checkpoint")
    load_into(model, shadow, str(path))
    lam = (content.get("tirt_state_dict") or {}).get("importance_adjustment")
    if lam is not None and lam.shape != (1000,):
        raise CheckpointError(f"{path}: TIRT lambda is {tuple(lam.shape)}, should be (1000,)")
    return model.eval(), lam
