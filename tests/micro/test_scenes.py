"""Prompts and scenes: what is drawn fulfils what is said, repeats from its seed, and keeps the split apart."""

import random
from itertools import islice

import numpy as np
import pytest
from PIL import Image

from selfportrait.micro.detect import background_of, detect
from selfportrait.micro.language import parse, questions
from selfportrait.micro.scenes import (
    CATEGORIES,
    SHAPE_CATEGORIES,
    claim,
    is_held_out,
    lay_out,
    place_word,
    prompts,
    scatter,
)
from selfportrait.micro.words import words
from selfportrait.micro.world import CELL, RADII, SIDE, Item, Scene, render, stencil


def several(category: str, count: int, *, held_out: bool, seed: int = 0) -> list:
    return list(islice(prompts(category, held_out=held_out, seed=seed), count))


@pytest.mark.parametrize("category", CATEGORIES)
def test_prompts_repeat_from_their_seed_and_differ_by_it(category: str) -> None:
    first = several(category, 40, held_out=True)
    assert several(category, 40, held_out=True) == first
    assert several(category, 20, held_out=True) == first[:20]
    assert several(category, 40, held_out=True, seed=1) != first


@pytest.mark.parametrize("category", CATEGORIES)
def test_held_out_and_training_prompts_never_meet(category: str) -> None:
    held_out = several(category, 150, held_out=True) + several(category, 150, held_out=True, seed=1)
    training = several(category, 600, held_out=False) + several(category, 600, held_out=False, seed=1)
    assert not {prompt.text for prompt in held_out} & {prompt.text for prompt in training}
    assert not {prompt.id for prompt in held_out} & {prompt.id for prompt in training}
    assert all(is_held_out(prompt.text) for prompt in held_out)
    assert not any(is_held_out(prompt.text) for prompt in training)


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_prompt_is_distinct_and_carries_its_questions(category: str) -> None:
    found = several(category, 200, held_out=False)
    assert len({prompt.text for prompt in found}) == len({prompt.id for prompt in found}) == len(found)
    for prompt in found:
        assert prompt.category == category
        assert prompt.id.startswith(f"{category}-")
        assert prompt.questions == questions(parse(prompt.text))


def test_the_words_run_out_after_one_prompt_each() -> None:
    split = [several("text", 10_000, held_out=held_out) for held_out in (False, True)]
    assert sorted(parse(prompt.text).word.upper() for part in split for prompt in part) == sorted(words())
    assert 0.15 < len(split[1]) / len(words()) < 0.25  # one in five is held out


def test_an_unknown_category_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="no category 'colour'; it has color, shape"):
        claim("colour", random.Random(0))


@pytest.mark.parametrize("category", SHAPE_CATEGORIES)
def test_a_scene_holds_exactly_what_is_claimed_with_space_between(category: str) -> None:
    rng = random.Random(category)
    for _ in range(300):
        claimed = claim(category, rng)
        scene = lay_out(claimed, rng)
        assert len(scene.items) == sum(phrase.count for phrase in claimed.phrases)
        assert scene.background == (claimed.background or "black")
        for phrase in claimed.phrases:
            kind = [item for item in scene.items if fits(item, phrase)]
            assert len(kind) == phrase.count
        assert all(gap(a, b) >= 2 for i, a in enumerate(scene.items) for b in scene.items[i + 1 :])
        assert all(c - RADII[item.size] >= 0 and c + RADII[item.size] <= SIDE for item in scene.items for c in at(item))


def at(item: Item) -> tuple[int, int]:
    return item.x, item.y


def fits(item: Item, phrase) -> bool:
    wanted = {"shape": phrase.shape, "colour": phrase.colour, "size": phrase.size}
    return all(value is None or getattr(item, key) == value for key, value in wanted.items())


def gap(first: Item, second: Item) -> float:
    """Pixels between the boxes of two shapes."""
    distance = max(abs(a - b) for a, b in zip(at(first), at(second), strict=True))
    return distance - RADII[first.size] - RADII[second.size]


def test_scenes_repeat_from_their_seed() -> None:
    claimed = parse("three red circles and two blue rings")
    assert lay_out(claimed, random.Random(3)) == lay_out(claimed, random.Random(3))
    assert lay_out(claimed, random.Random(3)) != lay_out(claimed, random.Random(4))
    assert scatter(random.Random(1), 5) == scatter(random.Random(1), 5)


def test_a_word_stays_on_the_canvas() -> None:
    rng = random.Random(0)
    for text in rng.sample(words(), 60):
        render(Scene(word=place_word(text, rng)))  # which raises where a word would leave it


# What is found in a picture


def place_of(item: Item) -> np.ndarray:
    """The pixels that an item covers by more than half, (64, 64)."""
    canvas = np.zeros((SIDE + 2 * CELL, SIDE + 2 * CELL))
    top, left = item.y - CELL // 2 + CELL, item.x - CELL // 2 + CELL
    canvas[top : top + CELL, left : left + CELL] = stencil(item.shape, RADII[item.size])
    return canvas[CELL:-CELL, CELL:-CELL] > 0.5


def test_every_item_is_found_with_its_box_and_mask() -> None:
    rng = random.Random(0)
    right = total = 0
    for count in [1, 2, 4, 7, 12] * 20:
        scene = scatter(rng, count)
        found = detect(render(scene))
        assert len(found) == count
        for item in scene.items:
            covered = place_of(item)
            (one,) = [d for d in found if d.mask[covered].mean() > 0.5]
            assert one.mask.shape == (SIDE, SIDE)
            assert one.mask.dtype == bool
            assert one.mask[covered].mean() > 0.98
            x0, y0, x1, y1 = one.box
            rows, columns = np.nonzero(covered)
            assert x0 <= columns.min() + 1
            assert columns.max() < x1 + 1
            assert y0 <= rows.min() + 1
            assert rows.max() < y1 + 1
            assert max(x1 - x0, y1 - y0) <= 2 * RADII[item.size] + 2
            right += one.attributes == {"colour": item.colour, "shape": item.shape, "size": item.size}
            total += 1
            assert 0.8 < one.score <= 1.0001
        assert background_of(render(scene)) == scene.background
    assert right / total > 0.995


def test_an_empty_picture_holds_nothing() -> None:
    for background in ("black", "white", "brown", "gray"):
        assert detect(render(Scene(background=background))) == []
    assert detect(Image.new("RGB", (64, 64), (255, 0, 255))) == []


def test_noise_is_survived() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for found in detect(Image.fromarray(noise)):
        assert np.isfinite(found.score)


@pytest.mark.parametrize("change", ["rgba", "palette", "larger", "larger smooth"])
def test_other_modes_and_sizes_show_the_same(change: str) -> None:
    image = render(lay_out(parse("two red circles and one blue star"), random.Random(0)))
    changed = {
        "rgba": lambda: image.convert("RGBA"),
        "palette": lambda: image.convert("P", palette=Image.Palette.ADAPTIVE),
        "larger": lambda: image.resize((256, 256), Image.Resampling.NEAREST),
        "larger smooth": lambda: image.resize((128, 128), Image.Resampling.BICUBIC),
    }[change]()
    same = [(d.name, d.attributes) for d in detect(image)]
    assert len(same) == 3
    assert [(d.name, d.attributes) for d in detect(changed)] == same
    assert background_of(changed) == "black"
