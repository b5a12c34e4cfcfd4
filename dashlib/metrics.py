r"""Measure how well a student keeps the teacher's guidance, and how good its samples are.

Gap metrics compare two :class:`~dashlib.guidance.Branches` for the same noisy images:

* ``rho = mean|gap_S| / mean|gap_T|`` (1 is ideal, 0 is collapse)
* ``cos = mean cos(gap_S, gap_T)``
* ``gap_mse = mean (gap_S - gap_T)^2`` an element; ``gap_s_ms``, ``gap_t_ms`` the mean squares
* ``cond_mse``, ``uncond_mse``: the branch errors e_c, e_u; ``common_mse``: their mean m, with
  ``cond_mse + uncond_mse = 2 common_mse + gap_mse / 2``
* ``a_star = E[gap_S . gap_T] / E|gap_S|^2``: the factor that brings the student's gap closest

The Frechet distance is between Gaussians fitted to features: FID where they are Inception's only.
Sources: DASH (arXiv 2606.00798), Heusel et al. 2017 (Frechet), Binkowski et al. 2018 (kernel).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from dashlib.checks import check_finite, check_positive
from dashlib.data import Images
from dashlib.guidance import Branches, Denoiser, branches
from dashlib.schedule import Schedule

Stats = dict[str, Tensor]
Summary = dict[str, float]


def pair_stats(student: Branches, teacher: Branches) -> Stats:
    """Per-pair quantities, each ``(B,)``, float64, from which :func:`summarise` averages."""
    errors = student.cond - teacher.cond, student.uncond - teacher.uncond
    gs, gt, e_c, e_u = (v.double().flatten(1) for v in (student.gap, teacher.gap, *errors))
    norm_s, norm_t, dot = gs.norm(dim=1), gt.norm(dim=1), (gs * gt).sum(1)
    cos = dot / (norm_s * norm_t).clamp(min=1e-300)
    parts = {"gap_mse": gs - gt, "gap_s_ms": gs, "gap_t_ms": gt}
    parts |= {"cond_mse": e_c, "uncond_mse": e_u, "common_mse": (e_c + e_u) / 2}
    return {
        **{"norm_s": norm_s, "norm_t": norm_t, "dot": dot, "square_s": norm_s.square(), "cos": cos},
        **{name: part.square().mean(1) for name, part in parts.items()},
    }


def summarise(stats: Stats) -> Summary:
    """Means over pairs, rho, a_star and the number of pairs ``n``; ``ValueError`` without pairs.

    A zero student gap has ``cos = 0`` and ``a_star = nan``, a zero teacher gap ``rho = nan``.
    """
    if len(stats["cos"]) == 0:
        raise ValueError("no pairs to summarise")
    means = {k: v.mean().item() for k, v in stats.items()}

    def ratio(a: str, b: str) -> float:
        above, below = means.pop(a), means.pop(b)
        return above / below if below > 0 else float("nan")

    rho, a_star = ratio("norm_s", "norm_t"), ratio("dot", "square_s")
    return {"rho": rho, **means, "a_star": a_star, "n": len(stats["cos"])}


def summarise_by(stats: Stats, group: Tensor) -> dict[int, Summary]:
    """:func:`summarise` for each value of the integer ``group``, shape ``(B,)``."""
    return {int(g): summarise({k: v[group == g] for k, v in stats.items()}) for g in group.unique()}


@dataclass(frozen=True)
class GapReport:
    """Gap metrics overall, per timestep bin (key: its first timestep) and per class."""

    overall: Summary
    per_timestep: dict[int, Summary]
    per_class: dict[int, Summary]


@dataclass(frozen=True)
class NoisyPairs:
    """Noisy images ``x_t`` with their timesteps and labels, on which branches are compared."""

    x_t: Tensor
    t: Tensor
    y: Tensor


def noisy_pairs(
    images: Images, schedule: Schedule, *, pairs: int = 10_000, seed: int = 0
) -> NoisyPairs:
    """``pairs`` of an image and a uniform random timestep each, the images in turn."""
    check_positive(pairs=pairs)
    device = images.x.device
    generator = torch.Generator(device).manual_seed(seed)
    index = torch.arange(pairs, device=device) % len(images)
    t = torch.randint(schedule.T, (pairs,), generator=generator, device=device)
    eps = torch.randn(pairs, *images.x.shape[1:], generator=generator, device=device)
    return NoisyPairs(schedule.add_noise(images.pixels(index), eps, t), t, images.y[index])


@torch.no_grad()
def predict(model: Denoiser, noisy: NoisyPairs, *, batch_size: int = 500) -> Branches:
    """Both branches of a model on all pairs."""
    chunks = zip(*(v.split(batch_size) for v in (noisy.x_t, noisy.t, noisy.y)), strict=True)
    parts = [branches(model, x_t, t, y) for x_t, t, y in chunks]
    found = Branches(torch.cat([p.cond for p in parts]), torch.cat([p.uncond for p in parts]))
    check_finite("predicted noise", torch.stack([found.cond, found.uncond]))
    return found


def compare(
    student: Branches, teacher: Branches, noisy: NoisyPairs, schedule: Schedule, *, bins: int = 20
) -> GapReport:
    """Gap metrics of two predictions of the same pairs; ``ValueError`` unless bins divides T."""
    if bins < 1 or schedule.T % bins:
        raise ValueError(f"bins={bins} must divide the {schedule.T} timesteps")
    stats, width = pair_stats(student, teacher), schedule.T // bins
    by_t, by_y = (summarise_by(stats, group) for group in (noisy.t // width * width, noisy.y))
    return GapReport(summarise(stats), by_t, by_y)


def image_errors(error: Tensor, t: Tensor, schedule: Schedule) -> Stats:
    r"""An error of eps in units of the predicted image, by spatial frequency, each ``(B,)``.

    The image follows from eps times :math:`\sqrt{(1 - \bar\alpha_t)/\bar\alpha_t}`.  Mean squares
    an element: ``dc`` (the mean of each channel), ``low`` (up to an eighth of the sampling rate, 4
    waves in 32 pixels) and ``high`` (the rest); by Parseval's theorem ``image`` is their sum.
    """
    signal, noise = schedule.coefficients(t, error.double())
    power = torch.fft.fft2(error.double() * noise / signal, norm="forward").abs().square().mean(1)
    rows, columns = (torch.fft.fftfreq(n, device=error.device) for n in power.shape[1:])
    slow = (rows[:, None].square() + columns.square()).sqrt() <= 1 / 8
    dc, low, image = power[:, 0, 0], (power * slow).sum((1, 2)), power.sum((1, 2))
    return {"image": image, "dc": dc, "low": low - dc, "high": image - low}


def gaussian(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean ``(D,)`` and covariance ``(D, D)`` of features ``(N, D)``, float64; needs N >= 2."""
    if len(features) < 2:
        raise ValueError(f"{len(features)} feature vectors: a covariance needs at least 2")
    check_finite("features", features)
    cov = torch.atleast_2d(torch.cov(features.double().T))
    return features.double().mean(0), cov


