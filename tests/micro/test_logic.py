"""What claims settle, against pictures of them and by hand."""

import random
from collections import defaultdict

import pytest

from selfportrait.micro.detect import background_of, detect, verify
from selfportrait.micro.language import Check, checks, parse, say
from selfportrait.micro.logic import entails, excludes, read_question, settles, truth
from selfportrait.micro.scenes import SHAPE_CATEGORIES, claim, lay_out
from selfportrait.micro.world import render


def ask(text: str) -> Check:
    check = read_question(text)
    assert check is not None
    return check


@pytest.mark.parametrize(
    ("text", "question", "answer"),
    [
        ("a red circle", "Is there a red circle?", True),
        ("a red circle", "Is there a circle?", True),
        ("a red circle", "Is there a blue circle?", False),
        ("a red circle", "Is there a small red circle?", False),
        ("a circle", "Is there a red circle?", None),
        ("two rings", "Are there exactly two red rings?", None),
        ("two rings", "Are there exactly three red rings?", False),
        ("two rings and one red ring", "Are there exactly two red rings?", None),
        ("two red rings and one blue star", "Are there exactly three shapes?", True),
        ("two red rings", "Are there exactly three shapes?", False),
        ("a red circle", "Is the background black?", True),
        ("a red circle on a white background", "Is the background black?", False),
        ("a red circle left of a blue star", "Is the red circle left of the blue star?", True),
        ("a red circle left of a blue star", "Is the blue star right of the red circle?", True),
        ("a red circle left of a blue star", "Is the blue star left of the red circle?", False),
        ("a red circle left of a blue star", "Is the red circle above the blue star?", False),
        ("a red circle left of a blue star", "Is the circle left of the star?", True),
        ("a red circle left of a blue circle", "Is the circle left of the circle?", False),
        ("a red circle left of a blue circle", "Is the red circle left of the circle?", None),
        ("a red circle and a blue star", "Is the red circle above the blue star?", None),
        ("a red circle and a blue star", "Is the red circle above the blue ring?", False),
        ("a red star at the top left", "Is the red star at the top left?", True),
        ("a red star at the top left", "Is the red star at the top right?", False),
        ("a red star at the top left", "Is the red star in the center?", None),
        ("a red star", "Is the red star at the top left?", None),
        ("two red stars at the top left", "Are the red stars at the top left?", None),
        ("two red stars at the top left", "Are the red stars at the bottom left?", False),
    ],
)
def test_by_hand(text: str, question: str, answer: bool | None) -> None:
    assert settles(parse(text), ask(question)) is answer


@pytest.mark.parametrize("category", SHAPE_CATEGORIES)
def test_what_is_settled_holds_in_every_picture(category: str) -> None:
    """Checks of other claims, against ground truth; what is said to depend is seen both ways over many pictures."""
    rng = random.Random(category)
    settled = 0
    for _ in range(150):
        first = claim(category, rng)
        other = claim(rng.choice(SHAPE_CATEGORIES), rng) if rng.random() < 0.3 else claim(category, rng)
        scenes = [lay_out(first, rng) for _ in range(6)]
        for check in [*checks(first), *checks(other)]:
            said = settles(first, check)
            if said is not None:
                settled += 1
                assert all(verify(check, truth(scene), scene.background) is said for scene in scenes), (first, check)
    assert settled > 400
    assert all(settles(one, check) for one in [claim(category, rng) for _ in range(200)] for check in checks(one))


def test_what_depends_is_seen_both_ways() -> None:
    rng = random.Random(0)
    seen = defaultdict(set)
    for text, question in [
        ("a circle", "Is there a red circle?"),
        ("a red circle and a blue star", "Is the red circle above the blue star?"),
        ("a red star at the top left", "Is the red star in the center?"),
        ("two red stars at the top left", "Are the red stars at the top left?"),
    ]:
        for _ in range(60):
            scene = lay_out(parse(text), rng)
            seen[question].add(verify(ask(question), truth(scene), scene.background))
    assert all(answers == {True, False} for answers in seen.values())


def test_the_truth_of_a_scene_is_what_is_detected_in_its_picture() -> None:
    rng = random.Random(1)
    for _ in range(100):
        scene = lay_out(claim(rng.choice(SHAPE_CATEGORIES), rng), rng)
        image = render(scene)
        assert sorted(d.name for d in truth(scene)) == sorted(d.name for d in detect(image))
        assert scene.background == background_of(image)


@pytest.mark.parametrize(
    ("first", "second", "is_entailed", "is_excluded"),
    [
        ("a blue star and a red circle", "a red circle and a blue star", True, False),
        ("a blue star right of a red circle", "a red circle left of a blue star", True, False),
        ("a blue circle and a red star", "a red circle and a blue star", False, True),
        ("a red circle", "a red circle and a blue star", False, True),
        ("a red circle and a blue star", "a red circle", False, True),  # exactly one shape
        ("a red circle and a blue star", "a red circle left of a blue star", False, False),
        ("a red circle left of a blue star", "a red circle and a blue star", True, False),
        ("a red circle", "a circle", True, False),
        ("a circle", "a red circle", False, False),
        ("a red circle on a white background", "a red circle", True, False),
        ("a red circle", "a red circle on a white background", False, True),
        ('the word "cat"', 'the word "dog"', False, True),
        ('the word "cat"', 'the word "cat"', True, False),
    ],
)
def test_which_claims_conflict(first: str, second: str, is_entailed: bool, is_excluded: bool) -> None:
    assert entails(parse(first), parse(second)) is is_entailed
    assert excludes(parse(first), parse(second)) is is_excluded


@pytest.mark.parametrize("category", SHAPE_CATEGORIES)
def test_every_question_is_read_back(category: str) -> None:
    rng = random.Random(category)
    for _ in range(400):
        for check in checks(claim(category, rng)):
            found = read_question(check.text)
            assert found is not None
            assert (found.kind, found.value) == (check.kind, check.value)
            for kind, original in ((found.subject, check.subject), (found.other, check.other)):
                assert (kind and kind.name) == (original and original.name)


@pytest.mark.parametrize(
    "text",
    ["", "Is it red?", "Is there a dog?", "Is there a red circle", "Are there two red circles?", "Is the sky blue?"]
    + ["Is there a red circle and a star?", "Is the red dog left of the star?", "Is there a star at the top left?"],
)
def test_other_questions_are_not_read(text: str) -> None:
    assert read_question(text) is None


def test_case_and_spaces_are_forgiven() -> None:
    assert read_question(" is THERE  a red circle? ") is not None
    assert say(parse("a red circle")) == "a red circle"
