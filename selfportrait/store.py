"""The run folder: Parquet tables in atomic parts, JSON, JSONL, and a lock so that one process writes at a time.

Read this before writing a file of a run: everything here is written whole or not at all, with the same bytes every
time, so that a run that was killed and started again cannot be told from one that was not.
"""

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from selfportrait import images

__all__ = [
    "CANDIDATES",
    "EVALUATION",
    "EXAMPLES",
    "IMAGE",
    "INSTANCES",
    "MASKS",
    "PAIRS",
    "PREFERENCES",
    "PROMPTS",
    "SCORES",
    "WATCH",
    "Run",
    "append_jsonl",
    "drop_parts_from",
    "has_part",
    "parts",
    "read_json",
    "read_jsonl",
    "read_part",
    "read_table",
    "schema",
    "sync",
    "truncate_jsonl",
    "write_bytes",
    "write_json",
    "write_table",
    "writing",
]

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])  # how `datasets` stores its Image feature
_LOCK = ".lock"
UNUSED = "null"  # a setting that there was not yet when a run began, and that is not used now, makes no other run


def schema(fields: Mapping[str, pa.DataType]) -> pa.Schema:
    """Return a schema whose metadata tells `datasets` which columns are pictures."""
    features = {name: {"_type": "Image"} for name, kind in fields.items() if kind == IMAGE}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})} if features else None
    return pa.schema(list(fields.items()), metadata=metadata)


PROMPTS = schema(
    {
        "id": pa.string(),
        "text": pa.string(),
        "category": pa.string(),
        "questions": pa.list_(pa.struct([("text", pa.string()), ("answer", pa.bool_())])),
        "parent": pa.string(),
        "role": pa.string(),
    }
)
CANDIDATES = schema(
    {
        "id": pa.string(),
        "prompt_id": pa.string(),
        "prompt": pa.string(),
        "index": pa.int32(),
        "seed": pa.int64(),
        "step": pa.int32(),
        "image": IMAGE,
        "latent": pa.list_(pa.float32()),  # of a diffusion or flow model
        "tokens": pa.list_(pa.int32()),  # of a token model
    }
)
SCORES = schema(
    {
        "candidate_id": pa.string(),
        "judge": pa.string(),
        "value": pa.float64(),
        "reason": pa.string(),
        "details": pa.string(),
    }
)
PREFERENCES = schema(
    {
        "candidate_id": pa.string(),
        "group_id": pa.string(),
        "step": pa.int32(),
        "reward": pa.float64(),
        "advantage": pa.float64(),
        "kept": pa.bool_(),
    }
)
PAIRS = schema(
    {
        "prompt_id": pa.string(),
        "prompt": pa.string(),  # what both are trained for
        "rejected_prompt": pa.string(),  # what a hard negative was drawn from; null where it was the prompt
        "chosen_id": pa.string(),
        "rejected_id": pa.string(),
        "chosen_score": pa.float64(),
        "rejected_score": pa.float64(),
        "margin": pa.float64(),
    }
)
MASKS = schema(
    {
        "candidate_id": pa.string(),
        "height": pa.int32(),
        "width": pa.int32(),
        "mask": pa.list_(pa.float32()),  # (height, width) in [0, 1], row by row: where the prompt's objects are
        "objects": pa.list_(pa.string()),
    }
)
INSTANCES = schema(
    {
        "pair_id": pa.string(),
        "prompt": pa.string(),
        "chosen_width": pa.int32(),  # sizes of the original pictures, in whose pixels the boxes are
        "chosen_height": pa.int32(),
        "rejected_width": pa.int32(),
        "rejected_height": pa.int32(),
        "instances": pa.list_(
            pa.struct(
                {
                    "name": pa.string(),
                    "chosen_box": pa.list_(pa.int32()),  # x0, y0, x1, y1, half-open; null where it was not found
                    "rejected_box": pa.list_(pa.int32()),
                    "chosen_confidence": pa.float64(),
                    "rejected_confidence": pa.float64(),
                    "is_swapped": pa.bool_(),  # whether the rejected picture was the judge's A
                    "is_conflict": pa.bool_(),  # null where there is no verdict
                    "reason": pa.string(),  # why not; null for an instance that can be used
                    "raw": pa.string(),  # what the judge said
                }
            )
        ),
        "reason": pa.string(),  # why no instance was named
        "raw": pa.string(),  # what the planner said
        "planner": pa.string(),
        "detector": pa.string(),
        "judge": pa.string(),
    }
)
EXAMPLES = schema(
    {
        "pair_id": pa.string(),
        "prompt": pa.string(),
        "chosen": IMAGE,
        "rejected": IMAGE,
        "instances": pa.list_(
            pa.struct(
                {
                    "name": pa.string(),
                    "chosen_box": pa.list_(pa.int32()),
                    "rejected_box": pa.list_(pa.int32()),
                    "is_conflict": pa.bool_(),
                    "chosen_confidence": pa.float64(),
                    "rejected_confidence": pa.float64(),
                }
            )
        ),
    }
)
EVALUATION = schema(
    {
        "prompt_id": pa.string(),
        "prompt": pa.string(),
        "category": pa.string(),
        "index": pa.int32(),
        "seed": pa.int64(),
        "image": IMAGE,
        "exact": pa.bool_(),
        "score": pa.float64(),
        "reason": pa.string(),
        "details": pa.string(),
    }
)
WATCH = schema(
    {
        "prompt_id": pa.string(),
        "index": pa.int32(),
        "seed": pa.int64(),
        "judge": pa.string(),  # its name in the section watch, or judge for the one that trains the model
        "value": pa.float64(),
        "reason": pa.string(),
        "details": pa.string(),
    }
)


