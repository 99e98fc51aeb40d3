"""Reads a run folder for the report; what a cut-off run has not written yet is empty, never an error.

Read this when the layout of the run folder changes.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.compute
import pyarrow.parquet
from numpy.typing import NDArray
from PIL import Image

from selfportrait import by_step, images, store, watched
from selfportrait.benchmarks.base import aggregate, compare
from selfportrait.report.form import finite

__all__ = [
    "Picture",
    "Round",
    "RunRecord",
    "accuracies",
    "accuracies_by_round",
    "evaluation",
    "masked_picture",
    "picture",
    "read_object",
    "read_run",
    "read_table",
    "round_name",
    "shown_rounds",
]

Array = NDArray[np.float64]
Measured = tuple[list[dict[str, Any]], dict[str, Any]]  # an evaluation's verdicts, and the map of its categories
SMALL = 128  # pictures up to this side are shown pixel by pixel, enlarged by a whole number
PAIRED = ("offline", "spo")  # recipes of one round that learn from pairs
ROUNDS_SHOWN = 4  # rounds of which a section shows examples
LARGE = 192  # larger ones are shown at this width, from a copy of at most twice that


@dataclass(frozen=True)
class Round:
    """One round: its folder, and what its training logged."""

    index: int
    folder: Path
    metrics: list[dict[str, Any]]
    timing: list[dict[str, Any]]
    is_only: bool = False

    @property
    def name(self) -> str:
        """Its name on the page: "round 0", as in the run folder, or "this run" where no other is planned."""
        return "this run" if self.is_only else round_name(self.index)


@dataclass(frozen=True)
class RunRecord:
    """The JSON files of a run; tables are read by the sections that need them."""

    folder: Path
    config: dict[str, Any]
    summary: dict[str, Any]  # of a run in rounds that is not finished, what can be said so far
    rounds: tuple[Round, ...]  # at least one, of which there may be no folder yet
    is_finished: bool

    @property
    def round(self) -> Path:
        """The folder of the first round."""
        return self.rounds[0].folder

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """What every round's training logged."""
        return [row for one in self.rounds for row in one.metrics]

    @property
    def timing(self) -> list[dict[str, Any]]:
        """The seconds that every round's training logged."""
        return [row for one in self.rounds for row in one.timing]

    @property
    def is_in_rounds(self) -> bool:
        """Whether the recipe learns from pairs, in rounds or in one; otherwise it has one round of groups."""
        recipe = self.settings.get("recipe", {})
        return "rounds" in recipe or recipe.get("name") in PAIRED

    @property
    def plans_rounds(self) -> bool:
        """Whether the recipe goes in several rounds; of one round the page speaks as of training."""
        return (self.settings.get("recipe", {}).get("rounds") or 1) > 1

    @property
    def settings(self) -> dict[str, Any]:
        """The settings by section; `seed` is not in it, it is no section."""
        sections = self.config.get("settings", {})
        return {name: values for name, values in sections.items() if isinstance(values, dict)}

    @property
    def seed(self) -> int | None:
        """The seed that every random choice of the run was keyed by."""
        seed: int | None = self.config.get("seed", self.config.get("settings", {}).get("seed"))
        return seed

    @property
    def trained_category(self) -> str:
        """The category the prompts came from; "overall" where they came from several or from a file."""
        prompts = self.settings.get("prompts", {})
        categories = prompts.get("categories") or [prompts.get("category")]
        category = categories[0] if len(categories) == 1 else None
        measured = {*accuracies(self, "before"), *accuracies(self, "after")}
        return category if isinstance(category, str) and category in measured else "overall"


@dataclass(frozen=True)
class Picture:
    """A picture inside the page; `uri` is None where the bytes are absent or no image."""

    uri: str | None
    width: int = SMALL
    height: int = SMALL
    is_small: bool = True


def read_run(folder: Path) -> RunRecord:
    """Read config, summary, metrics and times; raises FileNotFoundError where `folder` holds no run."""
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"No run to report on: {folder} has no config.json; give the folder of a run.")
    count = 1
    while (folder / f"round-{count}").is_dir():
        count += 1
    summary = read_object(folder / "summary.json")
    rounds = tuple(_read_round(folder / f"round-{index}", index) for index in range(count))
    run = RunRecord(folder, read_object(folder / "config.json"), summary, rounds, is_finished=bool(summary))
    if not run.plans_rounds:
        run = replace(run, rounds=tuple(replace(one, is_only=True) for one in rounds))
    return run if run.is_finished or not run.is_in_rounds else replace(run, summary=_summary_so_far(run))


def _read_round(folder: Path, index: int) -> Round:
    training = folder / "training"
    return Round(
        index, folder, store.read_jsonl(training / "metrics.jsonl"), store.read_jsonl(training / "timing.jsonl")
    )


