"""Stored runs: what is stored comes back, and damage is found and named."""

import json
import os

import pytest
import torch

from dashlib import results
from dashlib.checkpoints import CheckpointError, sha256
from dashlib.results import MissingRun, Run
from dashlib.schedule import Schedule
from dashlib.unet import UNet
from dashlib.weighting import make_weighting

NAME = "digits/dash-transfer-s0"


@pytest.fixture
def make(run_folder, model):
    """Store a run: ``make(name, weights=..., trace=..., **fields)``."""

    def store(name=NAME, weights=None, trace=None, **fields):
        fields = {
            "config": {"unet": vars(model.cfg), "weighting": "tirt"},
            "seed": 3,
            "seconds": {"train": 1.5},
            "cpu_seconds": 1.4,
            "samples": 20,
            "metrics": {"gap": {"overall": {"rho": 0.97}}},
        } | fields
        weights, trace = weights or model.state_dict(), trace or {"loss": torch.ones(3)}
        return results.store(Run(name, **fields), weights=weights, trace=trace)

    return store


def files(folder):
    return {p.name for p in (folder / NAME).iterdir()}


def test_runs_lie_beside_the_package_unless_told_otherwise(monkeypatch, tmp_path):
    monkeypatch.setenv("DASH_RESULTS", str(tmp_path))
    assert results.root() == tmp_path
    monkeypatch.delenv("DASH_RESULTS")
    assert results.root().name == "results"
    assert (results.root().parent / "dashlib" / "results.py").exists()


def test_a_run_comes_back(make, run_folder):
    stored = make()
    loaded = results.load(NAME)
    assert (loaded.name, loaded.seed, loaded.samples) == (NAME, 3, 20)
    assert loaded.metrics == stored.metrics
    assert loaded.seconds == {"train": 1.5}
    assert loaded.folder == run_folder / NAME
    assert torch.equal(loaded.trace["loss"], torch.ones(3))
    assert torch.equal(loaded.tensors("trace")["loss"], torch.ones(3))


def test_store_returns_what_load_will(make):
    """JSON has no integer keys and no tuples: both ways to a run must agree on them."""
    stored = make(metrics={"per_timestep": {0: {"rho": 1.0}, 50: {"rho": 0.9}}, "nan": None})
    assert results.load(NAME) == stored


def test_a_run_tells_where_it_comes_from(make):
    stored = make()
    assert stored.commit
    assert stored.versions["torch"] == torch.__version__
    assert "thread" in stored.hardware or torch.cuda.is_available()
    text = json.loads((stored.folder / "run.json").read_text())
    assert {"name", "config", "seed", "commit", "hardware", "seconds", "samples"} <= text.keys()


def test_the_network_comes_back_frozen(make, model):
    make()
    again = results.load(NAME).model()
    assert again.cfg == model.cfg
    assert not again.training
    assert not any(p.requires_grad for p in again.parameters())
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in again.state_dict().items())


def test_weights_of_another_architecture_are_an_error(make, model, tiny):
    make(config={"unet": vars(tiny) | {"blocks": 2}})
    with pytest.raises(CheckpointError, match=rf"{NAME} holds another architecture"):
        results.load(NAME).model()


@pytest.mark.parametrize("weighting", ["tirt", "tirt_eps"])
def test_the_last_importance_is_handed_over(make, weighting):
    history = torch.randn(4, 1000)
    make(config={"unet": {}, "weighting": weighting}, trace={"lambda": history})
    found = results.load(NAME).weighting()
    learned = make_weighting(weighting, Schedule())
    learned.lam.data = history[-1]
    assert not any(p.requires_grad for p in found.parameters())
    torch.testing.assert_close(found.importance(), learned.importance().detach())


def test_a_run_without_importance_says_so(make):
    make()
    with pytest.raises(ValueError, match=rf"{NAME} was trained without learned importance"):
        results.load(NAME).weighting()


