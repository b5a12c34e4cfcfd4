"""ImageNet 64x64: tiny batch files in the real format, the loader's order, and the stream."""

import copy
import os
import pickle
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from dashlib.data import Stream
from dashlib.datasets.imagenet64 import (
    ARCHIVES,
    FILES,
    ImageNet64,
    LoadedStream,
    batches_of,
    read_batch,
)
from dashlib.losses import make_objective
from dashlib.schedule import Schedule
from dashlib.training import TrainConfig, Trainer
from dashlib.unet import UNet
from dashlib.weighting import Uniform, make_weighting

SIZES = [5, 3, 4, 1, 6, 2, 5, 4, 3, 7]  # images of the ten training files: 40
FIELDS = ("x_t", "t", "y", "y_dropped", "eps")


def content(n, seed):
    """Make what a batch file with n images holds; the first and the last class are among them."""
    random = np.random.default_rng(seed)
    labels = [1, 1000, *random.integers(1, 1001, n).tolist()][:n]
    pixels = random.integers(0, 256, (n, 12288), dtype=np.uint8)
    return {"data": pixels, "labels": labels, "mean": pixels.mean(0)}


def write(folder):
    folder.mkdir(parents=True, exist_ok=True)
    batches = [content(n, seed) for seed, n in enumerate(SIZES)]
    for name, batch in zip(FILES, batches, strict=True):
        (folder / name).write_bytes(pickle.dumps(batch))
    return batches


@pytest.fixture
def train(tmp_path):
    write(tmp_path)
    return ImageNet64(tmp_path)


def everything():
    """All training images, ``(40, 3, 64, 64)``, and their labels less one."""
    batches = [content(n, seed) for seed, n in enumerate(SIZES)]
    pixels = torch.from_numpy(np.concatenate([b["data"] for b in batches]))
    labels = torch.tensor([label - 1 for b in batches for label in b["labels"]])
    return pixels.reshape(40, 3, 64, 64), labels


def same(a, b):
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in FIELDS)


def test_the_ten_files_are_one_dataset(train):
    pixels, labels = everything()
    assert len(train) == 40
    for i in (0, 4, 5, 39):
        image, label = train[i]
        assert torch.equal(image, pixels[i])
        assert (image.dtype, label.dtype, int(label)) == (torch.uint8, torch.int64, int(labels[i]))
    index = [39, 0, 12, 12, 7]
    images, found = train[index]
    assert torch.equal(images, pixels[index])
    assert torch.equal(found, labels[index])
    assert {int(found.min()), int(labels.min()), int(labels.max())} >= {0, 999}


def test_the_same_images_are_read_from_npz_archives(train, tmp_path):
    write(folder := tmp_path / "npz")
    for name in FILES:
        content = pickle.loads((folder / name).read_bytes())
        np.savez(folder / f"{name}.npz", **content)
        (folder / name).unlink()
    again = ImageNet64(folder)
    assert torch.equal(again[list(range(40))][0], train[list(range(40))][0])
    assert np.array_equal(again.labels, train.labels)


def test_the_pixels_go_to_the_cache_where_the_data_cannot_be_written(tmp_path):
    write(tmp_path / "data")
    ImageNet64(tmp_path / "data", tmp_path / "cache")
    assert {p.name for p in (tmp_path / "data").iterdir()} == {*FILES}
    made = {p.name for p in (tmp_path / "cache").iterdir()}
    assert made == {"imagenet64.pixels", "imagenet64.labels.npy"}


@pytest.mark.parametrize("index", [40, -41, [3, 40]])
def test_an_image_that_is_not_there_is_an_error(train, index):
    with pytest.raises(IndexError, match="out of bounds for axis 0 with size 40"):
        train[index]


def test_planes_are_red_green_and_blue(tmp_path):
    row = np.repeat(np.array([10, 20, 30], np.uint8), 4096)
    row[4096 + 2 * 64 + 5] = 99  # green, third line, sixth column
    write(tmp_path)
    (tmp_path / FILES[0]).write_bytes(pickle.dumps({"data": row[None], "labels": [7]}))
    image, label = ImageNet64(tmp_path)[0]
    assert image[:, 0, 0].tolist() == [10, 20, 30]
    assert image[1, 2, 5] == 99
    assert label == 6


def test_the_files_are_converted_once_and_mapped(tmp_path):
    write(tmp_path)
    ImageNet64(tmp_path)
    for name in FILES:
        (tmp_path / name).unlink()  # no longer needed
    again = ImageNet64(tmp_path)
    assert torch.equal(again[range(40)][0], everything()[0])
    assert isinstance(again._pixels(), np.memmap)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "imagenet64.labels.npy",
        "imagenet64.pixels",
    ]


