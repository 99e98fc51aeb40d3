"""What a run writes down at every step: metrics.jsonl for machines, timing.jsonl for the clock, TensorBoard for eyes.

Read this to see what the files hold; metrics.jsonl has nothing in it that depends on the clock, so that a run that
was killed and resumed ends with the same bytes as one that was not.
"""

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["Metrics", "timed"]


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Note how many seconds passed inside."""
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start


class Metrics:
    """Append one JSON line a step to metrics.jsonl and timing.jsonl in `folder`, and mirror the numbers to TensorBoard.

    On resume call `truncate` with the first step that will be run again, before the first write.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.files: dict[str, IO[str]] = {}
        self.writer: SummaryWriter | None = None
        self.purge_step: int | None = None

    def write(self, step: int, values: Mapping[str, Any], seconds: Mapping[str, float] | None = None) -> None:
        """Record one step: `values` are numbers, scalar tensors, or JSON such as the health events of the step.

        A number that is not finite is written as null. `seconds` go to timing.jsonl.
        """
        line = {name: plain(value) for name, value in values.items()}
        self._append("metrics", {"step": step, **line})
        if seconds is not None:
            self._append("timing", {"step": step, **{name: plain(value) for name, value in seconds.items()}})
        for name, value in line.items():
            if isinstance(value, (int, float)):
                self._tensorboard().add_scalar(name, value, step)

    def truncate(self, step: int) -> None:
        """Drop what was recorded at `step` and after it, and a line that was being written when the run was killed.

        Raises ValueError when a line before the last is not JSON.
        """
        self.close()
        for name in ("metrics", "timing"):
            self._truncate(self.folder / f"{name}.jsonl", step)
        self.purge_step = step

    def sync(self) -> None:
        """Put everything on disk: call before a checkpoint, which must never be ahead of the metrics."""
        for file in self.files.values():
            os.fsync(file.fileno())
        if self.writer is not None:
            self.writer.flush()

    def close(self) -> None:
        """Sync and close the files; a later write opens them again."""
        self.sync()
        for file in self.files.values():
            file.close()
        self.files = {}
        if self.writer is not None:
            self.writer.close()
        self.writer = None

    def _append(self, name: str, line: Mapping[str, Any]) -> None:
        if name not in self.files:
            self.files[name] = (self.folder / f"{name}.jsonl").open("a", encoding="utf-8", newline="\n")
        self.files[name].write(json.dumps(line, sort_keys=True, allow_nan=False) + "\n")
        self.files[name].flush()  # a killed process keeps what it handed to the system

    def _tensorboard(self) -> "SummaryWriter":
        if self.writer is None:
            from torch.utils.tensorboard import SummaryWriter  # seconds to import: only a run that trains pays them

            self.writer = SummaryWriter(str(self.folder / "tensorboard"), purge_step=self.purge_step)
        return self.writer

    def _truncate(self, path: Path, step: int) -> None:
        if not path.exists():
            return
        content = path.read_bytes()
        whole, _, _ = content.rpartition(b"\n")
        lines = whole.splitlines()
        kept = b"".join(line + b"\n" for number, line in enumerate(lines, 1) if _step(path, number, line) < step)
        if kept == content:
            return
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            file.write(kept)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)


def plain(value: Any) -> Any:
    """Turn tensors and numpy numbers into JSON, and a number that is not finite into None."""
    if isinstance(value, (Tensor, np.ndarray, np.generic)):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _step(path: Path, number: int, line: bytes) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} cannot be continued: line {number} is {line[:40]!r}, expected JSON with a step; "
            "repair or delete the file."
        ) from error
