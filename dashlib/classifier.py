"""A small classifier: its features measure Frechet distances, its answers class accuracy.

It plays for digits the part that the Inception network plays for photographs, and is trained here
from scratch: distances from it compare models in this book with each other, nothing else.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dashlib.data import Images


class Classifier(nn.Module):
    """Convolutions and a hidden layer: images ``(B, C, S, S)`` in [-1, 1] -> logits ``(B, K)``.

    After the first convolution each one halves the image and doubles the channels, down to 4x4:
    32 and 64 channels for S = 8; 32, 64, 128 and 256 for S = 32.
    """

    def __init__(
        self, channels: int = 1, size: int = 8, classes: int = 10, width: int = 64
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, 32, 3, padding=1), nn.ReLU()]
        side, ch = size, 32
        while side > 4:
            layers += [nn.Conv2d(ch, 2 * ch, 3, stride=2, padding=1), nn.ReLU()]
            side, ch = (side + 1) // 2, 2 * ch
        layers += [nn.Flatten(), nn.Dropout(0.25), nn.Linear(ch * side**2, width)]
        self.features_net = nn.Sequential(*layers)
        self.head = nn.Linear(width, classes)

    def features(self, x: Tensor) -> Tensor:
        """The hidden layer after ReLU, ``(B, width)``: the space of Frechet distances."""
        return F.relu(self.features_net(x))

    def forward(self, x: Tensor) -> Tensor:
        """Class logits."""
        return self.head(self.features(x))


@torch.no_grad()
def accuracy(model: Classifier, images: Images, batch_size: int = 2000) -> float:
    """Share of images whose most likely class is their label, in [0, 1]; a batch at a time."""
    answers = torch.cat([model(part).argmax(1) for part in images.x.split(batch_size)])
    return (answers == images.y).float().mean().item()


def _shifted(x: Tensor, generator: torch.Generator) -> Tensor:
    """The batch moved by up to one pixel a side, padded with background."""
    dx, dy = torch.randint(-1, 2, (2,), generator=generator).tolist()
    size = x.shape[-1]
    padded = F.pad(x, (1, 1, 1, 1), value=-1.0)
    return padded[..., 1 + dy : 1 + dy + size, 1 + dx : 1 + dx + size]


def fit(
    images: Images, *, epochs: int = 60, batch_size: int = 100, width: int = 64, seed: int = 0
) -> Classifier:
    """Train a classifier (AdamW, one-cycle learning rate, one-pixel shifts); returns it frozen.

    It is trained, and stays, on the images' device.  All draws but those of dropout come from the
    CPU, the same on any device.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    device, classes = images.x.device, int(images.y.max()) + 1
    model = Classifier(images.x.shape[1], images.x.shape[-1], classes, width).to(device)
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
