"""Long JSON lists: the same items as `json.loads` has, wherever the pieces that are read end."""

import json
from pathlib import Path
from typing import Any

import pytest

from selfportrait.preferences import _json_list

ITEMS = [{"a": 'x"]},{', "b": [1, {"c": None}]}, {}, {"ü": "\u2028\\", "long": "y" * 40}, "text, [ ]"]


def read(tmp_path: Path, text: str) -> list[tuple[int, Any]]:
    file = tmp_path / "list.json"
    file.write_text(text, encoding="utf-8")
    return list(_json_list.items(file))


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 7, 16, 2**20])
@pytest.mark.parametrize("indent", [None, 2])
def test_items_are_those_of_the_list(chunk: int, indent: int | None, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(_json_list, "_CHUNK", chunk)
    text = json.dumps(ITEMS, indent=indent, ensure_ascii=False)
    expected = list(enumerate(ITEMS, start=1))
    assert read(tmp_path, text) == expected
    assert read(tmp_path, f"\ufeff \r\n{text}\r\n\r\n") == expected
    assert read(tmp_path, " [ ] ") == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[{}", "item 1 is followed by '', expected a comma or the end of the list"),
        ("[{} {}]", "item 1 is followed by '{', expected a comma"),
        ("[{},]", "item 2 begins with ']', expected a JSON object"),
        ("[{}] []", "goes on after its list, with '['"),
        ("[{}, nul]", "item 2 begins with 'n'"),
        ('[{"a": 1,}]', "item 1 is not JSON"),
        ('[{"a": "b}]', "item 1 is not JSON"),
        ('[{"a": ' + "[" * 100_000 + "]", "item 1 is nested too deeply"),
    ],
)
def test_a_broken_list_is_refused_with_the_item(text: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"list\.json") as caught:
        read(tmp_path, text)
    assert sentence in str(caught.value)


def test_items_before_a_broken_one_are_given(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text('[{"a": 1}, {"a": 2}, oops]')
    found = _json_list.items(tmp_path / "list.json")
    assert [next(found), next(found)] == [(1, {"a": 1}), (2, {"a": 2})]


def test_an_item_that_never_ends_is_not_read_to_the_end(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(_json_list, "_CHUNK", 10)
    monkeypatch.setattr(_json_list, "_LONGEST", 100)
    with pytest.raises(ValueError, match="item 1 is not JSON"):
        read(tmp_path, '[{"a": "' + "b" * 1000)


def test_other_text_than_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_bytes(b'[{"a": "caf\xe9"}]')
    with pytest.raises(ValueError, match="is not UTF-8 text"):
        list(_json_list.items(tmp_path / "list.json"))
