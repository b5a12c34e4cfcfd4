"""Image sets and streams of noisy batches."""

import hashlib
from dataclasses import replace

import pytest
import torch

from benchmarks.sweep.plan import fingerprint
from dashlib import data, datasets
from dashlib.data import Images, Stream, drop_labels, with_teacher
from dashlib.datasets import DATASETS, as_images
from dashlib.guidance import Branches, branches

# SHA-256 of the pixels (0 to 16, a byte each) and the labels: the split that results rest on
SPLIT = {
    "train": "499f72de4a77539376089298615a442caefd9e6ea32cc546df27d488de6a309b",
    "test": "0e428771f58918b081aaaa5ccfa7f679a695f87fecc83e57220b971ca72ea292",
}


def content(images):
    return ((images.x + 1) * 8).byte().numpy().tobytes() + images.y.byte().numpy().tobytes()


def test_digits_are_1500_and_297_images_in_range(digits):
    assert (len(digits.train), len(digits.test), digits.num_classes) == (1500, 297, 10)
    for part in (digits.train, digits.test):
        assert part.x.shape == (len(part), 1, 8, 8)
        assert part.x.dtype == torch.float32
        assert part.y.dtype == torch.int64
        assert (part.x.min().item(), part.x.max().item()) == (-1, 1)


def test_the_parts_of_digits_are_disjoint(digits):
    train, test = ({x.numpy().tobytes() for x in p.x} for p in (digits.train, digits.test))
    assert not train & test


def test_the_split_of_digits_is_stratified(digits):
    shares = [p.y.bincount() / len(p) for p in (digits.train, digits.test)]
    assert (shares[0] - shares[1]).abs().max() < 0.005


@pytest.mark.parametrize("part", SPLIT)
def test_the_split_of_digits_is_fixed(part):
    digits = datasets.load_dataset("digits")
    assert hashlib.sha256(content(getattr(digits, part))).hexdigest() == SPLIT[part]


def test_an_unknown_dataset_lists_the_names():
    with pytest.raises(ValueError, match=f"'mnist': one of {', '.join(DATASETS)}"):
        datasets.load_dataset("mnist")


def test_images_and_sets_move_to_a_device(digits):
    moved = digits.to("meta")
    assert (moved.name, moved.num_classes) == ("digits", 10)
    for part in (moved.train, moved.test, digits.test.to(torch.device("meta"))):
        assert {part.x.device.type, part.y.device.type} == {"meta"}
    assert digits.train.x.device.type == "cpu"


def test_all_that_a_stream_draws_is_on_the_device_of_its_images(digits, schedule, monkeypatch):
    cpu = torch.Generator()  # the meta device has no generator: it draws nothing
    monkeypatch.setattr(Stream, "__post_init__", lambda self: setattr(self, "generator", cpu))
    stream = Stream(digits.train.to("meta"), schedule, 10, 8, flip=True)
    batch = next(stream)
    for name in ("x_t", "t", "y", "y_dropped", "eps"):
        assert getattr(batch, name).device.type == "meta", name


def test_colour_images_become_channels_first():
    pixels = torch.arange(2 * 32 * 32 * 3).reshape(2, 32, 32, 3).remainder(256).byte()
    images = as_images(pixels.numpy(), [3, 7])
    assert images.x.shape == (2, 3, 32, 32)
    torch.testing.assert_close(images.x[1, 2, 5, 9], pixels[1, 5, 9, 2].float() / 127.5 - 1)
    assert images.y.tolist() == [3, 7]


@pytest.fixture
def photographs():
    """20 colour images with all 256 levels, held as floats as a set is read: channels last."""
    pixels = torch.arange(20 * 32 * 32 * 3).mul(7).remainder(256).reshape(20, 32, 32, 3).byte()
    return as_images(pixels.numpy(), torch.arange(20) % 10)


def as_bytes(images):
    return replace(images, x=data.to_bytes(images.x))


