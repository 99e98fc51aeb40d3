"""Answers that are kept on disk, so that a picture is asked about once: a file of lines that is only ever added to.

Read this to see what makes two requests the same, and what a process that was killed while it wrote leaves behind.
"""

import hashlib
import json
import logging
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from selfportrait import images
from selfportrait.asking.pictures import Request

__all__ = ["Memory", "key"]

_log = logging.getLogger(__name__)


def key(model: Mapping[str, Any], kind: str, request: Request) -> str:
    """The SHA-256 of the model with its settings, the kind of question, its words and its pictures' pixels."""
    parts = [_pixels(part) if isinstance(part, Image.Image) else ["text", part] for part in request]
    return hashlib.sha256(json.dumps([dict(model), kind, parts], sort_keys=True).encode()).hexdigest()


def _pixels(picture: Image.Image) -> list[str]:
    return ["picture", hashlib.sha256(images.to_png(picture)).hexdigest()]


class Memory:
    """Answers by key, in a file of JSON lines; of several threads and processes too.

    A line is written at once and whole; one that a kill or a full disk cut off is ignored when the file is read, and
    the next begins on a line of its own. Neither requests nor a server's key are in it, only hashes and answers.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        data = path.read_bytes() if path.exists() else b""
        self._known = dict(filter(None, map(_read, data.split(b"\n"))))
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        if data and not data.endswith(b"\n"):
            os.write(self._file, b"\n")

    def get(self, key: str) -> list[Any] | None:
        """What was kept under a key; None where nothing was."""
        return self._known.get(key)

    def put(self, key: str, answer: list[Any]) -> None:
        """Keep an answer; the first one of a key stays."""
        line = json.dumps({"key": key, "answer": answer}, ensure_ascii=False).encode(errors="replace") + b"\n"
        with self._lock:
            if key not in self._known:
                self._known[key] = answer
                if os.write(self._file, line) != len(line):
                    _log.warning("the disk is full: an answer is not kept")
                    os.write(self._file, b"\n")


def _read(line: bytes) -> tuple[str, list[Any]] | None:
    try:
        found = json.loads(line)
        key, answer = found["key"], found["answer"]
    except (ValueError, LookupError, TypeError):
        return None
    return (key, answer) if isinstance(key, str) and isinstance(answer, list) else None
