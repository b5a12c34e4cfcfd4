"""The commands sample and evaluate on digits: in one process, resumed, and in two processes."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import in_turn
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from test_imagenet64 import write as write_imagenet

from dashlib import checkpoints, classifier, datasets, results
from dashlib.cli.sample import evaluate_command as evaluate
from dashlib.cli.sample import sample_command as sample
from dashlib.cli.sample import sampling_of
from dashlib.guidance import TAG, Constant, Interval
from dashlib.scale import features, presets, reference
from dashlib.scale.distributed import make_accelerator
from dashlib.scale.evaluation import Judge, Store, summary
from dashlib.scale.presets import PRESETS
from dashlib.scale.sampling import Named, Samples, find, label, noise, numbered_images
from dashlib.unet import UNet, UNetConfig

FEW = ["--steps", "2", "--device", "cpu"]


@pytest.fixture(scope="module")
def judge(digits):
    """The weights of a barely trained digits classifier."""
    torch.manual_seed(0)
    return classifier.fit(digits.train, epochs=1).state_dict()


@pytest.fixture
def world(model, judge, run_folder):
    """A folder with the checkpoint ``tiny`` and a stored, barely trained digits classifier."""
    checkpoints.save_model(run_folder / "tiny", model)
    run = results.Run("digits/classifier", {"epochs": 1}, 0, {}, 0.0, 297, {})
    results.store(run, weights=judge)
    return run_folder


def call(command, *arguments, ok=True):
    result = CliRunner().invoke(command, [str(a) for a in arguments])
    assert (result.exit_code == 0) == ok, result.output
    assert ok or isinstance(result.exception, SystemExit), result.exception  # no traceback
    return result.output


def score(world, *arguments, ok=True):
    """Evaluate the tiny model by the classifier's features on 20 samples."""
    fixed = ["--data", "digits", "--root", world / "data", "--features", "classifier", "--n", 20]
    return call(evaluate, world / "tiny", *fixed, *FEW, *arguments, ok=ok)


