"""The table of instances: what is kept, what is left out and why, who is A, and the same bytes after a kill."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from selfportrait import store
from selfportrait.detectors.micro import Micro as MicroDetector
from selfportrait.instance_judges.base import TIE, Comparison, Verdict
from selfportrait.instance_judges.micro import Micro as MicroJudge
from selfportrait.micro.world import Item, Scene, render
from selfportrait.planners.base import PicturePair, Plan
from selfportrait.planners.micro import Micro as MicroPlanner
from selfportrait.preferences.base import Dropped
from selfportrait.stages import Finders, find_instances, instances_of
from selfportrait.types import Detection, Instance, PreferencePair

DRIVER = Path(__file__).with_name("tiny_instances.py")
BOXES = {"cat": (1, 1, 5, 5), "dog": (2, 2, 9, 6), "elk": (0, 0, 10, 8)}


class Broken(Exception):
    """A process that is killed."""


@dataclass
class Picture:
    """Names in a picture, as its pixels say: red counts the names, green says whether it is the better one."""

    names: Sequence[str]
    is_better: bool = False
    is_corrupt: bool = False

    def read(self) -> Image.Image:
        if self.is_corrupt:
            raise ValueError("the picture (3 bytes) cannot be decoded")
        picture = Image.new("RGB", (10, 8), (len(self.names), 200 if self.is_better else 0, 0))
        picture.info["names"] = list(self.names)
        return picture


@dataclass
class Pair:
    id: str
    prompt: str
    chosen: Any
    rejected: Any


class Named:
    """Plans the names that the prompt lists; "?" fails."""

    def __call__(self, pairs: Sequence[PicturePair]) -> list[Plan]:
        return [
            Plan((), "unparsable", "hm") if pair.prompt == "?" else Plan(tuple(pair.prompt.split()), None, "said")
            for pair in pairs
        ]


class Found:
    """Finds the names that a picture holds."""

    def __call__(self, pictures: Sequence[Image.Image], names: Sequence[Sequence[str]]) -> list[list[Detection]]:
        return [
            [Detection(name, 0.5, BOXES[name]) for name in several if name in picture.info["names"]]
            for picture, several in zip(pictures, names, strict=True)
        ]


class Greener:
    """Prefers the greener picture; alike is a tie, and about the elk it says nothing that can be read.

    With `calls` its process is killed at the one after those.
    """

    def __init__(self, calls: int = 1000) -> None:
        self.asked: list[Comparison] = []
        self.calls = calls

    def __call__(self, comparisons: Sequence[Comparison]) -> list[Verdict]:
        self.asked += comparisons
        self.calls -= 1
        if self.calls < 0:
            raise Broken
        return [self._compare(one) for one in comparisons]

    def _compare(self, one: Comparison) -> Verdict:
        if one.name == "elk":
            return Verdict(None, "unparsable", "an elk!")
        a, b = (seen.picture.getpixel((0, 0))[1] for seen in (one.a, one.b))  # type: ignore[index]
        return Verdict(None, TIE, "alike") if a == b else Verdict("A" if a > b else "B", None, "greener")


def finders(planner: Any = None, detector: Any = None, judge: Any = None) -> Finders:
    return Finders(planner or Named(), detector or Found(), judge or Greener())


def good(index: int, *, is_conflict: bool = False) -> Pair:
    return Pair(f"pair-{index}", "cat dog", *(Picture(["cat", "dog"], is_conflict == side) for side in (False, True)))


PAIRS = [
    good(0),
    good(1, is_conflict=True),
    Pair("lost", "cat dog", Picture(["cat"], is_better=True), Picture(["dog"])),
    Pair("nothing", "", Picture(["cat"]), Picture(["cat"])),
    Pair("tied", "cat elk", Picture(["cat", "elk"]), Picture(["cat", "elk"])),
    Pair("unread", "?", Picture(["cat"]), Picture(["cat"])),
    Pair("corrupt", "cat", Picture(["cat"], is_corrupt=True), Picture(["cat"])),
    Pair("absent", "fox cat", Picture(["cat"]), Picture(["cat"], is_better=True)),
]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_instance_and_every_reason_is_in_the_table_and_counted(tmp_path: Path) -> None:
    folder = tmp_path / "instances"
    found = find_instances(finders(), PAIRS, folder, seed=0, max_missing=0.5, pairs_per_part=3)
    rows = {row["pair_id"]: row for row in store.read_table(folder).to_pylist()}
    assert list(rows) == [pair.id for pair in PAIRS]
    reasons = {id_: [(one["name"], one["reason"]) for one in row["instances"]] for id_, row in rows.items()}
    assert reasons == {
        "pair-0": [("cat", None), ("dog", None)],
        "pair-1": [("cat", None), ("dog", None)],
        "lost": [("cat", "not found in rejected"), ("dog", "not found in chosen")],
        "nothing": [],
        "tied": [("cat", "tie"), ("elk", "unparsable")],
        "unread": [],
        "corrupt": [],
        "absent": [("fox", "not found"), ("cat", None)],
    }
    assert {id_: row["reason"] for id_, row in rows.items() if row["reason"]} == {
        "nothing": "no instance", "unread": "unparsable", "corrupt": "a picture cannot be read",
    }  # fmt: skip
    assert rows["corrupt"]["chosen_width"] is None
    assert (rows["pair-0"]["chosen_width"], rows["pair-0"]["chosen_height"]) == (10, 8)
    assert (rows["pair-0"]["raw"], rows["pair-0"]["instances"][0]["raw"]) == ("said", "greener")
    assert (rows["lost"]["planner"], rows["lost"]["detector"], rows["lost"]["judge"]) == ("Named", "Found", "Greener")
    # 5 usable instances, of which those of pair-1 and of absent are conflicts; 3 of 8 pairs have one
    assert found == {
        "pairs": {
            "kept": 3,
            "dropped": {
                "no instance": 1, "no instance left": 2, "unparsable": 1, "a picture cannot be read": 1,
            },
        },
        "instances": {
            "kept": 5,
            "dropped": {
                "not found in chosen": 1, "not found in rejected": 1, "not found": 1, "tie": 1, "unparsable": 1,
            },
        },
        "conflicts": 3,
        "conflict_rate": 3 / 5,
        "coverage": 3 / 8,
        "asked": 8 + 7,  # every pair, and the 4 + 2 + 1 instances that are in both pictures
        "failed": {"unparsable": 2, "a picture cannot be read": 1},
    }  # fmt: skip
    assert json.loads((tmp_path / "instances.json").read_text()) == found


def test_of_several_boxes_of_a_name_the_most_confident_counts(tmp_path: Path) -> None:
    boxes = [(0.4, (0, 0, 4, 4)), (0.9, BOXES["cat"]), (0.6, (5, 5, 8, 8))]
    detector = lambda pictures, _: [[Detection("cat", score, box) for score, box in boxes] for _ in pictures]  # noqa: E731
    pair = Pair("p", "cat", Picture(["cat"]), Picture(["cat"], is_better=True))
    find_instances(finders(detector=detector), [pair], tmp_path / "instances", seed=0)
    assert instances_of(tmp_path / "instances")["p"] == (Instance("cat", BOXES["cat"], BOXES["cat"], True, 0.9, 0.9),)


def test_instances_come_back_as_records(tmp_path: Path) -> None:
    find_instances(finders(), PAIRS, tmp_path / "instances", seed=0, max_missing=0.5)
    found = instances_of(tmp_path / "instances")
    assert found["pair-1"] == (
        Instance("cat", BOXES["cat"], BOXES["cat"], True, 0.5, 0.5),
        Instance("dog", BOXES["dog"], BOXES["dog"], True, 0.5, 0.5),
    )
    assert [one.is_conflict for one in found["pair-0"]] == [False, False]
    assert found["tied"] == found["corrupt"] == ()


def test_who_is_a_is_random_and_mapped_back(tmp_path: Path) -> None:
    pairs = [good(index, is_conflict=index % 3 == 0) for index in range(40)]
    orders = []
    for seed in (0, 1):
        folder, judge = tmp_path / str(seed) / "instances", Greener()
        find_instances(finders(judge=judge), pairs, folder, seed=seed, pairs_per_part=7)
        for index, pair in enumerate(pairs):
            assert {one.is_conflict for one in instances_of(folder)[pair.id]} == {index % 3 == 0}
        swapped = [one["is_swapped"] for row in store.read_table(folder).to_pylist() for one in row["instances"]]
        assert 20 < sum(swapped) < 60  # of 80
        better = [Greener()([one])[0].better for one in judge.asked]
        assert 20 < better.count("A") < 60
        orders.append(swapped)
    assert orders[0] != orders[1]


def test_who_is_a_depends_on_no_part_and_no_order(tmp_path: Path) -> None:
    pairs = [good(index) for index in range(10)]
    orders = []
    for name, several, size in (("one", pairs, 3), ("other", pairs[::-1], 10)):
        find_instances(finders(), several, tmp_path / name, seed=3, pairs_per_part=size)
        rows = store.read_table(tmp_path / name).to_pylist()
        orders.append({row["pair_id"]: [one["is_swapped"] for one in row["instances"]] for row in rows})
    assert orders[0] == orders[1]


def test_a_judge_that_always_says_a_finds_as_many_conflicts_as_not(tmp_path: Path) -> None:
    """A preference for a place is noise and no bias."""
    always = lambda comparisons: [Verdict("A") for _ in comparisons]  # noqa: E731
    found = find_instances(finders(judge=always), [good(index) for index in range(60)], tmp_path / "instances", seed=0)
    assert 0.3 < found["conflict_rate"] < 0.7


@pytest.mark.parametrize("calls", [0, 1, 2, 3])
def test_a_stage_that_was_killed_ends_with_the_same_bytes(tmp_path: Path, calls: int) -> None:
    pairs = [good(index, is_conflict=index % 2 == 0) for index in range(10)] + PAIRS[2:5]
    peaceful, killed = tmp_path / "peaceful", tmp_path / "killed"
    settings: dict[str, Any] = {"seed": 0, "max_missing": 0.5, "pairs_per_part": 3}
    find_instances(finders(), pairs, peaceful / "instances", **settings)
    with pytest.raises(Broken):
        find_instances(finders(judge=Greener(calls)), pairs, killed / "instances", **settings)
    assert len(store.parts(killed / "instances")) == calls
    find_instances(finders(), pairs, killed / "instances", **settings)
    assert files(killed) == files(peaceful)
    judge = Greener()
    find_instances(finders(judge=judge), pairs, killed / "instances", **settings)
    assert judge.asked == []  # nothing is asked twice


@pytest.mark.slow
def test_a_process_that_is_killed_in_the_middle_changes_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))

    def run(name: str, calls: int) -> int:
        return subprocess.run([sys.executable, str(DRIVER), str(tmp_path / name), str(calls)], check=False).returncode

    assert run("peaceful", 99) == 0
    assert run("killed", 2) == -signal.SIGKILL
    assert len(store.parts(tmp_path / "killed" / "instances")) == 2
    assert run("killed", 99) == 0
    assert files(tmp_path / "killed") == files(tmp_path / "peaceful")
    assert any(instances_of(tmp_path / "killed" / "instances").values())


def test_counts_without_their_part_are_written_again(tmp_path: Path) -> None:
    pairs = [good(index) for index in range(4)]
    find_instances(finders(), pairs, tmp_path / "instances", seed=0, pairs_per_part=2)
    whole = files(tmp_path)
    store.parts(tmp_path / "instances")[0].unlink()  # as processes that are killed may leave it
    find_instances(finders(), pairs, tmp_path / "instances", seed=0, pairs_per_part=2)
    assert files(tmp_path) == whole


def test_too_many_failures_are_refused_with_their_reasons(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"3 of 15 requests failed \(1 a picture cannot be read, 2 unparsable\), more"):
        find_instances(finders(), PAIRS, tmp_path / "instances", seed=0, max_missing=0.19)
    assert find_instances(finders(), PAIRS, tmp_path / "instances", seed=0, max_missing=0.2)


def test_what_is_not_found_and_tied_is_no_failure(tmp_path: Path) -> None:
    pairs = [PAIRS[2], PAIRS[3], replace_prompt(PAIRS[4], "cat")]
    assert find_instances(finders(), pairs, tmp_path / "instances", seed=0, max_missing=0.0)["failed"] == {}


def replace_prompt(pair: Pair, prompt: str) -> Pair:
    return replace(pair, prompt=prompt)


def test_an_outage_stops_before_anything_of_it_is_written(tmp_path: Path) -> None:
    silent = lambda comparisons: [Verdict(None, "no reply: status 500") for _ in comparisons]  # noqa: E731
    pairs = [good(index) for index in range(8)]
    folder = tmp_path / "instances"
    with pytest.raises(
        ValueError, match=r"pairs pair-0 to pair-7: 16 of 24 requests got no reply \(16 no reply: status"
    ):
        find_instances(finders(judge=silent), pairs, folder, seed=0)
    assert files(tmp_path) == {}
    assert find_instances(finders(), pairs, folder, seed=0)["failed"] == {}


@pytest.mark.parametrize("box", [(0, 0, 11, 8), (-1, 0, 3, 3), (4, 4, 4, 6), (5, 1, 2, 3)])
def test_a_box_that_does_not_fit_is_refused_by_its_pair(tmp_path: Path, box: tuple[int, int, int, int]) -> None:
    detector = lambda pictures, names: [[Detection("cat", 1.0, box)] for _ in pictures]  # noqa: E731
    with pytest.raises(ValueError, match=r"the pair pair-0: function found 'cat', but the box"):
        find_instances(finders(detector=detector), [good(0)], tmp_path / "instances", seed=0)


def test_other_numbers_than_were_asked_for_are_refused(tmp_path: Path) -> None:
    for wrong, name in ((finders(planner=lambda pairs: []), "plans"), (finders(judge=lambda some: []), "verdicts")):
        with pytest.raises(ValueError, match=f"returned 0 {name} for"):
            find_instances(wrong, [good(0)], tmp_path / "instances", seed=0)
    with pytest.raises(ValueError, match="returned 1 lists for 2 pictures"):
        find_instances(finders(detector=lambda *_: [[]]), [good(0)], tmp_path / "instances", seed=0)


def test_ids_that_repeat_other_pairs_and_none_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "instances"
    with pytest.raises(ValueError, match="the pair pair-0 is there twice"):
        find_instances(finders(), [good(0), good(0)], folder, seed=0)
    with pytest.raises(ValueError, match="there is no pair"):
        find_instances(finders(), [], folder, seed=0)
    find_instances(finders(), [good(0), good(1), good(2)], folder, seed=0, pairs_per_part=2)
    for others in ([good(0), good(3), good(2)], [good(0), good(1)], [good(1), good(0), good(2)]):
        with pytest.raises(ValueError, match="holds the instances of (other|more) pairs"):
            find_instances(finders(), others, folder, seed=0, pairs_per_part=2)


class Source:
    """Pairs as a data set has them, which notes which rows were read and drops every fifth."""

    path = Path("pairs")

    def __init__(self, num_rows: int) -> None:
        self.num_rows, self.read, self.alive = num_rows, [], 0

    def rows(self, start: int = 0, stop: int | None = None) -> Iterator[PreferencePair | Dropped]:
        self.read.append((start, stop))
        for index in range(start, self.num_rows if stop is None else stop):
            pictures = (Picture(["cat"], is_better=side == index % 2) for side in (0, 1))
            yield Dropped(index, "tie") if index % 5 == 4 else PreferencePair(f"{index}", "cat", *pictures, (), index)


def test_a_source_is_read_a_part_at_a_time(tmp_path: Path) -> None:
    source = Source(12)
    found = find_instances(finders(), source, tmp_path / "instances", seed=0, pairs_per_part=5)
    assert source.read == [(0, 5), (5, 10), (10, 12)]
    assert [row["pair_id"] for row in store.read_table(tmp_path / "instances").to_pylist()] == [
        f"{index}" for index in range(12) if index % 5 != 4
    ]
    assert (found["pairs"]["kept"], found["conflicts"]) == (10, 5)


def scene(*items: tuple[str, str]) -> Any:
    picture = render(Scene(tuple(Item(c, s, "medium", 8 + 16 * i, 24) for i, (c, s) in enumerate(items))))

    class Rendered:
        def read(self) -> Image.Image:
            return picture

    return Rendered()


def test_the_micro_world_from_pictures_to_conflicts(tmp_path: Path) -> None:
    right, wrong = [("red", "circle"), ("blue", "square")], [("green", "circle"), ("blue", "square")]
    mixed = [("red", "circle"), ("blue", "star")]
    pairs = [
        Pair("agrees", "a red circle and a blue square", scene(*right), scene(*wrong)),
        Pair("conflict", "a red circle and a blue square", scene(*mixed), scene(*wrong)),
        Pair("one too many", "a red circle", scene(("red", "circle")), scene(("red", "circle"), ("red", "circle"))),
    ]
    micro = Finders(MicroPlanner(), MicroDetector(), MicroJudge())
    found = find_instances(micro, pairs, tmp_path / "instances", seed=0, max_missing=0.0)
    by_pair = {
        id_: [(one.name, one.is_conflict) for one in several]
        for id_, several in instances_of(tmp_path / "instances").items()
    }
    assert by_pair == {
        "agrees": [("circle", False)],  # the square is a tie
        "conflict": [("circle", False), ("blue shape", True)],  # the rejected has the square
        "one too many": [("red circle", False)],
    }
    assert (found["conflict_rate"], found["coverage"]) == (1 / 4, 1.0)
