"""Folders of pictures with a metadata.jsonl beside them, as the `imagefolder` of the library `datasets` reads them.

Read this to learn what `selfportrait sample` leaves behind and what `selfportrait judge` reads.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from selfportrait import images, store

__all__ = ["METADATA", "check_empty", "described", "read_picture", "write_metadata"]

METADATA = "metadata.jsonl"
_TEXT_COLUMNS = ("text", "prompt", "caption")


def check_empty(folder: Path) -> None:
    """Refuse a folder that holds something, so that no picture is lost or mixed with others."""
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty: give another folder with --out")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: give a folder with --out")


def write_metadata(folder: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON line a picture; the last file of a folder to be written, so that a folder with it is complete."""
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    store.write_bytes(folder / METADATA, "".join(lines).encode())


def described(paths: Sequence[Path], prompt: str | None) -> list[tuple[Path, str]]:
    """Every picture with its prompt: `prompt` for all, or what the metadata.jsonl in its folder says.

    A folder stands for the pictures its metadata.jsonl lists. Raises FileNotFoundError or ValueError.
    """
    found: list[tuple[Path, str]] = []
    for path in paths:
        if path.is_dir():
            found += [(path / name, prompt or text) for name, text in _texts(path).items()]
        elif not path.is_file():
            raise FileNotFoundError(f"There is no picture or folder {path}")
        else:
            found.append((path, prompt or _text_of(path)))
    return found


def read_picture(path: Path) -> Image.Image:
    """Read a picture as RGB; raises ValueError, with its path, where it cannot be decoded."""
    try:
        return images.from_bytes(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _text_of(path: Path) -> str:
    texts = _texts(path.parent) if (path.parent / METADATA).is_file() else {}
    if path.name not in texts:
        raise ValueError(f"{path} has no prompt: give one with --prompt, or list the picture in a {METADATA} beside it")
    return texts[path.name]


def _texts(folder: Path) -> dict[str, str]:
    """The prompt of each picture that a folder's metadata.jsonl lists."""
    path = folder / METADATA
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no {METADATA}: write one, or give its pictures one by one with --prompt")
    texts: dict[str, str] = {}
    for number, row in enumerate(store.read_jsonl(path), start=1):
        column = next((name for name in _TEXT_COLUMNS if isinstance(row.get(name), str)), None)
        if column is None or not isinstance(row.get("file_name"), str):
            raise ValueError(f"{path}, line {number}: expected file_name and text, got {', '.join(row) or 'nothing'}")
        texts[row["file_name"]] = row[column]
    if not texts:
        raise ValueError(f"{path} lists no picture")
    return texts