def launched(world, **commands):
    """The commands with these arguments, one after the other, in two processes under torchrun."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    path = os.pathsep.join((str(Path(in_turn.__file__).parent), os.environ.get("PYTHONPATH", "")))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "DASH_RESULTS": str(world)}
    words = [str(w) for name, of in commands.items() for w in ("then", name, *of)][1:]
    command = [*launcher, "-m", "in_turn", *words]
    subprocess.run(command, env=environment | {"PYTHONPATH": path}, check=True, timeout=240)


def test_noise_belongs_to_the_image_not_to_the_process():
    whole = noise(42, range(10), (1, 8, 8))
    torch.testing.assert_close(noise(42, range(4, 10), (1, 8, 8)), whole[4:], rtol=0, atol=0)
    assert not torch.equal(noise(43, range(10), (1, 8, 8)), whole)
    assert len(torch.unique(whole[:, 0, 0, 0])) == 10
    assert abs(noise(0, range(300), (1, 8, 8)).std() - 1) < 0.03


def images_of(model, w, n, batch=500, **how):
    """Images of a model in this process, as integers."""
    place = make_accelerator(device="cpu")
    made = numbered_images(Samples(Named("any", model, ""), w, 0, n, **how), place, batch)
    return torch.cat([x for x, _ in made]).int()


def test_images_do_not_depend_on_the_batch(model):
    seven, three = (images_of(model, Constant(2), 7, batch=batch) for batch in (7, 3))
    assert (seven - three).abs().max() <= 1  # of 255: batches may round differently


def test_sample_writes_a_grid_arrays_and_files(world):
    for out in ("grid.png", "all.npz", "folder"):
        text = call(sample, world / "tiny", "--out", world / out, "--n", 12, "--batch", 5, *FEW)
        assert f"wrote 12 images to {world / out}" in text
    arrays = np.load(world / "all.npz")
    assert arrays["arr_0"].shape == (12, 8, 8, 3)  # as the evaluator reads it
    assert arrays["arr_0"].dtype == np.uint8
    assert arrays["arr_1"].tolist() == [*range(10), 0, 1]
    files = sorted((world / "folder").iterdir())
    assert [f.name for f in files] == [f"{i:06d}.png" for i in range(12)]
    for file, image in zip(files, arrays["arr_0"], strict=True):
        assert np.array_equal(np.asarray(Image.open(file).convert("RGB")), image)
    grid = np.asarray(Image.open(world / "grid.png").convert("L"))
    assert np.array_equal(grid[1:9, 1:9], arrays["arr_0"][0, :, :, 0])


def test_sampling_options_change_the_images(world):
    def images(*options):
        call(sample, world / "tiny", "--out", world / "x.npz", "--n", 4, *FEW, *options)
        return np.load(world / "x.npz")["arr_0"].tobytes()

    variants = [
        (),
        ("--seed", 1),
        ("--w", 3),
        ("--schedule", "tag"),
        ("--schedule", "interval", "--interval", 0, 500),
        ("--spacing", "leading"),
        ("--clamp", "none"),
    ]
    assert len({images(*options) for options in variants}) == len(variants)
    assert images() == images("--w", 1.5, "--batch", 4)


@pytest.mark.parametrize("w", [Constant(1), Constant(3)])
def test_precision_changes_the_images_little(w):
    trained = results.load("digits/dash-transfer-s0").model()
    exact, rounded = (
        images_of(trained, w, 4, steps=5, precision=precision) for precision in ("fp32", "bf16")
    )
    assert 0 < (rounded - exact).abs().float().mean() < 8  # of 255


def test_an_interval_needs_its_schedule(world):
    text = call(sample, world / "tiny", "--out", world / "x.png", "--interval", 0, 5, ok=False)
    assert "go together" in text


def test_models_are_found_by_name_file_and_folder(world, model):
    checkpoints.save_model(world / "job" / "model", model)
    spec = {"unet": {**vars(model.cfg)}}
    run = results.Run("digits/mine", spec, 0, {}, 0.0, 0, {})
    results.store(run, weights=model.state_dict())
    names = [str(world / "tiny"), f"{world}/tiny.safetensors", str(world / "job"), "digits/mine"]
    assert len({find(name).sha for name in names}) == 1
    with pytest.raises(FileNotFoundError, match="no model 'nothing'"):
        find("nothing")


def test_official_checkpoints_are_found(world):
    from dashlib.unet import STUDENT_CIFAR10

    path = world / "student.pth"
    weights = UNet(STUDENT_CIFAR10).state_dict()
    torch.save({"ema_state_dict": {"shadow": weights}, "tirt_state_dict": {}}, path)
    found = find(str(path))
    torch.testing.assert_close(found.model.conv_out.weight, weights["conv_out.weight"])


def test_single_head_models_are_sampled_with_w_as_an_input(tiny):
    from dataclasses import replace

    torch.manual_seed(0)
    single = UNet(replace(tiny, w_conditioned=True)).eval()
    pictures = [images_of(single, Constant(w), 3) for w in (1, 4)]
    assert not torch.equal(*pictures)


def test_classifier_scores_are_named_so_and_carry_their_circumstances(world):
    out = world / "scores.json"
    text = score(world, "--metrics", "fid,is,kid,pr", "--seeds", 1, "--out", out)
    (record,) = json.loads(out.read_text())["scores"]
    assert "Frechet distance (classifier features)" in record["scores"]
    assert "FID" not in text + out.read_text()
    assert "KID" not in text + out.read_text()
    for part in (
        "N=20",
        "dashlib 0",
        "digits/train, 1,500 images",
        record["reference"]["features"][:8],
    ):
        assert part in text
    assert record["sampling"]["steps"] == 2
    assert set(record) >= {"commit", "hardware", "versions", "seconds", "weights", "library"}


def test_the_frechet_distance_is_that_of_the_samples(world, digits):
    from dashlib.metrics import frechet, gaussian

    out = world / "scores.json"
    score(world, "--metrics", "fid", "--seeds", 1, "--w", 2, "--batch", 7, "--out", out)
    (record,) = json.loads(out.read_text())["scores"]
    call(sample, world / "tiny", "--out", world / "x.npz", "--n", 20, "--w", 2, "--seed", 1, *FEW)
    images = torch.from_numpy(np.load(world / "x.npz")["arr_0"][..., :1]).permute(0, 3, 1, 2)
    judge = results.load("digits/classifier").classifier()
    pair = [
        judge.features(x.float() / 127.5 - 1) for x in (images, reference.to_bytes(digits.train.x))
    ]
    found = record["scores"]["Frechet distance (classifier features)"]
    assert found == pytest.approx(frechet(*map(gaussian, pair)), rel=1e-4)


def given(world, *models, n=20, ok=True):
    """Evaluate images that were made before, by the classifier's features."""
    fixed = ["--data", "digits", "--root", world / "data", "--features", "classifier", "--n", n]
    options = ["--metrics", "fid", "--device", "cpu", "--seeds", 1, "--seeds", 2, "--steps", 2]
    return call(evaluate, *models, *fixed, *options, "--out", world / "given.json", ok=ok)


