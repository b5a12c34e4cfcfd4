"""Checkpoints are whole or passed over, signals are noted, and errors say what to do."""

import errno
import hashlib
import os
import pickle
import signal

import pytest
import torch

from dashlib.checkpoints import CheckpointError
from dashlib.scale import checkpointing
from dashlib.scale.checkpointing import (
    Checkpoints,
    Stop,
    TrainingStopped,
    explained,
    read_checkpoint,
)

STATE = {"x": torch.arange(5.0), "random": (3, (1, 2), None), "step": 7}


@pytest.fixture
def saved(tmp_path):
    """Three checkpoints, of steps 1 to 3."""
    kept = Checkpoints(tmp_path / "checkpoints", keep=3)
    for step in (1, 2, 3):
        kept.save(step, {**STATE, "step": step})
    return kept


def steps(kept):
    return [int(path.name.split("-")[1]) for path in sorted(kept.folder.iterdir())]


def test_a_checkpoint_comes_back(saved):
    state = read_checkpoint(saved.newest())
    assert state["step"] == 3
    assert torch.equal(state["x"], STATE["x"])
    assert state["random"] == STATE["random"]


def test_the_newest_are_kept_and_leftovers_go(saved):
    (saved.folder / ".step-000000099-0.pt.x").touch()  # of a process killed while it saved
    saved.save(10, STATE)
    assert steps(saved) == [2, 3, 10]


def test_saving_a_step_again_replaces_it(saved):
    saved.all()[0].write_bytes(b"")
    assert read_checkpoint(saved.save(3, STATE))["step"] == 7
    assert steps(saved) == [1, 2, 3]


def test_there_may_be_none(tmp_path):
    assert Checkpoints(tmp_path / "nowhere").newest() is None


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


DAMAGES = {
    "short": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "a bit": flip_a_bit,
    "empty": lambda path: path.write_bytes(b""),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_newest_is_passed_over_with_a_warning(saved, how):
    newest, former, _ = saved.all()
    DAMAGES[how](newest)
    warnings = []
    assert saved.newest(warnings.append) == former
    (warning,) = warnings
    assert f"{newest} is damaged" in warning
    with pytest.raises(CheckpointError, match=r"step-000000003.* is not a whole checkpoint"):
        read_checkpoint(newest)


def test_all_damaged_is_an_error_not_a_new_start(saved):
    for path in saved.all():
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"all 3 checkpoints in .* are damaged"):
        saved.newest(lambda message: None)


def test_a_file_that_would_execute_code_is_refused(saved, tmp_path):
    """Its name may agree: whoever writes the file writes the name."""
    content = pickle.dumps(os.getcwd)
    path = tmp_path / f"step-000000009-{hashlib.sha256(content).hexdigest()[:16]}.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="would execute code"):
        read_checkpoint(path)


@pytest.mark.parametrize("where", ["torch.save", "os.replace", "os.fsync"])
def test_a_full_disk_leaves_the_former_checkpoints(saved, monkeypatch, where):
    def fail(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(where, fail)
        with pytest.raises(OSError, match="No space"):
            saved.save(4, STATE)
    assert steps(saved) == [1, 2, 3]
    assert read_checkpoint(saved.newest())["step"] == 3


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
    *((error, "out of memory, after step 5") for error in OUT_OF_MEMORY),
    (OSError(errno.ENOSPC, "No space left", "/x/log"), "disk full writing /x/log, after step 5"),
    (FloatingPointError("step 6: loss nan"), "step 6: loss nan"),
]


@pytest.mark.parametrize(("error", "message"), ERRORS, ids=lambda x: type(x).__name__)
def test_errors_name_the_last_good_checkpoint(error, message):
    with (
        pytest.raises(TrainingStopped, match=rf"(?s){message}.*Kept in C\.") as raised,
        explained(lambda: "after step 5. Kept in C."),
    ):
        raise error
    assert raised.value.__cause__ is error


def test_a_real_allocation_that_fails_is_recognised():
    with (
        pytest.raises(TrainingStopped, match="out of memory"),
        explained(lambda: "at the start."),
    ):
        torch.empty(1 << 50)


@pytest.mark.parametrize("error", [RuntimeError("a bug"), PermissionError("no"), ValueError("no")])
def test_other_errors_stay_what_they_are(error):
    with pytest.raises(type(error)) as raised, explained(str):
        raise error
    assert raised.value is error
