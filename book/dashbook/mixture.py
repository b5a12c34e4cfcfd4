r"""A playground in the plane: a Gaussian mixture with classes, whose noise predictions are exact.

Class y of K, of probability :math:`\pi_y`, is an even mixture of M round Gaussians:
:math:`p(x_0 | y) = \frac1M \sum_m N(\mu_{ym}, s_{ym}^2 I)`.  The forward process keeps it one,

.. math:: p_t(x_t | y) = \tfrac1M \textstyle\sum_m N(x_t;\; \sqrt{\bar\alpha_t}\,\mu_{ym},\;
                         v_{ym} I), \qquad v_{ym} = \bar\alpha_t s_{ym}^2 + 1 - \bar\alpha_t,

so that both branches are known at every t without training:

.. math:: \epsilon_{cond} = -\sqrt{1-\bar\alpha_t}\,\nabla \log p_t(x_t | y),
.. math:: \epsilon_{uncond} = -\sqrt{1-\bar\alpha_t}\,
                              \nabla \log \textstyle\sum_y \pi_y\, p_t(x_t | y).

Points are images of one pixel and two channels, ``(B, 2, 1, 1)``, so that streams, objectives,
metrics and samplers take them as they are; plain ``(B, 2)`` will do here, too.

Sources: Dhariwal & Nichol 2021 (predicted noise as a score); Karras et al. 2024 (autoguidance) for
the idea of a plane in which guidance can be compared with the truth.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dashlib.data import Images
from dashlib.guidance import Branches
from dashlib.schedule import Schedule


def as_points(x: Tensor) -> Tensor:
    """``(B, 2)`` or ``(B, 2, 1, 1)`` as ``(B, 2)``; ``ValueError`` for another shape."""
    if x.ndim not in (2, 4) or x.shape[1:].numel() != 2 or x.shape[1] != 2:
        raise ValueError(f"points of shape {tuple(x.shape)}: (B, 2) or (B, 2, 1, 1)")
    return x.flatten(1)


@dataclass(frozen=True, eq=False)
class Mixture:
    """A class-conditional mixture: K classes of M round Gaussians each, weighted evenly.

    All three tensors are held as float64.  Raises ``ValueError`` for shapes that do not belong
    together, a standard deviation that is not positive, priors that are no probabilities.
    """

    means: Tensor  # (K, M, 2)
    std: Tensor  # of each component, (K, M), or one for all, ()
    priors: Tensor  # of the classes, (K,)

    def __post_init__(self) -> None:
        means, std, priors = self.means.double(), self.std.double(), self.priors.double()
        if means.ndim != 3 or means.shape[2] != 2 or not means.numel():
            raise ValueError(f"means of shape {tuple(means.shape)}: (classes, components, 2)")
        shape = means.shape[:2]
        if std.shape not in ((), shape) or not bool((std > 0).all()):
            raise ValueError(f"std {std.tolist()}: one positive number, or {tuple(shape)} of them")
        whole = abs(float(priors.sum()) - 1) < 1e-6
        if priors.shape != shape[:1] or not bool((priors > 0).all()) or not whole:
            raise ValueError(
                f"priors {priors.tolist()}: {shape[0]} positive numbers that sum to 1, one a class"
            )
        for name, value in {"means": means, "std": std.expand(shape), "priors": priors}.items():
            object.__setattr__(self, name, value)

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.means)

    def labels(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """``n`` labels drawn with the priors, int64 ``(n,)``."""
        if n < 1:
            raise ValueError(f"n={n}: at least 1")
        return torch.multinomial(self.priors, n, replacement=True, generator=generator)

    def sample(self, y: Tensor, *, generator: torch.Generator | None = None) -> Images:
        """A clean point for each label, as images: ``x`` is float32 ``(N, 2, 1, 1)``."""
        self.check_labels(y, self.num_classes - 1)
        m = torch.randint(self.means.shape[1], y.shape, generator=generator)
        noise = torch.randn(len(y), 2, generator=generator, dtype=torch.float64)
        x = self.means[y, m] + self.std[y, m][:, None] * noise
        return Images(x.float()[..., None, None], y)

    def check_labels(self, y: Tensor, last: int) -> None:
        """Raise ``ValueError`` unless every label is in [0, last]."""
        if y.numel() and (int(y.min()) < 0 or int(y.max()) > last):
            raise ValueError(
                f"label out of range: got {int(y.min())}..{int(y.max())}; classes are "
                f"0..{self.num_classes - 1}"
            )

    def variances(self, alpha_bar: Tensor) -> Tensor:
        """``v = alpha_bar s^2 + 1 - alpha_bar`` of every component, ``(B,)`` -> ``(B, K, M)``."""
        a = alpha_bar[:, None, None]
        return a * self.std.square() + 1 - a

    def offsets(self, x_t: Tensor, alpha_bar: Tensor) -> Tensor:
        """``x_t - sqrt(alpha_bar) mu`` for every component, ``(B, K, M, 2)``, float64."""
        mean = alpha_bar.sqrt()[:, None, None, None] * self.means
        return as_points(x_t).double()[:, None, None] - mean

    def log_joint(self, x_t: Tensor, alpha_bar: Tensor) -> Tensor:
        """``log p(x_t, y, m)`` for every class and component, ``(B, K, M)``, float64."""
        v = self.variances(alpha_bar)
        square = self.offsets(x_t, alpha_bar).square().sum(-1)
        prior = self.priors.log()[:, None] - math.log(self.means.shape[1])
        return prior - square / (2 * v) - torch.log(2 * math.pi * v)

    def log_density(
        self, x_t: Tensor, y: Tensor | None = None, *, alpha_bar: Tensor | None = None
    ) -> Tensor:
        """``log p_t(x_t | y)``, or ``log p_t(x_t)`` without labels: float64 ``(B,)``.

        ``alpha_bar``, ``(B,)``: the noise level of each point; without it, the clean mixture.
        """
        if alpha_bar is None:
            alpha_bar = torch.ones(len(x_t)).double()
        joint = self.log_joint(x_t, alpha_bar).logsumexp(2)
        if y is None:
            return joint.logsumexp(1)
        self.check_labels(y, self.num_classes - 1)
        return joint[torch.arange(len(y)), y] - self.priors.log()[y]

    def posterior(self, x_t: Tensor, *, alpha_bar: Tensor | None = None) -> Tensor:
        """``p(y | x_t)``, float64 ``(B, K)``; ``alpha_bar`` as in :meth:`log_density`."""
        if alpha_bar is None:
            alpha_bar = torch.ones(len(x_t)).double()
        return self.log_joint(x_t, alpha_bar).logsumexp(2).softmax(1)


@dataclass(frozen=True, eq=False)
class ExactDenoiser:
    r"""The teacher that cannot err: ``eps = model(x_t, t, y)`` in closed form.

    With :math:`r_{ym}` the probability of a component given ``x_t`` (and given y, for the
    conditional branch), :math:`\epsilon = \sqrt{1-\bar\alpha_t} \sum r_{ym} (x_t -
    \sqrt{\bar\alpha_t}\mu_{ym}) / v_{ym}`.  Computed in float64, returned like ``x_t``; labels
    0..K-1 are classes, ``null_label = K`` asks for the unconditional branch.  Raises
    ``ValueError`` for labels or timesteps out of range and for points of a wrong shape.
    """

    mixture: Mixture
    schedule: Schedule

    @property
    def null_label(self) -> int:
        """The label of the unconditional branch: one past the last class."""
        return self.mixture.num_classes

    def __call__(self, x_t: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """The exact noise, shaped like ``x_t``."""
        self.mixture.check_labels(y, self.null_label)
        log_joint = self.mixture.log_joint(x_t, self.schedule.alpha_bar(t))
        other = torch.arange(self.null_label) != y[:, None]
        hidden = other & (y != self.null_label)[:, None]
        return self._noise(x_t, t, log_joint.masked_fill(hidden[..., None], -math.inf))

    def eps_cond(self, x_t: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """``-sqrt(1 - alpha_bar) grad log p_t(x_t | y)``, y in [0, K)."""
        self.mixture.check_labels(y, self.null_label - 1)
        return self(x_t, t, y)

    def eps_uncond(self, x_t: Tensor, t: Tensor) -> Tensor:
        """``-sqrt(1 - alpha_bar) grad log p_t(x_t)``."""
        return self(x_t, t, torch.full_like(t, self.null_label))

    def branches(self, x_t: Tensor, t: Tensor, y: Tensor) -> Branches:
        """Both branches, as :func:`dashlib.guidance.branches` would get them from a network."""
        return Branches(self.eps_cond(x_t, t, y), self.eps_uncond(x_t, t))

    def posterior(self, x_t: Tensor, t: Tensor) -> Tensor:
        """``p(y | x_t)``, float64 ``(B, K)``."""
        return self.mixture.posterior(x_t, alpha_bar=self.schedule.alpha_bar(t))

    def _noise(self, x_t: Tensor, t: Tensor, log_weights: Tensor) -> Tensor:
        """The components' own noise, averaged with weights given up to a factor, ``(B, K, M)``."""
        alpha_bar = self.schedule.alpha_bar(t)
        weights = log_weights.flatten(1).softmax(1).view_as(log_weights)
        pull = (weights / self.mixture.variances(alpha_bar))[..., None]
        eps = (pull * self.mixture.offsets(x_t, alpha_bar)).sum((1, 2))
        return ((1 - alpha_bar).sqrt()[:, None] * eps).to(x_t.dtype).view_as(x_t)


