"""Prompts from a file of the user's own: text, JSON lines, CSV or Parquet.

Read this to learn which columns are read and what is refused.
"""

import hashlib
import logging
from pathlib import Path
from typing import Any

from selfportrait import rows
from selfportrait.types import Prompt

__all__ = ["File"]

_TEXT_COLUMNS = ("text", "prompt", "caption")
_log = logging.getLogger(__name__)


class File:
    """Read prompts from .txt (one a line), or .jsonl, .csv or .parquet with a column text, prompt or caption.

    Columns `id` and `category` are used where there are any; otherwise the id is the SHA-1 of the text and the
    category is the setting. A text that comes again is dropped. Raises FileNotFoundError or ValueError when built.
    """

    def __init__(self, *, path: str, category: str = "") -> None:
        self._prompts = _prompts(Path(path), category)

    def __call__(self) -> list[Prompt]:
        return list(self._prompts)


def _prompts(path: Path, category: str) -> list[Prompt]:
    if not path.is_file():
        raise FileNotFoundError(f"The prompts file {path} does not exist or is not a file: give prompts.path a file")
    if path.suffix not in rows.KINDS:
        raise ValueError(f"The prompts file {path} is of no known kind: expected {', '.join(rows.KINDS)}")
    prompts: dict[str, Prompt] = {}
    num_rows = 0
    ids: dict[str, str] = {}
    for number, row in rows.read(path, (*_TEXT_COLUMNS, "id", "category")):
        num_rows += 1
        prompt = _prompt(path, number, row, category)
        if prompt.text in prompts:
            continue
        if ids.setdefault(prompt.id, prompt.text) != prompt.text:
            raise ValueError(f"{path}, line {number}: the id {prompt.id!r} comes again with another text")
        prompts[prompt.text] = prompt
    if not prompts:
        raise ValueError(f"The prompts file {path} is empty: expected at least one prompt")
    if num_rows > len(prompts):
        _log.warning("%s: %d of %d prompts came again and were dropped", path, num_rows - len(prompts), num_rows)
    return list(prompts.values())


def _prompt(path: Path, number: int, row: dict[str, Any], category: str) -> Prompt:
    column = next((name for name in _TEXT_COLUMNS if name in row), None)
    if column is None:
        raise ValueError(f"{path}, line {number}: no column text, prompt or caption among {', '.join(map(str, row))}")
    value = row[column]
    if not isinstance(value, str):
        raise ValueError(f"{path}, line {number}: {column} = {value!r}, expected text")
    text = value.strip()
    if not text:
        raise ValueError(f"{path}, line {number} is empty: expected a prompt; delete the line or fill it in")
    own_id, own_category = row.get("id"), row.get("category")
    id = hashlib.sha1(text.encode()).hexdigest() if own_id in (None, "") else str(own_id)
    return Prompt(id=id, text=text, category=str(own_category or category))
