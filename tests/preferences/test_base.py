"""What every source of pairs must keep to, checked for each file of the slot, and what a reading counts.

A new file is checked without an edit here: its own test module, test_NAME.py, has a function `make`.
"""

import importlib.util
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
from given_pairs import BROKEN, DROPPED, GIVEN, KEPT, Given, png

from selfportrait import components
from selfportrait.preferences.base import Dropped, Reading
from selfportrait.types import Picture, PreferencePair

NAMES = components.names("preferences")


def make(name: str, folder: Path, given: list[Given] = GIVEN):
    """Write pairs in a format, by the `make` of its test module, and return a source that reads them."""
    path = Path(__file__).parent / f"test_{name}.py"
    assert path.is_file(), f"{path.name} is missing: write it, with make(folder, given)"
    spec = importlib.util.spec_from_file_location(f"making_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make(folder, given)


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def source(name: str, tmp_path: Path):
    found = make(name, tmp_path / "given")
    assert isinstance(found, components.find("preferences", name))
    return found


def test_a_source_gives_pairs_and_counts_what_it_drops(source) -> None:
    reading = iter(source)
    pairs = list(reading)
    assert [pair.index for pair in pairs] == KEPT
    assert [pair.prompt for pair in pairs] == [GIVEN[index].prompt.strip() for index in KEPT]
    assert [(pair.chosen.data(), pair.rejected.data()) for pair in pairs] == [GIVEN[index][1:] for index in KEPT]
    assert reading.counts == {"kept": len(KEPT), "dropped": DROPPED}
    assert source.num_rows == len(GIVEN)


def test_a_source_gives_the_same_every_time(source, name: str, tmp_path: Path) -> None:
    first = list(source)
    assert list(source) == first
    again = make(name, tmp_path / "elsewhere")  # ids and keys follow from what is in a dataset, not from where it is
    assert [(pair.id, pair.chosen.key, pair.rejected.key) for pair in again] == [
        (pair.id, pair.chosen.key, pair.rejected.key) for pair in first
    ]


def test_ids_and_keys_tell_pairs_and_pictures_apart(source) -> None:
    pairs = list(source)
    assert len({pair.id for pair in pairs}) == len(pairs)
    by_key: dict[str, set[bytes]] = {}
    for picture in (picture for pair in pairs for picture in (pair.chosen, pair.rejected)):
        by_key.setdefault(picture.key, set()).add(picture.data())
    assert all(len(several) == 1 for several in by_key.values())


@pytest.mark.parametrize("start", range(len(GIVEN) + 2))
def test_reading_begins_and_ends_at_any_row(source, start: int) -> None:
    whole = list(source.rows())
    assert list(source.rows(start)) == whole[start:]
    for stop in range(start, len(GIVEN) + 2):
        assert list(source.rows(start, stop)) == whole[start:stop]
    assert [row.index for row in source.rows(start)] == list(range(start, len(GIVEN)))
    assert list(Reading(source, start=start)) == [pair for pair in source if pair.index >= start]


def test_pictures_are_decoded_when_asked_for_and_a_broken_one_is_a_missing_row(
    source, caplog: pytest.LogCaptureFixture
) -> None:
    reading = iter(source)
    decoded = list(reading.decoded())
    assert [one.pair.index for one in decoded] == [index for index in KEPT if index != BROKEN]
    for one in decoded:
        assert one.chosen.mode == one.rejected.mode == "RGB"
    assert decoded[1].rejected.size == (5, 9)
    assert reading.counts == {"kept": len(KEPT) - 1, "dropped": {**DROPPED, "unreadable picture": 1}}
    (record,) = caplog.records
    assert f"row {BROKEN} is left out" in record.getMessage()
    assert "cannot be decoded" in record.getMessage()


def test_a_source_of_nothing_but_dropped_rows_says_so(name: str, tmp_path: Path) -> None:
    source = make(name, tmp_path / "given", GIVEN[2:4])
    with pytest.raises(ValueError, match=r"gives no pair \(dropped: 1 empty prompt, 1 identical pictures\)"):
        list(source)
    assert list(Reading(source, start=1)) == []  # the rest of a source may be that


def test_a_limit_is_of_rows(name: str, source, tmp_path: Path) -> None:
    limit = inspect.signature(components.find("preferences", name)).parameters["limit"]
    assert limit.default is None
    source._limit = 4
    vars(source).pop("num_rows", None)  # where it is cached
    assert source.num_rows == 4
    assert [pair.index for pair in source] == [0, 1]
    assert [row.index for row in source.rows(2, 6)] == [2, 3]


def test_where_a_picture_stands_is_said(source) -> None:
    pair = next(pair for pair in source if pair.index == BROKEN)
    with pytest.raises(ValueError, match="cannot be decoded") as caught:
        pair.chosen.read()
    assert str(caught.value).startswith(pair.chosen.where)
    assert "\n" not in str(caught.value)


class Listed:
    """A source made of rows."""

    path = Path("listed")

    def __init__(self, *rows: PreferencePair | Dropped) -> None:
        self._rows = rows

    @property
    def num_rows(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Reading:
        return Reading(self)

    def rows(self, start: int = 0, stop: int | None = None) -> Iterator[PreferencePair | Dropped]:
        return iter(self._rows[start:stop])


def pair(index: int, chosen: bytes = png("red")) -> PreferencePair:
    return PreferencePair(f"p{index}", "a", Picture("here", chosen), Picture("here", png("blue")), index=index)


def test_counts_grow_while_a_source_is_read() -> None:
    reading = Reading(Listed(pair(0), Dropped(1, "tie"), Dropped(2, "tie"), pair(3)))
    assert reading.counts == {"kept": 0, "dropped": {}}
    next(reading)
    assert reading.counts == {"kept": 1, "dropped": {}}
    next(reading)
    assert reading.counts == {"kept": 2, "dropped": {"tie": 2}}


def test_two_readings_count_each_for_itself() -> None:
    source = Listed(pair(0), pair(1))
    first, second = iter(source), iter(source)
    assert len(list(first)) == 2
    assert second.counts == {"kept": 0, "dropped": {}}


def test_pictures_that_cannot_be_read_leave_no_pair() -> None:
    with pytest.raises(ValueError, match=r"listed gives no pair \(dropped: 1 unreadable picture\)"):
        list(Reading(Listed(pair(0, b"nothing"))).decoded())


def test_a_picture_that_went_away_is_a_missing_row(tmp_path: Path) -> None:
    gone = PreferencePair("p", "a", Picture("here", tmp_path / "gone.png"), Picture("here", png("blue")))
    reading = Reading(Listed(gone, pair(1)))
    assert [one.pair.id for one in reading.decoded()] == ["p1"]
    assert reading.counts == {"kept": 1, "dropped": {"unreadable picture": 1}}


@pytest.mark.parametrize(("start", "stop"), [(-1, None), (3, 2)])
def test_rows_that_are_none_are_refused(start: int, stop: int | None) -> None:
    with pytest.raises(ValueError, match="expected 0 <= start <= stop"):
        Reading(Listed(pair(0)), start=start, stop=stop)
