"""A benchmark of one's own: which judges tell right from wrong, and which only more from less."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from selfportrait.benchmarks.base import Row, aggregate
from selfportrait.benchmarks.prompts import Prompts
from selfportrait.types import Prompt, Score

PICTURES = [[Image.new("L", (2, 2), value) for value in (10, 20)]]


def rows(folder: Path, said: Callable[[int], Score]) -> list[Row]:
    """The rows of two pictures of a prompt, judged by a function of their brightness."""
    (folder / "held-out.txt").write_text("a cat\n")

    def judge(prompts: Sequence[Prompt], images: Sequence[Image.Image]) -> list[Score]:
        values: list[Any] = [image.getextrema()[0] for image in images]
        return [said(value) for value in values]

    benchmark = Prompts(path=str(folder / "held-out.txt"), judge=judge, images_per_prompt=2)
    return benchmark.measure(benchmark.prompts(), PICTURES)


def test_a_judge_that_only_gives_scores_calls_nothing_right(tmp_path: Path) -> None:
    """PickScore is near 20, a cosine near 0.3: the one would be right always, the other never."""
    found = rows(tmp_path, lambda value: Score(float(value)))
    assert [(row["exact"], row["score"]) for row in found] == [(None, 10.0), (None, 20.0)]
    overall = aggregate(found)["overall"]
    assert (overall["accuracy"], overall["is_score"]) == (15.0, True)


def test_a_judge_that_tells_right_from_wrong_is_believed(tmp_path: Path) -> None:
    found = rows(tmp_path, lambda value: Score(0.5, None, {"exact": value > 10}))
    assert [row["exact"] for row in found] == [False, True]
    assert aggregate(found)["overall"]["is_score"] is False


def test_a_failed_judgement_is_neither(tmp_path: Path) -> None:
    found = rows(tmp_path, lambda value: Score(None, "too dark"))
    assert [(row["exact"], row["score"], row["reason"]) for row in found] == [(None, None, "too dark")] * 2


def test_a_failed_judgement_of_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no verdict at all"):
        aggregate(rows(tmp_path, lambda value: Score(None, "too dark")))