@pytest.fixture
def images(world):
    """Twenty samples of the tiny model, as an .npz, as a folder, and as grey arrays."""
    for out in ("x.npz", "x"):
        call(sample, world / "tiny", "--out", world / out, "--n", 20, "--w", 2, "--seed", 1, *FEW)
    arrays = np.load(world / "x.npz")["arr_0"]
    np.savez(world / "grey.npz", arr_0=arrays[..., 0])
    return arrays


def test_images_that_were_made_before_are_scored_once_whatever_their_form(world, images):
    forms = [world / name for name in ("x.npz", "x", "grey.npz")]
    text = given(world, *forms, world / "tiny")
    records = json.loads((world / "given.json").read_text())["scores"]
    assert [r["guidance"] for r in records] == ["as given"] * 3 + ["w=1.5"] * 2
    assert len({r["weights"] for r in records[:3]}) == 1  # of the same pixels
    assert len({str(r["scores"]) for r in records[:3]}) == 1
    assert f"{forms[0]}, as given: Frechet distance (classifier features)" in text
    out = world / "scores.json"
    score(world, "--metrics", "fid", "--seeds", 1, "--w", 2, "--out", out)
    (own,) = json.loads(out.read_text())["scores"]
    assert own["scores"] == pytest.approx(records[0]["scores"], rel=1e-4)


def test_other_images_than_asked_for_are_not_scored(world, images):
    assert "x.npz holds 20 images" in given(world, world / "x.npz", n=21, ok=False)
    np.savez(world / "colour.npz", arr_0=np.stack([images[..., 0], images[..., 0] ^ 1], -1))
    assert "holds 20 images (2, 8, 8)" in given(world, world / "colour.npz", ok=False)
    np.savez(world / "floats.npz", arr_0=images / 255)
    assert "torch.float64, not 20 (1, 8, 8) of uint8" in given(
        world, world / "floats.npz", ok=False
    )
    np.savez(world / "other.npz", images=images)
    assert "other.npz is missing or damaged" in given(world, world / "other.npz", ok=False)
    Image.new("RGBA", (8, 8)).save(world / "x" / "000007.png")
    assert "000007.png is (8, 8, 4), not (8, 8), grey" in given(world, world / "x", ok=False)
    (world / "x" / "000007.png").write_bytes(b"\x89PNG")
    assert "000007.png is damaged" in given(world, world / "x", ok=False)


