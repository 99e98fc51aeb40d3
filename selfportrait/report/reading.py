"""Reads a run folder for the report; what a cut-off run has not written yet is empty, never an error.

Read this when the layout of the run folder changes.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.compute
import pyarrow.parquet
from PIL import Image

from selfportrait import images, store

__all__ = ["Picture", "RunRecord", "accuracies", "picture", "read_run", "read_table"]

SMALL = 128  # pictures up to this side are shown pixel by pixel, enlarged by a whole number
LARGE = 192  # larger ones are shown at this width, from a copy of at most twice that


@dataclass(frozen=True)
class RunRecord:
    """The JSON files of a run; tables are read by the sections that need them."""

    folder: Path
    config: dict[str, Any]
    summary: dict[str, Any]
    metrics: list[dict[str, Any]]
    timing: list[dict[str, Any]]

    @property
    def round(self) -> Path:
        """The folder of the first round."""
        return self.folder / "round-0"

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
    training = folder / "round-0" / "training"
    return RunRecord(
        folder=folder,
        config=_read_object(folder / "config.json"),
        summary=_read_object(folder / "summary.json"),
        metrics=store.read_jsonl(training / "metrics.jsonl"),
        timing=store.read_jsonl(training / "timing.jsonl"),
    )


def accuracies(run: RunRecord, when: str) -> dict[str, dict[str, Any]]:
    """Category -> accuracy, low, high, pass_at_4, n; `when` is before or after; empty where not measured."""
    return run.summary.get(when) or _read_object(run.round / "evaluation" / f"{when}.json")


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


def picture(cell: dict[str, Any] | None) -> Picture:
    """Turn an image cell {bytes, path} of a table into a picture for the page."""
    data = (cell or {}).get("bytes")
    if not data:
        return Picture(None)
    try:
        image = images.from_bytes(data)
    except ValueError:  # the page shows "no picture" in its place
        return Picture(None)
    if max(image.size) > SMALL:
        return _reduced(image)
    enlarge = SMALL // max(image.size)
    return Picture(_uri(images.to_png(image), "image/png"), image.width * enlarge, image.height * enlarge)


def _reduced(image: Image.Image) -> Picture:
    copy = image.copy()
    copy.thumbnail((2 * LARGE, 2 * LARGE))
    file = io.BytesIO()
    copy.save(file, "JPEG", quality=88)
    return Picture(_uri(file.getvalue(), "image/jpeg"), LARGE, round(LARGE * copy.height / copy.width), is_small=False)


def _uri(data: bytes, mime: str) -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def _read_object(path: Path) -> dict[str, Any]:
    """A JSON object, empty where there is no such file."""
    value = store.read_json(path) if path.is_file() else {}
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds a {type(value).__name__}, expected a JSON object: delete it and run again")
    return value
