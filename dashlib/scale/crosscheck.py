"""The same samples scored by torch-fidelity, a library independent of pytorch-fid and of dashlib.

It resizes images as TensorFlow did in 2015, which moves its FID a little from pytorch-fid's.
Source: Obukhov et al., github.com/toshas/torch-fidelity.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor
from torch.utils.data import Dataset

from dashlib.data import Images
from dashlib.scale.distributed import Shards
from dashlib.scale.evaluation import Settings, Task
from dashlib.scale.reference import Real, pixels
from dashlib.scale.sampling import gather, generate
from dashlib.scale.scores import SPLITS, SUBSET_SIZE

KEYS = {
    "fid": "frechet_inception_distance",
    "is": "inception_score_mean",
    "kid": "kernel_inception_distance_mean",
}


class Pixels(Dataset[Tensor]):
    """Images as torch-fidelity takes them: uint8 ``(3, H, W)``, grey as three equal channels."""

    def __init__(self, images: Real) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return pixels(self.images, range(index, index + 1))[0].cpu().expand(3, -1, -1)


@dataclass(frozen=True)
class CrossCheck:
    """FID, Inception Score and KID by torch-fidelity, with the same weights (see ``names``).

    Raises ``ValueError`` if torch-fidelity is not installed.
    """

    real: Real
    weights: Path

    def __post_init__(self) -> None:
        if find_spec("torch_fidelity") is None:
            raise ValueError(
                "--cross-check needs torch-fidelity, which is not installed: "
                "`pip install torch-fidelity`, or leave the option out"
            )

    def names(self, settings: Settings) -> list[str]:
        """The scores' names: torch-fidelity's, and what the weights allow them to be called."""
        return [f"torch-fidelity {settings.extractor.name(metric)}" for metric in KEYS]

    def __call__(self, task: Task, settings: Settings, shards: Shards) -> dict[str, float]:
        """Sample again and score, in the first process; empty in the others."""
        network = task.model.model
        made = generate(
            network,
            task.w,
            shards.slice(settings.n),
            seed=task.seed,
            device=shards.device,
            sampler=settings.sampler,
            batch=settings.batch,
        )
        made_images = Images(*gather(made, shards, network))
        return self.score(made_images, settings, shards) if shards.first else {}

    def score(self, images: Images, settings: Settings, shards: Shards) -> dict[str, float]:
        """The scores of these uint8 images."""
        import torch_fidelity

        found = torch_fidelity.calculate_metrics(
            input1=Pixels(images),
            input2=Pixels(self.real),
            isc=True,
            fid=True,
            kid=True,
            isc_splits=min(SPLITS, len(images)),
            kid_subset_size=min(SUBSET_SIZE, len(images), len(self.real)),
            feature_extractor_weights_path=str(self.weights),
            cuda=shards.device.type == "cuda",
            cache=False,
            save_cpu_ram=True,  # no reading processes: the images are in memory
            verbose=False,
        )
        return dict(zip(self.names(settings), (found[k] for k in KEYS.values()), strict=True))
