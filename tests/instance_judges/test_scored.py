"""Any judge of pictures as a judge of instances: scores become verdicts, ties and missing scores do not."""

import math

import pytest
from PIL import Image

from selfportrait.instance_judges.base import Comparison, Seen
from selfportrait.instance_judges.scored import Scored
from selfportrait.judges.micro_questions import MicroQuestions
from selfportrait.types import Score

BLANK = Image.new("RGB", (8, 8))


def compare(*scores: Score, **settings) -> list[tuple[str | None, str | None]]:
    pair = Comparison("a cat", "cat", Seen(BLANK, (0, 0, 8, 8)), Seen(BLANK, (0, 0, 8, 8)))
    verdicts = Scored(lambda prompts, images: list(scores), **settings)([pair] * (len(scores) // 2))
    return [(verdict.better, verdict.reason) for verdict in verdicts]


def test_the_higher_score_is_better() -> None:
    assert compare(Score(0.3), Score(0.2), Score(-1.0), Score(2.0)) == [("A", None), ("B", None)]


def test_scores_within_the_margin_are_a_tie() -> None:
    assert compare(Score(0.5), Score(0.5)) == [(None, "tie")]
    assert compare(Score(0.5), Score(0.25), min_margin=0.25) == [(None, "tie")]
    assert compare(Score(0.5), Score(0.125), min_margin=0.25) == [("A", None)]


@pytest.mark.parametrize("missing", [Score(None, "cannot tell"), Score(math.nan), Score(math.inf)])
def test_without_a_score_there_is_no_verdict(missing: Score) -> None:
    assert compare(Score(0.5), missing, missing, Score(0.5)) == [(None, "a crop has no score")] * 2


def test_the_judge_sees_crops_with_the_prompt_or_the_name() -> None:
    seen = []
    pair = Comparison("a cat on a mat", "cat", Seen(BLANK, (0, 0, 8, 8)), Seen(BLANK, (0, 0, 8, 8)))
    for settings in ({}, {"against": "name"}):
        judge = Scored(lambda prompts, images: seen.append((prompts, images)) or [Score(1)] * 2, side=20, **settings)
        judge([pair])
    assert [[prompt.text for prompt in prompts] for prompts, _ in seen] == [["a cat on a mat"] * 2, ["cat"] * 2]
    assert {image.size for _, images in seen for image in images} == {(20, 20)}


def test_another_number_of_scores_is_refused() -> None:
    with pytest.raises(ValueError, match="returned 3 scores for 2 crops"):
        Scored(lambda prompts, images: [Score(1)] * 3)(
            [Comparison("a", "a", Seen(BLANK, (0, 0, 8, 8)), Seen(BLANK, (0, 0, 8, 8)))]
        )


def test_a_judge_of_the_package_fits() -> None:
    red, blue = (Image.new("RGB", (64, 64)) for _ in range(2))
    red.paste((226, 52, 52), (20, 20, 30, 30))
    blue.paste((66, 104, 236), (20, 20, 30, 30))
    pair = Comparison("a red square", "square", Seen(blue, (20, 20, 30, 30)), Seen(red, (20, 20, 30, 30)))
    (verdict,) = Scored(MicroQuestions(), context=6.4, side=64)([pair])
    assert verdict.better == "B"
