"""The OCR judge: what it looks for, how it scores, what it reads, and when it has no score."""

import json
import math

import cv2
import pytest
from PIL import Image

from selfportrait.judges.ocr import Ocr, edit_score, quoted, word_iou
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
        assert score.details == {"exact": False, "read": "", "confidence": 0.0, "boxes": []}


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