def test_the_archives_folders_will_do(tmp_path):
    write(tmp_path / "all")
    for archive, names in zip(ARCHIVES, (FILES[:5], FILES[5:]), strict=True):
        (tmp_path / "root" / archive).mkdir(parents=True)
        for name in names:
            (tmp_path / "all" / name).rename(tmp_path / "root" / archive / name)
    assert torch.equal(ImageNet64(tmp_path / "root")[range(40)][0], everything()[0])


def test_a_conversion_that_breaks_off_leaves_nothing(tmp_path, monkeypatch):
    write(tmp_path)

    def save(file, array):
        file.write(b"half of it")
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", save)
        with pytest.raises(OSError, match="no space"):
            ImageNet64(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {*FILES, "imagenet64.pixels"}
    assert len(ImageNet64(tmp_path)) == 40


@pytest.mark.parametrize("size", [0, 60, 300])
@pytest.mark.parametrize("file", ["imagenet64.pixels", "imagenet64.labels.npy"])
def test_a_truncated_file_is_made_again(tmp_path, file, size):
    write(tmp_path)
    ImageNet64(tmp_path)
    (tmp_path / file).write_bytes((tmp_path / file).read_bytes()[:size])
    again = ImageNet64(tmp_path)
    assert torch.equal(again[range(40)][0], everything()[0])
    assert torch.equal(again[range(40)][1], everything()[1])


def test_pixels_of_more_images_than_labels_are_made_again(tmp_path):
    write(tmp_path)
    ImageNet64(tmp_path)
    pixels = tmp_path / "imagenet64.pixels"
    pixels.write_bytes(bytes(12288) + pixels.read_bytes())  # of another set, say
    assert torch.equal(ImageNet64(tmp_path)[range(40)][0], everything()[0])


@pytest.mark.parametrize("change", [lambda y: y + 1000, lambda y: y - 1000, lambda y: y * 1.0])
def test_kept_labels_of_no_class_are_made_again(tmp_path, change):
    write(tmp_path)
    ImageNet64(tmp_path)
    labels = tmp_path / "imagenet64.labels.npy"
    np.save(labels, change(np.load(labels)))
    assert torch.equal(ImageNet64(tmp_path)[range(40)][1], everything()[1])


def test_missing_files_say_where_they_are_to_be_had_and_where_they_go(tmp_path):
    write(tmp_path)
    (tmp_path / FILES[-1]).unlink()
    with pytest.raises(FileNotFoundError) as caught:
        ImageNet64(tmp_path)
    message = str(caught.value)
    assert f"{FILES[-1]} is missing. Log in at https://image-net.org/" in message
    for archive in ARCHIVES:
        assert f"{archive}.zip" in message
    assert f"unpack them into {tmp_path}, so that {tmp_path / FILES[0]} is" in message


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("labels", ["list", "array", "numbers"])
def test_pickles_of_any_age_are_read(tmp_path, protocol, labels):
    batch = content(4, 0)
    want = batch["labels"]
    batch["labels"] = {"list": want, "array": np.array(want), "numbers": list(np.array(want))}[
        labels
    ]
    (tmp_path / "f").write_bytes(pickle.dumps(batch, protocol))
    pixels, found = read_batch(tmp_path / "f")
    assert np.array_equal(pixels.reshape(4, -1), batch["data"])
    assert found.tolist() == [label - 1 for label in want]


def test_a_pickle_with_older_or_newer_names_of_numpy_is_read(tmp_path):
    written = pickle.dumps(content(4, 0), 2)
    old, new = b"numpy.core.multiarray", b"numpy._core.multiarray"
    for name in (old, new):
        (tmp_path / "f").write_bytes(written.replace(new, old).replace(old, name))
        assert np.array_equal(read_batch(tmp_path / "f")[0].reshape(4, -1), content(4, 0)["data"])


def test_an_array_stored_by_columns_is_read(tmp_path):
    batch = content(4, 0)
    batch["data"] = np.asfortranarray(batch["data"])
    for protocol in (2, 5):
        (tmp_path / "f").write_bytes(pickle.dumps(batch, protocol))
        assert np.array_equal(read_batch(tmp_path / "f")[0].reshape(4, -1), batch["data"])


class Hostile:
    """A pickle of it calls a function."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


@pytest.mark.parametrize("where", ["data", "labels", "mean", "in an array"])
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_that_would_execute_code_is_refused(tmp_path, where, protocol):
    write(tmp_path)
    batch, sign = content(4, 0), tmp_path / "executed"
    for evil in (
        Hostile(os.mkdir, str(sign)),
        Hostile(eval, f"__import__('os').mkdir({str(sign)!r})"),
    ):
        if where == "in an array":
            batch["mean"] = np.array([evil], dtype=object)
        else:
            batch[where] = evil
        written = pickle.dumps(batch, protocol)
        (tmp_path / FILES[0]).write_bytes(written)
        with pytest.raises(ValueError, match="is not a batch of ImageNet 64x64"):
            ImageNet64(tmp_path)
        assert not sign.exists()
        pickle.loads(written)  # it is hostile indeed
        assert sign.exists()
        sign.rmdir()


@pytest.mark.parametrize(
    "call", [(np.load, "f", "r", True), (np.ndarray, (1,), "O"), (getattr, 1, "real")]
)
def test_other_names_are_refused_too(tmp_path, call):
    (tmp_path / "f").write_bytes(pickle.dumps(content(4, 0) | {"data": Hostile(*call)}))
    with pytest.raises(ValueError, match="is not a batch of ImageNet"):
        read_batch(tmp_path / "f")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"data": np.zeros((4, 3072), np.uint8)}, r"uint8 \(4, 3072\), 4 labels"),
        ({"data": np.zeros((3, 12288), np.uint8)}, r"\(3, 12288\), 4 labels"),
        ({"data": np.zeros((4, 12288), np.float32)}, "data is float32"),
        ({"data": [1, 2]}, "data is int64"),
        ({"labels": [0, 1, 2, 3]}, "labels are int64, 0 to 3"),
        ({"labels": [1, 2, 3, 1001]}, "labels are int64, 1 to 1001"),
        ({"labels": [1.0] * 4}, "labels are float64"),
        ({"labels": []}, ", 0 labels"),
        ({"labels": [], "data": np.zeros((0, 12288), np.uint8)}, ""),
        ({"labels": ["a"] * 4}, ""),
    ],
)
def test_another_content_is_refused(tmp_path, change, fault):
    (tmp_path / "f").write_bytes(pickle.dumps(content(4, 0) | change))
    with pytest.raises(ValueError, match=rf"{fault}.*replace it by that from https://image-net"):
        read_batch(tmp_path / "f")


@pytest.mark.parametrize(
    "written", [b"", b"<html>", pickle.dumps([1]), pickle.dumps(content(4, 0))[:-9]]
)
def test_a_damaged_pickle_is_refused(tmp_path, written):
    (tmp_path / "f").write_bytes(written)
    with pytest.raises(ValueError, match="is not a batch of ImageNet 64x64"):
        read_batch(tmp_path / "f")


def take(n, *args, **options):
    return list(islice(batches_of(*args, **{"seed": 0} | options), n))


def test_an_epoch_has_every_image_once_but_the_last_incomplete_batch():
    batches = take(8, 40, 9)
    one, two = ([i for batch in epoch for i in batch] for epoch in (batches[:4], batches[4:]))
    for epoch in (one, two):
        assert len(epoch) == len(set(epoch)) == 36
    assert one != two
    assert one != sorted(one)
    assert take(4, 40, 9) == take(4, 40, 9) != take(4, 40, 9, seed=1)


def test_the_order_can_be_taken_up_anywhere():
    whole = take(20, 40, 9, seed=3)
    for first in (0, 1, 4, 7, 13):
        assert take(20 - first, 40, 9, seed=3, first=first) == whole[first:]


@pytest.mark.parametrize("batch_size", [0, 41])
def test_batches_that_cannot_be_made_are_an_error(train, batch_size):
    with pytest.raises(ValueError, match=f"40 images make up no batch of {batch_size}"):
        LoadedStream(train, Schedule(), batch_size=batch_size)


def test_a_dataset_goes_to_another_process_without_its_pixels(train):
    assert torch.equal(train[3][0], everything()[0][3])  # the files are mapped
    sent = pickle.dumps(train)
    assert len(sent) < 12288
    assert torch.equal(pickle.loads(sent)[3][0], everything()[0][3])


def stream_of(train, **options):
    return LoadedStream(train, Schedule(), **{"batch_size": 8, "seed": 2, **options})


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_gives_noisy_images_with_their_labels(train, workers):
    pixels, labels = everything()
    order = take(6, 40, 8, seed=2)
    for index, batch in zip(order, stream_of(train, workers=workers), strict=False):
        want = Schedule().add_noise(pixels[index].float() / 127.5 - 1, batch.eps, batch.t)
        assert torch.equal(batch.x_t, want)
        assert torch.equal(batch.y, labels[index])
        assert batch.eps.shape == (8, 3, 64, 64)
        kept = batch.y_dropped != 1000
        assert torch.equal(batch.y_dropped[kept], batch.y[kept])


def test_a_streams_draws_have_their_distributions(train):
    batches = list(islice(stream_of(train, label_dropout=0.3), 60))
    t, eps, dropped = (
        torch.cat([getattr(b, n) for b in batches]) for n in ("t", "eps", "y_dropped")
    )
    assert t.float().mean().item() == pytest.approx(499.5, abs=60)
    assert t.unique().numel() > 300  # of 480
    assert (eps.mean().item(), eps.std().item()) == pytest.approx((0, 1), abs=0.01)
    assert (dropped == 1000).float().mean().item() == pytest.approx(0.3, abs=0.08)


def test_half_of_a_streams_images_are_flipped(train):
    pairs = zip(stream_of(train, flip=True), stream_of(train), strict=True)
    flipped = []
    for one, plain in islice(pairs, 50):
        assert torch.equal(one.eps, plain.eps)
        mirrored = (one.x_t != plain.x_t).flatten(1).any(1)
        x0, want = (
            Schedule().predict_x0(b.x_t.double(), b.eps.double(), b.t) for b in (one, plain)
        )
        clear = mirrored & (one.t < 500)
        torch.testing.assert_close(x0[clear], want[clear].flip(-1), atol=1e-4, rtol=0)
        flipped.append(mirrored)
    assert torch.cat(flipped).float().mean().item() == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_stream_goes_on_to_the_step_where_it_was(train, workers):
    stream = stream_of(train, flip=True, workers=workers)
    batches = [next(stream) for _ in range(4)]
    state = stream.generator.get_state()
    later = [next(stream) for _ in range(5)]  # into the second epoch
    again = stream_of(train, flip=True)
    for _ in range(2):  # in another stream, and back in the same
        again.generator.set_state(state)
        assert all(same(a, next(again)) for a in later)
    again.generator.set_state(torch.zeros_like(state))
    assert all(same(a, next(again)) for a in batches)


def test_the_state_of_another_stream_is_refused(train, tiny, tmp_path):
    """By the trainer, whose settings hold the seed, the batch size and the images."""

    def state_of(stream):
        return trainer.state(stream)

    schedule, cfg = Schedule(), TrainConfig(steps=1)
    trainer = Trainer(UNet(tiny), make_objective("scratch"), Uniform(schedule), cfg)
    stream, fewer = stream_of(train), copy.copy(train)
    fewer.labels, fewer.path = train.labels[:-1], tmp_path / "fewer"
    fewer.path.write_bytes(train.path.read_bytes()[: -3 * 64 * 64])
    others = stream_of(train, seed=77), stream_of(train, batch_size=7), stream_of(fewer)
    trainer.restore(state_of(stream), stream, "here")
    for other in others:
        with pytest.raises(ValueError, match="here was made with other stream"):
            trainer.restore(state_of(other), stream, "here")


def test_a_loaded_stream_offers_what_a_trainer_asks_of_a_stream(train, digits):
    plain, loaded = Stream(digits.train, Schedule(), 10), stream_of(train)
    for name in ("batch_size", "label_dropout", "dropout_per", "flip", "null_label", "seed"):
        assert type(getattr(loaded, name)) is type(getattr(plain, name))
    assert loaded.generator.get_state().dtype == torch.int64
    assert iter(loaded) is loaded
    assert set(vars(next(loaded))) == set(vars(next(plain)))
    before = torch.get_rng_state()
    next(loaded)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_trainer_resumes_with_a_loaded_stream(train, tiny):
    def start():
        torch.manual_seed(0)
        cfg = replace(tiny, image_channels=3, image_size=64, attn_resolutions=(), num_classes=1000)
        objective, weighting = make_objective("scratch"), make_weighting("uniform", Schedule())
        return Trainer(UNet(cfg), objective, weighting, TrainConfig(steps=7)), stream_of(train)

    trainer, stream = start()
    whole = [record.loss for record in trainer.run(stream)]
    trainer, stream = start()
    records = trainer.run(stream)
    first = [next(records).loss for _ in range(4)]
    state = trainer.state(stream)
    trainer, stream = start()
    trainer.restore(state, stream, "a state")
    assert first + [record.loss for record in trainer.run(stream)] == whole
