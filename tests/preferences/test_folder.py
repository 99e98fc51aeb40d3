"""Folders of pairs: columns, labels, instances, and what is refused."""

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from given_pairs import Given, png

from selfportrait.preferences.folder import Folder
from selfportrait.types import Instance

HEAD = "prompt,chosen,rejected"


def make(folder: Path, given: list[Given]) -> Folder:
    rows = []
    for number, one in enumerate(given):
        names = [f"images/{number}-{side}" for side in ("chosen", "rejected")]
        put(folder, dict(zip(names, one[1:], strict=True)))
        rows.append({"prompt": one.prompt, "chosen": names[0], "rejected": names[1]})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metadata.jsonl").write_text(lines, encoding="utf-8")
    return Folder(path=str(folder))


def put(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the pictures a.png and b.png."""
    put(tmp_path / "pairs", {"a.png": png("red"), "b.png": png("blue")})
    return tmp_path / "pairs"


def read(folder: Path, text: str | bytes, name: str = "metadata.csv"):
    put(folder, {name: text if isinstance(text, bytes) else text.encode()})
    reading = iter(Folder(path=str(folder)))
    return list(reading), reading.counts["dropped"]


@pytest.mark.parametrize("column", ["prompt", "text", "caption"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_csv_with_marks_and_any_line_ends_is_read(column: str, newline: str, mark: str, folder: Path) -> None:
    lines = [f"{column},chosen,rejected", '"a, ü",a.png,b.png', "c,b.png,a.png"]
    pairs, dropped = read(folder, mark + newline.join(lines) + newline)
    assert [pair.prompt for pair in pairs] == ["a, ü", "c"]
    assert [pair.chosen.data() for pair in pairs] == [png("red"), png("blue")]
    assert pairs[1].chosen.where == f"{folder / 'metadata.csv'}, line 3"
    assert dropped == {}


@pytest.mark.parametrize(
    ("label", "chosen", "dropped"),
    [
        ("1", "red", {}),
        ("1.0", "red", {}),
        ("0", "blue", {}),
        ("0.5", None, {"tie": 1}),
        ("", None, {"no label": 1}),
        ("nan", None, None),
        ("2", None, None),
        ("good", None, None),
    ],
)
def test_a_label_says_which_picture_is_better(
    label: str, chosen: str | None, dropped: dict[str, int] | None, folder: Path
) -> None:
    text = f"{HEAD},label\nfirst,a.png,b.png,1\nsecond,a.png,b.png,{label}\n"
    if dropped is None:
        with pytest.raises(ValueError, match=rf"line 3: label = '{label}', expected 0, 0\.5 or 1"):
            read(folder, text)
        return
    pairs, found = read(folder, text)
    assert found == dropped
    assert [pair.chosen.data() for pair in pairs[1:]] == ([png(chosen)] if chosen else [])


def test_a_line_without_a_label_where_others_have_one_is_dropped(folder: Path) -> None:
    lines = [{"prompt": "p", "chosen": "a.png", "rejected": "b.png"} for _ in range(2)]
    text = json.dumps({**lines[0], "label": 1}) + "\n" + json.dumps(lines[1]) + "\n"
    assert read(folder, text, "metadata.jsonl")[1] == {"no label": 1}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("p,a.png,a.png", "identical pictures"),
        ("p,a.png,./a.png", "identical pictures"),
        ("p,a.png,copy.png", "identical pictures"),
        (",a.png,b.png", "empty prompt"),
        (" ,a.png,b.png", "empty prompt"),
        ("", "empty prompt"),
        ("p,a.png,", "no picture"),
        ("p,gone.png,b.png", "no picture"),
        ("p,.,b.png", "no picture"),
    ],
)
def test_a_line_that_is_no_pair_is_dropped_and_counted(line: str, reason: str, folder: Path) -> None:
    put(folder, {"copy.png": png("red")})
    pairs, dropped = read(folder, f"{HEAD}\n{line}\np,a.png,b.png\n")
    assert [pair.index for pair in pairs] == [1]
    assert dropped == {reason: 1}


INSTANCE = {"name": "dog", "chosen_box": [0, 1, 2, 3], "rejected_box": [1, 1, 6, 4], "is_conflict": True}


def test_instances_are_read_from_both_kinds(folder: Path) -> None:
    full = {**INSTANCE, "name": "cat", "chosen_confidence": 0.5, "rejected_confidence": 1, "is_conflict": False}
    expected = (
        Instance("dog", (0, 1, 2, 3), (1, 1, 6, 4), is_conflict=True),
        Instance("cat", (0, 1, 2, 3), (1, 1, 6, 4), False, 0.5, 1.0),
    )
    row = {"prompt": "p", "chosen": "a.png", "rejected": "b.png", "instances": [INSTANCE, full]}
    (pair,), _ = read(folder, json.dumps(row), "metadata.jsonl")
    assert pair.instances == expected
    (folder / "metadata.jsonl").unlink()
    buffer = io.StringIO()
    table = csv.writer(buffer)
    table.writerow([*HEAD.split(","), "instances"])
    table.writerow(["p", "a.png", "b.png", json.dumps([INSTANCE, full])])
    table.writerow(["p", "b.png", "a.png", ""])
    pairs, _ = read(folder, buffer.getvalue())
    assert [pair.instances for pair in pairs] == [expected, ()]


def test_instances_change_places_with_the_pictures(folder: Path) -> None:
    """A judge prefers one of the two: what was a conflict is none once the pictures change places."""
    sure = {**INSTANCE, "chosen_confidence": 0.25, "rejected_confidence": 0.75}
    row = {"prompt": "p", "chosen": "a.png", "rejected": "b.png", "label": 0, "instances": [sure]}
    (pair,), _ = read(folder, json.dumps(row), "metadata.jsonl")
    assert pair.instances == (Instance("dog", (1, 1, 6, 4), (0, 1, 2, 3), False, 0.75, 0.25),)


@pytest.mark.parametrize(
    ("instances", "sentence"),
    [
        ("[", "instances is not JSON"),
        ({"name": "dog"}, "expected a list of objects"),
        ([3], "expected a list of objects"),
        ([{**INSTANCE, "box": []}], "instance 1: unknown field 'box'"),
        ([{**INSTANCE, "name": 3}], "instance 1: expected name, a text"),
        ([{**INSTANCE, "is_conflict": 1}], "instance 1: expected name, a text, and is_conflict, true or false"),
        ([INSTANCE, {**INSTANCE, "chosen_box": [0, 0, 1]}], "instance 2: chosen_box = [0, 0, 1], expected four whole"),
        ([{**INSTANCE, "rejected_box": [0, 0, 1, 1.5]}], "rejected_box = [0, 0, 1, 1.5], expected four whole numbers"),
        ([{**INSTANCE, "chosen_box": None}], "chosen_box = None, expected four whole numbers"),
        ([{**INSTANCE, "chosen_confidence": "high"}], "chosen_confidence = 'high', expected a number"),
    ],
)
def test_instances_that_are_none_are_refused(instances: Any, sentence: str, folder: Path) -> None:
    row = {"prompt": "p", "chosen": "a.png", "rejected": "b.png", "instances": instances}
    with pytest.raises(ValueError, match=r"metadata\.jsonl, line 1") as caught:
        read(folder, json.dumps(row), "metadata.jsonl")
    assert sentence in str(caught.value)


@pytest.mark.parametrize("name", ["../secret.png", "{root}/secret.png", "link.png", "up/secret.png"])
def test_a_picture_outside_the_folder_is_refused(name: str, folder: Path) -> None:
    put(folder.parent, {"secret.png": png("red")})
    os.symlink(folder.parent / "secret.png", folder / "link.png")
    os.symlink(folder.parent, folder / "up")
    with pytest.raises(ValueError, match=r"metadata\.csv, line 2: the picture .* lies outside"):
        read(folder, f"{HEAD}\np,{name.format(root=folder.parent)},b.png\n")


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("metadata.csv", f"{HEAD}\n", "is empty: expected at least one pair"),
        ("metadata.csv", "", "is empty: expected at least one pair"),
        ("metadata.csv", "prompt,winner\np,a.png\n", "has no column chosen and no rejected; it has prompt, winner"),
        ("metadata.jsonl", '{"chosen": "a.png"}', "no column prompt or text or caption and no rejected; it has chosen"),
        ("metadata.jsonl", "[]", "line 1 is not a JSON object"),
        ("metadata.jsonl", '{"prompt": 3, "chosen": "a.png", "rejected": "b.png"}', "line 1: the prompt is 3"),
        ("metadata.jsonl", '{"prompt": "p", "chosen": 3, "rejected": "b.png"}', "line 1: chosen = 3, expected the"),
        ("metadata.csv", f"{HEAD}\np,a.png\n", "line 2 has 2 columns, expected 3"),
        ("metadata.csv", b"prompt,chosen,rejected\ncaf\xe9,a.png,b.png\n", "is not UTF-8 text (byte 26)"),
    ],
)  # fmt: skip
def test_refuses_in_one_sentence(name: str, text: str | bytes, sentence: str, folder: Path) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        read(folder, text, name)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_which_file_lists_the_pairs(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no metadata\.jsonl and no metadata\.csv"):
        Folder(path=str(folder))
    with pytest.raises(FileNotFoundError, match="There is no"):
        Folder(path=str(folder / "none"))
    with pytest.raises(ValueError, match=r"a\.png is of no known kind"):
        Folder(path=str(folder / "a.png"))
    put(folder, {"mine.csv": f"{HEAD}\np,a.png,b.png\n".encode()})
    assert len(list(Folder(path=str(folder / "mine.csv")))) == 1
    put(folder, {"metadata.csv": b"x", "metadata.jsonl": b"x"})
    with pytest.raises(ValueError, match="has both"):
        Folder(path=str(folder))