def test_samples_may_be_of_one_class(world):
    out = world / "sevens.npz"
    call(sample, world / "tiny", "--out", out, "--n", 4, "--class", 7, *FEW)
    assert np.load(out)["arr_1"].tolist() == [7] * 4
    assert json.loads((world / "sevens.npz.json").read_text())["class"] == 7
    call(sample, world / "tiny", "--out", world / "all.npz", "--n", 8, *FEW)
    seven = np.load(world / "all.npz")["arr_0"][7]
    call(sample, world / "tiny", "--out", out, "--n", 8, "--class", 7, *FEW)
    assert (np.load(out)["arr_0"][7].astype(int) - seven).max() <= 1  # the same noise
    text = call(sample, world / "tiny", "--out", out, "--class", 10, *FEW, ok=False)
    assert "has no class 10: 0 to 9" in text  # which would be the null class


def test_a_sweep_covers_models_scales_and_seeds_and_averages(world):
    out = world / "scores.json"
    grid = ["--w", 1, "--w", 2, "--tag", "--seeds", 1, "--seeds", 2, "--metrics", "fid"]
    text = score(world, *grid, "--out", out)
    content = json.loads(out.read_text())
    cells = [(r["guidance"], r["seed"]) for r in content["scores"]]
    assert cells == [(g, s) for g in ("w=1", "w=2", "TAG(1,4,5)") for s in (1, 2)]
    row = content["summary"][0]
    a, b = (r["scores"]["Frechet distance (classifier features)"] for r in content["scores"][:2])
    assert row["mean"]["Frechet distance (classifier features)"] == pytest.approx((a + b) / 2)
    assert row["std"]["Frechet distance (classifier features)"] == pytest.approx(
        abs(a - b) / 2**0.5
    )
    assert "seeds 1, 2" in text
    assert "±" in text


def test_the_configuration_is_printed_before_the_scores(world):
    text = score(world, "--metrics", "fid", "--seeds", 1, "--w", 1, "--w", 2, "--tag")
    about, end = json.JSONDecoder().raw_decode(text, start := text.index("{\n"))
    assert "seed 1:" in text[end:]
    assert "seed 1:" not in text[:start]
    assert about["guidance"] == ["w=1", "w=2", "TAG(1,4,5)"]
    assert (about["seeds"], about["metrics"], about["n"]) == ([1], ["fid"], 20)
    assert about["sampling"]["steps"] == 2
    assert about["reference"]["dataset"] == "digits"


def test_images_are_downloaded_when_asked_only(tmp_path, digits, monkeypatch):
    """By the first process; the others read what it fetched."""
    asked = []

    def load(name, root, *, download, dtype):
        asked.append((name, download))
        return digits

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert "--download" in call(evaluate, "--help")
    for download in (False, True):
        reference.real_images(
            "cifar10", tmp_path, make_accelerator(device="cpu"), download=download
        )
    assert asked == [("cifar10", False), ("cifar10", True)]


def test_stored_scores_are_kept_and_only_missing_ones_computed(world, monkeypatch):
    out, made = world / "scores.json", []
    genuine = Judge.score

    def counted(judge, cell, *rest):
        made.append((label(cell.w), cell.seed))
        return genuine(judge, cell, *rest)

    monkeypatch.setattr(Judge, "score", counted)
    score(world, "--w", 1, "--seeds", 1, "--metrics", "fid", "--out", out)
    first = json.loads(out.read_text())["scores"]
    score(world, "--w", 1, "--seeds", 1, "--seeds", 2, "--metrics", "fid", "--out", out)
    assert made == [("w=1", 1), ("w=1", 2)]
    assert json.loads(out.read_text())["scores"][0] == first[0]
    score(world, "--w", 1, "--seeds", 1, "--metrics", "fid", "--out", out, "--clamp", "none")
    assert made[2:] == [("w=1", 1)]  # other circumstances: another score
    score(world, "--w", 1, "--seeds", 2, "--metrics", "pr", "--out", out)
    assert made[3:] == [("w=1", 2)]  # another metric of the same samples joins the record
    joined = [r for r in json.loads(out.read_text())["scores"] if r["seed"] == 2]
    assert len(joined) == 1
    assert {name.split(" (")[0] for name in joined[0]["scores"]} == {
        "Frechet distance",
        "precision",
        "recall",
    }