def test_bytes_are_a_quarter_of_the_memory_and_the_same_images(photographs):
    held = as_bytes(photographs)
    assert (held.x.dtype, held.x.shape) == (torch.uint8, photographs.x.shape)
    assert 4 * held.x.nbytes == photographs.x.nbytes
    assert torch.equal(held.pixels(), photographs.x)
    assert torch.equal(held.pixels(torch.tensor([3, 3, 7])), photographs.x[[3, 3, 7]])
    assert torch.equal(held.pixels(slice(5)), photographs.pixels(slice(5)))
    assert data.to_bytes(held.x) is held.x
    assert torch.equal(held.y, photographs.y)
    assert held.to("meta").pixels(slice(2)).shape == (2, 3, 32, 32)


def test_all_levels_are_floats_in_range():
    floats = data.as_floats(torch.arange(256).byte())
    assert torch.equal(floats, torch.arange(256).float() / 127.5 - 1)
    assert (floats[0].item(), floats[255].item()) == (-1, 1)
    assert data.as_floats(floats) is floats


def test_a_set_can_be_read_as_bytes(photographs):
    pixels = as_bytes(photographs).x.permute(0, 2, 3, 1).numpy()
    held = as_images(pixels, photographs.y, "uint8")
    assert held.x.dtype == torch.uint8
    assert torch.equal(held.pixels(), photographs.x)
    grey = as_images(pixels[:, :28, :28, 0], photographs.y, "uint8")
    assert grey.x.shape == (20, 1, 28, 28)
    assert torch.equal(grey.pixels(), as_images(pixels[:, :28, :28, 0], photographs.y).x)


def test_a_stream_of_bytes_is_the_stream_of_floats(photographs, schedule):
    """Not one bit differs, nor the layout in memory that a network would see."""
    streams = [
        Stream(images, schedule, 10, 16, seed=4, flip=True)
        for images in (photographs, as_bytes(photographs))
    ]
    for _ in range(3):
        one, other = (next(stream) for stream in streams)
        assert same(one, other)
        assert one.x_t.dtype == other.x_t.dtype == torch.float32
        assert one.x_t.stride() == other.x_t.stride()


def test_images_that_bytes_would_change_are_refused(digits, photographs):
    for images in (digits.train, replace(photographs, x=photographs.x + 1e-3)):
        with pytest.raises(ValueError, match="not 256 levels"):
            fingerprint(images)
    with pytest.raises(ValueError, match="digits has 17 grey levels"):
        datasets.load_dataset("digits", dtype="uint8")


def test_an_unknown_dtype_lists_the_choices():
    with pytest.raises(ValueError, match="'bytes': one of float32, uint8"):
        datasets.load_dataset("digits", dtype="bytes")


def same(a, b):
    return all(
        torch.equal(getattr(a, name), getattr(b, name))
        for name in ("x_t", "t", "y", "y_dropped", "eps")
    )


def test_a_stream_depends_on_its_seed_only(digits, schedule):
    def first_three(seed):
        stream = Stream(digits.train, schedule, 10, 8, seed=seed)
        torch.rand(3)  # others may draw from torch's own generator
        return [next(stream) for _ in range(3)]

    one, again, other = first_three(1), first_three(1), first_three(2)
    assert all(same(a, b) for a, b in zip(one, again, strict=True))
    assert not any(same(a, b) for a, b in zip(one, other, strict=True))
    assert not same(one[0], one[1])


def test_a_stream_leaves_torchs_generator_alone(stream):
    before = torch.get_rng_state()
    next(stream)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_batch_is_noisy_images_with_their_labels(digits, schedule):
    batch = next(Stream(digits.train, schedule, 10, 64, seed=3))
    x0 = schedule.predict_x0(batch.x_t.double(), batch.eps.double(), batch.t)
    clear = batch.t < 900  # beyond, float32 noise hides the image
    pairs = digits.train.x, digits.train.y
    known = {x.numpy().tobytes(): int(y) for x, y in zip(*pairs, strict=True)}
    found = [((x + 1) * 8).round().float() / 8 - 1 for x in x0[clear]]
    assert [known[x.numpy().tobytes()] for x in found] == batch.y[clear].tolist()


