"""Instances as they are read: from the table of the stage, and from and to the JSON lines of IAPO.

Read this to see what a line holds, and which boxes are refused.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from selfportrait import rows, store
from selfportrait.boxes import Box, Size, problem
from selfportrait.types import Instance

__all__ = ["Annotation", "annotations_of", "check_instances", "instances_of", "read_annotations", "write_annotations"]


@dataclass(frozen=True)
class Annotation:
    """The instances of one pair with what is known of it; `raw` is what the judge said of each instance.

    Sizes are (width, height) of the original pictures; None only where there is no instance.
    """

    pair_id: str
    prompt: str
    chosen_size: Size | None
    rejected_size: Size | None
    instances: tuple[Instance, ...]
    raw: tuple[str, ...] = ()
    chosen_image: str | None = None
    rejected_image: str | None = None
    detector: str = ""
    planner: str = ""
    judge: str = ""


def instances_of(folder: Path) -> dict[str, tuple[Instance, ...]]:
    """The instances of each pair of a table that can be used, by the pair's id; none for a pair without any."""
    return {one.pair_id: one.instances for one in annotations_of(folder)}


def annotations_of(folder: Path) -> list[Annotation]:
    """The rows of a table instances/, without the instances that were left out."""
    return [_of_row(row) for row in store.read_table(folder).to_pylist()]


def _of_row(row: Mapping[str, Any]) -> Annotation:
    used = [one for one in row["instances"] if one["reason"] is None]
    instances = tuple(
        Instance(
            one["name"],
            tuple(one["chosen_box"]),
            tuple(one["rejected_box"]),
            one["is_conflict"],
            one["chosen_confidence"],
            one["rejected_confidence"],
        )
        for one in used
    )
    return Annotation(
        row["pair_id"],
        row["prompt"],
        _size(row["chosen_width"], row["chosen_height"]),
        _size(row["rejected_width"], row["rejected_height"]),
        instances,
        tuple(one["raw"] or "" for one in used),
        detector=row["detector"],
        planner=row["planner"],
        judge=row["judge"],
    )


def _size(width: int | None, height: int | None) -> Size | None:
    return None if width is None or height is None else (width, height)


def check_instances(
    pair_id: str, instances: Iterable[Instance], chosen_size: Size | None, rejected_size: Size | None
) -> None:
    """Refuse boxes that are empty, inverted or outside their pictures; raises ValueError that names the pair."""
    for one in instances:
        for side, box, size in (("box_w", one.chosen_box, chosen_size), ("box_l", one.rejected_box, rejected_size)):
            wrong = "the size of its picture is not given" if size is None else problem(box, size)
            if wrong:
                raise ValueError(f"the pair {pair_id}, instance {one.name!r}, {side}: {wrong}")


# The JSON lines of the paper: w is the chosen, l the rejected, rho = 1 a conflict

_Side = Annotated[int, pydantic.Field(ge=1)]


class _Instance(pydantic.BaseModel):
    name: str
    box_w: Box
    box_l: Box
    rho: Literal[0, 1]
    conf_w: float = 1.0
    conf_l: float = 1.0
    judge_raw: str = ""


class _Line(pydantic.BaseModel):
    pair_id: str
    prompt: str
    instances: tuple[_Instance, ...]
    size_w: tuple[_Side, _Side] | None = None  # height, width
    size_l: tuple[_Side, _Side] | None = None
    image_w: str | None = None
    image_l: str | None = None
    detector: str = ""
    planner: str = ""
    judge: str = ""


def read_annotations(path: Path) -> list[Annotation]:
    """Read the JSON lines of IAPO; raises ValueError, with the line and the pair, for what does not fit."""
    if path.suffix != ".jsonl" or not path.is_file():
        raise FileNotFoundError(f"{path} is no file of annotations: give a .jsonl with a pair a line")
    found: dict[str, Annotation] = {}
    for number, row in rows.read(path, []):
        where = f"{path}, line {number}"
        one = _of_line(row, where)
        if one.pair_id in found:
            raise ValueError(f"{where}: the pair {one.pair_id} is there twice")
        found[one.pair_id] = one
    return list(found.values())


def _of_line(row: Mapping[str, Any], where: str) -> Annotation:
    try:
        line = _Line.model_validate_json(json.dumps(row), strict=True)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: the pair {row.get('pair_id', 'without an id')}: {key}: {first['msg']}") from error
    instances = tuple(
        Instance(one.name, one.box_w, one.box_l, one.rho == 1, one.conf_w, one.conf_l) for one in line.instances
    )
    chosen_size, rejected_size = _turned(line.size_w), _turned(line.size_l)
    try:
        check_instances(line.pair_id, instances, chosen_size, rejected_size)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    return Annotation(
        line.pair_id,
        line.prompt,
        chosen_size,
        rejected_size,
        instances,
        tuple(one.judge_raw for one in line.instances),
        line.image_w,
        line.image_l,
        line.detector,
        line.planner,
        line.judge,
    )


def _turned(size: tuple[int, int] | None) -> tuple[int, int] | None:
    """(height, width) as (width, height), and back."""
    return None if size is None else (size[1], size[0])


def write_annotations(path: Path, annotations: Iterable[Annotation]) -> None:
    """Write the JSON lines of IAPO, whole or not at all; raises ValueError for a box that does not fit its picture."""
    lines = [f"{json.dumps(_line(one), ensure_ascii=False, allow_nan=False)}\n" for one in annotations]
    store.write_bytes(path, "".join(lines).encode())


def _line(one: Annotation) -> dict[str, Any]:
    check_instances(one.pair_id, one.instances, one.chosen_size, one.rejected_size)
    raw = one.raw or [""] * len(one.instances)
    return {
        "pair_id": one.pair_id,
        "prompt": one.prompt,
        "image_w": one.chosen_image,
        "image_l": one.rejected_image,
        "size_w": _turned(one.chosen_size),
        "size_l": _turned(one.rejected_size),
        "instances": [
            {
                "name": instance.name,
                "box_w": list(instance.chosen_box),
                "box_l": list(instance.rejected_box),
                "conf_w": instance.chosen_confidence,
                "conf_l": instance.rejected_confidence,
                "rho": int(instance.is_conflict),
                "judge_raw": said,
            }
            for instance, said in zip(one.instances, raw, strict=True)
        ],
        "detector": one.detector,
        "planner": one.planner,
        "judge": one.judge,
    }