def _summary_so_far(run: RunRecord) -> dict[str, Any]:
    """What summary.json would hold if the run ended after the last round that was measured whole."""
    before = _verdicts(run.round / "evaluation" / "before")
    measured = [before]
    for one in run.rounds:
        after = _verdicts(one.folder / "evaluation" / "after")
        if not after or len(after) != len(before):
            break
        measured.append(after)
    if not before:
        return {}
    maps: list[dict[str, Any]] = [dict(aggregate(rows)) for rows in measured]
    changes = [_changes(*two) for two in pairwise(zip(measured, maps, strict=True))]
    curve = by_step.read(run.folder)
    if not changes:
        return {"before": maps[0], "by_step": curve}
    whole = _changes((before, maps[0]), (measured[-1], maps[-1]))
    found = {"before": maps[0], "after": maps[-1], "rounds": maps[1:], "change": whole, "round_changes": changes}
    return found | {"by_step": curve, "watch": watched.read(run.folder, len(changes))}


def _verdicts(folder: Path) -> list[dict[str, Any]]:
    return read_table(folder, ["prompt_id", "category", "index", "exact", "score"])


def _changes(before: Measured, after: Measured) -> dict[str, dict[str, Any]]:
    changes = {name: change._asdict() for name, change in compare(before[0], after[0]).items()}
    for name, change in changes.items():
        first, second = (finite(one[1].get(name, {}).get("pass_at_4")) for one in (before, after))
        change["pass_at_4_difference"] = None if first is None or second is None else second - first
    return changes


def round_name(index: int) -> str:
    """The name of a round on the page, as in the run folder: "round 0"."""
    return f"round {index}"


def shown_rounds(run: RunRecord) -> list[Round]:
    """The rounds of which examples are shown: the first and the last ones, so that the page does not grow with them."""
    return list(run.rounds if len(run.rounds) <= ROUNDS_SHOWN else (run.rounds[0], *run.rounds[1 - ROUNDS_SHOWN :]))


def evaluation(run: RunRecord, when: str) -> Path:
    """The folder of the pictures before training, or of those after the last round that was measured."""
    if when == "before":
        return run.round / "evaluation" / "before"
    return run.rounds[max(0, len(accuracies_by_round(run)) - 1)].folder / "evaluation" / "after"


def accuracies(run: RunRecord, when: str) -> dict[str, dict[str, Any]]:
    """Category -> accuracy, low, high, pass_at_4, n; `when` is before or after; empty where not measured."""
    return run.summary.get(when) or read_object(run.round / "evaluation" / f"{when}.json")


def accuracies_by_round(run: RunRecord) -> list[dict[str, dict[str, Any]]]:
    """What `accuracies` has after each round that was measured."""
    rounds: list[dict[str, dict[str, Any]]] = run.summary.get("rounds") or []
    return rounds[: len(run.rounds)]


def read_table(
    folder: Path, columns: Sequence[str], *, only: tuple[str, Sequence[str]] | None = None
) -> list[dict[str, Any]]:
    """The rows of a table in the order they were written; none where there is no part yet.

    `only` names a column and the values it must have to be read.

    One part at a time and only what is asked for, so that the pictures of a large run are never all in memory.
    """
    rows: list[dict[str, Any]] = []
    if only is not None and not only[1]:
        return rows
    where = None if only is None else pyarrow.compute.field(only[0]).isin(only[1])
    for part in store.parts(folder):
        try:
            table = pyarrow.parquet.read_table(
                part, columns=list(columns), filters=where, page_checksum_verification=True
            )
        except (pyarrow.ArrowException, OSError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{part} is corrupt ({reason}): delete it, the stage will redo it") from error
        rows += table.to_pylist()
    return rows


def picture(cell: dict[str, Any] | None, side: int = SMALL) -> Picture:
    """Turn an image cell {bytes, path} of a table into a picture for the page, a small one enlarged to `side`."""
    image = _decoded(cell)
    if image is None:
        return Picture(None, side, side)
    if max(image.size) > SMALL:
        return _reduced(image)
    enlarge = side // max(image.size)
    return Picture(_uri(images.to_png(image), "image/png"), image.width * enlarge, image.height * enlarge)


def masked_picture(cell: dict[str, Any] | None, mask: Array, side: int = LARGE) -> Picture:
    """The picture of an image cell with a mask (h, w) over it, at the size that `picture` shows it in."""
    image = _decoded(cell)
    if image is None:
        return Picture(None, side, side)
    if max(image.size) > SMALL:
        image.thumbnail((side, side))
        return Picture(_uri(_jpeg(images.overlay(image, mask)), "image/jpeg"), *image.size, is_small=False)
    shown = images.overlay(images.enlarge(image, side // max(image.size)), mask)
    return Picture(_uri(images.to_png(shown), "image/png"), *shown.size)


def _decoded(cell: dict[str, Any] | None) -> Image.Image | None:
    """The image of a cell; None where there is none or it cannot be read, and the page says "no picture"."""
    data = (cell or {}).get("bytes")
    if not data:
        return None
    try:
        return images.from_bytes(data)
    except ValueError:
        return None


def _reduced(image: Image.Image) -> Picture:
    copy = image.copy()
    copy.thumbnail((2 * LARGE, 2 * LARGE))
    return Picture(_uri(_jpeg(copy), "image/jpeg"), LARGE, round(LARGE * copy.height / copy.width), is_small=False)


def _jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=88)
    return file.getvalue()


def _uri(data: bytes, mime: str) -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object, empty where there is no such file."""
    value = store.read_json(path) if path.is_file() else {}
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds a {type(value).__name__}, expected a JSON object: delete it and run again")
    return value
