"""What the vision encoder is to say of each cell, and its loss."""

import math
import random

import pytest
import torch

from selfportrait.micro import eyes, unified
from selfportrait.micro.detect import detect
from selfportrait.micro.scenes import scatter
from selfportrait.micro.world import COLOURS, RADII, SHAPES, Item, Scene, render
from selfportrait.models._janus_words import Words


def seen(scene: Scene) -> torch.Tensor:
    return eyes.cells(detect(render(scene)))


def test_what_stands_where_is_told_by_cell() -> None:
    items = (Item("red", "star", "large", 24, 8), Item("blue", "ring", "small", 41, 58))  # columns 1, 2; rows 0, 3
    expected = torch.full((3, 4, 4), eyes.EMPTY)
    expected[:, 0, 1] = torch.tensor([list(COLOURS).index("red"), SHAPES.index("star"), list(RADII).index("large")])
    expected[:, 3, 2] = torch.tensor([list(COLOURS).index("blue"), SHAPES.index("ring"), list(RADII).index("small")])
    assert torch.equal(seen(Scene(items, "gray")).int(), expected.int())


def test_every_shape_has_a_cell_of_its_own() -> None:
    rng = random.Random(1)
    scenes = [scatter(rng, count) for count in range(1, 15)]
    assert [int((seen(scene)[0] != eyes.EMPTY).sum()) for scene in scenes] == [len(scene.items) for scene in scenes]


def test_heads_that_know_nothing_lose_the_logarithms_of_the_choices() -> None:
    heads = eyes.new_heads(8, seed=0)
    with torch.no_grad():
        for parameter in heads.parameters():
            parameter.zero_()
    numbers = torch.stack([seen(scatter(random.Random(2), 4)).long()])
    # 36 kinds or none, 6 colours, 6 shapes and 3 sizes where there is one, 4 rows and 4 columns at a weight of 0.3
    expected = math.log(37) + math.log(6) + math.log(6) + math.log(3) + 0.6 * math.log(4)
    loss = eyes.cells_loss(heads, torch.randn(1, 64, 8), numbers)
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_only_the_first_patch_of_a_cell_speaks_for_it() -> None:
    heads = eyes.new_heads(8, seed=0)
    numbers = torch.stack([seen(scatter(random.Random(3), 4)).long()])
    features = torch.randn(1, 64, 8, requires_grad=True)
    eyes.cells_loss(heads, features, numbers).backward()
    assert features.grad is not None
    speaks = features.grad.abs().sum(2).view(8, 8) > 0
    assert speaks[::2, ::2].all()
    assert int(speaks.sum()) == 16


@pytest.fixture(scope="module")
def words() -> Words:
    return Words(unified.new_processor(), unified.CONTEXT)


def asked(words: Words, *questions: str) -> torch.Tensor:
    ids = words.questions(questions)[1]
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in ids], True, words.pad)[None]


def test_kinds_are_found_where_questions_name_them(words: Words) -> None:
    questions = (
        "Is the small red star left of the blue square?",
        "Are there exactly two crosses?",
        "Is there one shape?",
    )
    ids = asked(words, *questions)
    is_named, named = eyes.Nouns(words.tokenizer).of(ids)
    found = [words.tokenizer.decode(token) for token in ids[is_named]]
    assert found == [" star", " square", " crosses", " shape"]
    red, blue, small = list(COLOURS).index("red"), list(COLOURS).index("blue"), list(RADII).index("small")
    no, star, square, cross = eyes.NO_WORD, *map(SHAPES.index, ("star", "square", "cross"))
    assert named.tolist() == [[red, star, small], [blue, square, no], [no, cross, no], [no, eyes.ANY, no]]


def test_a_kind_is_counted_and_placed(words: Words) -> None:
    items = (
        Item("red", "star", "large", 24, 8),  # row 0, column 1
        Item("red", "star", "small", 56, 8),  # row 0, column 3
        Item("blue", "ring", "small", 41, 58),  # row 3, column 2
    )
    numbers = torch.stack([seen(Scene(items, "gray")).long()])
    # question: how many, and the middle's row and column in half cells; None where there is none
    truth = {"Are there two red stars?": (2, 0, 4), "Is there a large star?": (1, 0, 2), "Is there a ring?": (1, 6, 4)}
    truth |= {"Is there a green ring?": (0, None, None), "Is there one shape?": (3, 2, 4)}
    ids = asked(words, *truth)
    heads = eyes.new_heads(eyes.MOST + 1, seed=0)
    for name, axis in (("count", 0), ("middle_row", 1), ("middle_column", 2)):
        said = [row[axis] for row in truth.values()]
        states = torch.zeros(*ids.shape, eyes.MOST + 1)
        nouns = eyes.Nouns(words.tokenizer)
        states[nouns.of(ids)[0]] = torch.nn.functional.one_hot(torch.tensor([one or 0 for one in said]), 7).float()
        with torch.no_grad():
            for parameter in heads.parameters():
                parameter.zero_()
            torch.nn.init.eye_(heads[name].weight).mul_(50)
        others = sum(math.log(7) for _ in range(2))
        assert eyes.kinds_loss(heads, states, ids, numbers, nouns).item() == pytest.approx(others, abs=1e-4)


def test_questions_that_name_no_kind_lose_nothing(words: Words) -> None:
    numbers = torch.stack([seen(scatter(random.Random(2), 4)).long()])
    ids, heads = asked(words, "Is the background gray?"), eyes.new_heads(8, seed=0)
    assert eyes.kinds_loss(heads, torch.randn(*ids.shape, 8), ids, numbers, eyes.Nouns(words.tokenizer)).item() == 0
