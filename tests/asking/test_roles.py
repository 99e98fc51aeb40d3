"""Roles: what a prompt was made from, and which two prompts a slot compares."""

import pytest

from selfportrait.asking.roles import Role, SlotPair, dense, perturbed, role_of, slot_pairs
from selfportrait.types import Prompt

BASE = Prompt("0000000", "a cup", "attribute1_color")


def test_a_role_is_text_and_back() -> None:
    first = perturbed(BASE, 2, "drop", "a hat")
    assert first == Prompt("0000000-perturbed-2", "a hat", BASE.category, (), "0000000", "perturbed 2 drop")
    assert role_of(first) == Role("perturbed", 2, "drop")
    assert dense(BASE, 2, "drop", "long") == Prompt(
        "0000000-dense-2", "long", BASE.category, (), "0000000", "dense 2 drop"
    )
    assert dense(first, 2, "drop", "long") == Prompt(
        "0000000-perturbed-2-dense", "long", BASE.category, (), "0000000-perturbed-2", "dense-perturbed 2 drop"
    )
    assert role_of(BASE) is None
    assert role_of(Prompt("x", "y", role="dense 0")) == Role("dense", 0)


@pytest.mark.parametrize("role", ["", "negative 0", "perturbed", "perturbed x", "dense"])
def test_another_role_is_refused(role: str) -> None:
    with pytest.raises(ValueError, match="expected perturbed, dense or dense-perturbed"):
        role_of(Prompt("x", "y", role=role))


def test_short_prompts_are_compared_where_nothing_was_detailed() -> None:
    first, second = perturbed(BASE, 0, "replace", "a hat"), perturbed(BASE, 2, "drop", "a pan")
    assert slot_pairs([BASE, first, second]) == [
        SlotPair(BASE, 0, "replace", BASE, first),
        SlotPair(BASE, 2, "drop", BASE, second),
    ]


def test_a_slot_compares_its_own_detailed_prompts_and_no_others() -> None:
    first, second, third = (perturbed(BASE, slot, "replace", f"a hat {slot}") for slot in range(3))
    long_base = [dense(BASE, slot, "replace", f"long cup {slot}") for slot in range(2)]
    long_first, long_second = (dense(one, i, "replace", f"long hat {i}") for i, one in enumerate((first, second)))
    found = slot_pairs([long_second, third, first, *long_base, second, BASE, long_first])
    assert found == [
        SlotPair(BASE, 0, "replace", long_base[0], long_first),
        SlotPair(BASE, 1, "replace", long_base[1], long_second),
    ]


def test_a_perturbed_prompt_needs_its_base() -> None:
    with pytest.raises(ValueError, match="0000000-perturbed-0 has no base prompt '0000000'"):
        slot_pairs([perturbed(BASE, 0, "replace", "a hat")])