def test_a_run_without_a_trace_says_so(run_folder, model):
    run = Run(NAME, config={}, seed=0, seconds={}, cpu_seconds=0, samples=0, metrics={})
    results.store(run, weights=model.state_dict())
    with pytest.raises(ValueError, match=NAME):
        results.load(NAME).weighting()


def test_a_missing_run_names_its_command(run_folder):
    with pytest.raises(MissingRun, match=r"python -m dashlib make digits/dash-transfer-s0"):
        results.load(NAME)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '{"name": "x", "sede": 1}'])
def test_a_damaged_run_json_is_an_error(make, text):
    path = make().folder / "run.json"
    path.write_text(text)
    with pytest.raises(CheckpointError, match=rf"is missing or damaged .*git checkout {path}"):
        results.load(NAME)


def edited(path, change, *, signed):
    """Change a run.json; ``signed``: with the SHA-256 that belongs to its new content."""
    content = json.loads(path.read_text())
    stored = content.pop("sha256")
    change(content)
    fresh = sha256(json.dumps(content, indent=1).encode())
    held = content | {"sha256": fresh if signed else stored}
    path.write_text(f"{json.dumps(held, indent=1)}\n")


def test_edited_metrics_are_found_by_their_hash(make):
    path = make().folder / "run.json"
    edited(path, lambda run: run["metrics"]["gap"]["overall"].update(rho=1.0), signed=False)
    with pytest.raises(CheckpointError, match="it was edited"):
        results.load(NAME)


def test_what_is_signed_anew_is_read_and_every_byte_of_it_counts(make):
    path = make().folder / "run.json"
    edited(path, lambda run: run["metrics"]["gap"]["overall"].update(rho=1.0), signed=True)
    assert results.load(NAME).metrics["gap"]["overall"]["rho"] == 1.0
    whole = path.read_text()
    for other in (f"{whole} ", whole.replace(": 1.0", ": 1.00"), json.dumps(json.loads(whole))):
        path.write_text(other)
        with pytest.raises(CheckpointError, match="it was edited, or is a link"):
            results.load(NAME)


@pytest.mark.parametrize(
    "change",
    [
        lambda run: run.update(name="digits/other-s0"),
        lambda run: run.update(name="../victim"),
        *(lambda run, key=key: run.pop(key) for key in ("commit", "hardware", "versions", "files")),
        lambda run: run.update(extra=1),
        lambda run: run.update(files={"../../victim/x": {"name": "x", "sha256": "0"}}),
        lambda run: run.update(files=3),
        lambda run: run["files"]["weights"].update(sha256=5),
        lambda run: run["files"]["weights"].pop("name"),
        lambda run: run.update(config=[]),
        lambda run: run.update(seed="0"),
        lambda run: run["seconds"].update(train="1"),
        lambda run: run.update(versions={"python": 3}),
    ],
)
def test_a_hostile_run_json_is_refused_though_its_hash_is_right(make, change):
    path = make().folder / "run.json"
    edited(path, change, signed=True)
    with pytest.raises(CheckpointError, match="is missing or damaged"):
        results.load(NAME)


def test_a_run_behind_a_link_is_refused(make, run_folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "run"
    make().folder.rename(outside)
    (run_folder / NAME).symlink_to(outside)
    with pytest.raises(CheckpointError, match="or is a link"):
        results.load(NAME)


def test_weights_are_read_from_the_folder_of_the_run_only(make, run_folder):
    run = make()
    weights_of(run).rename(run_folder / "elsewhere.safetensors")
    entry = {"name": "../../elsewhere.safetensors", "sha256": run.files["weights"]["sha256"]}
    edited(run.folder / "run.json", lambda r: r["files"].update(weights=entry), signed=True)
    with pytest.raises(CheckpointError, match="missing"):
        results.load(NAME).model()


@pytest.mark.parametrize("config", [{}, {"unet": None}, {"unet": {"ch": "x"}}, {"unet": {"a": 1}}])
def test_a_run_without_the_configuration_of_a_network_says_so(make, config):
    make(config=config)
    with pytest.raises(CheckpointError, match=r"run\.json is missing or damaged"):
        results.load(NAME).model()


def test_a_classifier_is_no_diffusion_model(make):
    make(name="digits/classifier")
    with pytest.raises(ValueError, match="is a classifier, no diffusion model: see `dashlib list`"):
        results.load("digits/classifier").model()


def weights_of(run):
    return run.folder / run.files["weights"]["name"]


@pytest.mark.parametrize("keep", [0, 4, 1000, -1])
def test_truncated_weights_are_an_error(make, keep):
    path = weights_of(make())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=f"{path} is missing or damaged"):
        results.load(NAME).model()


