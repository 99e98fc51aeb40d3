"""HPD v2's JSON: both of its forms, which pairs several pictures make, and what is refused."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from given_pairs import Given, png

from selfportrait.preferences.hpd import Hpd

COLORS = ["red", "green", "blue", "black"]


def make(folder: Path, given: list[Given]) -> Hpd:
    """Every other record in the form of train.json with the chosen picture second, the others as in test.json."""
    records = []
    for number, one in enumerate(given):
        names = [f"{number}-chosen.png", f"{number}-rejected.png"]
        put(folder / "train", dict(zip(names, one[1:], strict=True)))
        if number % 2:
            records.append({"prompt": one.prompt, "file_path": names[::-1], "human_preference": [0, 1]})
        else:
            records.append({"prompt": one.prompt, "image_path": names, "rank": [1, 2], "raw_annotations": []})
    return Hpd(path=str(write(folder / "train.json", records)))


def put(folder: Path, pictures: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in pictures.items():
        (folder / name).write_bytes(data)


def write(file: Path, records: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(records), encoding="utf-8")
    return file


def ranked(tmp_path: Path, key: str, values: list[Any], **settings: Any) -> Hpd:
    """A record of as many pictures as there are values, called a.png, b.png, ..., after one of two."""
    put(tmp_path, {f"{letter}.png": png(color) for letter, color in zip("abcd", COLORS, strict=True)})
    first = {"prompt": "first", "image_path": ["a.png", "b.png"], key: [1, 0]}
    names = [f"{letter}.png" for letter in "abcd"[: len(values)]]
    records = [first, {"prompt": "p", "image_path": names, key: values}]
    return Hpd(path=str(write(tmp_path / "test.json", records)), **settings)


def told(source: Hpd) -> tuple[list[str], dict[str, int]]:
    """The pairs of the second record as "chosen>rejected", and what was dropped."""
    reading = iter(source)
    pairs = [pair for pair in reading if pair.prompt == "p"]
    return [f"{pair.chosen.source.stem}>{pair.rejected.source.stem}" for pair in pairs], reading.counts["dropped"]


@pytest.mark.parametrize(
    ("key", "values", "every", "dropped"),
    [
        ("rank", [2, 1, 3], ["b>a", "a>c", "b>c"], {}),
        ("rank", [1, 1, 3], ["a>c", "b>c"], {"tie": 1}),
        ("rank", [3, None, 1], ["c>a"], {"no label": 2}),
        ("human_preference", [0, 1, 0], ["b>a", "b>c"], {"tie": 1}),
        ("human_preference", [0.5, 0.5], [], {"tie": 1}),
        ("human_preference", [1, None], [], {"no label": 1}),
    ],
)
def test_every_two_pictures_are_a_pair(
    key: str, values: list[Any], every: list[str], dropped: dict[str, int], tmp_path: Path
) -> None:
    assert told(ranked(tmp_path, key, values)) == (every, dropped)


@pytest.mark.parametrize(
    ("key", "values", "only", "dropped"),
    [
        ("rank", [2, 1, 4, 3], ["b>c"], {}),
        ("rank", [1, 1, 2, 2], ["a>d"], {}),
        ("rank", [3, None, 1], ["c>a"], {}),
        ("human_preference", [0, 1, 0], ["b>c"], {}),
        ("rank", [1, 1, 1], [], {"tie": 1}),
    ],
)
def test_or_only_the_best_and_the_worst(
    key: str, values: list[Any], only: list[str], dropped: dict[str, int], tmp_path: Path
) -> None:
    source = ranked(tmp_path, key, values, pairs="best_worst")
    assert told(source) == (only, dropped)
    assert source.num_rows == 2


def test_a_row_is_every_two_pictures_that_are_compared(tmp_path: Path) -> None:
    source = ranked(tmp_path, "rank", [1, 1, 2, 3])
    assert source.num_rows == 1 + 6
    assert [row.index for row in source.rows()] == list(range(7))
    assert [row.index for row in source.rows(3, 5)] == [3, 4]


def test_pictures_lie_beside_the_file_or_where_the_setting_says(tmp_path: Path) -> None:
    record = {"prompt": "p", "image_path": ["a.png", "b.png"], "rank": [1, 2]}
    file = write(tmp_path / "test.json", [record])
    for folder, color in [(tmp_path, "red"), (tmp_path / "test", "green"), (tmp_path / "other", "blue")]:
        put(folder, {"a.png": png(color), "b.png": png("white")})
        settings = {"images": str(folder)} if folder.name == "other" else {}
        assert next(iter(Hpd(path=str(file), **settings))).chosen.data() == png(color)
    with pytest.raises(FileNotFoundError, match="give preferences.images"):
        Hpd(path=str(file), images=str(tmp_path / "none"))


def test_a_picture_that_is_not_there_is_counted(tmp_path: Path) -> None:
    source = ranked(tmp_path, "rank", [1, 2, 3])
    (tmp_path / "c.png").unlink()
    assert told(source) == (["a>b"], {"no picture": 2})


def test_a_picture_outside_the_folder_is_refused(tmp_path: Path) -> None:
    put(tmp_path, {"secret.png": png("red")})
    put(tmp_path / "images", {"b.png": png("blue")})
    os.symlink(tmp_path / "secret.png", tmp_path / "images/link.png")
    os.symlink(tmp_path, tmp_path / "images/up")
    for name in ("../secret.png", str(tmp_path / "secret.png"), "link.png", "up/secret.png", "a\0.png"):
        record = {"prompt": "p", "image_path": [name, "b.png"], "rank": [1, 2]}
        source = Hpd(path=str(write(tmp_path / "test.json", [record])), images=str(tmp_path / "images"))
        with pytest.raises(ValueError, match=r"test\.json, item 1: the picture .* lies outside"):
            list(source)


GOOD = {"prompt": "p", "image_path": ["a.png", "b.png"], "rank": [1, 2]}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[]", "is empty: expected at least one record"),
        ("", "does not hold a JSON list"),
        ('{"prompt": "p"}', "does not hold a JSON list"),
        ('["a cat", "a dog"]', "item 1 is a text: a list of prompts has no pairs; give train.json or test.json"),
        ("[3]", "item 1 begins with '3', expected a JSON object"),
        ([GOOD, {"prompt": "p"}], "no key image_path or file_path and no human_preference or rank; it has prompt"),
        ([{"image_path": ["a"], "rank": [1]}], "item 1 has no key prompt; it has image_path, rank"),
        ([{**GOOD, "prompt": 3}], "item 1: prompt = 3, expected text"),
        ([{**GOOD, "image_path": ["a.png"]}], "item 1: image_path = ['a.png'], expected a list of at least two paths"),
        ([{**GOOD, "image_path": ["a.png", 3]}], "expected a list of at least two paths"),
        ([{**GOOD, "rank": [1]}], "item 1: rank = [1], expected a list of 2, one for each picture"),
        ([{**GOOD, "rank": [1, "2"]}], "item 1: rank = '2', expected numbers"),
        ([{**GOOD, "human_preference": [1, 2]}], "item 1: human_preference = 2, expected 0, 0.5 or 1"),
        ([{**GOOD, "human_preference": 0}], "item 1: human_preference = 0, expected a list of 2"),
        ('[{"prompt": "p"]', "item 1 is not JSON"),
        ('[{"prompt": "p"', "item 1 is not JSON"),
    ],
)  # fmt: skip
def test_refuses_in_one_sentence(content: Any, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "test.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    put(tmp_path, {"a.png": png("red"), "b.png": png("blue")})
    with pytest.raises(ValueError, match=r".") as caught:
        list(Hpd(path=str(file)))
    assert sentence in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"There is no file .*none\.json: give preferences.path"):
        Hpd(path=str(tmp_path / "none.json"))
