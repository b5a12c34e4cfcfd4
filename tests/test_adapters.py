"""Tiny random models of diffusers, distilled for 20 steps, saved, loaded and sampled from."""

import subprocess
import sys

import diffusers
import pytest
import torch

from dashlib.distillation import Refusal, distill
from dashlib.distillation.adapters import (
    ClassGuidancePipeline,
    from_diffusers,
    schedule_of,
    smaller,
    start_from,
)
from dashlib.execution import TrainConfig
from dashlib.guidance import Guided
from dashlib.sampling import sample

LABELS = torch.arange(64) % 10
RANDOM = ("wrong prediction", "untrained null")  # as random teachers are: the probe says so
LEVELS = {"block_out_channels": (8, 16), "layers_per_block": 2, "norm_num_groups": 4}


def unet():
    return diffusers.UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        num_class_embeds=11,
        attention_head_dim=4,
        **LEVELS,
    )


def dit(**changes):
    sizes = {"num_attention_heads": 2, "attention_head_dim": 8, "num_layers": 4, "sample_size": 4}
    return diffusers.DiTTransformer2DModel(
        in_channels=4, **{**sizes, "out_channels": 8, "num_embeds_ada_norm": 1000, **changes}
    )


def text_unet():
    return diffusers.UNet2DConditionModel(
        sample_size=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=4,
        **LEVELS,
    )


def vae():
    return diffusers.AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=4)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def trained(teacher, student, data, **options):
    """The student after 20 steps; the loss falls, and the report has numbers."""
    before = [p.clone() for p in student.parameters()]
    cfg = TrainConfig(steps=20, lr=2e-3, ema=0.5)
    how = {"batch_size": 8, "pairs": 64, "allow": RANDOM, **options}
    found = distill(teacher, student, data, cfg, **how)
    assert found.student is student
    assert found.report.overall["cond_mse"] > 0
    moved = [not torch.equal(p, q) for p, q in zip(before, student.parameters(), strict=True)]
    assert sum(moved) > 0.7 * len(moved)
    return student


def test_a_class_unet_is_distilled_and_a_pipeline_guides_it(tmp_path):
    teacher = from_diffusers(unet(), diffusers.DDPMScheduler(), null=10)
    student = smaller(teacher.module, width=0.5, depth=0.5)
    assert (student.config.block_out_channels, student.config.layers_per_block) == ([4, 8], 1)
    trained(teacher, student, (torch.randn(64, 1, 8, 8), LABELS))
    ddim = diffusers.DDIMScheduler(clip_sample=False, timestep_spacing="trailing")
    ClassGuidancePipeline(student, ddim, null=10).save_pretrained(tmp_path)
    pipe = ClassGuidancePipeline.from_pretrained(tmp_path)
    generator = torch.Generator().manual_seed(1)
    y, x_T = torch.arange(3), torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    got = pipe(y, guidance_scale=2.0, num_inference_steps=1, generator=generator)
    ours = Guided(Labelled(teacher.around(pipe.unet)), y, 2.0)
    want = sample(ours, x_T, teacher.schedule, steps=1, clamp="none")
    torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-3)


class Labelled:
    """A network of classes as the root knows them."""

    null_label = 10

    def __init__(self, network):
        self.network = network

    def __call__(self, x_t, t, y):
        with torch.no_grad():
            return self.network(x_t, t, y)


def test_a_dit_is_distilled_and_diffusers_pipeline_samples_it(tmp_path):
    teacher = from_diffusers(dit(), diffusers.DDIMScheduler())
    assert (teacher.null, teacher.guide_channels) == (1000, slice(0, 4))
    student = smaller(teacher.module, depth=0.5)
    assert start_from(student, teacher.module) == 1
    first, last = student.transformer_blocks, teacher.module.transformer_blocks[-1]
    assert torch.equal(first[1].ff.net[2].weight, last.ff.net[2].weight)
    trained(teacher, student, (torch.randn(64, 4, 4, 4), LABELS), objective="dash_sampled")
    diffusers.DiTPipeline(student, vae(), diffusers.DDIMScheduler()).save_pretrained(tmp_path)
    pipe = diffusers.DiTPipeline.from_pretrained(tmp_path)
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    images = pipe([1, 2], guidance_scale=2.0, num_inference_steps=3, generator=generator)
    assert all(image.size == (4, 4) for image in images.images)


def test_a_model_of_default_sizes_gets_smaller_too():
    with torch.device("meta"):
        whole = diffusers.DiTTransformer2DModel(out_channels=8)
        part = smaller(whole, width=0.5, depth=0.25)
        half = smaller(diffusers.UNet2DModel(num_class_embeds=11), width=0.5, depth=0.5)
    assert (part.config.num_attention_heads, part.config.num_layers) == (8, 7)
    assert part.num_parameters() < whole.num_parameters() / 10
    assert half.config.block_out_channels == [128, 224, 320, 448]  # whole groups of 32 channels


