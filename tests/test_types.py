"""Records that are more than a list of fields: pictures that are read when they are asked for."""

import dataclasses
import hashlib
from pathlib import Path

import pytest
import torch
from PIL import Image

from selfportrait import images
from selfportrait.types import Instance, Picture, PreferencePair, Prompt

RED = images.to_png(Image.new("RGB", (3, 2), "red"))


def test_a_picture_is_read_from_bytes_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(RED)
    for picture in (Picture("line 1", RED), Picture("line 1", tmp_path / "red.png")):
        assert picture.read().getpixel((0, 0)) == (255, 0, 0)
        assert picture.data() == RED
        assert picture.key == hashlib.sha256(RED).hexdigest()
    assert Picture("line 1", RED, uid="u").key == "u"


def test_a_picture_that_cannot_be_read_says_where_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="line 1: there is no picture"):
        Picture("line 1", tmp_path / "none.png").read()
    (tmp_path / "bad.png").write_bytes(RED[:20])
    with pytest.raises(ValueError, match=r"line 1: .*bad\.png: .* cannot be decoded"):
        Picture("line 1", tmp_path / "bad.png").read()
    with pytest.raises(ValueError, match="line 1: the picture: .* cannot be decoded"):
        Picture("line 1", RED[:20]).read()


def test_pictures_are_equal_by_what_they_are_not_by_where_they_stand() -> None:
    made = Picture("a", RED, "u", torch.zeros(3), "some/model")
    assert made == Picture("b", RED, "u")
    assert hash(made) == hash(Picture("b", RED, "u"))
    assert made != Picture("a", RED, "v")
    assert len(repr(made)) < 60  # without its bytes


def test_a_pair_is_equal_to_itself_in_another_row() -> None:
    pair = PreferencePair("id", "a", Picture("a", RED), Picture("a", RED[:-1]))
    assert pair.instances == ()
    assert dataclasses.replace(pair, index=7) == pair
    assert dataclasses.replace(pair, instances=(Instance("dog", (0, 0, 1, 1), (0, 0, 1, 1), False),)) != pair


def test_an_instance_is_sure_unless_it_says_so() -> None:
    instance = Instance("dog", chosen_box=(0, 0, 1, 1), rejected_box=(0, 0, 2, 2), is_conflict=True)
    assert (instance.chosen_confidence, instance.rejected_confidence) == (1.0, 1.0)


def test_prompts_that_differ_in_what_a_benchmark_says_are_the_same() -> None:
    plain, told = Prompt("1", "two clocks"), Prompt("1", "two clocks", spec={"include": [{"class": "clock"}]})
    assert plain == told
    assert hash(plain) == hash(told)  # though a dict has no hash
    assert repr(plain) == repr(told)
    assert dataclasses.replace(told, category="counting").spec == told.spec
