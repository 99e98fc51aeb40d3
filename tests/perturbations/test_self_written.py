"""Perturbed prompts by the model: slots, seeds, roles and what is dropped."""

import pytest

from selfportrait.asking.perturb import DIRECTIONS
from selfportrait.perturbations.self_written import SelfWritten
from selfportrait.types import Prompt

PROMPTS = [
    Prompt("0000000", "a teal kettle", "attribute1_color"),
    Prompt("1000000", "a cat on top of a piano", "layout1"),
    Prompt("2000000", "a girl is feeding a duck", "non-spatial"),
]


def echo(conversation, seed: int) -> str:
    return f"Result: {conversation[-1].text.splitlines()[1]} {seed % 1000}"


def test_three_slots_a_prompt_with_parent_and_role(scripted) -> None:
    written = SelfWritten(scripted(echo), 0)(PROMPTS)
    assert [prompt.role for prompt in written.prompts] == [
        "perturbed 0 replace",
        "perturbed 1 replace",
        "perturbed 2 replace",
        "perturbed 0 replace",
        "perturbed 1 swap",
        "perturbed 2 drop",
        "perturbed 0 replace",
        "perturbed 1 drop",
        "perturbed 2 replace",
    ]
    assert [prompt.parent for prompt in written.prompts] == [prompt.id for prompt in PROMPTS for _ in range(3)]
    assert [prompt.category for prompt in written.prompts] == [prompt.category for prompt in PROMPTS for _ in range(3)]
    assert len({prompt.text for prompt in written.prompts}) == 9, "every slot has a seed of its own"
    assert written.dropped == {}


def test_neither_batch_nor_company_changes_a_text(scripted) -> None:
    whole = SelfWritten(scripted(echo), 0, batch_size=8)(PROMPTS)
    assert SelfWritten(scripted(echo), 0, batch_size=2)(PROMPTS) == whole
    assert SelfWritten(scripted(echo), 0)(PROMPTS[1:2]).prompts == whole.prompts[3:6]
    assert SelfWritten(scripted(echo), 1)(PROMPTS) != whole


def test_dropped_texts_leave_their_slot_out(scripted) -> None:
    def text(conversation, seed: int) -> str:
        edit = conversation[-1].text.splitlines()[1]
        return {"Edit: <replace>": "Result: new", "Edit: <swap>": "no idea", "Edit: <drop>": "Result: "}[edit]

    written = SelfWritten(scripted(text), 0)(PROMPTS)
    assert [prompt.role.split()[1] for prompt in written.prompts] == ["0", "1", "2", "0", "0", "2"]
    assert written.dropped == {"no result": 1, "empty result": 2}
    assert SelfWritten(scripted(text), 0)([]).prompts == []


def test_the_direction_of_the_example_varies_by_prompt_and_seed(scripted) -> None:
    model = scripted(echo)
    SelfWritten(model, 0)([Prompt(f"1{index:06d}", "a cat on top of a piano", "layout1") for index in range(60)])
    told = [turns[-1].text.partition('the words "')[2].rstrip('".') for turns in model.asked[::3]]
    assert set(told) == set(DIRECTIONS)
    shown = [turns[2].text.partition("a cup ")[2].removesuffix(" a book") for turns in model.asked[::3]]
    assert shown == told


def test_the_decoding_of_the_paper(scripted) -> None:
    model = scripted(echo)
    SelfWritten(model, 0)(PROMPTS)
    assert model.decoding == {"temperature": 1.0, "top_p": 0.9, "max_new_tokens": 512}


def test_a_model_that_cannot_write_is_refused() -> None:
    with pytest.raises(ValueError, match="writes no text"):
        SelfWritten(object(), 0)
