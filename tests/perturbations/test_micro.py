"""Exact perturbations, details and questions of the micro world as components."""

import pytest

from selfportrait.asking.roles import slot_pairs
from selfportrait.densifications.micro import Micro as Densify
from selfportrait.micro.language import parse, questions
from selfportrait.micro.logic import entails
from selfportrait.perturbations.micro import Micro as Perturb
from selfportrait.prompts.micro import Micro as Prompts
from selfportrait.questions.micro import Micro as Ask
from selfportrait.types import Prompt


def test_every_slot_conflicts_and_is_written_out() -> None:
    base = Prompts(categories=("color", "spatial", "numeracy", "complex"), num_prompts=40)()
    perturbed = Perturb(0)(base)
    assert perturbed == Perturb(0)(base)
    assert perturbed != Perturb(1)(base)
    assert set(perturbed.dropped) <= {"nothing to swap", "nothing to drop"}
    dense = Densify(0)([*base, *perturbed.prompts])
    pairs = slot_pairs([*base, *perturbed.prompts, *dense.prompts])
    assert len(pairs) == len(perturbed.prompts) > 80
    for pair in pairs:
        assert entails(parse(pair.chosen.text), parse(pair.base.text))
        assert not entails(parse(pair.rejected.text), parse(pair.base.text))


def test_an_edit_that_finds_nothing_is_counted() -> None:
    written = Perturb(0)([Prompt("a", "a red circle and a red star", "attribute2")])
    assert [prompt.role for prompt in written.prompts] == ["perturbed 0 replace", "perturbed 2 drop"]
    assert written.dropped == {"nothing to swap": 1}


def test_a_prompt_of_another_language_among_others_is_counted() -> None:
    written = Perturb(0)([Prompt("a", "ano triangle"), Prompt("b", "a red circle")])
    assert {prompt.parent for prompt in written.prompts} == {"b"}
    assert written.dropped == {"not in the language": 3}


def test_exact_questions() -> None:
    (prompt,) = Ask()([Prompt("a", "a red circle")]).prompts
    assert prompt.questions == questions(parse("a red circle"))


@pytest.mark.parametrize("component", [Perturb(0), Ask()])
def test_another_language_is_refused(component) -> None:
    with pytest.raises(ValueError, match="the micro world does not know 'a dog'"):
        component([Prompt("a", "a dog")])
