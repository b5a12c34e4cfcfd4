r"""Which label a noisy image may have had, if the data are a finite set of images.

With the images :math:`x_i` of labels :math:`y_i` as the data, :math:`x_t` is a mixture of equal
Gaussians around :math:`\sqrt{\bar\alpha_t}\,x_i`, and so

.. math:: p(y \mid x_t) = \sum_{i:\,y_i = y} \operatorname{softmax}_i
          \Bigl(-\frac{|x_t - \sqrt{\bar\alpha_t}\,x_i|^2}{2\,(1 - \bar\alpha_t)}\Bigr) .

What label dropout asks of a null branch is the mean of the conditional one under it,
:math:`E[T_c \mid x_t]`; for an exact teacher that is the unconditional branch (tower property).
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from dashlib.data import Images
from dashlib.guidance import Denoiser
from dashlib.losses import mse
from dashlib.schedule import Schedule


def label_posterior(
    x_t: Tensor, t: Tensor, images: Images, schedule: Schedule, classes: int
) -> Tensor:
    """``p(y | x_t)`` for data that are these images: float64, ``(B, classes)``, rows of sum 1."""
    x = x_t.double()
    signal, noise = (c.flatten(1) for c in schedule.coefficients(t, x))
    apart = torch.cdist(x.flatten(1) / signal, images.pixels().double().flatten(1))
    of_image = torch.softmax(-(apart * signal / noise).square() / 2, dim=1)
    return of_image @ torch.eye(classes, dtype=torch.double)[images.y]


def tower_distances(
    teacher: Denoiser,
    images: Images,
    schedule: Schedule,
    times: Sequence[int],
    generator: torch.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean squares of the teacher's gap and of ``E[T_c | x_t] - T_u`` at some timesteps.

    The first is zero for a teacher without labels, the second for an exact teacher; each over 100
    noisy images of the set, which the generator draws anew at every timestep.
    """
    found = []
    for at in times:
        pick = torch.randint(len(images), (100,), generator=generator)
        x0, y, t = images.pixels(pick), images.y[pick], torch.full_like(pick, at)
        x_t = schedule.add_noise(x0, torch.randn(x0.shape, generator=generator), t)
        answers = [teacher(x_t, t, torch.full_like(t, k)) for k in range(teacher.null_label + 1)]
        conds, null = torch.stack(answers[:-1]), answers[-1]
        p = label_posterior(x_t, t, images, schedule, teacher.null_label)
        average = torch.einsum("bk,kbchw->bchw", p.float(), conds)
        own = conds[y, torch.arange(len(y))]
        found.append([mse(target, null).mean().item() for target in (own, average)])
    gap, apart = np.transpose(found)
    return gap, apart
