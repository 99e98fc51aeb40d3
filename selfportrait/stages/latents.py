"""From pairs of pictures to pairs of clean latents, which training reads again and again and nothing else.

Read this to see what lies in latents/: a part of a table with ids and prompts, and beside it a safetensors file with
the latents of its rows, of which a row at a time is read.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import pyarrow as pa
import torch
from PIL import Image

from selfportrait import store
from selfportrait.boxes import Geometry, Size
from selfportrait.geometry import Side, show, view
from selfportrait.micro.checkpoints import embedded
from selfportrait.models.base import Denoises
from selfportrait.preferences.base import UNREADABLE, Decoded, PreferenceSource, Reading
from selfportrait.stages._tensors import Place, Tensors, places, write_tensors
from selfportrait.stages.latent_training import LatentPairs
from selfportrait.stages.parts import Yield, read_counts, reasons, shared_out, write_part
from selfportrait.types import Picture, PreferencePair

__all__ = ["Cut", "StoredLatents", "Weigh", "check_readable", "encode_pairs"]

ROWS_A_PART = 64
SIDES: tuple[Side, Side] = ("chosen", "rejected")
LATENTS = pa.schema({"pair_id": pa.string(), "index": pa.int64(), "prompt": pa.string()})

Weigh = Callable[[PreferencePair, Sequence[Geometry], Size], torch.Tensor]
"""From a pair, how its two pictures are seen, and the latents' width and height: weights (2, 1, h, w)."""


class Cut(NamedTuple):
    """How pictures of any size are made square, each of a pair by itself, once in the life of a run."""

    crop: Literal["center", "random"]
    flip: bool
    seed: int

    def views(self, model: Denoises, decoded: Decoded) -> list[Geometry]:
        """How the chosen and the rejected picture are seen."""
        return [
            view(
                image.size,
                model.picture_size,
                crop=self.crop,
                flip=self.flip,
                key=(self.seed, decoded.pair.id, side, 0),
            )
            for side, image in zip(SIDES, (decoded.chosen, decoded.rejected), strict=True)
        ]


def encode_pairs(
    model: Denoises, source: PreferenceSource, folder: Path, cut: Cut, weigh: Weigh | None = None
) -> Yield:
    """Encode the pairs of every `ROWS_A_PART` rows of a source into a part of latents/; returns the counts.

    A row without a pair, or with a picture that cannot be decoded, is left out and counted by its reason.
    """
    num_rows = source.num_rows
    sizes = [min(ROWS_A_PART, num_rows - start) for start in range(0, num_rows, ROWS_A_PART)]
    with shared_out("encoding pairs", folder, sizes) as missing:
        for index in missing:
            start = index * ROWS_A_PART
            reading = Reading(source, start=start, stop=start + sizes[index])
            decoded = list(reading.decoded())
            if decoded:
                write_tensors(folder, index, _encoded(model, decoded, cut, weigh))
            rows = [{"pair_id": one.pair.id, "index": one.pair.index, "prompt": one.pair.prompt} for one in decoded]
            write_part(folder, index, rows, LATENTS, reading.counts)
    return read_counts(folder)


def check_readable(found: Yield, max_missing: float) -> None:
    """Refuse a source that gave no pair, or of which too many pictures could not be read."""
    kept, dropped = found.get("kept", 0), found.get("dropped", {})
    if not kept:
        raise ValueError(f"there is no pair to train on (dropped: {reasons(dropped)}): give others, or more")
    lost = dropped.get(UNREADABLE, 0)
    if lost > max_missing * (kept + lost):
        raise ValueError(
            f"{lost} of {kept + lost} pairs have a picture that cannot be read, more than recipe.max_missing = "
            f"{max_missing:g} allows; mend the files that the log names, or raise the setting"
        )


def _encoded(model: Denoises, several: Sequence[Decoded], cut: Cut, weigh: Weigh | None) -> dict[str, torch.Tensor]:
    views = [cut.views(model, decoded) for decoded in several]
    pictures: list[Cell] = []
    for decoded, (chosen, rejected) in zip(several, views, strict=True):
        pair = decoded.pair
        pictures += [Cell(decoded.chosen, chosen, pair.chosen), Cell(decoded.rejected, rejected, pair.rejected)]
    latents = _latents(model, pictures).unflatten(0, (-1, 2)).cpu().contiguous()  # (P, 2, C, H, W)
    if weigh is None:
        return {"latents": latents}
    size = (latents.shape[-1], latents.shape[-2])
    weights = [weigh(decoded.pair, both, size) for decoded, both in zip(several, views, strict=True)]
    return {"latents": latents, "weights": torch.stack(weights).contiguous()}


class Cell(NamedTuple):
    """A decoded picture, how it is seen, and where it is from."""

    image: Image.Image
    view: Geometry
    picture: Picture


def _latents(model: Denoises, cells: Sequence[Cell]) -> torch.Tensor:
    """Clean latents (N, C, H, W); what the model drew itself and is seen whole is not encoded again."""
    is_kept = [_is_kept(model, cell) for cell in cells]
    own = [show(cell.image, cell.view) for cell, kept in zip(cells, is_kept, strict=True) if not kept]
    encoded = model.latents(own or [show(cells[0].image, cells[0].view)])  # one of them says what shape latents have
    found = iter(encoded)
    return torch.stack(
        [
            cell.picture.content.to(encoded).view_as(encoded[0])
            if kept and cell.picture.content is not None
            else next(found)
            for cell, kept in zip(cells, is_kept, strict=True)
        ]
    )


def _is_kept(model: Denoises, cell: Cell) -> bool:
    is_own = cell.picture.content is not None and embedded(cell.picture.content_of) == getattr(model, "path", None)
    side = model.picture_size
    return is_own and cell.image.size == (side, side) and not cell.view.is_flipped


class StoredLatents:
    """The pairs of latents/: ids and prompts in memory, latents on the disk."""

    def __init__(self, folder: Path) -> None:
        self.ids: list[str] = []
        self.prompts: list[str] = []
        self._places: list[Place] = []
        self._tensors = Tensors(folder)
        for index in range(len(store.parts(folder))):
            rows = store.read_part(folder, index).to_pylist()
            self.ids += [row["pair_id"] for row in rows]
            self.prompts += [row["prompt"] for row in rows]
            self._places += places(index, len(rows))

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, index: Sequence[int]) -> LatentPairs:
        """Fetch some of the pairs, in this order."""
        ids, prompts = [self.ids[row] for row in index], [self.prompts[row] for row in index]
        where = [self._places[row] for row in index]
        weights = self._tensors.read("weights", where) if self._tensors.has("weights", where[0]) else None
        return LatentPairs(ids, prompts, self._tensors.read("latents", where), weights)