def test_the_null_class_of_a_dit_is_its_configurations():
    assert from_diffusers(dit(num_embeds_ada_norm=10), diffusers.DDIMScheduler()).null == 10


def test_a_dit_in_training_drops_no_labels_of_its_own():
    network = from_diffusers(dit(), diffusers.DDIMScheduler()).train()
    x_t, t, y = torch.randn(64, 4, 4, 4), torch.full((64,), 500), LABELS
    assert torch.equal(network(x_t, t, y), network.eval()(x_t, t, y))
    plain = dit().train()
    assert not torch.equal(plain(x_t, t, y).sample, plain.eval()(x_t, t, y).sample)


@pytest.mark.parametrize("kind", ["tensor", "named"])
def test_a_text_unet_is_distilled_and_diffusers_pipeline_samples_it(kind, tmp_path):
    pytest.importorskip("transformers", reason="StableDiffusionPipeline needs it")
    texts, empty = torch.randn(64, 5, 16), torch.randn(5, 16)
    mask = torch.ones(64, 5, dtype=torch.bool)
    named = {"encoder_hidden_states": texts, "encoder_attention_mask": mask}
    cond = texts if kind == "tensor" else named
    null = empty if kind == "tensor" else lambda c: {**c, "encoder_hidden_states": empty.expand_as(
        c["encoder_hidden_states"]
    )}  # fmt: skip
    v = diffusers.DDIMScheduler(prediction_type="v_prediction", steps_offset=1, clip_sample=False)
    teacher = from_diffusers(text_unet(), v, null=null)
    assert teacher.prediction == "v"
    student = smaller(teacher.module, depth=0.5)
    assert 0.8 < start_from(student, teacher.module) < 1
    trained(teacher, student, (torch.randn(64, 4, 8, 8), cond)).save_pretrained(tmp_path)
    pipe = diffusers.StableDiffusionPipeline(
        vae=vae(),
        text_encoder=None,
        tokenizer=None,
        unet=diffusers.UNet2DConditionModel.from_pretrained(tmp_path),
        scheduler=v,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    prompts = {"prompt_embeds": texts[:2], "negative_prompt_embeds": empty.expand(2, -1, -1)}
    images = pipe(**prompts, num_inference_steps=3, height=8, width=8).images
    assert [image.size for image in images] == [(8, 8)] * 2


def test_schedules_and_predictions_are_the_schedulers():
    scheduler = diffusers.DDPMScheduler(beta_schedule="scaled_linear", prediction_type="sample")
    schedule, prediction = schedule_of(dict(scheduler.config))
    torch.testing.assert_close(
        schedule.alpha_bar(torch.arange(1000)).float(), scheduler.alphas_cumprod
    )
    assert prediction == "x0"
    flow = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    schedule, prediction = schedule_of(flow)
    assert prediction == "flow"
    x0, eps, t = torch.randn(3, 1, 2, 2), torch.randn(3, 1, 2, 2), torch.tensor([0, 400, 999])
    times = flow.timesteps.flip(0)[t]  # theirs, from clean to noise
    torch.testing.assert_close(1000 * schedule.coefficients(t, x0)[1].flatten(), times)
    want = flow.scale_noise(x0, times, eps)
    torch.testing.assert_close(schedule.add_noise(x0, eps, t), want)


def test_a_rectified_flow_is_distilled():
    flow = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    teacher = from_diffusers(dit(out_channels=4), flow)
    assert teacher.guide_channels == slice(None)
    trained(teacher, smaller(teacher.module, width=0.5), (torch.randn(64, 4, 4, 4), LABELS))


def test_what_cannot_be_adapted_is_named():
    with pytest.raises(Refusal, match=r"wrong null: a UNet2DModel .* give null="):
        from_diffusers(unet(), diffusers.DDPMScheduler())
    with pytest.raises(TypeError, match="AutoencoderKL is none of UNet2DModel"):
        from_diffusers(vae(), diffusers.DDPMScheduler(), null=0)
    teacher = from_diffusers(unet(), diffusers.DDPMScheduler(), null=11)
    with pytest.raises(Refusal, match=r"wrong null: images .*, or the null 11, are not taken"):
        trained(teacher, unet(), (torch.randn(64, 1, 8, 8), LABELS))


def test_random_teachers_are_refused_unless_allowed():
    teacher = from_diffusers(unet(), diffusers.DDPMScheduler(), null=10)
    with pytest.raises(Refusal, match="wrong prediction"):
        trained(teacher, unet(), (torch.randn(64, 1, 8, 8), LABELS), allow=())


@pytest.mark.parametrize("module", ["dashlib", "dashlib.distillation"])
def test_diffusers_is_not_imported_without_need(module):
    check = f"import sys, {module}; sys.exit('diffusers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0