def spreads(images: Tensor) -> Summary:
    """Standard deviations over images of their mean colours; pixels in [-1, 1], ``(N, C, H, W)``.

    ``luminance``: of all channels; of colour images also ``red_green``: of R - G, ``blue_yellow``:
    of B - (R + G)/2.  Samples with a colour cast spread more than the data.  ``ValueError`` for
    fewer than 2 images.
    """
    if len(images) < 2:
        raise ValueError(f"{len(images)} images: a spread needs at least 2")
    means = images.double().mean((2, 3))
    found = {"luminance": means.mean(1)}
    if means.shape[1] == 3:
        red, green, blue = means.unbind(1)
        found |= {"red_green": red - green, "blue_yellow": blue - (red + green) / 2}
    return {name: float(values.std()) for name, values in found.items()}


def frechet(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> float:
    r"""Frechet distance between two Gaussians ``(mean, covariance)``.

    ``|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a^{1/2} C_b C_a^{1/2})^{1/2})``, the roots by eigenvalues.
    """
    check_finite("moments of features", torch.cat([moment.flatten() for moment in (*a, *b)]))
    (mean_a, cov_a), (mean_b, cov_b) = a, b
    values, vectors = torch.linalg.eigh(cov_a)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    cross = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    distance = (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * cross
    return max(distance.item(), 0.0)


def distances(a: Tensor, b: Tensor) -> Summary:
    """The ``frechet`` and the ``kernel`` distance of two sets of features, ``(N, D)``, ``(M, D)``.

    The latter is KID's, unbiased: squared, of the kernel ``(x.y/D + 1)^3``, over all pairs.
    """
    pairs = ((a, a), (b, b), (a, b))
    kernels = [(x.double() @ y.double().T / x.shape[1] + 1) ** 3 for x, y in pairs]
    own = [(k.sum() - k.trace()) / (len(k) * (len(k) - 1)) for k in kernels[:2]]
    kernel = (own[0] + own[1] - 2 * kernels[2].mean()).item()
    return {"frechet": frechet(gaussian(a), gaussian(b)), "kernel": kernel}
