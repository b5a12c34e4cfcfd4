"""Count what a training step asks of student and teacher: forward passes an image."""

from typing import Any, cast

import torch
from torch import Tensor

from dashlib.data import Batch, drop_labels
from dashlib.guidance import Branches
from dashlib.losses import Objective

NULL = 10
IMAGES = 100_000  # of one pixel: a share of images is exact to half a per cent


def passes(objective: Objective) -> tuple[float, float]:
    """Passes of the student, and of the teacher, for an image and step: in the mean over images.

    The student's are counted as it is asked.  The teacher's are the branches that the loss of an
    image depends on, by its gradient; where students are trained side by side the teacher is asked
    for both once, for all of them.  Of objectives on outputs; FitNets asks its teacher once more.
    """
    torch.manual_seed(0)
    x, y = torch.randn(IMAGES, 1, 1, 1, requires_grad=True), torch.randint(NULL, (IMAGES,))
    answers = Branches(*(torch.randn(IMAGES, 1, 1, 1, requires_grad=True) for _ in range(2)))
    dropped = drop_labels(y, NULL, 0.1)
    batch = Batch(x, torch.zeros_like(y), y, dropped, torch.randn_like(x), answers)
    asked = []

    def student(x_t: Tensor, t: Tensor, y: Tensor, *w: Tensor) -> Tensor:
        asked.append(len(x_t) / IMAGES)
        return x_t * 1.5

    model = cast(Any, student)
    model.null_label = NULL
    objective.total(objective.terms(model, batch)).sum().backward()
    grads = [branch.grad for branch in (answers.cond, answers.uncond)]
    return sum(asked), sum(g.ne(0).float().mean().item() for g in grads if g is not None)
