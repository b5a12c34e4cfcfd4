"""The Inception network behind every number called FID: where its weights lie, and its features.

Network and weights are those of pytorch-fid (a port of TensorFlow's of 2015).  pytorch-fid fetches
the weights by itself and does not check them; here they are looked for, checked by their SHA-256
and downloaded only when asked.  Features of images in memory equal those of the same images
written as PNG and read by pytorch-fid.

Sources: Szegedy et al. 2016; Heusel et al. 2017; github.com/mseitzer/pytorch-fid.
"""

import hashlib
import os
import socket
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch
from urllib.error import URLError

import torch
from torch import Tensor, nn

from dashlib.checkpoints import CheckpointError, read_pickled

FILE = "pt_inception-2015-12-05-6726825d.pth"
SHA_PREFIX = "6726825d"  # of the SHA-256, as the file's name says
PATIENCE = 30.0  # seconds without an answer after which a download is given up


class InceptionError(RuntimeError):
    """Inception weights that are missing or not the right ones; the message says what to do."""


class Features(NamedTuple):
    """Of a batch: ``pool (B, D)``, what distances compare, and class ``logits (B, K)``."""

    pool: Tensor
    logits: Tensor


def cached() -> Path:
    """Where torch hub, and so pytorch-fid, keeps the weights."""
    return Path(torch.hub.get_dir()) / "checkpoints" / FILE


def address() -> str:
    """Where the weights are published."""
    return _pytorch_fid().FID_WEIGHTS_URL


def _pytorch_fid() -> Any:
    try:
        from pytorch_fid import inception
    except ImportError as error:
        raise InceptionError(
            f"FID needs the package pytorch-fid ({error}): `pip install 'dashlib[fid]'`"
        ) from error
    return inception


def locate(option: Path | None = None, *, download: bool = False) -> Path:
    """The file of the weights: the option, ``$DASH_INCEPTION``, or :func:`cached`.

    ``download=True`` fetches it into the cache if none of them was given or is there.  Raises
    ``InceptionError``, saying what to do, if there is no file.
    """
    named = option or os.environ.get("DASH_INCEPTION")
    path = Path(named) if named else cached()
    if path.is_file():
        return path
    if download and not named:
        return _download(path)
    raise InceptionError(
        f"no Inception weights at {path}, so no FID can be computed. Put {FILE} from {address()} "
        f"there, or anywhere with --inception FILE or DASH_INCEPTION=FILE"
        + ("" if named else ", or add --download where there is a network")
    )


def _download(path: Path) -> Path:
    """Fetch the weights, checked before they are put in place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    former = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        torch.hub.download_url_to_file(address(), str(path), hash_prefix=SHA_PREFIX)
    except (URLError, OSError, RuntimeError) as error:
        raise InceptionError(
            f"{address()} could not be downloaded ({error}): fetch it by hand and put it at {path}"
        ) from error
    finally:
        socket.setdefaulttimeout(former)
    return path


def sha256(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Inception(nn.Module):
    """Inception features of uint8 images; ``verified`` says whether its weights are the right ones.

    Raises ``InceptionError`` for weights of another SHA-256, unless ``unverified`` allows them, and
    for a file that does not hold this network.
    """

    def __init__(self, path: Path, *, unverified: bool = False) -> None:
        super().__init__()
        self.sha = sha256(path)
        self.verified = self.sha.startswith(SHA_PREFIX)
        if not self.verified and not unverified:
            raise InceptionError(
                f"{path} has SHA-256 {self.sha[:8]}..., the Inception weights have "
                f"{SHA_PREFIX}...: replace it by {address()} (or go on with --unverified, whose "
                "scores are not called FID)"
            )
        self.net, self.head = _networks(path)
        self.eval().requires_grad_(False)

    @torch.inference_mode()
    def forward(self, images: Tensor) -> Features:
        """Features ``(B, 2048)`` and logits ``(B, 1008)`` of uint8 images ``(B, 1 or 3, H, W)``.

        As pytorch-fid: grey as three equal channels, scaled to [0, 1], resized bilinearly to 299.
        Logits are without the last layer's bias, as in Salimans et al.'s code.
        """
        if images.dtype != torch.uint8:
            raise ValueError(f"images of {images.dtype}: Inception features are of uint8 pixels")
        x = images.expand(-1, 3, -1, -1).float() / 255
        pool = self.net(x)[0].flatten(1)
        return Features(pool, pool @ self.head.T)


def _networks(path: Path) -> tuple[nn.Module, nn.Parameter]:
    """pytorch-fid's network with these weights, and its last layer's ``(1008, 2048)``."""
    module = _pytorch_fid()
    try:
        state = read_pickled(path)
        with patch.object(module, "load_state_dict_from_url", lambda *_, **__: state):
            net = module.InceptionV3()
        head = nn.Parameter(state["fc.weight"].float(), requires_grad=False)
    except (CheckpointError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise InceptionError(
            f"{path} does not hold pytorch-fid's network ({reason}): replace it by {address()}"
        ) from error
    return net, head
