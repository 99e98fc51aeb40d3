"""One thing more: which thing, how it is written, and what is left alone."""

import pytest

from selfportrait.micro.language import parse
from selfportrait.micro.logic import entails
from selfportrait.micro.scenes import SHAPE_CATEGORIES, prompts
from selfportrait.perturbations.one_more import OneMore
from selfportrait.types import Prompt


def texts(text: str, **settings: int) -> set[str]:
    return {prompt.text for prompt in OneMore(0, slots=20, **settings)([Prompt("a", text)]).prompts}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a red circle", {"two red circles"}),
        ("An owl and two knives", {"two owls and two knives", "An owl and three knives"}),
        ("one wooden box on a table", {"two wooden boxes on a table", "one wooden box on two tables"}),
        ("five stars above a ring", {"five stars above two rings"}),
        ("a large cross on a gray background", {"two large crosses on a gray background"}),
    ],
)
def test_one_more_of_each_thing(text: str, expected: set[str]) -> None:
    assert texts(text) == expected


@pytest.mark.parametrize("text", ["water", "the sea", "eight stars", "a black background"])
def test_what_cannot_be_counted_is_dropped_and_counted(text: str) -> None:
    written = OneMore(0)([Prompt("a", text)])
    assert written.prompts == []
    assert written.dropped == {"nothing to count": 3}


def test_slots_roles_and_seeds() -> None:
    base = [Prompt("a", "a red circle and a blue square"), Prompt("b", "three stars")]
    first = OneMore(0)(base)
    assert first == OneMore(0)(base)
    assert [prompt.role for prompt in first.prompts[:3]] == [f"perturbed {slot} add" for slot in range(3)]
    assert texts("three stars", most=3) == set()
    assert len({str(OneMore(seed)(base).prompts) for seed in range(5)}) > 1


@pytest.mark.parametrize("category", SHAPE_CATEGORIES)
def test_in_the_micro_world_it_conflicts_with_its_prompt(category: str) -> None:
    # but where a complex prompt counts one kind and names another with "a", of which there may be two
    base = [prompt for prompt, _ in zip(prompts(category, held_out=False, seed=0), range(40), strict=False)]
    by_id = {prompt.id: prompt.text for prompt in base}
    found = OneMore(0)(base).prompts
    assert len(found) > 80
    conflicts = [not entails(parse(prompt.text), parse(by_id[prompt.parent or ""])) for prompt in found]
    assert sum(conflicts) >= (0.8 if category == "complex" else 1) * len(found)
