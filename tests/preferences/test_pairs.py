"""What a pair's id is made of, and which files a name may lead to."""

from pathlib import Path

import pytest
from given_pairs import png

from selfportrait.preferences._pairs import inside, pair, preference
from selfportrait.types import Picture

RED, BLUE = Picture("here", png("red"), "red"), Picture("here", png("blue"), "blue")


def test_an_id_follows_from_prompt_and_ordered_pictures() -> None:
    usual = pair(0, "a", (RED, BLUE), 1.0)
    assert len(usual.id) == 32
    assert pair(7, " a\n", (RED, BLUE), 1.0).id == usual.id
    assert pair(0, "a", (BLUE, RED), 0.0) == usual
    others = [pair(0, "b", (RED, BLUE), 1.0), pair(0, "a", (BLUE, RED), 1.0)]
    assert len({usual.id, *(other.id for other in others)}) == 3
    assert (
        pair(0, "a", (RED, BLUE), 1.0, names=("one", "two")).id
        == pair(0, "a", (BLUE, RED), 0.0, names=("two", "one")).id
    )


@pytest.mark.parametrize("value", [True, 1, 1.0, "1", " 1.0 "])
def test_labels_are_read_from_numbers_and_texts(value: object) -> None:
    assert preference(value, "label", "here") == 1


@pytest.mark.parametrize("value", [2, -1, 0.3, "x", [1], float("inf")])
def test_other_labels_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"here: label = .*, expected 0, 0\.5 or 1"):
        preference(value, "label", "here")


def test_files_of_equal_size_are_compared_and_others_are_not_opened(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a", "b", "c")]
    for file, data in zip(files, (b"1234", b"1235", b"12345"), strict=True):
        file.write_bytes(data)
    pictures = [Picture("here", file) for file in files]
    assert pair(0, "a", (pictures[0], pictures[1]), 1.0, names=("a", "b")).chosen is pictures[0]
    files[1].write_bytes(b"1234")
    assert pair(0, "a", (pictures[0], pictures[1]), 1.0, names=("a", "b")).reason == "identical pictures"
    files[2].chmod(0)
    assert pair(0, "a", (pictures[0], pictures[2]), 1.0, names=("a", "c")).rejected is pictures[2]


def test_a_name_may_use_dots_and_links_that_stay_inside(tmp_path: Path) -> None:
    (tmp_path / "in/deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "in")
    assert inside(tmp_path / "in", "deep/../x.png", "here") == tmp_path / "in/x.png"
    assert inside(tmp_path / "link", "x.png", "here") == tmp_path / "in/x.png"  # the folder itself may be a link
    with pytest.raises(ValueError, match="here: the picture '../x.png' lies outside"):
        inside(tmp_path / "in", "../x.png", "here")
    with pytest.raises(ValueError, match="lies outside"):
        inside(tmp_path / "in", "../in-other/x.png", "here")