class Run:
    """A run folder. `Run.open` is for writing and holds its lock; `Run.read` only looks."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._lock: int | None = None

    @classmethod
    def open(cls, folder: str | Path, config: Mapping[str, Any]) -> "Run":
        """Start a run, or go on with the one in the folder if its settings are the same.

        `config` is `Config.resolved()`; only its settings are compared, not versions and hardware. Raises ValueError
        for a folder of another config, of no run, or one that another process is writing; then nothing is written.
        """
        run = cls(folder)
        run._check(config)
        run.folder.mkdir(parents=True, exist_ok=True)
        run._acquire()
        run._check(config)  # again: another process may have started it before the lock
        if not run.path("config.json").exists():
            write_json(run.path("config.json"), config)
        return run

    @classmethod
    def read(cls, folder: str | Path) -> "Run":
        """Look at a run without writing to it."""
        run = cls(folder)
        if not run.path("config.json").is_file():
            raise FileNotFoundError(f"{folder} is no run folder: it holds no config.json")
        return run

    @property
    def config(self) -> dict[str, Any]:
        """What config.json holds: settings, versions, hardware."""
        config: dict[str, Any] = read_json(self.path("config.json"))
        return config

    def path(self, *parts: str) -> Path:
        """Return the path of a file or folder of the run."""
        return self.folder.joinpath(*parts)

    def close(self) -> None:
        """Release the lock; it is also released when the process ends, however it ends."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check(self, config: Mapping[str, Any]) -> None:
        if not self.folder.exists():
            return
        if not self.folder.is_dir():
            raise ValueError(f"The run folder {self.folder} is a file: give another folder")
        if self.path("config.json").exists():
            _check_same_settings(self.folder, ours=config["settings"], theirs=self.config.get("settings"))
        elif any(not _is_own_scrap(path.name) for path in self.folder.iterdir()):
            raise ValueError(f"{self.folder} is not empty and no run folder (no config.json): give another folder")

    def _acquire(self) -> None:
        self._lock = os.open(self.path(_LOCK), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise ValueError(
                f"Another process is writing {self.folder}: wait for it, or give another folder"
            ) from error


def _is_own_scrap(name: str) -> bool:
    return name == _LOCK or (name.startswith(".") and name.endswith(".tmp"))


def _check_same_settings(folder: Path, *, ours: Any, theirs: Any) -> None:
    mine, found = _flat(json.loads(json.dumps(ours))), _flat(theirs)
    mine = {key: value for key, value in mine.items() if key in found or value != UNUSED}
    keys = [key for key in sorted(mine.keys() | found.keys()) if mine.get(key, "unset") != found.get(key, "unset")]
    if keys:
        first = ", ".join(f"{key} = {found.get(key, 'unset')} there, {mine.get(key, 'unset')} here" for key in keys[:3])
        more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
        raise ValueError(f"{folder} belongs to another config ({first}{more}): give another folder, or that config")


def _flat(settings: Any, prefix: str = "") -> dict[str, str]:
    """Return settings by dotted key, each value as its JSON text."""
    if not isinstance(settings, dict):
        return {prefix: json.dumps(settings, ensure_ascii=False)}
    flat: dict[str, str] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}.{key}" if prefix else key)
    return flat


# Tables


def write_table(folder: Path, index: int, rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> Path:
    """Write rows as part `index` of a table, replacing it; a picture may be a PIL image or encoded bytes."""
    for row in rows:
        assert row.keys() == set(schema.names), f"{folder}: columns {sorted(row)}, expected {sorted(schema.names)}"
    pictures = {field.name for field in schema if field.type == IMAGE}
    stored = [{name: _picture(cell) if name in pictures else cell for name, cell in row.items()} for row in rows]
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(stored, schema=schema), buffer, compression="zstd", write_page_checksum=True)
    path = _part(folder, index)
    write_bytes(path, buffer.getvalue())
    return path