def energy_distance(a: Tensor, b: Tensor) -> float:
    """``2 E|a - b| - E|a - a'| - E|b - b'|`` between two sets of points, without bias.

    0 for two sets from one distribution, up to sampling (so it may come out slightly negative);
    ``ValueError`` for fewer than two points in a set.  Source: Szekely & Rizzo 2013.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"{len(a)} and {len(b)} points: at least 2 in each set")
    a, b = as_points(a).double(), as_points(b).double()
    within = [torch.cdist(p, p).sum() / (len(p) * (len(p) - 1)) for p in (a, b)]
    return float(2 * torch.cdist(a, b).mean() - within[0] - within[1])


def endpoint_distance(a: Tensor, b: Tensor) -> float:
    """Mean Euclidean distance of the points of two sets, each to the one at its place."""
    return float((as_points(a) - as_points(b)).norm(dim=1).mean())


def judge(mixture: Mixture, x: Tensor, real: Images) -> dict[str, float]:
    """How far points ``x`` are from points ``real`` of the mixture that have the same labels.

    ``energy``: the energy distance, averaged over the classes; ``nll``: the mean of -log p(x | y);
    ``label``: the mean of p(y | x).  ``ValueError`` unless every class has two points.
    """
    y, classes = real.y, range(mixture.num_classes)
    apart = [energy_distance(x[y == k], real.x[y == k]) for k in classes]
    label = mixture.posterior(x).gather(1, y[:, None]).mean().item()
    nll = -mixture.log_density(x, y).mean().item()
    return {"energy": sum(apart) / len(apart), "nll": nll, "label": label}


def pinwheel() -> Mixture:
    """The book's mixture: three curved arms that begin at a shared centre, one a class.

    Three Gaussians an arm, wider outwards; priors 0.5, 0.3, 0.2; nearly all of it in [-1, 1]^2.
    """
    arm, step = torch.arange(3).double()[:, None], torch.arange(3).double()
    angle = 2 * math.pi * arm / 3 + 0.6 * step
    radius = 0.1 + 0.25 * step
    means = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=2)
    std = (0.12 + 0.01 * step).expand(3, 3)
    return Mixture(means, std, torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64))