def test_a_killed_sweep_has_stored_what_it_had(world, monkeypatch):
    out = world / "scores.json"
    genuine = Judge.score

    def dying(judge, cell, *rest):
        if cell.seed == 2:
            raise KeyboardInterrupt
        return genuine(judge, cell, *rest)

    monkeypatch.setattr(Judge, "score", dying)
    with pytest.raises(AssertionError):
        score(world, "--seeds", 1, "--seeds", 2, "--metrics", "fid", "--out", out)
    assert [r["seed"] for r in Store(out).records.values()] == [1]


def test_a_file_that_is_not_scores_is_left_alone(world):
    out = world / "notes.json"
    out.write_text("[1, 2]")
    assert f"{out} is missing or damaged" in score(world, "--out", out, ok=False)
    assert out.read_text() == "[1, 2]"


def test_summary_of_one_seed_has_no_spread():
    record = dict.fromkeys(("model", "weights", "guidance", "n", "sampling", "features"), 0)
    record |= {"reference": {}, "seed": 1, "scores": {"FID": 2.0}, "library": "any 1"}
    (row,) = summary([record])
    assert row["mean"] == {"FID": 2.0}
    assert row["std"] == {"FID": None}
    assert row["library"] == "any 1"


def test_labels_name_every_number():
    assert label(Constant(1.5)) == "w=1.5"
    assert label(TAG(w_max=3)) == "TAG(1,3,5)"
    assert label(Interval(2, 100, 800)) == "w=2 on 100<=t<800"


def test_no_fid_without_inception_weights(world, monkeypatch):
    monkeypatch.delenv("DASH_INCEPTION", raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(world))
    text = call(evaluate, world / "tiny", "--data", "digits", *FEW, ok=False)
    assert "no FID can be computed" in text
    assert features.INCEPTION_URL in text


def sampled_as(world, *options):
    """Return what ``sample`` says beside its images about how they were made."""
    text = call(sample, world / "tiny", "--out", world / "x.npz", "--n", 2, *options)
    about = json.loads((world / "x.npz.json").read_text())
    assert json.dumps(about, indent=1) in text
    return about


@pytest.fixture
def odd_preset(monkeypatch):
    """The digits preset, sampled in four steps as the release does."""
    released = replace(presets.preset("cifar10/released").sampling, steps=4)
    monkeypatch.setitem(PRESETS, "digits", replace(PRESETS["digits"], sampling=released))
    return ["--preset", "digits", "--device", "cpu"]


def test_sample_writes_how_beside_the_images(world):
    about = sampled_as(world, *FEW, "--w", 2, "--seed", 3)
    assert about["guidance"] == "w=2"
    assert about["sampling"] == {
        "steps": 2, "spacing": "linspace", "clamp": "recompute", "precision": "fp32"
    }  # fmt: skip
    assert (about["seed"], about["n"], about["preset"]) == (3, 2, None)
    assert about["weights"] == find(str(world / "tiny")).sha
    assert {"commit", "versions", "hardware"} <= about.keys()


def test_a_preset_says_how_to_sample_and_options_override_it(world, odd_preset):
    about = sampled_as(world, *odd_preset)
    released = {"steps": 4, "spacing": "leading", "clamp": "clamp", "precision": "fp32"}
    assert (about["sampling"], about["guidance"]) == (released, "TAG(1,4,5)")
    about = sampled_as(world, *odd_preset, "--steps", 2, "--clamp", "none", "--w", 3)
    assert (about["sampling"], about["guidance"]) == (
        released | {"steps": 2, "clamp": "none"},
        "w=3",
    )
    about = sampled_as(world, *odd_preset, "--schedule", "tag", "--w", 3)
    assert about["guidance"] == "TAG(1,3,5)"


