"""Prompts that count: which there are, and that training and measuring never meet."""

from itertools import islice

from selfportrait.counting import is_held_out, prompts
from selfportrait.prompts.coco_counts import CocoCounts


def texts(count: int, *, held_out: bool, seed: int = 0) -> list[str]:
    return [prompt.text for prompt in islice(prompts(held_out=held_out, seed=seed), count)]


def test_prompts_are_distinct_and_the_same_every_time() -> None:
    found = texts(1050, held_out=False)
    assert len(set(found)) == 1050
    assert found == [prompt.text for prompt in CocoCounts()()] == texts(1050, held_out=False)
    assert found != texts(1050, held_out=False, seed=1)


def test_a_share_is_held_out_and_never_trained_on() -> None:
    trained, measured = texts(2000, held_out=False), texts(500, held_out=True)
    assert not set(trained) & set(measured)
    assert all(map(is_held_out, measured))
    assert 0.28 < sum(is_held_out(f"{number} cats") for number in range(10_000)) / 10_000 < 0.32


def test_numbers_and_plurals_agree() -> None:
    everything = " ".join(texts(2000, held_out=False))
    for right in ("three sheep", "two knives", "an apple", "two buses", "a cat", "two wine glasses", "six dogs"):
        assert right in everything
    for wrong in ("sheeps", "knifes", "buss ", "a apple", " one ", "a cats", "glasss"):
        assert wrong not in everything


def test_one_kind_is_never_one_thing() -> None:
    for text in texts(500, held_out=False):
        assert " and " in text or not text.startswith(("a ", "an "))
