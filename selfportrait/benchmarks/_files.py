"""The files of published benchmarks, read as they were published.

Read this to see what is stripped from a line, and what a user is told where a file is not there.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["json_list", "lines", "locate", "number", "objects", "one_of", "text"]


def locate(path: str | None, names: Sequence[str], source: str) -> Path:
    """The first of these files in a folder, or the file itself; raises FileNotFoundError that says where to get it."""
    wanted = names[0]
    if path is None:
        raise FileNotFoundError(
            f"benchmark.path is not set: get {wanted} from {source} and set path to it or to its folder"
        )
    given = Path(path).expanduser()
    if given.is_file():
        return given
    for name in names:
        if (given / name).is_file():
            return given / name
    what = f"holds no {wanted}" if given.is_dir() else "does not exist"
    raise FileNotFoundError(
        f"benchmark.path = {path}: it {what}; get it from {source} and set path to it or to its folder"
    )


def text(path: Path) -> str:
    """A file of UTF-8, with or without a byte order mark; raises ValueError where it is none."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text (byte {error.start}): take the file as it was published") from error


def lines(path: Path) -> list[str]:
    """The lines of a file without the blanks at their ends and without empty lines, whatever ends them."""
    found = [line.strip() for line in text(path).replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    return [line for line in found if line]


def objects(path: Path) -> list[dict[str, Any]]:
    """A JSON object a line; raises ValueError with the line that is none."""
    found = []
    for row, line in enumerate(lines(path), start=1):
        try:
            value = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {row} is not JSON ({error}): take the file as it was published") from error
        if not isinstance(value, dict):
            raise ValueError(f"{path}, line {row} is no JSON object: take the file as it was published")
        found.append(value)
    return found


def json_list(path: Path) -> list[Any]:
    """A JSON list; raises ValueError where it is none."""
    try:
        value = json.loads(text(path))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}): take the file as it was published") from error
    if not isinstance(value, list):
        raise ValueError(f"{path} holds a JSON {type(value).__name__}, expected a list: take the file as published")
    return value


def one_of(path: Path, where: str, row: dict[str, Any], keys: Sequence[str]) -> None:
    """Refuse a row that lacks a column; raises ValueError with what was found."""
    lacking = [key for key in keys if key not in row]
    if lacking:
        found = ", ".join(map(str, row)) or "nothing"
        raise ValueError(f"{path}, {where} has no {', '.join(lacking)}: found {found}; take the file as published")


def number(path: Path, expected: int, found: int, what: str) -> str | None:
    """A note where a file has another size than the published one, for a log."""
    if found == expected:
        return None
    return f"{path}: {found} {what}, the published file has {expected}; numbers from it compare with no others"
