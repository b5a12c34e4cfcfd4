"""Report what a student kept of its teacher's guidance, and what to do about it."""

from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Generator

from dashlib.distillation.network import Conditioned, Network, noisy_batches
from dashlib.guidance import branches
from dashlib.metrics import Stats, Summary, pair_stats, summarise, summarise_by

GONE, SHORT, LONG = 0.1, 0.8, 1.25  # rho: no gap; from where guidance is felt to be another
TURNED = 0.5  # cos below which no factor helps
LAGS = 1.5  # error of the null branch over the other's, from which it is the trouble
FAR = 5.0  # errors of both branches over the teacher's gap; the book's DASH on digits has 2
SHOWN = ("rho", "cos", "a_star", "c_star", "cond_mse", "uncond_mse", "gap_mse")


@dataclass(frozen=True)
class Report:
    """The metrics of :mod:`dashlib.metrics` on noisy images, overall and in ranges of timesteps.

    ``overall`` also holds ``c_star = -E[gap_S . e_u] / E|gap_S|^2``.
    """

    overall: Summary
    per_timestep: dict[int, Summary]  # by the first timestep of the range
    w_conditioned: bool = False  # the null branch is not one, but what is answered at w = 0

    def scale(self, w: float) -> float:
        """The guidance ``w a* + c*`` that brings the student closest to the teacher's at w."""
        return w * self.overall["a_star"] + self.overall["c_star"]

    @property
    def advice(self) -> list[str]:
        """Say what to do, most urgent first; one line says so if nothing has to be done."""
        of, found = self.overall, []
        rho, cos, lag = of["rho"], of["cos"], of["uncond_mse"] / of["cond_mse"]
        if min(of["cond_mse"], of["uncond_mse"]) > FAR * of["gap_t_ms"]:
            why = "both branches are far from the teacher's, by the length of its gap"
            found.append(f"{why}: train longer, or a larger student, before judging guidance")
        if lag > LAGS and not self.w_conditioned:
            why = f"the null branch's error is {lag:.1f} times the other's"
            found.append(f"{why}: train it (objective dash_sampled, or more label_dropout)")
        if cos < TURNED:
            worst = min(self.per_timestep, key=lambda t: self.per_timestep[t]["cos"])
            why = f"the gap is turned (cos {cos:.2f}, worst from t = {worst}), which no scale mends"
            found.append(f"{why}: dash_sampled, or gap_match with imitation=1, turns it back")
        if rho < GONE:
            found.append(f"the gap is gone (rho {rho:.2f}): train the null branch again, see train")
        elif not SHORT <= rho <= LONG:
            why = f"the gap is too {'short' if rho < SHORT else 'long'} (rho {rho:.2f})"
            scales = ", ".join(f"{self.scale(w):.2f} for w = {w:g}" for w in (1.5, 2, 4))
            found.append(f"{why}: guide at w a* + c* ({scales}), not at w a*")
        return found or [f"guidance is kept (rho {rho:.2f}, cos {cos:.2f}): use the teacher's w"]

    def __str__(self) -> str:
        parts = {"all t": self.overall} | {f"t >= {t}": of for t, of in self.per_timestep.items()}
        rows = [
            [name, *(f"{of[k]:.3g}" if k in of else "" for k in SHOWN)]
            for name, of in parts.items()
        ]
        lines = ["".join(f"{cell:>11}" for cell in row) for row in [["", *SHOWN], *rows]]
        return "\n".join([*lines, *(f"- {line}" for line in self.advice)])


@torch.no_grad()
def assess(
    student: Network, teacher: Network, data: Any, *, pairs: int = 1024, seed: int = 0
) -> Report:
    """Compare the branches of two networks on noisy images of the data (better: held-out ones)."""
    T, found = teacher.schedule.T, list[Stats]()
    generator = Generator(next(student.parameters()).device).manual_seed(seed)
    stream = noisy_batches(data, teacher.schedule, 64, generator)
    for batch in islice(stream, -(-pairs // 64)):
        given = (Conditioned(net.eval(), batch.cond) for net in (student, teacher))
        own, its = (branches(net, batch.x_t, batch.t, batch.y) for net in given)
        off = (own.gap * (own.uncond - its.uncond)).double().flatten(1).sum(1)
        found.append({**pair_stats(own, its), "off": off, "t": batch.t.double()})
    stats = {key: torch.cat([of[key] for of in found]) for key in found[0]}
    width, t = T // 10 if T % 10 == 0 else T, stats.pop("t").long()
    c_star = {"c_star": (-stats.pop("off").mean() / stats["square_s"].mean()).item()}
    found_at = summarise_by(stats, t // width * width)
    return Report(summarise(stats) | c_star, found_at, student.w_conditioned)
