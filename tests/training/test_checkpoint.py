"""Checkpoints come back bit for bit, and whatever a kill or a bad disk leaves behind is survived."""

import errno
import logging
import os
import shutil
from pathlib import Path

import pytest
import torch

from selfportrait.training import checkpoint
from selfportrait.training.checkpoint import latest, load, save

TENSORS = {
    "model": {"block.weight": torch.randn(3, 4), "half": torch.randn(5).bfloat16()},
    "optimizer": {"num_steps": torch.tensor(7), "conv": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)},
    "empty": {},
}
META = {"step": 7, "value": 0.1 + 0.2, "seeds": [1, 2**62], "name": "π"}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_round_trip(tmp_path: Path) -> None:
    path = save(tmp_path / "checkpoints", 7, TENSORS, META)
    assert path.name == "step-00007"
    found = load(path)
    assert found.step == 7
    assert found.meta == META
    assert found.tensors.keys() == TENSORS.keys()
    for group, named in TENSORS.items():
        assert found.tensors[group].keys() == named.keys()
        for name, tensor in named.items():
            assert torch.equal(found.tensors[group][name], tensor)
            assert found.tensors[group][name].dtype == tensor.dtype


def test_same_state_same_bytes(tmp_path: Path) -> None:
    first, second = save(tmp_path / "a", 7, TENSORS, META), save(tmp_path / "b", 7, TENSORS, META)
    for name in names(first):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_latest_is_by_number_and_the_last_are_kept(tmp_path: Path) -> None:
    assert latest(tmp_path / "none") is None
    for step in (2, 99999, 100000):
        save(tmp_path, step, TENSORS, META, keep=2)
    assert names(tmp_path) == ["step-100000", "step-99999"]
    assert latest(tmp_path).step == 100000


def test_leftovers_of_a_kill_are_ignored_and_deleted(tmp_path: Path) -> None:
    save(tmp_path, 1, TENSORS, META)
    shutil.copytree(tmp_path / "step-00001", tmp_path / ".partial-step-00002")
    (tmp_path / ".partial-old-step-00000").mkdir()
    assert latest(tmp_path).step == 1
    assert names(tmp_path) == ["step-00001"]


@pytest.mark.parametrize("call", range(12))
def test_a_kill_at_any_system_call_leaves_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    save(tmp_path, 1, TENSORS, META, keep=1)
    expected = load(tmp_path / "step-00001").tensors
    count = 0

    class Killed(BaseException):
        pass

    def dying(real):
        def function(*arguments, **settings):
            nonlocal count
            count += 1
            if count > call:  # nothing works any more, no clean-up either
                raise Killed
            return real(*arguments, **settings)

        return function

    with monkeypatch.context() as patched:
        for module, name in ((os, "replace"), (os, "fsync"), (checkpoint, "save_file"), (shutil, "rmtree")):
            patched.setattr(module, name, dying(getattr(module, name)))
        try:
            save(tmp_path, 2, TENSORS, META, keep=1)
            is_complete = True
        except Killed:
            is_complete = False
    found = latest(tmp_path)
    assert found.step in (1, 2)
    assert found.step == 2 or not is_complete
    for group, named in expected.items():
        for name, tensor in named.items():
            assert torch.equal(found.tensors[group][name], tensor)
    assert all(name.startswith("step-") for name in names(tmp_path))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, flip, Path.unlink])
@pytest.mark.parametrize("name", ["model.safetensors", "meta.json"])
def test_a_damaged_checkpoint_is_skipped_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage, name: str
) -> None:
    for step in (1, 2):
        save(tmp_path, step, TENSORS, META)
    damage(tmp_path / "step-00002" / name)
    if damage is flip and name == "meta.json":
        (tmp_path / "step-00002" / name).write_bytes(b"[]")
    with caplog.at_level(logging.WARNING):
        assert latest(tmp_path).step == 1
    assert "step-00002 cannot be read" in caplog.text
    damage(tmp_path / "step-00001" / "model.safetensors")
    with pytest.raises(ValueError, match="none of the 2 checkpoints"):
        latest(tmp_path)


def test_a_damaged_checkpoint_is_replaced_by_the_same_step(tmp_path: Path) -> None:
    flip(save(tmp_path, 1, TENSORS, META) / "model.safetensors")
    save(tmp_path, 1, TENSORS, META)
    assert latest(tmp_path).step == 1


def test_a_full_disk_is_an_os_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 1, TENSORS, META)

    def full(*_: object) -> None:
        raise checkpoint.SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", full)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(OSError, match="while saving a checkpoint") as caught:
        save(tmp_path, 2, TENSORS, META)
    assert caught.value.errno == errno.ENOSPC
    assert names(tmp_path) == ["step-00001"]


def test_meta_must_be_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range float"):
        save(tmp_path, 1, {}, {"loss": float("nan")})
    assert names(tmp_path) == []
