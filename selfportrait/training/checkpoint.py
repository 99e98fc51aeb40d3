"""Checkpoints that are there whole or not at all: safetensors and JSON in one folder a step, no pickle.

Read this to see what a killed run goes on from.
"""

import errno
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from selfportrait import store

__all__ = ["Checkpoint", "last_step", "latest", "load", "save"]

log = logging.getLogger(__name__)

PARTIAL = ".partial-"
META = "meta.json"


@dataclass(frozen=True)
class Checkpoint:
    """What was saved at a step: groups of named tensors, on the CPU, and whatever JSON the recipe keeps beside them."""

    step: int
    tensors: dict[str, dict[str, Tensor]]
    meta: dict[str, Any]


def save(
    folder: Path, step: int, tensors: Mapping[str, Mapping[str, Tensor]], meta: Mapping[str, Any], *, keep: int = 2
) -> Path:
    """Write folder/step-<step>, one safetensors file a group, and keep the newest `keep` checkpoints.

    Everything is written and synced under another name first, so a kill at any moment leaves the earlier checkpoints
    as they were. Raises OSError when the disk is full.
    """
    assert keep >= 1, "a run cannot go on from no checkpoint"
    final = folder / f"step-{step:05d}"
    partial = folder / f"{PARTIAL}{final.name}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        for group, named in tensors.items():
            _save_tensors(partial / f"{group}.safetensors", named)
        _save_meta(partial, {"step": step, "meta": dict(meta)})
        for path in (*partial.iterdir(), partial):
            store.sync(path)
        _discard(final)  # an unreadable checkpoint of this step may be in the way
        os.replace(partial, final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # gives a full disk its space back
    store.sync(folder)
    for old in _steps(folder)[:-keep]:
        _discard(old)
    return final


def latest(folder: Path) -> Checkpoint | None:
    """Load the newest readable checkpoint of a folder; None when it has none yet.

    Half-written leftovers are deleted, so call this only from the process that owns the run. An unreadable checkpoint
    is skipped with a warning; raises ValueError when there are checkpoints and none can be read.
    """
    for leftover in folder.glob(f"{PARTIAL}*"):
        shutil.rmtree(leftover)
    steps = _steps(folder)
    for path in reversed(steps):
        try:
            return load(path)
        except ValueError as error:
            log.warning("skipped a checkpoint: %s", error)
    if steps:
        raise ValueError(
            f"cannot resume: none of the {len(steps)} checkpoints in {folder} can be read; delete the folder to train "
            "from the start."
        )
    return None


def last_step(folder: Path) -> int:
    """The step of the newest checkpoint, by its name; 0 where there is none."""
    return max((int(path.name[5:]) for path in _steps(folder)), default=0)


def load(path: Path) -> Checkpoint:
    """Load one checkpoint folder onto the CPU; raises ValueError when a file is missing, damaged or not its own."""
    try:
        record = json.loads((path / META).read_text(encoding="utf-8"))
        tensors = {}
        for name, digest in record["files"].items():
            if _digest(path / name) != digest:
                raise ValueError(f"the bytes of {name} are not those that were saved")
            tensors[name.removesuffix(".safetensors")] = load_file(path / name)
        return Checkpoint(record["step"], tensors, record["meta"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise ValueError(f"checkpoint {path} cannot be read ({error}); delete it to use an earlier one.") from error


def _save_tensors(path: Path, named: Mapping[str, Tensor]) -> None:
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}
    try:
        save_file(tensors, path)
    except SafetensorError as error:  # it reports a full disk in its message alone
        needed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        code = errno.ENOSPC if shutil.disk_usage(path.parent).free < needed else errno.EIO
        raise OSError(code, f"{os.strerror(code)} while saving a checkpoint ({error})", str(path)) from error


def _save_meta(folder: Path, record: dict[str, Any]) -> None:
    record["files"] = {path.name: _digest(path) for path in sorted(folder.glob("*.safetensors"))}
    text = json.dumps(record, indent=1, sort_keys=True, allow_nan=False)
    (folder / META).write_text(text + "\n", encoding="utf-8")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _steps(folder: Path) -> list[Path]:
    """List the checkpoints of a folder, oldest step first."""
    return sorted(
        (path for path in folder.glob("step-*") if path.name[5:].isdigit()), key=lambda path: int(path.name[5:])
    )


def _discard(path: Path) -> None:
    """Delete a checkpoint so that a kill in between leaves no half of it under its name."""
    if path.exists():
        doomed = path.with_name(f"{PARTIAL}old-{path.name}")
        shutil.rmtree(doomed, ignore_errors=True)
        os.replace(path, doomed)
        shutil.rmtree(doomed)
