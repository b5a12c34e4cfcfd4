"""A small noise predictor for points of the plane, with the UNet's interface and null class.

The UNet's recipe without pixels: the embeddings of time and class are added, and pushed into every
residual block after its first layer.  The class table has one extra, last row: the *null* class.
"""

import copy
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dashbook.mixture import as_points
from dashlib.blocks import TimeEmbedding


@dataclass(frozen=True)
class MLPConfig:
    """Everything that fixes the architecture.  Raises ``ValueError`` for what cannot be built."""

    num_classes: int = 3
    ch: int = 16  # width of the sinusoids of t; everything else is 4 ch wide
    blocks: int = 2  # residual blocks
    embed_std: float = 1.0  # standard deviation of the class table's rows at the start
    w_conditioned: bool = False  # the guidance scale w is an input, embedded like t

    def __post_init__(self) -> None:
        if min(self.num_classes, self.blocks) < 1:
            raise ValueError(f"{self}: at least one class and one block")
        if self.ch < 4 or self.ch % 2:
            raise ValueError(f"ch={self.ch}: an even number from 4 (sines and cosines of t)")

    @property
    def null_label(self) -> int:
        """The label of the unconditional branch: one past the last class."""
        return self.num_classes


class Block(nn.Module):
    """linear, add the embedding, SiLU, linear, add the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(width, width), nn.Linear(width, width)
        self.temb_proj = nn.Linear(width, width)

    def forward(self, h: Tensor, emb: Tensor) -> Tensor:
        """``(B, width)`` twice -> ``(B, width)``."""
        return h + self.linear2(F.silu(self.linear1(h) + self.temb_proj(emb)))


class MLP(nn.Module):
    """``eps = model(x_t, t, y)`` for points: ``(B, 2, 1, 1)`` or ``(B, 2)``, ``(B,)``, ``(B,)``.

    ``t`` is an integer timestep, ``y`` a label in [0, num_classes]; ``y = null_label`` asks for
    the unconditional branch.  A w-conditioned network takes a fourth input, the guidance scales
    ``(B,)``, and is sampled from through ``guidance.SingleHead``.  Raises ``ValueError`` for a
    wrong shape or label and for a w that is missing or given in vain.
    """

    def __init__(self, cfg: MLPConfig) -> None:
        super().__init__()
        self.cfg = cfg
        width = 4 * cfg.ch
        self.temb = TimeEmbedding(cfg.ch)
        self.class_embed = nn.Embedding(cfg.num_classes + 1, width)
        self.linear_in = nn.Linear(2, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(cfg.blocks))
        self.linear_out = nn.Linear(width, 2)
        with torch.no_grad():
            self.class_embed.weight.mul_(cfg.embed_std)
        if cfg.w_conditioned:  # last: the draws of every other network stay as they were
            self.wemb = TimeEmbedding(cfg.ch)

    @property
    def null_label(self) -> int:
        """The label that asks for the unconditional branch."""
        return self.cfg.null_label

    def with_null_row(self, row: Tensor) -> "MLP":
        """A copy whose null class has this embedding, ``(4 ch,)``, and no gradients."""
        model = copy.deepcopy(self).requires_grad_(False)
        model.class_embed.weight[-1] = row
        return model

    def check_inputs(self, x_t: Tensor, t: Tensor, y: Tensor) -> None:
        """Raise ``ValueError`` naming the offending value."""
        if not t.shape == y.shape == x_t.shape[:1]:
            raise ValueError(
                f"need one timestep and one label a point: got t {tuple(t.shape)}, "
                f"y {tuple(y.shape)} for {len(x_t)} points"
            )
        if len(y) and (int(y.min()) < 0 or int(y.max()) > self.null_label):
            raise ValueError(
                f"label out of range: got {int(y.min())}..{int(y.max())}; classes are "
                f"0..{self.null_label - 1} and {self.null_label} is the null label"
            )
        if len(t) and int(t.min()) < 0:
            raise ValueError(f"timestep out of range: got {int(t.min())}, must be 0 or more")

    def embed(self, t: Tensor, y: Tensor, w: Tensor | None) -> Tensor:
        """The sum of the embeddings of the inputs beside the point, ``(B, 4 ch)``."""
        if self.cfg.w_conditioned != (w is not None):
            raise ValueError(
                f"w {'is missing' if w is None else 'was given'}: a network with "
                "MLPConfig(w_conditioned=True), and no other, is called with (x_t, t, y, w)"
            )
        emb = self.temb(t) + self.class_embed(y)
        if w is None:
            return emb
        if w.shape != t.shape:
            raise ValueError(f"need one guidance scale a point: got w {tuple(w.shape)}")
        return emb + self.wemb(250 * (w - 1))

    def forward(self, x_t: Tensor, t: Tensor, y: Tensor, w: Tensor | None = None) -> Tensor:
        """Predict the noise in ``x_t``."""
        points = as_points(x_t)
        self.check_inputs(x_t, t, y)
        emb = F.silu(self.embed(t, y, w))
        h = self.linear_in(points)
        for block in self.blocks:
            h = cast(Block, block)(h, emb)
        return self.linear_out(F.silu(h)).view_as(x_t)
