"""From a recipe to a training: its images, batches, network, objective and weighting."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dashlib import datasets, results
from dashlib.baselines.fitnets import FitNets
from dashlib.baselines.pruning import prune
from dashlib.data import Images, Stream
from dashlib.execution import Execution
from dashlib.losses import OBJECTIVES, Objective, make_objective
from dashlib.recipes import Recipe
from dashlib.scale.small_grids import with_products
from dashlib.schedule import Schedule
from dashlib.training import Source, Trainer
from dashlib.unet import UNet
from dashlib.weighting import Weighting, make_weighting, transfer


def part_of(images: Images, split: float) -> Images:
    """A random part of the images, drawn with seed 0, in their order."""
    if split == 1:
        return images
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    chosen = order[: round(split * len(images))].sort().values
    return Images(images.x[chosen], images.y[chosen])


def drawn(recipe: Recipe) -> dict[str, Any]:
    """Return the options of a stream of batches, beside its images."""
    same = ("batch_size", "label_dropout", "dropout_per", "seed", "flip")
    given = {name: getattr(recipe, name) for name in same}
    return {"schedule": Schedule(), "null_label": recipe.unet.null_label, **given}


def stream(
    recipe: Recipe, device: torch.device, root: Path, *, download: bool = False, workers: int = 0,
    cache: Path | None = None,
) -> Source:  # fmt: skip
    """The recipe's batches, on the device, where all images are held but ImageNet's."""
    if recipe.dataset == "imagenet64":
        from dashlib.datasets.imagenet64 import ImageNet64, LoadedStream

        images = ImageNet64(root, cache)
        return LoadedStream(images, device=device, workers=workers, **drawn(recipe))
    held: Any = "float32" if recipe.dataset == "digits" else "uint8"  # where that loses nothing
    train = datasets.load_dataset(recipe.dataset, root, download=download, dtype=held).train
    return Stream(part_of(train, recipe.split).to(device), **drawn(recipe))


def weighting(recipe: Recipe, lam: Tensor | None = None) -> Weighting:
    """The recipe's weighting; what is transferred is ``lam``, or else the stored prior's."""
    if recipe.weighting != "transfer":
        return make_weighting(recipe.weighting, Schedule())
    if lam is None:
        if recipe.teacher is None:
            raise ValueError("weighting 'transfer' needs a teacher with a learned lambda")
        return results.load(recipe.prior or recipe.teacher).weighting()
    frozen = transfer(lam, Schedule())
    frozen.normalize = recipe.normalize
    return frozen


def objective(recipe: Recipe, teacher: UNet | None) -> Objective:
    """The recipe's objective; FitNets gets the two networks."""
    networks = {"teacher": teacher, "student": recipe.unet}
    extra = networks if OBJECTIVES[recipe.objective] is FitNets else {}
    return make_objective(recipe.objective, **extra, **recipe.options)


def build(
    recipe: Recipe, teacher: UNet | None = None, *, lam: Tensor | None = None,
    execution: Execution | None = None,
) -> Trainer:  # fmt: skip
    """The untrained run, on the CPU unless placed; ``lam``: what to transfer, if not stored."""
    torch.manual_seed(recipe.seed)
    if recipe.init == "pruned":
        assert teacher is not None, "there is a teacher to prune"
        network = prune(teacher, recipe.unet)
    else:
        network = UNet(recipe.unet)
    if execution is None:
        with_products(network)
    learned, frozen = objective(recipe, teacher), weighting(recipe, lam)
    return Trainer(network, learned, frozen, recipe.train, execution)
