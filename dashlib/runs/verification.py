"""Checking stored runs against their weights: a number nobody can make again is not believed."""

from collections.abc import Iterator, Sequence
from functools import partial

from dashlib import classifier, data, datasets, results
from dashlib.checkpoints import CheckpointError
from dashlib.recipes import ALSO_V, CIFAR10_SHIPPED, DIGITS, RECIPES, SCALES, SEEDS, SHIPPED
from dashlib.runs.pool import processes
from dashlib.runs.scoring import held_out_gap, samples_of
from dashlib.scale.small_grids import with_products
from dashlib.unet import UNet, count_parameters

ROWS_ONCE = ("dash", "cond_only_dropout", "dash_sampled", "multi_w", "gap_match_cond")
CIFAR10_RUNS = (  # three sweeps of a quarter of an hour, and what they began with
    *("cifar10/teacher-uniform", "cifar10/dash-uniform-s0", "cifar10/dash-high_noise-s0"),
    *(f"cifar10/dash_v-{weighting}-s1" for weighting in ("transfer", "uniform", "min_snr")),
    *(f"cifar10/{row}-high_noise-s1" for row in ROWS_ONCE),
    "cifar10/cond_only_dropout_v-high_noise-x2-s1",  # went on from the run without x2
    *(f"cifar10/{row}_v-high_noise-s{seed}" for row in ALSO_V for seed in SEEDS),
)


def expected() -> list[str]:
    """The names of all runs that must be stored, those that take longest to verify first."""
    return [*reversed(CIFAR10_RUNS), DIGITS.classifier, *RECIPES]


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
