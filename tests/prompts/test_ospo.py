"""Published lists: what is read of them, the sentence for what is not, and no picture from outside its folder."""

import json
from pathlib import Path
from typing import Any

import pytest

from selfportrait.asking.roles import slot_pairs
from selfportrait.prompts.ospo import Ospo
from selfportrait.types import Prompt, Question

RECORD = {
    "item_id": "0000007",
    "t2i_category": "attribute",
    "sub_category": "attribute2",
    "prompt": "a teal kettle and an amber lantern",
    "concepts_and_relations": "teal kettle, amber lantern",
    "relation": "(kettle, teal)",
    "perturbed_method": ["replace", "swap", "drop"],
    "negative_prompt": ["a red kettle", "", "a teal kettle"],
    "long_prompt": ["Long 0.", "Long 1.", ""],
    "negative_long_prompt": ["Red 0.", "", "Teal 2."],
    "question": ["Is there a teal kettle?", " Is there an amber lantern? ", "", "Is there a teal kettle?"],
    "base_metadata": {},
    "chosen": "images/base/0.png",
    "rejected": "images/negative/0.png",
    "chosen_score": 0.9,
    "rejected_score": -1,
    "rejected_prompt": "a red kettle",
    "nouns": ["kettle"],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set with two pictures, and a third beside it."""
    for name in ("data/images/base/0.png", "data/images/negative/0.png", "secret.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"png")
    return tmp_path / "data"


def listed(folder: Path, content: Any, **settings: str) -> Ospo:
    path = folder / "list.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return Ospo(path=str(path), **settings)


def changed(**changes: Any) -> list[dict[str, Any]]:
    return [{key: value for key, value in {**RECORD, **changes}.items() if value is not ...}]


BASE = Prompt(
    "0000007",
    "a teal kettle and an amber lantern",
    "attribute2",
    (Question("Is there a teal kettle?"), Question("Is there an amber lantern?")),
)


def test_base_prompts_have_their_questions(folder: Path) -> None:
    assert listed(folder, [RECORD])() == [BASE]
    assert listed(folder, b"\xef\xbb\xbf" + json.dumps([RECORD]).encode())() == [BASE]


def test_perturbed_and_detailed_prompts_by_slot(folder: Path) -> None:
    source = listed(folder, [RECORD])
    found = source.rewrites()
    assert [(prompt.role, prompt.text) for prompt in found] == [
        ("perturbed 0 replace", "a red kettle"),
        ("dense 0 replace", "Long 0."),
        ("dense-perturbed 0 replace", "Red 0."),
        ("perturbed 2 drop", "a teal kettle"),
    ]
    (pair,) = slot_pairs([*source(), *found])
    assert (pair.base, pair.chosen.text, pair.rejected.text) == (BASE, "Long 0.", "Red 0.")


def test_a_list_of_prompts_alone(folder: Path) -> None:
    source = listed(folder, [{"item_id": "000", "category": "color", "prompt": "a cup"}])
    assert source() == [Prompt("000", "a cup", "color")]
    assert source.rewrites() == []
    with pytest.raises(ValueError, match="holds no pairs: no item has the keys chosen and rejected"):
        source.pairs()


def test_pairs(folder: Path) -> None:
    (pair,) = listed(folder, [RECORD]).pairs()
    assert pair.prompt == BASE
    assert pair.chosen == (folder / "images/base/0.png").resolve()
    assert pair.rejected == (folder / "images/negative/0.png").resolve()
    assert pair[3:] == (0.9, -1.0, "a red kettle")
    (bare,) = listed(folder, changed(chosen_score=..., rejected_score=None, rejected_prompt=...)).pairs()
    assert bare[3:] == (None, None, None)


def test_paths_of_another_machine(folder: Path) -> None:
    there = changed(chosen="/nas/x/base/0.png", rejected="/nas/x/negative/0.png")
    settings = {"images": str(folder / "images"), "moved_from": "/nas/x"}
    assert listed(folder, there, **settings).pairs()[0].chosen == (folder / "images/base/0.png").resolve()
    absolute = changed(chosen=str(folder / "images/base/0.png"))
    assert listed(folder, absolute).pairs()[0].chosen == (folder / "images/base/0.png").resolve()
    with pytest.raises(ValueError, match="lies outside"):
        listed(folder, there, images=str(folder / "images"), moved_from="/nas/y").pairs()
    with pytest.raises(ValueError, match="lies outside"):
        listed(folder, changed(chosen="/nas/xy/0.png"), images=str(folder / "images"), moved_from="/nas/x").pairs()


@pytest.mark.parametrize(
    "path", ["../secret.png", "images/../../secret.png", "/etc/passwd", "link.png", "links/secret.png"]
)
def test_nothing_outside_the_folder_is_followed(path: str, folder: Path) -> None:
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    (folder / "links").symlink_to(folder.parent)
    with pytest.raises(ValueError, match=r"item 0000007: chosen = .* lies outside .*: give prompts.images"):
        listed(folder, changed(chosen=path)).pairs()


@pytest.mark.parametrize("path", ["../secret.png", "/nas/x/../../secret.png"])
def test_nor_with_a_part_left_out(path: str, folder: Path) -> None:
    with pytest.raises(ValueError, match="lies outside"):
        listed(folder, changed(rejected=path), moved_from="/nas/x").pairs()


def test_missing_pictures_are_counted(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"1 of 2 pictures are missing, the first is .*/images/9\.png: give"):
        listed(folder, changed(rejected="images/9.png")).pairs()
    with pytest.raises(FileNotFoundError, match="1 of 2 pictures are missing"):
        listed(folder, changed(rejected="images")).pairs()  # a folder is no picture


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is not JSON"),
        (b"[{]", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'["\xff"]', r"is not UTF-8 text \(byte 2\)"),
        ({}, "does not hold a JSON list"),
        ([], "is empty: expected at least one record"),
        (["x"], "item 1 is not a JSON object"),
        ([{}], "item 1 has no key item_id: it has none"),
        (changed(item_id=...), "item 1 has no key item_id: it has t2i_category"),
        (changed(prompt=...), "item 1 has no key prompt"),
        (changed(prompt=" "), "item 1: prompt = ' ', expected text"),
        (changed(item_id=7), "item 1: item_id = 7, expected text"),
        (changed(sub_category=3), "item 0000007: sub_category = 3, expected text"),
        (changed(question="Is it?"), "item 0000007: question should be a list of texts"),
        (changed(negative_prompt=["a", None, "b"]), "item 0000007: negative_prompt should be a list of texts"),
        (
            changed(long_prompt=["a"]),
            "item 0000007: long_prompt has 1 texts, expected 3, as many as negative_prompt has",
        ),
        ([RECORD, {**RECORD, "prompt": "a cup"}], "item 0000007 comes again with another prompt"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused_in_one_sentence(content: Any, sentence: str, folder: Path) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        listed(folder, content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"chosen": ...}, "chosen = None, expected the path of a picture"),
        ({"rejected": 5}, "rejected = 5, expected the path"),
        ({"rejected": "a\0b"}, "expected the path"),
        ({"chosen_score": "0.9"}, "chosen_score = '0.9', expected a finite number"),
        ({"chosen_score": float("nan")}, "chosen_score = nan, expected a finite number"),
        ({"rejected_prompt": 1}, "rejected_prompt = 1, expected text"),
    ],
)
def test_a_pair_that_cannot_be_read_is_refused(changes: dict[str, Any], sentence: str, folder: Path) -> None:
    with pytest.raises(ValueError, match=f"item 0000007: {sentence}|item 0000007: .*{sentence}"):
        listed(folder, changed(**changes)).pairs()


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist or is not a file"):
        Ospo(path=str(tmp_path / "no.json"))


def test_an_item_that_comes_again_is_dropped(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert listed(folder, [RECORD, RECORD])() == [BASE]
    assert "1 of 2 items came again" in caplog.text
