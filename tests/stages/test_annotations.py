"""The JSON lines of IAPO: there and back, and what is refused, by line and pair."""

import json
from pathlib import Path
from typing import Any

import pytest

from selfportrait import store
from selfportrait.stages import Annotation, annotations_of, check_instances, read_annotations, write_annotations
from selfportrait.types import Instance

INSTANCES = (
    Instance(
        "red cat", (0, 1, 20, 30), (5, 5, 6, 6), is_conflict=True, chosen_confidence=0.75, rejected_confidence=0.5
    ),
    Instance('hund "ü"', (0, 0, 40, 30), (0, 0, 10, 20), is_conflict=False),
)
WHOLE = Annotation(
    "7", "a prompt", (40, 30), (10, 20), INSTANCES, ("Image A is better", ""), "w.png", "l.png", "dino", "qwen", "qwen"
)
BARE = Annotation("8", "another", None, None, ())


def line(**changes: Any) -> dict[str, Any]:
    instance = {"name": "cat", "box_w": [0, 0, 9, 9], "box_l": [1, 2, 3, 4], "rho": 1}
    row = {"pair_id": "p", "prompt": "a", "size_w": [30, 40], "size_l": [20, 10], "instances": [instance]}
    inner = {key: changes.pop(key) for key in list(changes) if key in ("name", "box_w", "box_l", "rho", "conf_w")}
    return {**row, "instances": [{**instance, **inner}], **changes}


def read(path: Path, *rows: Any) -> list[Annotation]:
    path = path / "pairs.jsonl"
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return read_annotations(path)


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    write_annotations(path, [WHOLE, BARE])
    assert read_annotations(path) == [WHOLE, BARE]
    first = json.loads(path.read_text().splitlines()[0])
    assert (first["size_w"], first["size_l"]) == ([30, 40], [20, 10])  # height first, as the paper's lines have it
    assert [one["rho"] for one in first["instances"]] == [1, 0]
    assert first["instances"][0]["box_w"] == [0, 1, 20, 30]
    assert (first["image_w"], first["detector"]) == ("w.png", "dino")


def test_a_line_needs_no_confidence_reply_or_maker(tmp_path: Path) -> None:
    (found,) = read(tmp_path, line())
    assert found.instances == (Instance("cat", (0, 0, 9, 9), (1, 2, 3, 4), is_conflict=True),)
    assert (found.chosen_size, found.rejected_size, found.raw, found.judge) == ((40, 30), (10, 20), ("",), "")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"box_w": [0, 0, 41, 9]}, r"instance 'cat', box_w: the box \(0, 0, 41, 9\) leaves its picture of 40x30"),
        ({"box_w": [0, 0, 9, 31]}, "leaves its picture of 40x30"),
        ({"box_l": [-1, 0, 9, 9]}, "box_l: the box .* leaves its picture of 10x20"),
        ({"box_l": [3, 3, 3, 9]}, "empty or inverted"),
        ({"box_w": [9, 9, 0, 0]}, "empty or inverted"),
        ({"size_l": None}, "box_l: the size of its picture is not given"),
        ({"box_w": [0, 0, 9]}, "instances.0.box_w"),
        ({"box_w": [0, 0, 9.5, 9]}, "instances.0.box_w.2"),
        ({"rho": 2}, "instances.0.rho"),
        ({"rho": None}, "instances.0.rho"),
        ({"name": 3}, "instances.0.name"),
        ({"conf_w": "high"}, "instances.0.conf_w"),
        ({"size_w": [0, 5]}, "size_w.0"),
        ({"prompt": None}, "prompt"),
    ],
)
def test_what_does_not_fit_is_refused_by_line_and_pair(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=rf"pairs.jsonl, line 2: the pair p[:,].*{says}"):
        read(tmp_path, line(pair_id="first"), line(**changes))


def test_other_files_and_lines_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="line 1 is not JSON"):
        read(tmp_path, json.dumps(line())[:-5])
    with pytest.raises(ValueError, match="line 2: the pair p is there twice"):
        read(tmp_path, line(), line())
    with pytest.raises(ValueError, match="line 1: the pair without an id: pair_id"):
        read(tmp_path, {"prompt": "a", "instances": []})
    for name in ("nowhere.jsonl", "pairs.csv"):
        with pytest.raises(FileNotFoundError, match="no file of annotations"):
            read_annotations(tmp_path / name)


def test_a_box_that_does_not_fit_is_not_written(tmp_path: Path) -> None:
    wrong = Annotation("9", "a", (5, 5), (40, 30), INSTANCES)
    with pytest.raises(ValueError, match="the pair 9, instance 'red cat', box_w"):
        write_annotations(tmp_path / "pairs.jsonl", [WHOLE, wrong])
    assert not (tmp_path / "pairs.jsonl").exists()
    with pytest.raises(ValueError, match="the pair 9"):
        check_instances("9", INSTANCES, (40, 30), None)


def test_a_table_is_exported_without_what_was_left_out(tmp_path: Path) -> None:
    names = [field.name for field in store.INSTANCES.field("instances").type.value_type]
    tied = {**dict.fromkeys(names), "name": "dog", "reason": "tie", "chosen_box": [0, 0, 1, 1]}
    used = {
        **dict.fromkeys(names), "name": "cat", "chosen_box": [0, 0, 9, 9], "rejected_box": [1, 2, 3, 4],
        "chosen_confidence": 0.5, "rejected_confidence": 0.25, "is_swapped": True, "is_conflict": True, "raw": "said",
    }  # fmt: skip
    row = {
        **dict.fromkeys(store.INSTANCES.names), "pair_id": "p", "prompt": "a", "chosen_width": 40, "chosen_height": 30,
        "rejected_width": 10, "rejected_height": 20, "instances": [tied, used], "planner": "Vlm",
        "detector": "GroundingDino", "judge": "Vlm",
    }  # fmt: skip
    unread = {**row, "pair_id": "q", "chosen_width": None, "rejected_width": None, "instances": [], "reason": "broken"}
    store.write_table(tmp_path / "instances", 0, [row, unread], store.INSTANCES)
    found = annotations_of(tmp_path / "instances")
    assert found[0].instances == (Instance("cat", (0, 0, 9, 9), (1, 2, 3, 4), True, 0.5, 0.25),)
    assert (found[0].raw, found[0].chosen_size, found[1].chosen_size) == (("said",), (40, 30), None)
    write_annotations(tmp_path / "pairs.jsonl", found)
    assert read_annotations(tmp_path / "pairs.jsonl") == found