def test_evaluate_by_a_preset_needs_no_more(world, odd_preset):
    out = world / "scores.json"
    rest = ["--root", world / "data", "--features", "classifier", "--n", 20, "--out", out]
    rest += ["--metrics", "fid", *odd_preset]
    text = call(evaluate, world / "tiny", *rest)
    records = json.loads(out.read_text())["scores"]
    assert [r["seed"] for r in records] == [42, 123, 456]
    assert {r["guidance"] for r in records} == {"TAG(1,4,5)"}
    assert records[0]["reference"]["dataset"] == "digits"
    assert records[0]["sampling"]["spacing"] == "leading"
    means = next(line for line in text.splitlines() if "seeds 42, 123, 456" in line)
    for part in ("N=20", "dashlib 0", "reference digits/train, 1,500 images"):
        assert part in means
    call(evaluate, world / "tiny", *rest, "--w", 1, "--tag", "--steps", 2, "--seeds", 1)
    records = json.loads(out.read_text())["scores"][3:]
    assert [(r["guidance"], r["sampling"]["steps"]) for r in records] == [
        ("w=1", 2),
        ("TAG(1,4,5)", 2),
    ]


def test_the_published_presets_sample_as_documented():
    unsaid = {"steps": None, "spacing": None, "clamp": None, "precision": "bf16"}
    usual = {"steps": 50, "spacing": "linspace", "clamp": "recompute", "precision": "bf16"}
    assert sampling_of(None, **unsaid) == usual
    released = usual | {"spacing": "leading", "clamp": "clamp"}
    assert sampling_of("cifar10/released", **unsaid) == released


def test_a_preset_of_other_images_is_refused(world):
    cifar = ["--preset", "cifar10/paper_v2", *FEW]
    text = call(sample, world / "tiny", "--out", world / "x.png", *cifar, ok=False)
    assert "makes 8x8 images" in text
    assert "--preset" in text
    assert not (world / "x.png").exists()
    assert "makes 8x8 images" in score(world, *cifar, ok=False)


def test_real_images_must_be_named(world):
    text = call(evaluate, world / "tiny", "--features", "classifier", *FEW, ok=False)
    assert "give --data, or --preset" in text


def test_imagenet_64_is_evaluated_from_its_batch_files(world, monkeypatch):
    """The whole command, with a stand-in for Inception; a model of 64x64 and 1,000 classes."""
    write_imagenet(world / "files")
    torch.manual_seed(0)
    unet = UNetConfig(
        image_size=64, num_classes=1000, ch=8, mults=(1, 2), blocks=1, attn_resolutions=(),
        groups=4, patch_size=4,
    )  # fmt: skip
    checkpoints.save_model(world / "big", UNet(unet))

    def pixels(images):
        return images.float().flatten(1)[:, :8]

    weights = world / "weights.pth"
    weights.touch()
    stand_in = features.Extractor(pixels, None, "0" * 64, "a stand-in", "{} (stand-in)")
    monkeypatch.setattr(features, "inception", lambda *_, **__: stand_in)
    text = call(
        evaluate, world / "big", "--preset", "imagenet64/paper_v2", "--root", world / "files",
        "--inception", weights, "--n", 12, "--metrics", "fid", "--seeds", 1, *FEW,
    )  # fmt: skip
    assert "Frechet distance (stand-in)" in text
    assert "imagenet64/train, 40 images" in text
    assert "TAG(1,4,5)" in text


def test_a_lone_process_of_several_is_refused(monkeypatch):
    for name in ("WORLD_SIZE", "MASTER_ADDR", "ACCELERATE_USE_CPU", "OMPI_COMM_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    make_accelerator()
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    make_accelerator()  # one was asked for
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    with pytest.raises(ValueError, match="torchrun starts several"):
        make_accelerator()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4"),  # divided every gradient by 4
        ("ACCELERATE_DYNAMO_BACKEND", "EAGER"),
        ("ACCELERATE_MIXED_PRECISION", "bf16"),
        ("ACCELERATE_USE_FSDP", "true"),
        ("NVIDIA_TF32_OVERRIDE", "1"),
    ],
)
def test_surroundings_that_change_the_mathematics_are_refused(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f"{name}={value} would change results unrecorded"):
        make_accelerator()


