"""ImageNet at 64x64 (downsampled ImageNet): a dataset, its loader, and a stream of batches.

15.7 GB of training images need not fit a device: they are mapped into memory from files
(:mod:`.imagenet_files`), read by a data loader's workers and made floats on the device.
Class numbers are those of the files less one; their order is not that of the sorted WordNet
identifiers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from dashlib.data import Batch, Images, as_floats, drop_labels
from dashlib.datasets.imagenet_files import CLASSES, FILES, SHAPE, Split, converted, load_npy
from dashlib.schedule import Schedule


class ImageNet64(Dataset[tuple[Tensor, Tensor]]):
    """The training or validation images: ``self[i]`` is uint8 ``(3, 64, 64)`` and its label.

    ``self[[i, j, ...]]`` is a batch, ``(B, 3, 64, 64)`` and int64 ``(B,)``.  ``root`` holds the
    batch files, as they are or in the folders named after their archives; ``cache`` (``root``)
    gets the ``.npy`` files.  Making them takes about 4 GB of memory, once: let one process do it
    first.  Raises ``FileNotFoundError`` saying where the files are to be had, ``ValueError`` for a
    file that is damaged or would execute code.
    """

    def __init__(
        self, root: str | Path, split: Split = "train", *, cache: str | Path | None = None
    ) -> None:
        if split not in FILES:
            raise ValueError(f"split {split!r}: one of {', '.join(FILES)}")
        home = Path(root).expanduser()
        npy = home if cache is None else Path(cache).expanduser()
        pairs = [converted(name, split, home, npy) for name in FILES[split]]
        self.paths = [images for images, _ in pairs]
        labels = [load_npy(path, mapped=False) for _, path in pairs]
        self.labels = torch.from_numpy(np.concatenate(labels))
        self.starts = np.cumsum([0, *(len(part) for part in labels)])
        self._maps: list[np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getstate__(self) -> dict[str, Any]:
        """A worker process maps the files itself: a pickled map would be a copy of its content."""
        return self.__dict__ | {"_maps": None}

    def __getitem__(self, index: int | Sequence[int]) -> tuple[Tensor, Tensor]:
        if isinstance(index, int):
            one, label = self[[index]]
            return one[0], label[0]
        chosen = np.asarray(index, dtype=np.int64)
        if ((chosen < 0) | (chosen >= len(self))).any():
            raise IndexError(f"images {index}: there are {len(self)}")
        images = np.empty((len(chosen), *SHAPE), np.uint8)
        files = np.searchsorted(self.starts, chosen, side="right") - 1
        for i in np.unique(files):
            images[files == i] = self._map(i)[chosen[files == i] - self.starts[i]]
        return torch.from_numpy(images), self.labels[torch.from_numpy(chosen)]

    def _map(self, i: int) -> np.ndarray:
        if self._maps is None:
            self._maps = [load_npy(path, mapped=True) for path in self.paths]
        return self._maps[i]

    def images(self, n: int) -> Images:
        """The first ``n`` images (12 KB each) as one :class:`~dashlib.data.Images` of bytes."""
        return Images(*self[range(min(n, len(self)))])


class GlobalBatches(Sampler[list[int]]):
    """Which images make up each batch: the same in the same order for any number of processes.

    Epoch e is a permutation of the ``n`` images seeded by ``(seed, e)`` (or 0, 1, 2, ...), cut into
    batches of ``batch_size``, of which a process gets ``rank``, ``rank + processes``, ...
    An epoch's incomplete last batch is dropped, or divided, too: a process may then get none of it.
    Begins with batch ``first``, counted over all epochs; ``epochs=None`` goes on for ever.
    Raises ``ValueError`` for settings that do not go together.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = True,
        epochs: int | None = None,
        rank: int = 0,
        processes: int = 1,
        first: int = 0,
    ) -> None:
        if not 0 <= rank < processes or batch_size < 1 or batch_size % processes:
            raise ValueError(
                f"process {rank} of {processes} with batches of {batch_size}: choose a batch size "
                "that the number of processes divides, and 0 <= rank < processes"
            )
        self.per_epoch = n // batch_size if drop_last else -(-n // batch_size)
        if self.per_epoch < 1:
            raise ValueError(
                f"{n} images do not make up one batch of {batch_size}: choose a smaller"
            )
        self.n, self.batch_size, self.seed, self.shuffle = n, batch_size, seed, shuffle
        self.epochs, self.first, self.share = epochs, first, slice(rank, None, processes)

    def __iter__(self) -> Iterator[list[int]]:
        epoch, skipped = divmod(self.first, self.per_epoch)
        for e in count(epoch) if self.epochs is None else range(epoch, self.epochs):
            order = self._order(e)
            for k in range(skipped if e == epoch else 0, self.per_epoch):
                batch = order[k * self.batch_size : (k + 1) * self.batch_size]
                yield batch[self.share].tolist()

    def _order(self, epoch: int) -> Tensor:
        if not self.shuffle:
            return torch.arange(self.n)
        return torch.randperm(self.n, generator=_seeded(torch.Generator(), self.seed, 0, epoch))


