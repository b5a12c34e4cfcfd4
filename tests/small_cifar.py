"""A small set in CIFAR's file format, whose sums torchvision expects instead of the real ones.

``python -m small_cifar ARGUMENTS`` is ``python -m in_turn ARGUMENTS`` with this CIFAR-10, for tests
that need a process of their own (to kill, or beside a second one).  Everything is as for the real
files, the check of every sum included; only the sums are these files'.
"""

import gzip
import hashlib
import io
import pickle
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from torch.nn.functional import avg_pool2d

from dashlib.datasets import originals


def batch(n, seed, labels):
    """A batch file of CIFAR: n random images as rows of 3 x 32 x 32 bytes, channels first."""
    rows = np.random.default_rng(seed).integers(0, 256, (n, 3072), dtype=np.uint8)
    return pickle.dumps({"data": rows, labels: [i % 10 for i in range(n)], "batch_label": "small"})


def files(name):
    """The files of a set with five training batches of 4 images (one of 20), and 6 to test."""
    if name == "cifar10":
        found = {f"data_batch_{i}": batch(4, i, "labels") for i in range(1, 6)}
        meta = {"label_names": [f"class {i}" for i in range(10)]}
        return found | {"test_batch": batch(6, 0, "labels"), "batches.meta": pickle.dumps(meta)}
    meta = {"fine_label_names": [f"class {i}" for i in range(100)]}
    found = {part: batch(n, n, "fine_labels") for part, n in (("train", 20), ("test", 6))}
    return found | {"meta": pickle.dumps(meta)}


def archive(name):
    """The ``.tar.gz`` of the files: the same bytes whenever it is made."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for file, content in files(name).items():
            member = tarfile.TarInfo(f"{originals.torchvision_class(name).base_folder}/{file}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), mtime=0)


def expected(name):
    """Stand in for torchvision's class, with the names and sums of these files."""
    kind = originals.torchvision_class(name)
    sums = {file: hashlib.md5(content).hexdigest() for file, content in files(name).items()}
    lists = {
        part: [[file, sums[file]] for file, _ in getattr(kind, part)]
        for part in ("train_list", "test_list")
    }
    return lists | {
        "meta": kind.meta | {"md5": sums[kind.meta["filename"]]},
        "tgz_md5": hashlib.md5(archive(name)).hexdigest(),
        "url": "http://127.0.0.1:1/nobody",
    }


def unpack(archive, folder):
    """Unpack a ``.tar.gz`` of files, as torchvision does, in any Python (3.11.3 has no filters)."""
    with tarfile.open(archive) as packed:
        for member in filter(tarfile.TarInfo.isfile, packed):
            path = folder / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(packed.extractfile(member).read())


def parquet(path, n):
    """Write n images of noise as Hugging Face's layout has them."""
    rng, rows = np.random.default_rng(n), []
    for i in range(n):
        content = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(content, "png")
        rows.append({"bytes": content.getvalue(), "path": f"{i}.png"})
    pq.write_table(pa.table({"img": rows, "label": [i % 10 for i in range(n)]}), path)


def small_features(patch):
    """Let a sweep score with 48 means of 8x8 pixels, not EfficientNet (see ``test_judge``)."""
    from benchmarks.sweep import judge
    from dashlib.scale.features import Extractor

    def means(images):
        return avg_pool2d(images.float(), 8).flatten(1) / 64

    patch.setattr(judge, "lite0", lambda device: Extractor(means, None, "", "means"))


def main():
    """Run commands of dashlib with this CIFAR-10, and no network."""
    import in_turn

    for attribute, value in expected("cifar10").items():
        setattr(originals.torchvision_class("cifar10"), attribute, value)
    originals.CIFAR_MIRRORS["cifar10"] = ()
    in_turn.run()


if __name__ == "__main__":
    main()
