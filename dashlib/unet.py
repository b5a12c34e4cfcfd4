"""The noise-prediction network eps(x_t, t, y): a class-conditional DDPM UNet.

Residual blocks with the time and class embedding added after each block's first convolution,
self-attention at chosen resolutions and in the middle.  The class table has one extra, last row:
the *null* class, whose prediction is the unconditional branch.  Parameter names follow the DDPM
code lineage, so that the authors' checkpoints load by name.

The body gives eps, or (``prediction="v"``) v with ``eps = sqrt(1 - alpha_bar_t) x_t +
sqrt(alpha_bar_t) v``: at high noise it is then asked for the image, not for a copy of its input.

Sources: Ho et al. 2020; Dhariwal & Nichol 2021; the DASH release (arXiv 2606.00798); for w as an
input, Meng et al. 2023; for v, Salimans & Ho 2022.
"""

import math
from dataclasses import replace
from typing import get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dashlib import blocks
from dashlib.blocks import Downsample, Level, NullInit, TimeEmbedding, UNetConfig, Upsample, levels
from dashlib.checks import check_choice, check_range
from dashlib.schedule import Schedule

TEACHER_CIFAR10 = UNetConfig()  # 35,751,939 parameters
STUDENT_CIFAR10 = UNetConfig(ch=64, blocks=1)  # 6,082,627
TEACHER_CIFAR100 = UNetConfig(num_classes=100)  # 35,798,019
STUDENT_CIFAR100 = UNetConfig(ch=64, blocks=1, num_classes=100)  # 6,105,667
TEACHER_IMAGENET64 = UNetConfig(  # 116,451,203
    image_size=64, num_classes=1000, mults=(1, 2, 3, 4), blocks=3, attn_resolutions=(16, 8)
)
STUDENT_IMAGENET64 = replace(TEACHER_IMAGENET64, ch=64, blocks=2)  # 22,336,579
TEACHER_DIGITS = UNetConfig(  # 942,468
    1, image_size=8, ch=32, mults=(1, 2), attn_resolutions=(4,), groups=8, patch_size=2
)
STUDENT_DIGITS = replace(TEACHER_DIGITS, ch=16, blocks=1, dropout=0.0)  # 168,916