def _seeded(generator: torch.Generator, *numbers: int) -> torch.Generator:
    """The generator, seeded by several numbers."""
    return generator.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))


def loader(
    images: ImageNet64, batches: GlobalBatches, *, workers: int = 0, pin_memory: bool = False
) -> DataLoader[tuple[Tensor, Tensor]]:
    """A data loader of ``(uint8 (B, 3, 64, 64), int64 (B,))``; leaves torch's generator alone."""
    return DataLoader(
        images,
        batch_size=None,  # a batch at a time is asked for, and read, as one
        sampler=batches,
        num_workers=workers,
        pin_memory=pin_memory,
        generator=torch.Generator(),
    )


@dataclass
class LoadedStream:
    """An endless stream of noisy batches like :class:`dashlib.data.Stream`, through a data loader.

    Images come in epochs, without replacement (:class:`GlobalBatches`).  Flips, t, eps and label
    dropout are drawn on the ``device`` for the whole batch of all processes, seeded by the seed and
    the step: a process keeps its share of them, and a stream's state is its step.  With
    ``processes=1`` (as the engine needs it) each process gets the whole batch.
    """

    images: ImageNet64
    schedule: Schedule
    null_label: int = CLASSES
    batch_size: int = 128  # of all processes together
    label_dropout: float = 0.1
    dropout_per: Literal["sample", "batch"] = "sample"
    seed: int = 0
    flip: bool = False  # random left-right flips
    device: torch.device | str = "cpu"
    workers: int = 0  # processes that read files
    rank: int = 0
    processes: int = 1
    step: int = field(default=0, init=False)  # batches given so far

    def __post_init__(self) -> None:
        self.device = torch.device(self.device)
        self._generator = torch.Generator(self.device)
        self._start(0)

    def _start(self, step: int) -> None:
        batches = GlobalBatches(
            len(self.images), self.batch_size, seed=self.seed, first=step,
            rank=self.rank, processes=self.processes,
        )  # fmt: skip
        on_gpu = torch.device(self.device).type == "cuda"
        self._batches = loader(self.images, batches, workers=self.workers, pin_memory=on_gpu)
        self._iterator: Iterator[Any] | None = None  # workers start with the first batch
        self.step = step

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        if self._iterator is None:
            self._iterator = iter(self._batches)
        x, y = (part.to(self.device, non_blocking=True) for part in next(self._iterator))
        batch = self._noisy(as_floats(x), y)
        self.step += 1
        return batch

    def _noisy(self, x0: Tensor, y: Tensor) -> Batch:
        """This process's share of a batch: what is drawn is drawn for all of it."""
        n, share = self.batch_size, slice(self.rank, None, self.processes)
        g = _seeded(self._generator, self.seed, 1, self.step)
        coins = torch.rand(n, generator=g, device=self.device)[share]
        if self.flip:
            x0 = torch.where((coins < 0.5)[:, None, None, None], x0.flip(-1), x0)
        t = torch.randint(self.schedule.T, (n,), generator=g, device=self.device)[share]
        eps = torch.randn(n, *SHAPE, generator=g, device=self.device)[share].contiguous()
        labels = y.new_zeros(n)
        labels[share] = y
        dropped = drop_labels(
            labels, self.null_label, self.label_dropout, per=self.dropout_per, generator=g
        )
        return Batch(self.schedule.add_noise(x0, eps, t), t, y, dropped[share], eps)

    def state_dict(self) -> dict[str, int]:
        """Where the stream is, and what must agree to go on from there."""
        return {
            "step": self.step,
            "seed": self.seed,
            "batch_size": self.batch_size,
            "images": len(self.images),
        }

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from a state, with any number of processes; ``ValueError`` if it is another's."""
        if state != self.state_dict() | {"step": state["step"]}:
            raise ValueError(f"the state of another stream: {state}, here {self.state_dict()}")
        self._start(state["step"])

    @property
    def generator(self) -> "LoadedStream":
        """What a trainer saves and sets the state of: the stream itself."""
        return self

    def get_state(self) -> Tensor:
        """:meth:`state_dict` as a tensor, as a generator's state is one."""
        return torch.tensor(list(self.state_dict().values()))

    def set_state(self, state: Tensor) -> None:
        """Go on from a :meth:`get_state`."""
        self.load_state_dict(dict(zip(self.state_dict(), state.tolist(), strict=True)))
