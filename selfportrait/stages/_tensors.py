"""Tensors beside the parts of a table: a safetensors file a part, of which a row at a time is read.

Read this before keeping what is too large for a column. The file is written before its part, whose being there says
that all of it is.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from selfportrait import store

__all__ = ["Place", "Tensors", "places", "write_tensors"]

Place = tuple[int, int]
"""A part and a row in it."""


def write_tensors(folder: Path, index: int, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write the tensors (rows, ...) of part `index`, from whatever device."""
    store.write_bytes(_file(folder, index), save({name: one.cpu().contiguous() for name, one in tensors.items()}))


def places(index: int, num_rows: int) -> list[Place]:
    """Where the rows of a part are."""
    return [(index, row) for row in range(num_rows)]


class Tensors:
    """The tensors of a table's rows, on the disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open = lru_cache(maxsize=256)(self._opened)

    def _opened(self, index: int) -> Any:
        file = _file(self.folder, index)
        try:
            return safe_open(file, framework="pt")
        except (OSError, SafetensorError) as error:
            raise ValueError(
                f"{file} cannot be read ({error}): delete it and {file.with_suffix('.parquet').name}, the stage will "
                "redo them"
            ) from error

    def has(self, name: str, row: Place) -> bool:
        """Whether there are tensors of this name in the part of a row."""
        return name in self._open(row[0]).keys()  # noqa: SIM118

    def read(self, name: str, rows: Sequence[Place]) -> torch.Tensor:
        """Fetch some rows (N, ...), in this order."""
        return torch.cat([self._open(part).get_slice(name)[row : row + 1] for part, row in rows])


def _file(folder: Path, index: int) -> Path:
    return folder / f"part-{index:05d}.safetensors"
