r"""Structured magnitude pruning: a narrower UNet made of a teacher's largest filters.

Channels that are added or concatenated must be kept or removed together.  So every tensor between
two layers lives in a *space*: the residual stream of a level (its skip connections too), the inside
of a block, queries and keys of an attention, its values, the embedding of t and y, ...  A channel's
score is the sum over all layers that write to its space of the L2 norm of its filter,

.. math:: score_c = \sum_{layers} |W_{c}|_2

and the highest scores stay, in their order.  Nothing is retrained here.

Source: Li et al. 2017 (filter norms); magnitude pruning is a baseline of DASH (arXiv 2606.00798).
"""

from collections import defaultdict
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from dashlib.blocks import Level, TimeEmbedding, levels
from dashlib.unet import UNet, UNetConfig

Space = tuple[str, ...]  # names; more than one where tensors are concatenated
EVERYTHING: Space = ()  # pixels and classes: never pruned


@dataclass
class Spaces:
    """For each layer, the space of its outputs and of its inputs (None: it has no filters)."""

    writes: dict[str, Space] = field(default_factory=dict)
    reads: dict[str, Space | None] = field(default_factory=dict)

    def add(self, layer: str, into: Space, out_of: Space | None = None) -> Space:
        """Note one layer; returns the space of its output."""
        self.writes[layer], self.reads[layer] = into, out_of
        return into

    def block(self, name: str, block: nn.Module, x: Space) -> Space:
        """Note a residual block with input x; returns the space of its output."""
        inner, new = (f"{name}.inner",), hasattr(block, "nin_shortcut")
        out = (name,) if new else x  # without a shortcut the input itself is added
        self.add(f"{name}.norm1", x)
        self.add(f"{name}.conv1", inner, x)
        self.add(f"{name}.temb_proj", inner, ("emb",))
        self.add(f"{name}.norm2", inner)
        self.add(f"{name}.conv2", out, inner)
        if new:
            self.add(f"{name}.nin_shortcut", out, x)
        return out

    def attention(self, name: str, x: Space) -> None:
        """Note an attention on x: queries meet keys, values are projected back onto x."""
        self.add(f"{name}.norm", x)
        for part, into in (("q", "keys"), ("k", "keys"), ("v", "values")):
            self.add(f"{name}.{part}", (f"{name}.{into}",), x)
        self.add(f"{name}.proj_out", x, (f"{name}.values",))

    def step(self, name: str, level: Level, i: int, x: Space) -> Space:
        """Note the i-th residual block of a level, and its attention."""
        x = self.block(f"{name}.block.{i}", level.block[i], x)
        if len(level.attn):
            self.attention(f"{name}.attn.{i}", x)
        return x

    def embedding(self, name: str) -> None:
        """Note the two linear layers that embed t or w."""
        self.add(f"{name}.dense.0", (f"{name}.hidden",), ("frequencies",))
        self.add(f"{name}.dense.1", ("emb",), (f"{name}.hidden",))


def spaces_of(model: UNet) -> Spaces:
    """Walk the network as its forward pass does."""
    found, blocks = Spaces(), model.cfg.blocks
    for name, module in model.named_children():
        if isinstance(module, TimeEmbedding):
            found.embedding(name)
    found.add("class_embed", ("emb",), EVERYTHING)
    x = found.add("conv_in", ("conv_in",), EVERYTHING)
    skips = [x]
    for i, level in enumerate(levels(model.down)):
        for j in range(blocks):
            x = found.step(f"down.{i}", level, j, x)
            skips.append(x)
        if level.downsample is not None:
            x = found.add(name := f"down.{i}.downsample.conv", (name,), x)
            skips.append(x)
    x = found.block("mid.block_1", model.mid["block_1"], x)
    found.attention("mid.attn_1", x)
    x = found.block("mid.block_2", model.mid["block_2"], x)
    for i, level in reversed(list(enumerate(levels(model.up)))):
        for j in range(blocks + 1):
            x = found.step(f"up.{i}", level, j, x + skips.pop())
        if level.upsample is not None:
            x = found.add(name := f"up.{i}.upsample.conv", (name,), x)
    found.add("norm_out", x)
    found.add("conv_out", EVERYTHING, x)
    return found


