"""Checking stored runs against their weights: a number nobody can make again is not believed."""

from collections.abc import Iterator, Sequence
from functools import partial

from dashlib import classifier, data, datasets, results
from dashlib.checkpoints import CheckpointError
from dashlib.recipes import CIFAR10_SHIPPED, DIGITS, RECIPES, SCALES, SHIPPED
from dashlib.runs.pool import processes
from dashlib.runs.scoring import held_out_gap, samples_of
from dashlib.scale.small_grids import with_products
from dashlib.unet import UNet, count_parameters


def expected() -> list[str]:
    """All runs to verify, the longest first: those stored of CIFAR-10, and all that digits need."""
    return [*reversed(results.names("cifar10")), DIGITS.classifier, *RECIPES]


def verify(name: str, *, thorough: bool = False) -> list[str]:
    """Check a stored run against its weights; returns the faults found (none: it verifies).

    The files must have their SHA-256, and the weights, if they are shipped, must make the stored
    pictures (or the classifier its accuracy) again; ``thorough``: a digits student's gap, too.
    """
    run = results.load(name)
    for part in run.files:
        run.tensors(part)
    if "weights" not in run.files and name in {*SHIPPED, *CIFAR10_SHIPPED}:
        return [f"the weights, which are shipped, are missing: `git checkout {run.folder}`"]
    if name == DIGITS.classifier:
        again = classifier.accuracy(run.classifier(), datasets.load_dataset("digits").test)
        return _differ("accuracy_test", again, run.metrics["accuracy_test"])
    if "weights" not in run.files:
        return []
    model = with_products(run.model())
    faults = _differ("parameters", count_parameters(model), run.metrics["parameters"], 0)
    faults += _pictures_differ(model, run)
    if thorough and name.startswith("digits/") and (teacher := run.config["teacher"]):
        report = held_out_gap(model, teacher)
        for key in ("rho", "cos", "gap_mse", "cond_mse", "uncond_mse"):
            faults += _differ(key, report.overall[key], run.metrics["gap"]["overall"][key])
    return faults


def verify_all(
    names: Sequence[str], *, thorough: bool = False, workers: int = 1
) -> Iterator[tuple[str, list[str]]]:
    """:func:`verify` each, in order; a run that is missing or damaged has that as its fault."""
    check = partial(_faults, thorough=thorough)
    if workers == 1:
        yield from zip(names, map(check, names), strict=True)
        return
    with processes(workers) as pool:
        yield from zip(names, pool.map(check, names), strict=True)


def _faults(name: str, thorough: bool) -> list[str]:
    try:
        return verify(name, thorough=thorough)
    except (OSError, CheckpointError, ValueError) as error:
        return [str(error)]
    except (KeyError, TypeError, AttributeError) as error:  # of metrics that are not the book's
        return [f"run.json lacks or mistakes what is checked: {type(error).__name__} {error}"]


def _pictures_differ(model: UNet, run: results.Run, label: str = "1.5") -> list[str]:
    guidance = SCALES[run.name.split("/")[0]].guidance
    count = 10 if model.cfg.image_size < 32 else 1  # at 32x32: seconds an image
    stored = run.trace["samples"][list(guidance).index(label), :count].float()
    drawn = samples_of(model, guidance[label], count)
    difference = (data.to_bytes(drawn).float() - stored).abs().mean().item()
    if difference <= 2:  # of 255: room for another processor's rounding, none for other weights
        return []
    return [f"samples at w={label} differ from the stored ones by {difference:.0f} gray levels"]


def _differ(key: str, again: float, stored: float, tolerance: float = 1e-3) -> list[str]:
    if abs(again - stored) <= tolerance * abs(stored):
        return []
    return [f"{key} is {again:.9g} from the weights, {stored:.9g} in run.json"]
