"""A small classifier: its features measure Frechet distances, its answers class accuracy.

It plays the part that the Inception network plays for photographs, at digit size, and is trained
here from scratch: distances from it compare models in this book with each other, nothing else.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dashlib.data import Images


class Classifier(nn.Module):
    """Two convolutions, a hidden layer: images ``(B, C, S, S)`` in [-1, 1] -> logits ``(B, K)``."""

    def __init__(
        self, channels: int = 1, size: int = 8, classes: int = 10, width: int = 64
    ) -> None:
        super().__init__()
        self.features_net = nn.Sequential(
            nn.Conv2d(channels, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.25),
            nn.Linear(64 * ((size + 1) // 2) ** 2, width),
        )
        self.head = nn.Linear(width, classes)

    def features(self, x: Tensor) -> Tensor:
        """The hidden layer after ReLU, ``(B, width)``: the space of Frechet distances."""
        return F.relu(self.features_net(x))

    def forward(self, x: Tensor) -> Tensor:
        """Class logits."""
        return self.head(self.features(x))


@torch.no_grad()
def accuracy(model: Classifier, images: Images) -> float:
    """Share of images whose most likely class is their label, in [0, 1]."""
    return (model(images.x).argmax(1) == images.y).float().mean().item()


def _shifted(x: Tensor, generator: torch.Generator) -> Tensor:
    """The batch moved by up to one pixel a side, padded with background."""
    dx, dy = torch.randint(-1, 2, (2,), generator=generator).tolist()
    size = x.shape[-1]
    padded = F.pad(x, (1, 1, 1, 1), value=-1.0)
    return padded[..., 1 + dy : 1 + dy + size, 1 + dx : 1 + dx + size]


def fit(images: Images, *, epochs: int = 60, batch_size: int = 100, seed: int = 0) -> Classifier:
    """Train a classifier (Adam, one-cycle learning rate, one-pixel shifts) and return it frozen."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = Classifier(images.x.shape[1], images.x.shape[-1], int(images.y.max()) + 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-3)
    steps = epochs * -(-len(images) // batch_size)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(epochs):
        for i in torch.randperm(len(images), generator=generator).split(batch_size):
            loss = F.cross_entropy(model(_shifted(images.x[i], generator)), images.y[i])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()
    return model.eval().requires_grad_(False)
