"""A small classifier of digits: its features measure Frechet distances, its answers accuracy.

It plays the part of the Inception network: its distances compare models of this book, no others.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dashlib.checks import check_finite
from dashlib.data import Images


class Classifier(nn.Module):
    """Two convolutions and a hidden layer: digits ``(B, 1, 8, 8)`` -> logits ``(B, 10)``."""

    def __init__(self) -> None:
        super().__init__()
        convolutions = [nn.Conv2d(1, 32, 3, padding=1), nn.Conv2d(32, 64, 3, stride=2, padding=1)]
        layers = [layer for conv in convolutions for layer in (conv, nn.ReLU())]
        hidden = nn.Linear(64 * 4**2, 64)
        self.features_net = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.25), hidden)
        self.head = nn.Linear(64, 10)

    def features(self, x: Tensor) -> Tensor:
        """The hidden layer after ReLU, ``(B, 64)``: the space of Frechet distances."""
        return F.relu(self.features_net(x))

    def forward(self, x: Tensor) -> Tensor:
        """Class logits."""
        return self.head(self.features(x))


@torch.no_grad()
def accuracy(model: Classifier, images: Images, batch_size: int = 2000) -> float:
    """Share of images whose most likely class is their label, in [0, 1]; a batch at a time."""
    logits = torch.cat([model(part) for part in images.x.split(batch_size)])
    check_finite("logits", logits)
    return (logits.argmax(1) == images.y).float().mean().item()


def _shifted(x: Tensor, generator: torch.Generator) -> Tensor:
    dx, dy = torch.randint(-1, 2, (2,), generator=generator).tolist()
    size = x.shape[-1]
    padded = F.pad(x, (1, 1, 1, 1), value=-1.0)
    return padded[..., 1 + dy : 1 + dy + size, 1 + dx : 1 + dx + size]


def fit(images: Images, *, epochs: int = 60, batch_size: int = 100, seed: int = 0) -> Classifier:
    """Train a classifier (AdamW, one-cycle learning rate, one-pixel shifts); returns it frozen.

    On the images' device; all draws but those of dropout come from the CPU, the same on any.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    device = images.x.device
    model = Classifier().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-3)
    steps = epochs * -(-len(images) // batch_size)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(epochs):
        order = torch.randperm(len(images), generator=generator).to(device)
        for i in order.split(batch_size):
            x = _shifted(images.x[i], generator)
            loss = F.cross_entropy(model(x), images.y[i])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()
    return model.eval().requires_grad_(False)
