"""The one way every benchmark here measures: two or more functions in turn, medians, a ratio."""

import statistics
import time
from collections.abc import Callable

import torch

from dashlib import results
from dashlib.unet import UNet


def interleaved(functions: dict[str, Callable[[], object]], repeats: int = 15) -> dict[str, float]:
    """Median seconds of each function, called in turn so that a busy moment hits all of them."""
    for function in functions.values():
        function()  # warm up
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            clock = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - clock)
    return {name: statistics.median(values) for name, values in seconds.items()}


def report(title: str, functions: dict[str, Callable[[], object]], repeats: int = 15) -> None:
    """Measure and print: the medians, and how much faster the second is than the first."""
    medians = interleaved(functions, repeats)
    first, second = medians.values()
    parts = ", ".join(f"{name} {1000 * value:.2f} ms" for name, value in medians.items())
    print(f"{title}: {parts}; ratio {first / second:.2f}", flush=True)


def hardware() -> None:
    """Print what this was measured on; the numbers mean nothing without it."""
    print(f"{results.hardware()}, torch {torch.__version__}, medians of interleaved runs")


def digits_pass(model: UNet, n: int, *, train: bool) -> Callable[[], None]:
    """One forward pass over n digits (and backward, to train) as a function without arguments."""
    model = model.train(train).requires_grad_(train)
    x, t, y = torch.randn(n, 1, 8, 8), torch.randint(1000, (n,)), torch.randint(10, (n,))

    def run() -> None:
        loss = model(x, t, y).square().mean()
        if train:
            loss.backward()

    return run
