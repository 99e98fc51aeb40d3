"""The micro world's words: which there are, where they are drawn, and that the OCR judge reads them back."""

import random

import numpy as np
import pytest
from PIL import Image

from selfportrait.judges.ocr import Ocr
from selfportrait.micro.words import BACKGROUND, SIZES, draw_word, room, word_box, word_size, words
from selfportrait.types import Prompt

COLOURS = [(226, 52, 52), (52, 178, 92), (66, 104, 236), (244, 214, 62), (168, 78, 206), (244, 138, 38)]


def ink(image: Image.Image) -> tuple[int, int, int, int]:
    """Return the half-open box of the pixels that are not background."""
    rows, columns = np.nonzero((np.asarray(image) != BACKGROUND).any(axis=-1))
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def test_words_are_short_capitals_without_doubles() -> None:
    assert 400 <= len(words()) <= 1500
    assert len(set(words())) == len(words())
    assert all(word.isascii() and word.isalpha() and word.isupper() and 2 <= len(word) <= 5 for word in words())


def test_every_word_fits_at_its_size_with_room_to_move() -> None:
    for word in words():
        assert word_size(word) in SIZES
        assert min(room(word, size=word_size(word))) >= 1


@pytest.mark.parametrize("word", ["IT", "CAT", "QUIZ", "WORLD"])
@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (1, -5), (-1, 9)])
def test_the_box_is_where_the_ink_is(word: str, dx: int, dy: int) -> None:
    assert ink(draw_word(64, word, dx=dx, dy=dy)) == word_box(word, dx=dx, dy=dy)


def test_a_shift_moves_the_picture() -> None:
    still, moved = np.asarray(draw_word(64, "CAT")), np.asarray(draw_word(64, "CAT", dx=3, dy=-2))
    assert np.array_equal(np.roll(still, (-2, 3), axis=(0, 1)), moved)


def test_room_is_the_largest_shift() -> None:
    dx, dy = room("CAT")
    for sign in (-1, 1):
        draw_word(64, "CAT", dx=sign * dx, dy=sign * dy)
    with pytest.raises(ValueError, match="does not fit"):
        draw_word(64, "CAT", dx=dx + 1)


def test_draws_on_a_given_picture() -> None:
    image = Image.new("RGB", (64, 64), (200, 0, 0))
    assert draw_word(image, "cat") is image
    assert image.getpixel((0, 0)) == (200, 0, 0)
    draw_word(image, "cat", background=(0, 0, 9))
    assert image.getpixel((0, 0)) == (0, 0, 9)
    assert np.array_equal(np.asarray(image), np.asarray(draw_word(64, "CAT", background=(0, 0, 9))))


@pytest.mark.parametrize(("word", "size"), [("WORLD", 24), ("SELFPORTRAIT", 20)])
def test_a_word_that_does_not_fit_is_refused(word: str, size: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        draw_word(64, word, size=size)


def test_a_word_without_ink_is_refused() -> None:
    with pytest.raises(ValueError, match="no ink"):
        draw_word(64, "   ")


def test_a_long_word_has_no_default_size() -> None:
    with pytest.raises(ValueError, match="2 to 5 letters"):
        word_size("PORTRAIT")


def read_back(count: int) -> float:
    """Return the share of `count` random drawings (word, size, colour, place) that the OCR judge reads exactly."""
    chance = random.Random(0)
    prompts, images = [], []
    for index in range(count):
        word = chance.choice(words())
        size = chance.choice([size for size in SIZES if min(room(word, size=size)) >= 0])
        dx, dy = room(word, size=size)
        prompts.append(Prompt(str(index), f'the word "{word}"'))
        shift = {"dx": chance.randint(-min(dx, 6), min(dx, 6)), "dy": chance.randint(-min(dy, 8), min(dy, 8))}
        images.append(draw_word(64, word, size=size, colour=chance.choice(COLOURS), **shift))
    return sum(score.details["exact"] for score in Ocr()(prompts, images)) / count


def test_ocr_reads_some_words_back() -> None:
    assert read_back(60) >= 0.98


@pytest.mark.slow
def test_ocr_reads_the_words_back() -> None:
    assert read_back(2000) >= 0.995
