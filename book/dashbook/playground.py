r"""A playground in the plane: a mixture whose noise predictions are exact, and its students.

Class y of K, of probability :math:`\pi_y`, is an even mixture of M round Gaussians:
:math:`p(x_0 | y) = \frac1M \sum_m N(\mu_{ym}, s_{ym}^2 I)`.  The forward process keeps it one,

.. math:: p_t(x_t | y) = \tfrac1M \textstyle\sum_m N(x_t;\; \sqrt{\bar\alpha_t}\,\mu_{ym},\;
                         v_{ym} I), \qquad v_{ym} = \bar\alpha_t s_{ym}^2 + 1 - \bar\alpha_t,

so that both branches are known at every t without training:

.. math:: \varepsilon_{cond} = -\sqrt{1-\bar\alpha_t}\,\nabla \log p_t(x_t | y),
.. math:: \varepsilon_{uncond} = -\sqrt{1-\bar\alpha_t}\,
                              \nabla \log \textstyle\sum_y \pi_y\, p_t(x_t | y).

Points are images of one pixel and two channels, ``(B, 2, 1, 1)``, or here plain ``(B, 2)``.

Sources: Dhariwal & Nichol 2021 (noise as a score); Karras et al. 2024 (guidance in a plane).
"""

import copy
import math
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from dashbook import plots
from dashlib.blocks import TimeEmbedding
from dashlib.data import Images
from dashlib.metrics import Summary
from dashlib.schedule import Schedule

Level = Tensor | float  # alpha_bar, one a point, ``(B,)``, or one for all; 1: clean points
CH, WIDTH = 16, 64  # of a student: its sinusoids of t, and its layers
SHADES = ("#2A9D8F", "#8E44AD", "#A8871D")  # colours of classes, which no method has
EDGE = 1.05  # of the square that is drawn
HEIGHTS = (0.1, 0.4, 0.7)  # of the lines of equal density, as shares of its maximum
TRAININGS = {"usual class table": plots.color("cond_only"), "fifty times smaller": "#7A3500"}
HIDDEN = {  # students by the share of labels that was hidden from them
    "hidden 10 %": plots.color("cond_only_dropout"),
    "hidden 50 %": "#00543E",
    "never hidden": plots.color("cond_only"),
    "DASH": plots.color("dash"),
    "the true gap's square": plots.color("teacher"),
}


def as_points(x: Tensor) -> Tensor:
    """``(B, 2)`` or ``(B, 2, 1, 1)`` as ``(B, 2)``; ``ValueError`` for another shape."""
    if x.ndim not in (2, 4) or x.shape[1:].numel() != 2 or x.shape[1] != 2:
        raise ValueError(f"points of shape {tuple(x.shape)}: (B, 2) or (B, 2, 1, 1)")
    return x.flatten(1)


def check_labels(y: Tensor, last: int) -> None:
    """``ValueError`` unless every label is in [0, last]."""
    if y.numel() and (int(y.min()) < 0 or int(y.max()) > last):
        raise ValueError(f"label out of range: got {int(y.min())}..{int(y.max())}, not 0..{last}")


