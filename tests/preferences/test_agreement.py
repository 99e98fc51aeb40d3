"""How often a judge agrees with people: numbers by hand, ties, missing scores, and the command."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import test_hpd
from given_pairs import Given, bad, png
from PIL import Image

from selfportrait import images
from selfportrait.cli import main
from selfportrait.commands.agreement import agreement, credit
from selfportrait.micro.world import Item, Scene, render
from selfportrait.preferences.hpd import Hpd
from selfportrait.types import Score


class Reds:
    """Likes red: a picture's score is its red over 255; black has no score where `is_picky`."""

    def __init__(self, is_picky: bool = False) -> None:
        self.is_picky, self.seen = is_picky, 0

    def __call__(self, prompts, images) -> list[Score]:
        self.seen += len(images)
        values = [image.getpixel((0, 0))[0] / 255 for image in images]
        return [Score(None, "too dark") if self.is_picky and value == 0 else Score(value) for value in values]


def hpd(tmp_path: Path, *records: tuple[str, list[int], list[Any]]) -> Hpd:
    """Records of a prompt, its pictures' reds, and their ranks."""
    found = []
    for number, (prompt, reds, ranks) in enumerate(records):
        names = [f"{number}-{index}.png" for index in range(len(reds))]
        pictures = [png(f"rgb({red},{index},{number})") for index, red in enumerate(reds)]
        test_hpd.put(tmp_path, dict(zip(names, pictures, strict=True)))
        found.append({"prompt": prompt, "image_path": names, "rank": ranks})
    return Hpd(path=str(test_hpd.write(tmp_path / "test.json", found)))


def test_rankings_and_pairs_by_hand(tmp_path: Path) -> None:
    """One ranking with 1 of 6 pairs inverted, one with 1 of 1: 5/7 of pairs, (5/6 + 0) / 2 of rankings."""
    source = hpd(tmp_path, ("four", [200, 220, 100, 50], [1, 2, 3, 4]), ("two", [10, 20], [1, 2]))
    judge = Reds()
    found = agreement(source, judge)
    assert judge.seen == 6  # each picture once, though four of them are in three pairs each
    assert found["pairs"]["value"] == pytest.approx(5 / 7)
    assert found["rankings"]["value"] == pytest.approx((5 / 6 + 0) / 2)
    assert (found["pairs"]["n"], found["pairs"]["prompts"], found["rankings"]["n"]) == (7, 2, 2)
    assert (found["rankings"]["low"], found["rankings"]["high"]) == (0, pytest.approx(5 / 6))  # one prompt or the other
    assert (found["missing"], found["dropped"]) == (0, {})


def test_a_tie_is_no_inversion_and_counts_in_pairs_only_where_asked(tmp_path: Path) -> None:
    """People: a = b > c. The judge: b > a = c, so pair ac is a tie of the judge, ab one of people, bc is agreed on."""
    source = hpd(tmp_path, ("p", [10, 20, 10], [1, 1, 2]))
    found = agreement(source, Reds())
    assert found["pairs"]["value"] == pytest.approx((0.5 + 1) / 2)
    assert found["rankings"]["value"] == 1
    assert found["dropped"] == {}
    counted = agreement(source, Reds(), tie=0.0)
    assert counted["pairs"]["value"] == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert agreement(source, Reds(), tie=1.0)["pairs"]["value"] == pytest.approx((1 + 0.5 + 0.5) / 3)  # all are ties


@pytest.mark.parametrize(
    ("difference", "is_tie", "tie", "expected"),
    [
        (math.log(3), False, 0.4, 1),  # the softmax is 0.75 and 0.25: half apart
        (math.log(3), False, 0.6, 0.5),
        (-math.log(3), False, 0.4, 0),
        (-math.log(3), False, 0.6, 0.5),
        (math.log(3), True, 0.4, 0.5),
        (math.log(3), True, 0.6, 1),
    ],
)
def test_credit_by_pick_a_pics_convention(difference: float, is_tie: bool, tie: float, expected: float) -> None:
    assert credit(20 + difference, 20, is_tie=is_tie, tie=tie) == expected


def test_what_cannot_be_judged_is_named_and_left_out_and_never_0(tmp_path: Path, caplog) -> None:
    source = hpd(
        tmp_path,
        ("dark", [200, 0, 100], [1, 2, 3]),  # of its three pairs one is left, and it is right
        ("broken", [200, 100], [1, 2]),
        ("gone", [200, 100], [1, 2]),
        ("unsaid", [200, 100], [1, None]),
    )
    (tmp_path / "1-0.png").write_bytes(bad(png("white")))
    (tmp_path / "2-1.png").unlink()
    found = agreement(source, Reds(is_picky=True))
    assert found["pairs"]["value"] == found["rankings"]["value"] == 1
    assert (found["pairs"]["n"], found["rankings"]["n"]) == (1, 1)
    assert found["missing"] == 3
    assert found["dropped"] == {"no label": 1, "no picture": 1}
    said = [record.getMessage() for record in caplog.records]
    assert sum("0-1.png: no score: too dark" in one for one in said) == 1
    assert sum("1-0.png" in one and "cannot be decoded" in one for one in said) == 1
    with pytest.raises(ValueError, match=r"no pair was judged \(1 missing, 0 dropped\)"):
        agreement(hpd(tmp_path / "x", ("dark", [0, 9], [1, 2])), Reds(is_picky=True))


def test_a_path_leads_nowhere_outside(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "secret.png")
    record = {"prompt": "p", "image_path": ["../secret.png", "../secret.png"], "rank": [1, 2]}
    source = Hpd(path=str(test_hpd.write(tmp_path / "set" / "test.json", [record])))
    with pytest.raises(ValueError, match="lies outside"):
        agreement(source, Reds())


def circles(count: int) -> bytes:
    items = tuple(Item("red", "circle", "small", x=12 + 20 * index, y=20) for index in range(count))
    return images.to_png(render(Scene(items, "white")))


def test_the_command(tmp_path: Path, capsys) -> None:
    given = [
        Given("two red circles", circles(2), circles(3)),
        Given("three red circles", circles(1), circles(3)),  # people may err
        Given("a lighthouse", circles(1), circles(3)),  # outside the micro language
    ]
    test_hpd.make(tmp_path, given)
    command = ["pairs", "agreement", "hpd", "--set", f"path={tmp_path / 'train.json'}", "--judge", "micro_count"]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["pairs"]["value"] == 0.5
    assert found["missing"] == 1
    assert main([*command, "--tie", "0.1"]) == 0
    out = capsys.readouterr().out
    assert "50.0 (0.0–100.0)" in out
    assert "1 pairs missing" in out
    for extra, sentence in (
        (["--set", "judge.pth=x"], "Unknown setting judge.pth"),
        (["--set", "pth=x"], "Unknown setting preferences.pth"),
    ):
        assert main([*command, *extra]) == 2
        assert sentence in capsys.readouterr().err
    assert main([*command[:-1], "self_vqa"]) == 2
    assert "the model itself" in capsys.readouterr().err