def _filters(layer: nn.Module) -> Tensor:
    """The filters of a layer as rows; an embedding table's are its columns."""
    weight = layer.get_parameter("weight").detach()
    return weight.T if isinstance(layer, nn.Embedding) else weight.flatten(1)


def nearest_frequencies(ch: int, narrow: int) -> Tensor:
    """Find the inputs of ``sinusoidal(t, ch)`` closest to those of ``narrow``: mask ``(ch,)``."""
    mask = torch.zeros(ch // 2, dtype=torch.bool)
    steps = torch.linspace(0, ch // 2 - 1, narrow // 2, dtype=torch.float64)
    mask[steps.round().long()] = True
    return mask.repeat(2)  # sines, cosines


def kept_channels(model: UNet, ch: int) -> dict[str, Tensor]:
    """For each space, a mask of the channels that stay when the network's width falls to ch."""
    found = spaces_of(model)
    norms: dict[str, list[Tensor]] = defaultdict(list)
    for name, into in found.writes.items():
        if found.reads[name] is not None and into != EVERYTHING:
            norms[into[0]].append(_filters(model.get_submodule(name)).norm(dim=1).cpu())
    kept = {"frequencies": nearest_frequencies(model.cfg.ch, ch)}
    for space, writers in norms.items():
        score = torch.stack(writers).sum(0)
        best = score.argsort(descending=True, stable=True)[: len(score) * ch // model.cfg.ch]
        kept[space] = torch.zeros_like(score, dtype=torch.bool)
        kept[space][best] = True
    return kept


def _select(weight: Tensor, kept: dict[str, Tensor], space: Space, dim: int) -> Tensor:
    if space == EVERYTHING:
        return weight
    index = torch.cat([kept[name] for name in space]).nonzero().flatten()
    return weight.index_select(dim, index.to(weight.device))


def check_narrower(teacher: UNetConfig, cfg: UNetConfig) -> None:
    """Raise ``ValueError`` unless cfg is the teacher's with at most its width."""
    free = ("ch", "groups", "dropout", "embed_std", "null_init")
    same = replace(cfg, **{name: getattr(teacher, name) for name in free})
    if same != teacher or cfg.ch > teacher.ch:
        how = f"replace(teacher.cfg, ch=...) with ch <= {teacher.ch} (and groups that divide it)"
        raise ValueError(f"{cfg} is not a narrower version of {teacher}: write {how}")


@torch.no_grad()
def prune(teacher: UNet, cfg: UNetConfig) -> UNet:
    """The network of cfg made of the teacher's filters with the largest norms.

    cfg is the teacher's configuration with a smaller ``ch`` (and other ``groups``), else
    ``ValueError``.  The embedding of t reads ``ch`` sinusoids: the pruned network keeps the weights
    of the teacher's nearest frequencies.  Queries are scaled by ``sqrt(narrow/wide)``, since
    attention divides by the root of their width.  On the teacher's device and in its mode.
    """
    check_narrower(teacher.cfg, cfg)
    found, kept = spaces_of(teacher), kept_channels(teacher, cfg.ch)
    state = {}
    for name, weight in teacher.state_dict().items():
        layer, _, kind = name.rpartition(".")
        if layer == "class_embed":
            state[name] = _select(weight, kept, found.writes[layer], 1)
            continue
        weight, reads = _select(weight, kept, found.writes[layer], 0), found.reads[layer]
        if kind == "weight" and reads is not None:
            weight = _select(weight, kept, reads, 1)
        state[name] = weight * (cfg.ch / teacher.cfg.ch) ** 0.5 if layer.endswith(".q") else weight
    pruned = UNet(cfg).to(teacher.conv_in.weight.device)
    pruned.load_state_dict(state)
    return pruned.train(teacher.training)
