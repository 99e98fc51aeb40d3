"""Scores that were given before: by what judged, its settings and weights, the picture's bytes and its prompt.

Read this to learn when a picture is judged again: when any of these is another, or the score was missing.
"""

import fcntl
import hashlib
import inspect
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from selfportrait import __version__, binding, store
from selfportrait.config import Section
from selfportrait.types import Score

__all__ = ["FOLDER", "Key", "ScoreCache", "file_hash", "identity", "is_known"]

FOLDER = "SELFPORTRAIT_SCORES"  # the environment variable that says where scores are kept
_NOT_THE_SCORE = ("batch_size", "device", "cache")  # settings that change rounding at most; answers that are kept grow
_HUB = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(?:/(?P<file>[\w./+-]+))?")


class Key(NamedTuple):
    """What was judged: the hash of a picture's bytes, and its prompt."""

    picture: str
    prompt: str


class ScoreCache:
    """The scores of one judge in one file of JSON lines, which only grows.

    A line that was cut off by a kill is overwritten by the next one, so that a run that was killed and started again
    leaves the bytes of one that was not. Several processes may write: a line is appended under a lock.
    """

    def __init__(self, folder: Path, name: str, about: Mapping[str, Any]) -> None:
        text = json.dumps(about, sort_keys=True, ensure_ascii=False)
        self.path = folder / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}" / "scores.jsonl"
        self._about = about

    @staticmethod
    def default_folder() -> Path:
        """Where scores are kept unless a command says otherwise."""
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        return Path(os.environ.get(FOLDER) or f"{cache}/selfportrait/scores").expanduser()

    def read(self) -> dict[Key, Score]:
        """Every score that is kept; raises ValueError for a file that is corrupt."""
        data = self.path.read_bytes() if self.path.exists() else b""
        found: dict[Key, Score] = {}
        for number, line in enumerate(data[: data.rfind(b"\n") + 1].splitlines(), start=1):
            try:
                row = json.loads(line)
                found[Key(row["picture"], row["prompt"])] = Score(row["value"], None, row["details"])
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{self.path} is corrupt at line {number} ({type(error).__name__}: {error}): delete the file, its "
                    "pictures will be judged again"
                ) from error
        return found

    def add(self, scores: Iterable[tuple[Key, Score]]) -> None:
        """Keep scores; a missing one is not kept, as whatever failed may not fail again."""
        lines = [_line(key, score) for key, score in scores if score.value is not None]
        if not lines:
            return
        about = self.path.with_name("about.json")
        if not about.exists():
            store.write_json(about, self._about)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        with os.fdopen(handle, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # released with the file, however this process ends
            file.seek(_end_of_last_line(self.path))
            file.truncate()
            file.write(b"".join(lines))
            file.flush()
            os.fsync(file.fileno())


def _line(key: Key, score: Score) -> bytes:
    row = {**key._asdict(), "value": score.value, "details": dict(score.details)}
    return f"{json.dumps(row, ensure_ascii=False)}\n".encode()


def _end_of_last_line(path: Path) -> int:
    """Where the next line begins: after the last one that is whole."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - 65536)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
    return 0


def file_hash(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def identity(section: Section) -> dict[str, Any]:
    """What a judge's scores depend on: its settings, its code, the package, and the files that the settings name.

    The code is that of the judge and of all that it takes: judges, a detector, a vision-language model. A folder or
    file is told by names, sizes and times, a model of the hub by the commit that is in its cache; one that is not there
    yet has none, and gets one when it is loaded.
    """
    kept = _kept(section.resolved)
    code = {one.__module__: Path(inspect.getfile(one)) for one in binding.within(section.component, section.resolved)}
    files = {text: mark for text in sorted(_texts(kept)) if (mark := _mark(text))}
    return {
        "judge": kept,
        "files": files,
        "code": {module.removeprefix("selfportrait."): file_hash(code[module]) for module in sorted(code)},
        "version": __version__,
    }


def is_known(section: Section) -> bool:
    """Whether `identity` can tell what judges; it cannot where a server does, whose weights nobody here sees."""
    return not any(text.startswith(("http://", "https://")) for text in _texts(section.resolved))


def _kept(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _kept(one) for key, one in value.items() if key not in _NOT_THE_SCORE}
    return value


def _texts(value: Any) -> set[str]:
    if isinstance(value, Mapping):
        return {text for one in value.values() for text in _texts(one)}
    if isinstance(value, list | tuple):
        return {text for one in value for text in _texts(one)}
    return {value} if isinstance(value, str) else set()


def _mark(text: str) -> str | None:
    """What tells the files that a setting names from others; None for a text that names none."""
    path = Path(text)
    if "/" not in text and "." not in text or "\0" in text or len(text) > 4096:
        return None
    if path.is_file() or path.is_dir():
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        stats = [(str(one.relative_to(path)), one.stat()) for one in files if one.is_file()]
        listed = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
        return hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:16]
    found = _HUB.fullmatch(text)
    return _commit(found["repository"], found["file"] or "config.json") if found else None


def _commit(repository: str, file: str) -> str | None:
    try:
        cached = try_to_load_from_cache(repository, file)
    except HFValidationError:
        return None
    parts = Path(cached).parts if isinstance(cached, str) else ()
    return parts[parts.index("snapshots") + 1] if "snapshots" in parts else None