def test_timesteps_cover_the_schedule(digits, schedule):
    t = next(Stream(digits.train, schedule, 10, 20_000)).t
    assert (t.min().item(), t.max().item()) == (0, 999)
    assert t.float().mean().item() == pytest.approx(499.5, abs=10)


def test_labels_are_dropped_per_sample(digits, schedule):
    stream = Stream(digits.train, schedule, 10, 20_000, label_dropout=0.1)
    batch = next(stream)
    dropped = batch.y_dropped == 10
    assert dropped.float().mean().item() == pytest.approx(0.1, abs=0.01)
    assert torch.equal(batch.y_dropped[~dropped], batch.y[~dropped])
    assert batch.y.max() == 9


def test_labels_can_be_dropped_per_batch(digits, schedule):
    stream = Stream(digits.train, schedule, 10, 4, label_dropout=0.3, dropout_per="batch")
    shares = [(next(stream).y_dropped == 10).float().mean().item() for _ in range(500)]
    assert set(shares) == {0.0, 1.0}
    assert sum(shares) / 500 == pytest.approx(0.3, abs=0.08)


@pytest.mark.parametrize("per", ["sample", "batch"])
def test_dropout_may_be_never_or_always(per):
    y = torch.arange(10)
    assert torch.equal(drop_labels(y, 10, 0.0, per=per), y)
    assert drop_labels(y, 10, 1.0, per=per).eq(10).all()


def test_dropout_out_of_range_is_an_error():
    y = torch.arange(3)
    for p in (-0.1, 1.1):
        with pytest.raises(ValueError, match=rf"label dropout {p}: a probability"):
            drop_labels(y, 10, p)
    with pytest.raises(ValueError, match="'epoch': one of sample, batch"):
        drop_labels(y, 10, 0.1, per="epoch")


@pytest.mark.parametrize(("flip", "share"), [(True, 0.5), (False, 0.0)])
def test_images_are_flipped_half_of_the_time(schedule, flip, share):
    x = torch.linspace(-1, 1, 4).expand(1, 1, 4, 4)
    batch = next(Stream(Images(x, torch.zeros(1).long()), schedule, 10, 2000, flip=flip))
    low = batch.t < 500
    x0 = schedule.predict_x0(batch.x_t, batch.eps, batch.t)[low]
    upright = (x0 - x).abs().amax((1, 2, 3)) < 0.01
    mirrored = (x0 - x.flip(-1)).abs().amax((1, 2, 3)) < 0.01
    assert (upright ^ mirrored).all()
    assert mirrored.float().mean().item() == pytest.approx(share, abs=0.06)


def test_the_teachers_branches_are_attached_without_gradients(model, stream, digits, schedule):
    plain = next(Stream(digits.train, schedule, 10, 16))
    batch = next(with_teacher(stream, model))
    assert same(batch, plain)
    assert plain.teacher is None
    assert isinstance(batch.teacher, Branches)
    want = branches(model, plain.x_t, plain.t, plain.y)
    assert want.cond.requires_grad
    assert not batch.teacher.cond.requires_grad
    assert not batch.teacher.uncond.requires_grad
    assert torch.equal(batch.teacher.cond, want.cond)
    assert torch.equal(batch.teacher.uncond, want.uncond)


def test_the_teacher_sees_the_label_even_where_it_is_dropped(fixed, stream):
    teacher = fixed(torch.tensor(3.0), torch.tensor(1.0))
    dropped = (replace(b, y_dropped=torch.full_like(b.y, 10)) for b in stream)
    assert next(with_teacher(dropped, teacher)).teacher.cond.eq(3).all()


def test_gradients_stay_on_for_the_student(model, stream):
    annotated = with_teacher(stream, model)
    next(annotated)
    assert torch.is_grad_enabled()  # while the generator waits for the next step
