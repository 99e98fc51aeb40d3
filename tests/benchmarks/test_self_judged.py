"""The benchmark without a judge from outside: held-out captions, and the model's own answers as verdicts."""

import pytest
from PIL import Image

from selfportrait.asking.base import texts
from selfportrait.asking.captions import STREAMS
from selfportrait.benchmarks.base import plain
from selfportrait.benchmarks.self_judged import SelfJudged


def test_the_captions_are_in_no_worked_example(scripted) -> None:
    benchmark = SelfJudged(scripted(answers=lambda image, question: (1.0, 0.0)))
    prompts = benchmark.prompts()
    assert len({prompt.id for prompt in prompts}) == len(prompts) == 32
    assert {prompt.category for prompt in prompts} == {"attribute", "layout", "non-spatial", "complex"}
    shown = {plain(shot.text) for stream in STREAMS.values() for shot in stream.shots}
    shown |= {plain(shot["text"]) for shots in texts("questions").values() for shot in shots}
    assert not shown & {plain(prompt.text) for prompt in prompts}
    assert all(benchmark.is_held_out(f" {prompt.text.upper()}.") for prompt in prompts)
    assert not benchmark.is_held_out("a red circle")


def test_a_picture_is_exact_when_the_model_says_yes_to_every_question(scripted) -> None:
    picture, other = Image.new("RGB", (4, 4)), Image.new("RGB", (5, 5))
    model = scripted(answers=lambda image, question: (0.9, 0.0) if image.width == 4 else (0.1, 0.4))
    benchmark = SelfJudged(model)
    prompts = benchmark.prompts()[:2]
    rows = benchmark.measure(prompts, [[picture, other]] * 2)
    assert [(row["prompt_id"], row["index"], row["exact"]) for row in rows] == [
        (prompt.id, index, index == 0) for prompt in prompts for index in (0, 1)
    ]
    assert rows[0]["score"] == pytest.approx(0.9)
    assert rows[1]["score"] == pytest.approx(-0.3)
    assert benchmark.check(prompts, [picture, other])[0].value is None


def test_a_model_that_does_not_answer_is_refused() -> None:
    with pytest.raises(ValueError, match="answers no questions"):
        SelfJudged(object())  # type: ignore[arg-type]