class Mixture:
    """K classes of M round Gaussians each, weighted evenly; held as float64.

    ``means``: ``(K, M, 2)``; ``std`` of each component, ``(K, M)``, or one for all; ``priors`` of
    the classes, ``(K,)``.  ``ValueError`` for shapes that do not belong together, a standard
    deviation that is not positive, priors that are no probabilities.
    """

    def __init__(self, means: Tensor, std: Tensor, priors: Tensor) -> None:
        *shape, plane = means.shape
        if len(shape) != 2 or plane != 2:
            raise ValueError(f"means of shape {tuple(means.shape)}: (classes, components, 2)")
        if list(std.shape) not in ([], shape) or (std <= 0).any():
            raise ValueError(f"std {std.tolist()}: one positive number, or {tuple(shape)} of them")
        if len(priors) != shape[0] or (priors <= 0).any() or abs(priors.sum() - 1) > 1e-6:
            raise ValueError(f"priors {priors.tolist()}: {shape[0]} positive numbers, sum 1")
        self.means, self.priors = means.double(), priors.double()
        self.std = std.double().expand(shape)

    def labels(self, n: int, *, generator: Generator | None = None) -> Tensor:
        """``n`` labels drawn with the priors, int64 ``(n,)``."""
        return torch.multinomial(self.priors, n, replacement=True, generator=generator)

    def sample(self, y: Tensor, *, generator: Generator | None = None) -> Images:
        """A clean point for each label, as images: ``x`` is float32 ``(N, 2, 1, 1)``."""
        check_labels(y, len(self.means) - 1)
        m = torch.randint(self.means.shape[1], y.shape, generator=generator)
        noise = torch.randn(len(y), 2, generator=generator, dtype=torch.float64)
        x = self.means[y, m] + self.std[y, m][:, None] * noise
        return Images(x.float()[..., None, None], y)

    def offsets(self, x_t: Tensor, alpha_bar: Level) -> tuple[Tensor, Tensor]:
        """``x_t - sqrt(alpha_bar) mu``, ``(B, K, M, 2)``, and the variances v, ``(B, K, M)``."""
        a = torch.as_tensor(alpha_bar, dtype=torch.float64).reshape(-1, 1, 1)
        offset = as_points(x_t).double()[:, None, None] - a.sqrt()[..., None] * self.means
        return offset, a * self.std.square() + 1 - a

    def log_joint(self, x_t: Tensor, alpha_bar: Level) -> Tensor:
        """``log p(x_t, y, m)`` for every class and component, ``(B, K, M)``, float64."""
        offset, v = self.offsets(x_t, alpha_bar)
        prior = self.priors.log()[:, None] - math.log(self.means.shape[1])
        return prior - offset.square().sum(-1) / (2 * v) - torch.log(2 * math.pi * v)

    def log_density(self, x_t: Tensor, y: Tensor | None = None, alpha_bar: Level = 1.0) -> Tensor:
        """``log p_t(x_t | y)``, or ``log p_t(x_t)`` without labels: float64 ``(B,)``."""
        joint = self.log_joint(x_t, alpha_bar).logsumexp(2)
        if y is None:
            return joint.logsumexp(1)
        check_labels(y, len(self.means) - 1)
        return joint[torch.arange(len(y)), y] - self.priors.log()[y]

    def posterior(self, x_t: Tensor, alpha_bar: Level = 1.0) -> Tensor:
        """``p(y | x_t)``, float64 ``(B, K)``."""
        return self.log_joint(x_t, alpha_bar).logsumexp(2).softmax(1)