class UNet(nn.Module):
    """``eps = model(x_t, t, y)``: shapes ``(B, C, H, W)``, ``(B,)``, ``(B,)`` -> ``(B, C, H, W)``.

    ``x_t`` is a noisy image (clean images are in [-1, 1]), ``t`` an integer timestep (0 or more),
    ``y`` a label in [0, num_classes]; ``y = null_label = num_classes`` asks for the unconditional
    branch.  A w-conditioned network takes ``w (B,)`` as well, needs no such branch, and embeds
    ``250 (w - 1)`` like t.  ``schedule`` says what v means (by default the cosine one).  Raises
    ``ValueError`` for wrong shapes or labels and for a w missing or given in vain.
    """

    signal: Tensor  # of a network that predicts v
    noise: Tensor

    def __init__(self, cfg: UNetConfig, schedule: Schedule | None = None) -> None:
        super().__init__()
        self.cfg, self.null_label, self.w_conditioned = cfg, cfg.null_label, cfg.w_conditioned
        self.shared_masks = cfg.shared_masks and cfg.dropout > 0  # without dropout: one pass
        widths = [cfg.ch * m for m in cfg.mults]
        pixels = cfg.image_channels * cfg.patch_size**2
        self.temb = TimeEmbedding(cfg.ch)
        self.class_embed = nn.Embedding(cfg.num_classes + 1, 4 * cfg.ch)
        self.conv_in = nn.Conv2d(pixels, cfg.ch, 3, padding=1)
        skips = self._build_down(widths)
        c = widths[-1]
        middle = blocks.ResBlock(cfg, c, c), blocks.Attention(cfg, c), blocks.ResBlock(cfg, c, c)
        self.mid = nn.ModuleDict(dict(zip(("block_1", "attn_1", "block_2"), middle, strict=True)))
        self._build_up(widths, skips)
        self.norm_out = nn.GroupNorm(cfg.groups, widths[0], eps=1e-6)
        self.conv_out = nn.Conv2d(widths[0], pixels, 3, padding=1)
        if cfg.w_conditioned:  # last: the draws of every other network stay as they were
            self.wemb = TimeEmbedding(cfg.ch)
        with torch.no_grad():
            self.class_embed.weight.mul_(cfg.embed_std)
        reset_null_row(self, cfg.null_init)
        if cfg.prediction == "v":
            schedule = schedule or Schedule()
            both = schedule.coefficients(torch.arange(schedule.T), torch.empty(1, 1, 1, 1))
            for name, values in zip(("signal", "noise"), both, strict=True):  # of all timesteps
                self.register_buffer(name, values, persistent=False)

    def _build_down(self, widths: list[int]) -> list[int]:
        """Make ``self.down``; return the channels of every skip connection, in order."""
        cfg, self.down, skips = self.cfg, nn.ModuleList(), [self.cfg.ch]
        for i, width in enumerate(widths):
            c_ins = [skips[-1], *[width] * (cfg.blocks - 1)]
            resample = Downsample if i < len(widths) - 1 else None
            self.down.append(Level(cfg, cfg.grids[i], c_ins, width, resample))
            skips += [width] * (cfg.blocks + (resample is not None))
        return skips

    def _build_up(self, widths: list[int], skips: list[int]) -> None:
        """Make ``self.up``, from the coarsest level to the finest, stored finest first."""
        cfg, made, c = self.cfg, list[Level](), widths[-1]
        for i, width in reversed(list(enumerate(widths))):
            c_ins = [c_in + skips.pop() for c_in in (c, *[width] * cfg.blocks)]
            resample = Upsample if i > 0 else None
            made.insert(0, Level(cfg, cfg.grids[i], c_ins, width, resample))
            c = width
        self.up = nn.ModuleList(made)

    def check_inputs(self, x_t: Tensor, t: Tensor, y: Tensor) -> None:
        """Raise ``ValueError`` naming the offending value (of t and y: only on the CPU)."""
        null, n = self.null_label, len(x_t)
        want = (self.cfg.image_channels, self.cfg.image_size, self.cfg.image_size)
        if x_t.ndim != 4 or x_t.shape[1:] != want:
            raise ValueError(f"images {tuple(x_t.shape)}: need (B, C, H, W), (C, H, W) = {want}")
        if not t.shape == y.shape == (n,):
            got = f"got t {tuple(t.shape)}, y {tuple(y.shape)} for {n} images"
            raise ValueError(f"need one timestep and one label an image: {got}")
        check_range("label", y, null, f"classes are 0..{null - 1} and {null} is the null label")
        check_range("timestep", t, math.inf, "must be 0 or more")

    def embed(self, t: Tensor, y: Tensor, w: Tensor | None) -> Tensor:
        """The sum of the embeddings of the inputs beside the image, ``(B, 4 ch)``."""
        if self.w_conditioned != (w is not None):
            fault = "is missing" if w is None else "was given"
            need = "only UNetConfig(w_conditioned=True) takes it; guidance.Guided guides others"
            raise ValueError(f"w {fault}: {need}")
        emb = self.temb(t) + self.class_embed(y)
        if w is None:
            return emb
        if w.shape != t.shape:
            raise ValueError(f"need one guidance scale an image: got w {tuple(w.shape)}")
        return emb + self.wemb(250 * (w - 1))

    def forward(self, x_t: Tensor, t: Tensor, y: Tensor, w: Tensor | None = None) -> Tensor:
        """Predict the noise in ``x_t``."""
        self.check_inputs(x_t, t, y)
        emb = self.embed(t, y, w)
        x = x_t if self.cfg.patch_size == 1 else F.pixel_unshuffle(x_t, self.cfg.patch_size)
        h = self.conv_in(x)
        skips = [h]
        for level in levels(self.down):
            for i in range(self.cfg.blocks):
                h = level.step(i, h, emb)
                skips.append(h)
            if level.downsample is not None:
                h = level.downsample(h)
                skips.append(h)
        h = self.mid["block_2"](self.mid["attn_1"](self.mid["block_1"](h, emb)), emb)
        for level in reversed(levels(self.up)):
            for i in range(self.cfg.blocks + 1):
                h = level.step(i, torch.cat([h, skips.pop()], dim=1), emb)
            if level.upsample is not None:
                h = level.upsample(h)
        out = self.conv_out(F.silu(self.norm_out(h))).to(x_t.dtype)  # full precision for the loss
        if self.cfg.patch_size > 1:
            out = F.pixel_shuffle(out, self.cfg.patch_size)
        return out if self.cfg.prediction == "eps" else self.noise[t] * x_t + self.signal[t] * out

    def features(self, x_t: Tensor, t: Tensor, y: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The prediction, and the outputs of each level on the way down and of the middle."""
        ends = [(level.attn if len(level.attn) else level.block)[-1] for level in levels(self.down)]
        seen = list[Tensor]()

        def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            seen.append(output)

        handles = [m.register_forward_hook(keep) for m in (*ends, self.mid["block_2"])]
        try:
            return self.forward(x_t, t, y), seen  # eagerly, even in a compiled model
        finally:
            for handle in handles:
                handle.remove()


@torch.no_grad()
def reset_null_row(model: UNet, how: NullInit) -> None:
    """Set the null class's embedding, at any time: as it is, zero, or the class rows' mean."""
    check_choice("null_init", how, get_args(NullInit))
    table = model.class_embed.weight
    if how == "zero":
        table[-1].zero_()
    elif how == "mean_of_classes":
        table[-1] = table[:-1].mean(0)


def count_parameters(model: nn.Module) -> int:
    """Number of scalar parameters."""
    return sum(p.numel() for p in model.parameters())
