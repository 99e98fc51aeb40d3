"""Data sets by folder, file or hub id; nothing here downloads one, they can be hundreds of gigabytes.

Read this to see what a path that is not here may mean, and what is said then.
"""

import re
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError

__all__ = ["absent", "find"]

_ID = re.compile(r"[\w-]+(\.[\w-]+)*/[\w-]+(\.[\w-]+)*")  # no dots that lead elsewhere


def find(path: str) -> Path | None:
    """The file or folder `path`, or what the hub's cache holds of the data set of that id.

    None where it has the form of an id and neither is there: a dry run goes on without it.
    """
    if Path(path).exists() or not _ID.fullmatch(path):
        return Path(path)
    try:
        return Path(snapshot_download(path, repo_type="dataset", local_files_only=True))
    except LocalEntryNotFoundError:
        return None


def absent(setting: str, path: str) -> FileNotFoundError:
    """What to raise where a data set is needed that `find` did not find."""
    return FileNotFoundError(
        f"{setting} = {path}: there is no such file or folder, and the hub's cache has no data set of that name; "
        f"download it first: hf download {path} --repo-type dataset"
    )