def test_a_launcher_that_asks_for_the_same_precision_is_heard(monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert make_accelerator("bf16").mixed_precision == "bf16"
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    assert make_accelerator("bf16").mixed_precision == "bf16"


@pytest.mark.parametrize("name", ["g.jpg", "g.npy", "g.webp", "g.safetensors"])
def test_other_kinds_of_pictures_are_refused_with_those_there_are(world, name):
    text = call(sample, world / "tiny", "--out", world / name, *FEW, ok=False)
    assert "FILE.png" in text
    assert not (world / name).exists()


@pytest.mark.parametrize("name", ["g.PNG", "g.NPZ"])
def test_upper_case_suffixes_are_the_same(world, name):
    call(sample, world / "tiny", "--out", world / name, "--n", 2, *FEW)
    assert (world / name).is_file()


def test_a_folder_of_another_call_is_refused(world):
    again = (sample, world / "tiny", "--out", world / "v1.5", "--n", 2, *FEW)
    call(*again)
    assert "holds files of another call" in call(*again, ok=False)
    assert len([*(world / "v1.5").iterdir()]) == 2


@pytest.mark.parametrize("w", ["nan", "inf", "-inf"])
def test_guidance_that_is_not_finite_writes_nothing(world, w):
    text = call(sample, world / "tiny", "--out", world / "x.npz", "--w", w, *FEW, ok=False)
    assert "not finite" in text
    assert not (world / "x.npz").exists()
    assert not (world / "x.npz.json").exists()


def test_models_of_other_images_are_refused(world, model):
    from dataclasses import replace

    checkpoints.save_model(world / "tiny", UNet(replace(model.cfg, num_classes=7)))
    assert "7 classes" in score(world, ok=False)


def test_two_processes_sample_and_score_like_one(world):
    pictures = [world / "tiny", "--samples", 7, "--batch", 3, *FEW]
    scored = [world / "tiny", "--data", "digits", "--features", "classifier", "--samples", 21, *FEW]
    scored += ["--batch", 8, "--seeds", 1, "--metrics", "fid,is,kid,pr"]

    def arguments(name):
        own = ["--root", world / name, "--out", world / f"{name}.json"]
        return {"sample": [*pictures, "--out", world / f"{name}.npz"], "evaluate": [*scored, *own]}

    call(sample, *arguments("one")["sample"])
    call(evaluate, *arguments("one")["evaluate"])
    launched(world, **arguments("two"))

    arrays = [np.load(world / f"{name}.npz") for name in ("one", "two")]
    assert np.array_equal(*(a["arr_1"] for a in arrays))
    assert np.abs(np.subtract(*(a["arr_0"].astype(int) for a in arrays))).max() <= 1
    one, two = (json.loads((world / f"{n}.json").read_text())["scores"][0] for n in ("one", "two"))
    assert (one["processes"], two["processes"]) == (1, 2)
    for name, value in one["scores"].items():
        assert two["scores"][name] == pytest.approx(value, rel=1e-4, abs=1e-6), name
    folders = [world / name / "reference" for name in ("one", "two")]
    kept = [checkpoints.read_tensors(next(folder.glob("*.safetensors"))) for folder in folders]
    for part in ("mean", "covariance", "pool"):
        torch.testing.assert_close(kept[1][part], kept[0][part], rtol=1e-5, atol=1e-5)


def test_samples_is_another_name_for_n_which_torchrun_takes_for_its_own(world):
    call(sample, world / "tiny", "--out", world / "x.npz", "--samples", 3, *FEW)
    assert len(np.load(world / "x.npz")["arr_0"]) == 3