def read_table(folder: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table's parts in order, all columns or some.

    Raises FileNotFoundError where there is no part, ValueError for a corrupt part or a missing one.
    """
    paths = parts(folder)
    if not paths:
        raise FileNotFoundError(f"There is no table in {folder}: run the stage that writes it first")
    for index, path in enumerate(paths):
        expected = _part(folder, index)
        if path != expected:
            raise ValueError(f"{expected} is missing: delete the parts after it too, the stage will redo them")
    tables = [_read_part(path, columns) for path in paths]
    for path, table in zip(paths, tables, strict=True):
        if table.schema != tables[0].schema:
            raise ValueError(f"{path} has other columns than {paths[0].name}: delete it, the stage will redo it")
    return pa.concat_tables(tables)


def read_part(folder: Path, index: int, columns: Sequence[str] | None = None) -> pa.Table:
    """Read one part of a table, all columns or some; raises FileNotFoundError or ValueError as `read_table` does."""
    path = _part(folder, index)
    if not path.exists():
        raise FileNotFoundError(f"There is no {path}: run the stage that writes it first")
    return _read_part(path, columns)


def parts(folder: Path) -> list[Path]:
    """Return the paths of a table's parts in order; none where the folder does not exist."""
    return sorted(folder.glob("part-*.parquet"))


def has_part(folder: Path, index: int) -> bool:
    """Whether a part of a table is there; several processes that were stopped leave some out before the last one."""
    return _part(folder, index).exists()


def drop_parts_from(folder: Path, index: int) -> None:
    """Delete the parts from `index` on, the last first, so that a kill in between leaves no gap."""
    late = [path for path in parts(folder) if int(path.stem.removeprefix("part-")) >= index]
    for path in reversed(late):
        path.unlink()
    if late:
        sync(folder)


def _part(folder: Path, index: int) -> Path:
    return folder / f"part-{index:05d}.parquet"


def _picture(cell: Any) -> Any:
    if isinstance(cell, Image.Image):
        return {"bytes": images.to_png(cell), "path": None}
    return {"bytes": cell, "path": None} if isinstance(cell, bytes) else cell


def _read_part(path: Path, columns: Sequence[str] | None) -> pa.Table:
    with path.open("rb") as file:
        try:
            return pq.ParquetFile(file, page_checksum_verification=True).read(columns)
        except (pa.ArrowException, OSError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{path} is corrupt ({reason}): delete it, the stage will redo it") from error


# Files


def write_bytes(path: Path, data: bytes | pa.Buffer) -> None:
    """Write a file whole or not at all; a full disk raises OSError and leaves the old file, if any."""
    with writing(path) as file:
        file.write(data)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Inside, a file is written piece by piece; it is there only once all of it is, as with `write_bytes`."""
    temporary = path.with_name(f".{path.name}.tmp")  # always the same name: a redone write removes what a kill left
    try:
        with _full_disk_named(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys; raises ValueError for NaN and infinities, which JSON does not have."""
    write_bytes(path, f"{_json(path, value, indent=2)}\n".encode())


def read_json(path: Path, advice: str = "delete it, the stage will redo it") -> Any:
    """Read a JSON file; raises ValueError with the advice where it is corrupt."""
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is corrupt ({error}): {advice}") from error


def append_jsonl(path: Path, record: Mapping[str, Any]) -> None:
    """Append one record as a line; a full disk raises OSError and leaves the file as it was."""
    line = f"{_json(path, record)}\n".encode()
    with _full_disk_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as file:
            size = file.tell()
            try:
                written = file.write(line)
                if written != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())
            except OSError:
                file.truncate(size)
                raise


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read the records of a JSONL file; a last line that was cut off is left out, a missing file has none."""
    return [record for _, record in _lines(path)]


def truncate_jsonl(path: Path, keep: Callable[[dict[str, Any]], bool]) -> None:
    """Keep only the records that `keep` accepts, and no last line that was cut off; a missing file stays missing."""
    if path.exists():
        kept = b"".join(line for line, record in _lines(path) if keep(record))
        if kept != path.read_bytes():
            write_bytes(path, kept)


def _lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Yield each whole line with its record."""
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True) if path.exists() else [], start=1):
        if not line.endswith(b"\n"):
            return
        try:
            record = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path} is corrupt at line {number} ({error}): delete the file and that stage") from error
        yield line, record


def _json(path: Path, value: Any, indent: int | None = None) -> str:
    try:
        return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, indent=indent)
    except ValueError as error:
        raise ValueError(f"{path} cannot be written: JSON has no NaN and no infinity ({error})") from error


def sync(path: Path) -> None:
    """Bring a file or a folder's list of names to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _full_disk_named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        sentence = f"The disk is full, {path} was not written: free some space and run the same command again"
        raise OSError(error.errno, sentence) from error
