"""The OCR judge: what it looks for, how it scores, what it reads, and when it has no score."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from selfportrait.judges.ocr import Line, Ocr, edit_score, in_order, quoted, window_distance, word_iou
from selfportrait.micro.words import draw_word, word_box
from selfportrait.types import Prompt, Score


def judge(ocr: Ocr, text: str, image: Image.Image) -> Score:
    (score,) = ocr([Prompt("p", text)], [image])
    return score


@pytest.fixture(scope="module")
def ocr() -> Ocr:
    return Ocr()


@pytest.fixture(scope="module")
def graded(ocr: Ocr) -> Ocr:
    return Ocr(score="edit")


def test_word_iou_agrees_with_the_golden_case() -> None:
    # {hello, neurips} & {hello, neurips, 2025} has 2 words, their union 3: 2 / 3.
    assert math.isclose(word_iou(["hello", "neurips"], ["hello", "neurips", "2025"]), 0.66666667, abs_tol=1e-8)


def test_word_iou_limits() -> None:
    assert word_iou(["cat"], ["cat"]) == 1.0
    assert word_iou([], ["cat"]) == 0.0
    assert word_iou(["dog"], ["cat"]) == 0.0
    assert word_iou(["cat", "cat", "dog"], ["cat"]) == 0.5  # sets: {cat} of {cat, dog}


def test_pieces_that_spell_a_target_word_count_as_it() -> None:
    assert word_iou(["wat", "ch"], ["watch"]) == 1.0
    assert word_iou(["a", "wat", "ch"], ["watch", "a"]) == 1.0
    assert word_iou(["wat", "x", "ch"], ["watch"]) == 0.0


def test_edit_score_counts_letters() -> None:
    assert edit_score("cat", "cat", penalise_extra=True) == 1.0
    assert math.isclose(edit_score("cut", "cat", penalise_extra=True), 2 / 3)  # one substitution in three letters
    assert math.isclose(edit_score("cats", "cat", penalise_extra=True), 2 / 3)  # one insertion
    assert edit_score("cats", "cat", penalise_extra=False) == 1.0
    assert edit_score("", "cat", penalise_extra=True) == 0.0
    assert edit_score("neighbourhood", "cat", penalise_extra=True) == 0.0  # never below 0


def test_the_best_window_forgives_what_stands_around_it() -> None:
    assert window_distance("thecatsat", "cat") == 0
    assert window_distance("thecutsat", "cat") == 1  # cut
    assert window_distance("ct", "cat") == 1
    assert window_distance("", "cat") == 3
    assert window_distance("xyz", "cat") == 3
    assert window_distance("abcdef", "bxde") == 1  # bcde


def test_pieces_are_read_in_rows() -> None:
    # tops of one row differ by ascenders; the second row begins further left
    hiring, now = Line("Hiring", 1, (60, 10, 120, 32)), Line("Now", 1, (5, 13, 50, 31))
    here, apply = Line("here", 1, (50, 41, 90, 55)), Line("Apply", 1, (0, 38, 45, 58))
    assert [line.text for line in in_order([here, hiring, apply, now])] == ["Now", "Hiring", "Apply", "here"]


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ('the word "CAT" in red', "CAT"),
        ("the word “CAT” in red", "CAT"),
        ('"ONE" above "TWO"', "ONE"),
        ("a red square", ""),
        ('an open " quote', ""),
        ("don't", ""),
    ],
)
def test_the_target_is_the_first_quoted_text(text: str, target: str) -> None:
    assert quoted(text) == target


@pytest.mark.parametrize("word", ["IT", "CAT", "HOME", "WATCH"])
def test_reads_drawn_words(ocr: Ocr, word: str) -> None:
    score = judge(ocr, f'the word "{word}"', draw_word(64, word, colour=(226, 52, 52)))
    assert score.value == 1.0
    assert score.details["exact"]
    assert score.details["confidence"] > 0.5
    (box,) = score.details["boxes"]
    drawn = word_box(word)
    assert all(abs(found - true) <= 6 for found, true in zip(box, drawn, strict=True))


def test_case_and_punctuation_do_not_count(ocr: Ocr) -> None:
    assert judge(ocr, 'the word "cat!"', draw_word(64, "CAT")).value == 1.0


def test_another_word_scores_nothing_or_by_its_letters(ocr: Ocr, graded: Ocr) -> None:
    image = draw_word(64, "HOME")
    score = judge(ocr, 'the word "HOLE"', image)
    assert score.value == 0.0
    assert score.details["exact"] is False
    assert score.details["read"].lower() == "home"
    assert judge(graded, 'the word "HOLE"', image).value == 0.75  # one substitution in four letters


def test_a_blank_picture_scores_zero_by_evidence(ocr: Ocr, graded: Ocr) -> None:
    blank = Image.new("RGB", (64, 64), (22, 22, 28))
    for each in (ocr, graded):
        score = judge(each, 'the word "CAT"', blank)
        assert score.value == 0.0
        assert score.details == {
            "exact": False, "contains": False, "cer": 1.0, "edit_distance": 3, "iou": 0.0,
            "read": "", "confidence": 0.0, "boxes": [],
        }  # fmt: skip


@pytest.mark.parametrize("text", ["a red square", 'the word ""', 'the word "!?"'])
def test_a_prompt_without_text_has_no_score(ocr: Ocr, text: str) -> None:
    score = judge(ocr, text, draw_word(64, "CAT"))
    assert score.value is None
    assert "double quotes" in (score.reason or "")


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "CMYK"])
def test_any_image_mode_is_read(ocr: Ocr, mode: str) -> None:
    assert judge(ocr, 'the word "CAT"', draw_word(64, "CAT").convert(mode)).value == 1.0


def test_a_failure_of_the_engine_is_missing_not_zero() -> None:
    def fail(pixels: object) -> None:
        raise cv2.error("bad picture")

    ocr = Ocr()
    ocr.__dict__["_engine"] = fail
    score = judge(ocr, 'the word "CAT"', draw_word(64, "CAT"))
    assert score.value is None
    assert score.reason == "OCR failed: bad picture"


def test_scores_repeat_and_are_json(ocr: Ocr) -> None:
    prompts = [Prompt(word, f'the word "{word}"') for word in ("CAT", "DOG")]
    images = [draw_word(64, "CAT"), draw_word(64, "HOME")]
    first = ocr(prompts, images)
    assert first == ocr(prompts, images) == Ocr()(prompts, images)
    assert [score.value for score in first] == [1.0, 0.0]
    json.dumps([dict(score.details) for score in first])


def test_as_many_pictures_as_prompts(ocr: Ocr) -> None:
    with pytest.raises(ValueError, match="zip"):
        ocr([Prompt("p", 'the word "CAT"')], [])


@dataclass(frozen=True)
class Given(Prompt):
    spec: dict = field(default_factory=dict)


def test_a_given_target_comes_before_the_quoted_text(ocr: Ocr) -> None:
    image = draw_word(64, "CAT")
    assert ocr([Given("p", 'the word "DOG"', spec={"target": "cat"})], [image])[0].value == 1
    assert ocr([Given("p", 'the word "CAT"', spec={"tag": "x"})], [image])[0].value == 1


def drawn(text: str, *, font: str = "DejaVuSans", size: int = 40, side: int = 320, ink: str = "black") -> Image.Image:
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{font}.ttf"
    picture = Image.new("RGB", (side, side), "white" if ink == "black" else "#102040")
    ImageDraw.Draw(picture).multiline_text((20, side // 3), text, ink, ImageFont.truetype(str(path), size))
    return picture


def test_what_else_was_read_is_an_error_or_forgiven(ocr: Ocr) -> None:
    image = drawn("Fresh Coffee\nToday", size=32)
    strict = judge(ocr, 'a sign "fresh coffee"', image)
    assert strict.details["read"] == "Fresh Coffee Today"
    assert (strict.details["exact"], strict.details["contains"]) == (False, True)
    assert strict.details["cer"] == 0
    assert strict.details["edit_distance"] == 5
    assert strict.value == strict.details["iou"] == pytest.approx(2 / 3)
    forgiving = judge(Ocr(score="edit", penalise_extra=False), 'a sign "fresh coffee"', image)
    assert (forgiving.value, forgiving.details["exact"]) == (1.0, True)
    assert judge(Ocr(score="edit"), 'a sign "fresh coffee"', image).value == pytest.approx(1 - 5 / 11)


@pytest.mark.parametrize("font", ["DejaVuSans", "DejaVuSerif-Bold"])
def test_pictures_of_usual_sizes_are_read_without_a_setting(ocr: Ocr, font: str) -> None:
    for size, side, ink in ((24, 256, "black"), (96, 512, "white")):
        score = judge(ocr, 'a sign "Garden"', drawn("Garden", font=font, size=size, side=side, ink=ink))
        assert (score.value, score.details["exact"]) == (1.0, True)


@pytest.mark.slow
def test_nearly_all_rendered_targets_are_read_exactly(ocr: Ocr) -> None:
    """A small sample of perf/ocr.py, which measured 97.7 % of 480."""
    texts = ["BAKERY", "Grand Opening", "Route 66", "Hello World", "museum"]
    fonts = ["DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSansMono"]
    scores = [
        judge(ocr, f'a sign "{text}"', drawn(text, font=font, size=size, side=side, ink=ink))
        for size, side, ink in ((24, 256, "black"), (32, 320, "white"), (48, 512, "black"))
        for text, font in zip(texts, fonts, strict=True)
    ]
    assert sum(score.details["exact"] for score in scores) >= len(scores) - 1


@pytest.mark.parametrize(
    "picture",
    [
        Image.new("RGB", (1, 1)), Image.new("RGB", (20000, 10)), Image.new("L", (5, 20000)),
        Image.fromarray(np.full((40, 60), 40000, dtype=np.uint16)), Image.new("RGBA", (50, 50), (0, 0, 0, 0)),
        Image.new("P", (30, 30)), Image.new("CMYK", (30, 30)),
    ],
    ids=["1x1", "wide", "tall", "16 bits", "RGBA", "palette", "CMYK"],
)  # fmt: skip
def test_odd_pictures_have_nothing_to_read(ocr: Ocr, picture: Image.Image) -> None:
    assert judge(ocr, 'the word "CAT"', picture).value == 0
