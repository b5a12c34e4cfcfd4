"""Checkpoints are whole or passed over, signals are noted, and errors say what to do."""

import errno
import json
import os
import signal

import pytest
import torch

from dashlib.checkpoints import CheckpointError
from dashlib.scale import checkpointing
from dashlib.scale.checkpointing import Checkpoints, Stop, TrainingStopped, explained, read

STATE = {"x": torch.arange(5.0), "random": (3, (1, 2), None), "step": 7}


@pytest.fixture
def saved(tmp_path):
    """Three checkpoints, of steps 1 to 3."""
    kept = Checkpoints(tmp_path / "checkpoints", keep=3)
    for step in (1, 2, 3):
        kept.save(step, {**STATE, "step": step})
    return kept


def names(kept):
    return [path.name for path in sorted(kept.folder.iterdir())]


def test_a_checkpoint_comes_back(saved):
    state = read(saved.newest())
    assert state["step"] == 3
    assert torch.equal(state["x"], STATE["x"])
    assert state["random"] == STATE["random"]
    manifest = json.loads((saved.path(3) / "checkpoint.json").read_text())
    assert manifest["step"] == 3
    assert manifest["bytes"] == (saved.path(3) / "state.pt").stat().st_size


def test_the_newest_are_kept_and_leftovers_go(saved):
    (saved.folder / ".step-000000099").mkdir()  # of a process killed while it saved
    saved.save(10, STATE)
    assert names(saved) == ["step-000000002", "step-000000003", "step-000000010"]
    with pytest.raises(ValueError, match="keep=0"):
        Checkpoints(saved.folder, keep=0)


def test_saving_a_step_again_replaces_it(saved):
    (saved.path(3) / "state.pt").write_bytes(b"")
    saved.save(3, STATE)
    assert read(saved.path(3))["step"] == 7


def test_there_may_be_none(tmp_path):
    assert Checkpoints(tmp_path / "nowhere").newest() is None


def shorten(path):
    (path / "state.pt").write_bytes((path / "state.pt").read_bytes()[:-100])


def flip_a_bit(path):
    content = bytearray((path / "state.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (path / "state.pt").write_bytes(bytes(content))


DAMAGES = {
    "short": shorten,
    "a bit": flip_a_bit,
    "no state": lambda path: (path / "state.pt").unlink(),
    "no manifest": lambda path: (path / "checkpoint.json").unlink(),
    "half a manifest": lambda path: (path / "checkpoint.json").write_text('{"step": 3, "sha'),
    "another manifest": lambda path: (path / "checkpoint.json").write_text("[]"),
}


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_newest_is_passed_over_with_a_warning(saved, how):
    DAMAGES[how](saved.path(3))
    warnings = []
    assert saved.newest(warnings.append) == saved.path(2)
    (warning,) = warnings
    assert "step-000000003 is damaged" in warning
    with pytest.raises(CheckpointError, match=r"step-000000003 is not a whole checkpoint"):
        read(saved.path(3))


def test_all_damaged_is_an_error_not_a_new_start(saved):
    for step in (1, 2, 3):
        shorten(saved.path(step))
    with pytest.raises(CheckpointError, match=r"all 3 checkpoints in .* are damaged"):
        saved.newest(lambda message: None)


@pytest.mark.parametrize("where", ["first file", "second file", "rename"])
def test_a_full_disk_leaves_the_former_checkpoints(saved, monkeypatch, where):
    real, calls = checkpointing.write_atomically, []

    def fail(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    def write(path, content):
        calls.append(path)
        if len(calls) == (1 if where == "first file" else 2):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content[:3])
            fail()
        real(path, content)

    if where == "rename":
        monkeypatch.setattr(type(saved.folder), "rename", fail)
    else:
        monkeypatch.setattr(checkpointing, "write_atomically", write)
    with pytest.raises(OSError, match="No space"):
        saved.save(4, STATE)
    monkeypatch.undo()
    assert names(saved) == ["step-000000001", "step-000000002", "step-000000003"]
    assert read(saved.newest())["step"] == 3


@pytest.mark.parametrize("number", checkpointing.SIGNALS, ids=lambda s: s.name)
def test_signals_are_noted_and_handlers_put_back(number):
    former = signal.getsignal(number)
    with Stop() as stop:
        assert stop.received is None
        os.kill(os.getpid(), number)
        assert stop.received is number
    assert signal.getsignal(number) is former


def test_a_second_ctrl_c_interrupts_at_once():
    with Stop() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert stop.received is signal.SIGINT


OUT_OF_MEMORY = [
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory"
    ),
    MemoryError(),
]
ERRORS = [
    *((error, r"out of memory, after step 5 \(") for error in OUT_OF_MEMORY),
    (OSError(errno.ENOSPC, "No space left", "/x/log"), "disk full writing /x/log, after step 5"),
    (FloatingPointError("step 6: loss nan"), "step 6: loss nan"),
]


@pytest.mark.parametrize(("error", "message"), ERRORS, ids=lambda x: type(x).__name__)
def test_errors_name_the_last_good_checkpoint(error, message):
    with (
        pytest.raises(TrainingStopped, match=rf"(?s){message}.*Kept in C\.") as raised,
        explained(lambda: "after step 5", lambda: "Kept in C."),
    ):
        raise error
    assert raised.value.__cause__ is error


def test_a_real_allocation_that_fails_is_recognised():
    with (
        pytest.raises(TrainingStopped, match="out of memory"),
        explained(lambda: "at the start", lambda: ""),
    ):
        torch.empty(1 << 50)


@pytest.mark.parametrize("error", [RuntimeError("a bug"), PermissionError("no"), ValueError("no")])
def test_other_errors_stay_what_they_are(error):
    with pytest.raises(type(error)) as raised, explained(str, str):
        raise error
    assert raised.value is error