def test_a_changed_number_is_found_by_its_hash(make):
    path = weights_of(make())
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"not the file whose SHA-256 is in run\.json"):
        results.load(NAME).model()


def test_missing_weights_are_an_error(make):
    path = weights_of(make())
    path.unlink()
    with pytest.raises(CheckpointError, match=f"{path} is missing or damaged"):
        results.load(NAME).model()


def test_a_rewritten_run_keeps_its_own_files_only(make, run_folder):
    make(trace={"loss": torch.zeros(3)})
    before = files(run_folder)
    again = make()
    assert files(run_folder) == {"run.json", *(entry["name"] for entry in again.files.values())}
    assert before - files(run_folder)  # the former trace
    assert results.load(NAME).trace["loss"].eq(1).all()


def test_the_same_content_has_the_same_name(make, run_folder):
    make()
    before = files(run_folder)
    make()
    assert files(run_folder) == before


@pytest.mark.parametrize("killed_at", [0, 1, 2])
def test_a_run_killed_before_run_json_leaves_the_former_one(make, model, monkeypatch, killed_at):
    """Weights, trace and run.json are written in this order; it dies before one of them."""
    make()
    write, written = results.write_atomically, []

    def die(path, content):
        if len(written) == killed_at:
            raise KeyboardInterrupt
        written.append(path)
        write(path, content)

    monkeypatch.setattr(results, "write_atomically", die)
    other = {k: v + 1 for k, v in model.state_dict().items()}
    with pytest.raises(KeyboardInterrupt):
        make(weights=other, trace={"loss": torch.zeros(5)}, seed=4)
    former = results.load(NAME)
    assert former.seed == 3
    assert torch.equal(former.model().conv_in.weight, model.conv_in.weight)
    assert former.trace["loss"].eq(1).all()
    monkeypatch.setattr(results, "write_atomically", write)
    make(weights=other)
    assert len(files(former.folder.parent.parent)) == 3  # what the killed process left is gone


def test_no_temporary_file_stays(make, monkeypatch):
    def fail(*args):
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="no space"):
            make()
    make()
    assert len(files(results.root())) == 3


def test_names_are_those_of_whole_runs(make, run_folder):
    make("digits/b-uniform-s1")
    make("digits/a-uniform-s0")
    (run_folder / "digits/half").mkdir()
    assert results.names() == ["digits/a-uniform-s0", "digits/b-uniform-s1"]
    assert results.names("cifar") == []


def test_a_row_is_selected_with_its_seeds_and_nothing_else(make):
    wanted = [make(f"digits/cond_only-transfer-s{s}").name for s in (0, 1)]
    make("digits/cond_only-transfer-zero-s0")
    make("digits/cond_only_dropout-transfer-s0")
    make("digits/cond_only-uniform-s0")
    assert [run.name for run in results.select("cond_only", "transfer")] == wanted
    with pytest.raises(MissingRun, match=r"dash-uniform-s\*.*make digits/dash-uniform-s0"):
        results.select("dash", "uniform")


def test_half_precision_weights_are_stored_as_such(make, model):
    run = make(weights={k: v.half() for k, v in model.state_dict().items()})
    assert {v.dtype for v in run.tensors("weights").values()} == {torch.float16}
    assert run.model().conv_in.weight.dtype == torch.float32
    assert isinstance(run.model(), UNet)