@dataclass(frozen=True)
class ExactDenoiser:
    r"""The teacher that cannot err: ``eps = model(x_t, t, y)`` in closed form.

    With :math:`r_{ym}` the probability of a component given ``x_t`` (and y, if it is a class),
    :math:`\varepsilon=\sqrt{1-\bar\alpha_t} \sum r_{ym} (x_t-\sqrt{\bar\alpha_t}\mu_{ym})/v_{ym}`,
    computed in float64, returned like ``x_t``.  Label K asks for the unconditional branch.
    ``ValueError`` for labels or timesteps out of range and for points of a wrong shape.
    """

    mixture: Mixture
    schedule: Schedule

    @property
    def null_label(self) -> int:
        """The label of the unconditional branch: one past the last class."""
        return len(self.mixture.means)

    def __call__(self, x_t: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """The exact noise, shaped like ``x_t``."""
        check_labels(y, self.null_label)
        alpha_bar = self.schedule.alpha_bar(t)
        offset, v = self.mixture.offsets(x_t, alpha_bar)
        other = torch.arange(self.null_label) != y[:, None]
        hidden = (other & (y != self.null_label)[:, None])[..., None]
        log_r = self.mixture.log_joint(x_t, alpha_bar).masked_fill(hidden, -math.inf)
        r = log_r.flatten(1).softmax(1).view_as(log_r)
        eps = ((r / v)[..., None] * offset).sum((1, 2))
        return ((1 - alpha_bar).sqrt()[:, None] * eps).to(x_t.dtype).view_as(x_t)


def energy_distance(a: Tensor, b: Tensor) -> float:
    """``2 E|a - b| - E|a - a'| - E|b - b'|`` between two sets of points, without bias.

    It may be slightly negative; ``ValueError`` for a set of one point.  Szekely & Rizzo 2013.
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
    """Measure how far points ``x`` are from points ``real`` of the mixture with the same labels.

    ``energy``: the energy distance, averaged over the classes; ``nll``: the mean of -log p(x | y);
    ``label``: the mean of p(y | x).  ``ValueError`` unless every class has two points.
    """
    y, classes = real.y, range(len(mixture.means))
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


class Block(nn.Module):
    """linear, add the embedding, SiLU, linear, add the input."""

    def __init__(self) -> None:
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.temb_proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, h: Tensor, emb: Tensor) -> Tensor:
        """``(B, WIDTH)`` twice -> ``(B, WIDTH)``."""
        return h + self.linear2(F.silu(self.linear1(h) + self.temb_proj(emb)))


class MLP(nn.Module):
    """``eps = model(x_t, t, y)`` for points of three classes, by the UNet's recipe without pixels.

    Embeddings of time and class are added, and pushed into every residual block.  ``embed_std``
    scales the class table at the start.  A w-conditioned network takes the scales ``(B,)``, too.
    ``ValueError`` for a wrong shape or label and for a w that is missing or given in vain.
    """

    null_label = 3

    def __init__(self, *, embed_std: float = 1.0, w_conditioned: bool = False) -> None:
        super().__init__()
        self.temb = TimeEmbedding(CH)
        self.class_embed = nn.Embedding(self.null_label + 1, WIDTH)
        self.linear_in = nn.Linear(2, WIDTH)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.linear_out = nn.Linear(WIDTH, 2)
        with torch.no_grad():
            self.class_embed.weight.mul_(embed_std)
        # last: the draws of every other network stay as they were
        self.wemb = TimeEmbedding(CH) if w_conditioned else None
        self.w_conditioned = w_conditioned

    def with_null_row(self, row: Tensor) -> "MLP":
        """A copy whose null class has this embedding, ``(WIDTH,)``, and no gradients."""
        model = copy.deepcopy(self).requires_grad_(False)
        model.class_embed.weight[-1] = row
        return model

    def forward(self, x_t: Tensor, t: Tensor, y: Tensor, w: Tensor | None = None) -> Tensor:
        """Predict the noise in ``x_t``, ``(B, 2, 1, 1)`` or ``(B, 2)``."""
        check_labels(y, self.null_label)
        if (self.wemb is None) != (w is None):
            raise ValueError("MLP(w_conditioned=True), and no other, is called with (x_t, t, y, w)")
        emb = self.temb(t) + self.class_embed(y)
        if self.wemb is not None and w is not None:
            emb = emb + self.wemb(250 * (w - 1))
        h, emb = self.linear_in(as_points(x_t)), F.silu(emb)
        for block in self.blocks:
            h = block(h, emb)
        return self.linear_out(F.silu(h)).view_as(x_t)


def classes(mixture: Mixture, points: Images, title: str) -> Figure:
    """Points of the mixture coloured by class, and lines of equal density of every class."""
    figure, ((ax,),) = plots.axes(size=(4.4, 4.2))
    side = torch.linspace(-EDGE, EDGE, 60)
    xs, ys = torch.meshgrid(side, side, indexing="xy")
    lattice = torch.stack([xs.flatten(), ys.flatten()], dim=1)
    for k, shade in enumerate(SHADES):
        ax.scatter(*points.x[points.y == k].flatten(1).T, s=6, alpha=0.6, lw=0, color=shade)
        density = mixture.log_density(lattice, torch.full((len(lattice),), k)).exp()
        heights = [share * density.max().item() for share in HEIGHTS]
        ax.contour(xs, ys, density.view_as(xs), heights, linewidths=0.8, colors=shade)
    ax.set(title=title, xlim=(-EDGE, EDGE), ylim=(-EDGE, EDGE), aspect="equal")
    return figure


def weighted_by_length(summary: Summary) -> Summary:
    """A summary with three numbers more, in which pairs count by the length of their gaps.

    ``longer``: ratio of the root mean squares of the gaps; ``cos_e = a_star * longer``: the cosine
    ``E<gap_S, gap_T> / sqrt(E|gap_S|^2 E|gap_T|^2)``; ``uncorrelated``: what ``longer`` is if the
    gap's error is uncorrelated with the teacher's gap, ``sqrt(1 + gap_mse / gap_t_ms)``.
    """
    longer = (summary["gap_s_ms"] / summary["gap_t_ms"]) ** 0.5
    uncorrelated = (1 + summary["gap_mse"] / summary["gap_t_ms"]) ** 0.5
    cos_e = summary["a_star"] * longer
    return {**summary, "longer": longer, "cos_e": cos_e, "uncorrelated": uncorrelated}
