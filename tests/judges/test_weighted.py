"""A weighted sum of judges: by hand, missing parts, judges that only watch, and what a config may say."""

from pathlib import Path

import pytest
from PIL import Image

from selfportrait import components, config
from selfportrait.commands import describe
from selfportrait.judges._members import Member
from selfportrait.judges.clip_score import ClipScore
from selfportrait.judges.pick_score import PickScore
from selfportrait.judges.weighted import Weighted
from selfportrait.score_cache import identity
from selfportrait.types import Prompt, Score

PICTURES = [Image.new("RGB", (2, 2))] * 2
PROMPTS = [Prompt("p", "a red circle")] * 2


def says(*values: float | None):
    """A judge that gives these scores, one a picture."""
    scores = [Score(value, None if value is not None else "nothing to see", {"seen": value}) for value in values]
    return lambda prompts, images: scores


def test_by_hand() -> None:
    parts = {"raw": Member(says(0.3, 0.1), 2.0), "z": Member(says(21.0, 19.0), 0.5, mean=20.0, std=4.0)}
    # 2 * .3 + .5 * (21 - 20) / 4 = .725 and 2 * .1 - .125 = .075
    scores = Weighted(parts=parts)(PROMPTS, PICTURES)
    assert [score.value for score in scores] == pytest.approx([0.725, 0.075])
    assert scores[0].details == {
        "parts": {
            "raw": {"score": 0.3, "counts": 0.3, "reason": None, "seen": 0.3},
            "z": {"score": 21.0, "counts": 0.25, "reason": None, "seen": 21.0},
        }
    }


def test_a_missing_part_makes_a_missing_score() -> None:
    scores = Weighted(parts={"a": Member(says(1.0, 1.0)), "b": Member(says(None, 2.0))})(PROMPTS, PICTURES)
    assert scores[0].value is None
    assert scores[0].reason == "b: nothing to see"
    assert scores[0].details["parts"]["a"]["score"] == 1.0
    assert scores[1].value == 3.0


def test_who_watches_counts_nothing_and_spoils_nothing() -> None:
    watch = {"held_out": Member(says(None, 5.0))}
    scores = Weighted(parts={"a": Member(says(1.0, 2.0))}, watch=watch)(PROMPTS, PICTURES)
    assert [score.value for score in scores] == [1.0, 2.0]
    assert [score.details["watch"]["held_out"]["score"] for score in scores] == [None, 5.0]
    assert scores[0].details["watch"]["held_out"]["reason"] == "nothing to see"


def test_a_judge_is_not_trained_on_and_held_out() -> None:
    part = {"a": Member(says(1.0))}
    with pytest.raises(ValueError, match="a is among the parts and watches"):
        Weighted(parts=part, watch=part)


def bound(parts: object, **more: object) -> config.Section:
    return config.bind_section("judge", {"name": "weighted", "parts": parts, **more})


def test_a_config_names_judges_with_settings_weights_and_scales() -> None:
    section = bound(
        {"clip_score": {"weight": 2, "form": "percent"}, "second": {"name": "clip_score", "mean": 20, "std": 2.5}},
        watch={"pick_score": None},
    )
    judge = section.build()
    assert judge.parts["clip_score"][1:] == (2, 0.0, 1.0)
    assert judge.parts["second"][1:] == (1.0, 20, 2.5)
    assert judge.parts["clip_score"].judge.form == "percent"
    assert isinstance(judge.parts["second"].judge, ClipScore)
    assert isinstance(judge.watch["pick_score"].judge, PickScore)
    assert section.resolved["parts"]["second"]["name"] == "clip_score"
    assert section.resolved["parts"]["second"]["path"] == "openai/clip-vit-base-patch32"
    assert bound({"clip_score": None}).resolved["watch"] == {}


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({}, "should be judges by name"),
        ("clip_score", "should be judges by name"),
        ({"clip_scor": None}, "did you mean 'clip_score'"),
        ({"clip_score": 2}, "should be a section of settings"),
        ({"clip_score": {"wieght": 2}}, "did you mean 'weight'"),
        ({"clip_score": {"weight": "x"}}, "judge.parts.clip_score.weight"),
        ({"clip_score": {"batch_size": 0}}, "judge.parts.clip_score.batch_size = 0: should be at least 1"),
        ({"clip_score": {"mean": 2}}, "z-scores need both"),
        ({"clip_score": {"mean": 2, "std": 0}}, "greater than 0"),
        ({"clip_score": {"path": "nowhere.pt"}}, "There is no nowhere.pt"),
        ({"self_vqa": None}, "waits for the model in training"),
    ],
)
def test_a_config_that_does_not_fit_is_refused_before_anything_loads(parts: object, sentence: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        bound(parts)


def test_its_parts_are_part_of_what_a_kept_score_depends_on(tmp_path: Path) -> None:
    first = identity(bound({"clip_score": {"batch_size": 4}, "micro_count": None}))
    assert set(first["code"]) == {"judges.weighted", "judges.clip_score", "judges.micro_count"}
    assert first == identity(bound({"clip_score": {"batch_size": 8}, "micro_count": None}))
    assert first != identity(bound({"clip_score": {"weight": 2}, "micro_count": None}))


def test_its_settings_in_words() -> None:
    said = {one.name: one for one in describe.settings(components.find("judges", "weighted"))}
    assert said["parts"].type == "judges by name, each with its settings and a weight"
    assert said["watch"].default == "{}"


def test_a_command_line_says_parts_and_their_settings_with_dots() -> None:
    section = config.bind_section("judge", {"name": "weighted", "parts": {"clip_score": {"weight": 2}, "ocr": None}})
    given = {"name": "weighted", "parts": {"ocr": None}, "parts.clip_score.weight": 2}
    assert config.bind_section("judge", given).resolved == section.resolved
    assert given["parts"] == {"ocr": None}
    with pytest.raises(ValueError, match=r"judge.parts.clip_score.weight = NaN"):
        config.bind_section("judge", {"name": "weighted", "parts.clip_score.weight": float("nan")})
