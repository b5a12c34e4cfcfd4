"""Models of diffusers (an extra) as networks, smaller ones, and guidance for a class UNet.

What is trained is the model itself: ``save_pretrained`` saves it, its teacher's pipeline takes it.
"""

import math
import re
from typing import Any

import torch
from torch import Generator, Tensor

from dashlib.distillation.network import Condition, Network, RectifiedFlow
from dashlib.distillation.probe import Refusal
from dashlib.extras import what_to_install
from dashlib.schedule import Schedule

with what_to_install():
    import diffusers as hf
    from diffusers.models.embeddings import LabelEmbedding
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline

# What the condition is called, unless it names its parts in a dict.
ARGUMENTS = dict.fromkeys((hf.UNet2DModel, hf.DiTTransformer2DModel), "class_labels")
ARGUMENTS |= {hf.UNet2DConditionModel: "encoder_hidden_states"}


class DiffusersNetwork(Network):
    """One of diffusers' models.  Conditions are labels ``(B,)`` or embeddings ``(B, L, D)``.

    A DiT in training drops labels by itself, in each block others: that is turned off.
    """

    def __init__(self, module: Any, **how: Any) -> None:
        super().__init__(module, **how)
        for part in module.modules():
            if isinstance(part, LabelEmbedding):
                part.dropout_prob = 0.0

    def predict(self, x_t: Tensor, t: Tensor, cond: Condition, w: Tensor | None = None) -> Tensor:
        """The model's output; conditions in a dict are its arguments.  None of them takes w."""
        named = cond if isinstance(cond, dict) else {ARGUMENTS[type(self.module)]: cond}
        return self.module(x_t, timestep=t, **named).sample


def schedule_of(scheduler: Any) -> tuple[Schedule, str]:
    """The schedule, and what is predicted, of a scheduler of diffusers or of its configuration."""
    config = dict(getattr(scheduler, "config", scheduler))
    if "FlowMatch" in config.get("_class_name", type(scheduler).__name__):
        return RectifiedFlow(T=config["num_train_timesteps"], shift=config["shift"]), "flow"
    kinds = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}
    levels = hf.DDPMScheduler.from_config(config).alphas_cumprod
    return Schedule(levels), kinds[config["prediction_type"]]


def from_diffusers(model: Any, scheduler: Any, *, null: Any = None) -> DiffusersNetwork:
    """A teacher from a model and its scheduler (or that one's configuration).

    ``null``: of a ``UNet2DModel`` its null class, which diffusers does not know; of a DiT one past
    its configuration's classes by default; for text the empty prompt's embedding, ``(L, D)``:
    ``pipe.encode_prompt("", device, 1, False)[0][0]``.  Of twice as many channels out as in (with a
    learned variance) the first half is guided.  ``TypeError``: another model, ``Refusal``: no null.
    """
    if type(model) not in ARGUMENTS:
        known = ", ".join(kind.__name__ for kind in ARGUMENTS)
        raise TypeError(f"{type(model).__name__} is none of {known}: write a Network with predict")
    cfg, (schedule, prediction) = model.config, schedule_of(scheduler)
    if null is None and isinstance(model, hf.DiTTransformer2DModel):
        null = cfg.num_embeds_ada_norm
    if null is None:
        raise Refusal("wrong null", f"a {type(model).__name__} does not say its null: give null=")
    guided = slice(0, cfg.in_channels) if cfg.out_channels == 2 * cfg.in_channels else None
    how = {"prediction": prediction, "schedule": schedule, "guide_channels": guided}
    return DiffusersNetwork(model, null=null, **how)


def smaller(model: Any, *, width: float = 1.0, depth: float = 1.0) -> Any:
    """A model of the same class with a part of the width (channels, heads) and depth (layers).

    Widths are rounded to what groups and heads divide; see :func:`start_from` for full ones.
    """

    def part(of: float, n: int, unit: int = 1) -> int:
        return max(1, round(of * n / unit)) * unit

    cfg = model.config
    given = {k: v for k, v in cfg.items() if k[0] != "_"}  # _use_default_values undoes changes
    if isinstance(model, hf.DiTTransformer2DModel):
        heads, layers = part(width, cfg.num_attention_heads), part(depth, cfg.num_layers)
        return model.from_config({**given, "num_attention_heads": heads, "num_layers": layers})
    heads, layers = cfg.attention_head_dim or 1, cfg.layers_per_block
    unit = math.lcm(cfg.norm_num_groups, *([heads] if isinstance(heads, int) else heads))
    fewer = part(depth, layers) if isinstance(layers, int) else [part(depth, n) for n in layers]
    channels = [part(width, c, unit) for c in cfg.block_out_channels]
    return model.from_config({**given, "block_out_channels": channels, "layers_per_block": fewer})


def start_from(student: Any, teacher: Any) -> float:
    """Copy the teacher's layers into a student of its width; the share of numbers that fitted.

    They are a transformer's blocks, evenly spaced from first to last; of a UNet each level's first.
    """
    n, of = (len(getattr(model, "transformer_blocks", ())) for model in (student, teacher))

    def place(i: re.Match[str]) -> str:
        return str(round(int(i[0]) * (of - 1) / max(n - 1, 1)))

    own, theirs = student.state_dict(), teacher.state_dict()
    found = {k: theirs.get(re.sub(r"(?<=^transformer_blocks\.)\d+", place, k)) for k in own}
    kept = {k: v for k, v in found.items() if v is not None and v.shape == own[k].shape}
    student.load_state_dict(kept, strict=False)
    return sum(v.numel() for v in kept.values()) / sum(v.numel() for v in own.values())


class ClassGuidancePipeline(DiffusionPipeline):
    """Classifier-free guidance for a class-conditional ``UNet2DModel``; diffusers has none."""

    def __init__(self, unet: hf.UNet2DModel, scheduler: Any, null: int = -1) -> None:
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler)
        self.register_to_config(null=null)

    @torch.no_grad()
    def __call__(
        self, class_labels: Tensor, *, guidance_scale: float = 1.5, num_inference_steps: int = 50,
        generator: Generator | None = None,
    ) -> Tensor:  # fmt: skip
        """Samples of classes ``(B,)``, in [-1, 1], ``(B, C, H, W)``; guidance 1 is none.

        The first noise, and the scheduler's if it wants any, are drawn from the generator.
        """
        cfg, y = self.unet.config, class_labels.to(self.device)
        shape = (len(y), cfg.in_channels, cfg.sample_size, cfg.sample_size)
        x = torch.randn(shape, generator=generator).to(self.device)
        both = torch.cat([y, torch.full_like(y, self.config["null"])])
        self.scheduler.set_timesteps(num_inference_steps, device=self.device)
        for t in self.scheduler.timesteps:
            cond, uncond = self.unet(torch.cat([x, x]), t, class_labels=both).sample.chunk(2)
            guided = uncond + guidance_scale * (cond - uncond)
            x = self.scheduler.step(guided, t, x, generator=generator).prev_sample
        return x
