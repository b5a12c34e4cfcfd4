"""The teacher's stage: trained by the clock from its seed, or on from given weights."""

import json

import torch
from torch import Tensor

from benchmarks.sweep.captured import CoTraining, fast
from benchmarks.sweep.carried import of_optimizer, optimizer_state, write_parts
from benchmarks.sweep.plan import Plan, fingerprint, until, which, whole
from benchmarks.sweep.students import (
    averaged,
    followed,
    go_on,
    importance,
    noise_images,
    note_of,
    stream_of,
    teacher_weights,
    wait_for_images,
)
from dashlib.checkpoints import load_into, pack, write_atomically
from dashlib.losses import make_objective
from dashlib.schedule import Schedule
from dashlib.training import Trainer
from dashlib.unet import UNet
from dashlib.weighting import TIRT


class Beside(TIRT):
    """Uniform weights, while TIRT's lambda is learned beside them: it only needs the losses."""

    def reduce(self, loss: Tensor, t: Tensor) -> Tensor:
        """``mean(loss)``, whose gradient for lambda is that of ``mean(weight_t * loss)``."""
        weighted = super().reduce(loss.detach(), t)
        return loss.mean() + weighted - weighted.detach()


def teach(plan: Plan) -> None:
    """Train the teacher; its weights in parts, ``importance`` and note go to ``plan.taught``.

    Nothing is done if they lie there, whole, from a sweep before in the same work folder.
    """
    if whole(plan.taught, "teacher"):
        print(f"the teacher in {plan.taught} stays as it is", flush=True)
        return
    given, deadline = plan.weights / "teacher.json", until(plan.work, plan.teach)
    before = json.loads(given.read_text())["stages"] if given.exists() else []
    spec = plan.learner
    torch.manual_seed(spec.seed)
    model, weights = UNet(spec.unet).to(plan.device), Beside(Schedule())
    if plan.device == "cuda":
        model = model.to(memory_format=torch.channels_last)
    made = Trainer(model, make_objective(spec.objective), weights, spec.train)
    fast(model, plan.device)
    training = CoTraining({"teacher": made}, {"teacher": 1}, stream_of(noise_images(plan), spec))
    training.compute(update=False)
    print(f"{spec.name}: compiled", flush=True)
    wait_for_images(plan, deadline)
    images = plan.dataset().train
    print(f"training images: {which('cifar10', 'train', images)}", flush=True)
    if before:
        for network in (model, made.ema):
            load_into(network, teacher_weights(plan.weights, deadline), "the teacher")
        if (lam := importance(plan.weights)) is not None:
            weights.lam.data.copy_(lam)
        go_on(made, plan.weights / "teacher", deadline)
    training.stream = stream_of(images, spec)
    trace = followed(
        training, plan, lambda: until(plan.work, plan.teach), plan.rounds if plan.dry else torch.inf
    )
    note = note_of(spec, training, "teacher", trace, fingerprint(images), before)
    lam = {"lambda": weights.lam}
    write_atomically(plan.taught / "importance.safetensors", pack(lam))
    write_atomically(plan.taught / "teacher.json", json.dumps(note).encode())
    stem = plan.taught / "teacher"
    write_parts(of_optimizer(stem), optimizer_state(made))
    write_parts(stem, averaged(made))  # last: who waits for the teacher then has all of it
